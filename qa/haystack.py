"""An index as components of Haystack 2 and 3: a retriever of documents, and one that answers with exact quotes.

Both are saved with their pipeline; in Haystack 3, `Pipeline.loads(text, allowed_modules=["pincite.qa.haystack"])`
loads it again.
"""

from __future__ import annotations

from typing import Any

from haystack import Document, component
from haystack.dataclasses import ExtractedAnswer

from pincite.qa.found_passages import SearchMode, find_passages
from pincite.qa.live_index import LiveIndex
from pincite.qa.reader import MIN_CONFIDENCE
from pincite.qa.render_json import answer_json

__all__ = ["PinciteAnswerer", "PinciteRetriever"]


@component
class PinciteRetriever:
    """Finds passages in an index, always in its newest generation.

    Args:
        index: the folder of the index.
        top_k: how many passages.
        mode: what to rank by, as `Pipeline.search` takes it.
        where: conditions on the documents, such as "date>=2021-05".

    Raises:
        PinciteError: there is no such index; when run, also for an empty query or a condition that says nothing.
    """

    def __init__(
        self, index: str, top_k: int = 10, mode: SearchMode = "hybrid", where: list[str] | None = None
    ) -> None:
        self.index, self.top_k, self.mode, self.where = index, top_k, mode, where
        self._live = LiveIndex(index, can_sync=False)

    @component.output_types(documents=list[Document])
    def run(self, query: str, top_k: int | None = None, where: list[str] | None = None) -> dict[str, list[Document]]:
        """Return the best passages, best first, with where they stand in `meta`; arguments go before the settings."""
        conditions = (where if where is not None else self.where) or []
        k = self.top_k if top_k is None else top_k
        found = find_passages(self._live, query, k, mode=self.mode, where=conditions)
        return {
            "documents": [
                Document(id=one.id, content=one.text, score=one.score, meta=dict(one.metadata)) for one in found
            ]
        }


@component
class PinciteAnswerer:
    """Answers a question with a quote, once for each citation; with nothing where the articles do not say.

    It is looked for in `top_k` passages. Below `min_confidence`, in [0, 1], there is no answer. Else as
    `PinciteRetriever`.
    """

    def __init__(
        self, index: str, top_k: int = 10, min_confidence: float = MIN_CONFIDENCE, where: list[str] | None = None
    ) -> None:
        self.index, self.top_k, self.min_confidence, self.where = index, top_k, min_confidence, where
        self._live = LiveIndex(index, can_sync=False)

    @component.output_types(answers=list[ExtractedAnswer])
    def run(self, query: str, where: list[str] | None = None) -> dict[str, list[ExtractedAnswer]]:
        """Return the answers: `data` the quote, `context` its sentence, `meta` its citation as of `ask --json`."""
        pipeline = self._live.pipeline()
        conditions = (where if where is not None else self.where) or []
        answer = pipeline.ask(query, self.top_k, min_confidence=self.min_confidence, where=conditions)
        citations = answer_json(answer, pipeline.index.stats())["citations"]
        return {"answers": [_extracted(query, citation) for citation in citations]}


def _extracted(query: str, citation: dict[str, Any]) -> ExtractedAnswer:
    first = citation["sentence_start"]
    return ExtractedAnswer(
        query=query,
        data=citation["quote"],
        score=citation["score"],
        context=citation["sentence"],
        context_offset=ExtractedAnswer.Span(citation["start"] - first, citation["end"] - first),
        document_offset=ExtractedAnswer.Span(citation["start"], citation["end"]),
        meta=citation,
    )
