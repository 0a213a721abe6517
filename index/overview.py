"""An index -> what it was read as, and what was skipped and why; no document is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np

from pincite.index.sources import Skipped
from pincite.index.store import Index

__all__ = ["Overview", "overview"]


@dataclass(frozen=True, slots=True)
class Overview:
    """What became of the files of an index.

    Attributes:
        formats: documents by the name of their format, those with most first.
        skipped: what was not read, by path; of one file at most 100.
    """

    formats: Mapping[str, int]
    skipped: Sequence[Skipped]


def overview(index: Index, met: Sequence[Skipped] = ()) -> Overview:
    """Return what became of the files of an index, with the paths as `Index.shown` has them.

    Args:
        index: an open index.
        met: what a look at the sources could not read: links and the like are no files that the index knows.
    """
    formats: Counter[str] = Counter()
    skipped: dict[str, tuple[Skipped, ...]] = {}
    for contents, live in zip(index.segments, index.live_documents, strict=True):
        if contents.documents:
            formats.update(compress(contents.segment.strings("document_format"), live.tolist()))
        if skipped:  # a later segment knows better what it knows of
            for path in contents.segment.strings("file_path"):
                skipped.pop(path, None)
        for row in np.flatnonzero(np.diff(contents.segment.array("file_skipped_at"))).tolist():
            file = contents.file(row)
            if not file.is_gone:
                skipped[file.path] = file.skipped
    every = sorted({*met, *(item for items in skipped.values() for item in items)}, key=lambda item: item.path)
    counts = dict(sorted(formats.items(), key=lambda item: (-item[1], item[0])))
    return Overview(counts, [replace(item, path=index.shown(item.path)) for item in every])
