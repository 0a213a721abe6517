"""A query -> passages as the frameworks take them: an id, the text, a score, and a flat dictionary of all else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pincite.qa.live_index import LiveIndex
from pincite.qa.pipeline import Pipeline
from pincite.qa.render_json import hits_json
from pincite.qa.retriever import Mode

__all__ = ["FoundPassage", "SearchMode", "find_passages"]

SearchMode = Mode | Literal["full"]

_NO_METADATA = frozenset({"text", "also"})


@dataclass(frozen=True, slots=True)
class FoundPassage:
    """A passage that was found.

    Attributes:
        id: the same for the same text at the same place of the same document; `document_id`: of the document.
        text: exactly `document.text[metadata["start"]:metadata["end"]]`.
        score: as `Hit.score`.
        metadata: what the document says of itself, then path, title, start, end, line, score and so on, as `pincite
            search --json` has them; `also` has the paths of copies. What is not known is left out.
    """

    id: str
    document_id: str
    text: str
    score: float
    metadata: Mapping[str, Any]


def find_passages(
    live: LiveIndex, query: str, k: int, *, mode: SearchMode = "hybrid", where: Sequence[str] = ()
) -> list[FoundPassage]:
    """Return the `k` best passages of the newest generation, best first; arguments and errors of `Pipeline.search`."""
    # Only "full" reads; loading the reader the very first time takes half a minute.
    pipeline = live.pipeline() if mode == "full" else Pipeline(live.index())
    hits = pipeline.search(query, k, mode=mode, where=where)
    found = []
    for hit, body in zip(hits, hits_json(query, hits)["hits"], strict=True):
        known = {key: value for key, value in body.items() if key not in _NO_METADATA and value is not None}
        also = {"also": [copy.path for copy in hit.also]} if hit.also else {}
        passage = hit.passage
        name = f"{passage.document_id}-{passage.span.start}-{passage.span.end}"
        metadata = dict(hit.metadata) | known | also
        found.append(FoundPassage(name, passage.document_id, passage.text, hit.score, metadata))
    return found
