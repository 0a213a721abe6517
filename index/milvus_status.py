"""An index in Milvus -> what has changed in its sources since, what it was read as, and what was skipped."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from pincite.index.milvus import MilvusIndex
from pincite.index.overview import Overview
from pincite.index.survey import take_survey

__all__ = ["look"]


def look(index: MilvusIndex) -> tuple[dict[str, int], Overview]:
    """Return how many files are `new`, `changed` or `missing`, and what became of the others."""
    known = index.known_files()
    survey = take_survey(index.root, index.sources, known)
    changes = {
        "new": survey.stale.new,
        "changed": survey.stale.count - survey.stale.new,
        "missing": sum(path not in survey.met for path in known),
    }
    formats = Counter(str(head["format"]) for head in index.heads)
    skipped = {*survey.skipped, *(one for row in known.values() for one in row.skipped)}
    every = sorted(skipped, key=lambda one: one.path)
    counts = dict(sorted(formats.items(), key=lambda item: (-item[1], item[0])))
    return changes, Overview(counts, [replace(one, path=index.shown(one.path)) for one in every])
