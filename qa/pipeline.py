"""The front door: question -> Answer, through retriever, reader and answers in this order."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from pincite.index import Document, Evidence, Index, QuestionError, examine
from pincite.qa.answers import Answer, compose
from pincite.qa.reader import MIN_CONFIDENCE, read_sentences
from pincite.qa.retriever import Hit, Mode, retrieve

__all__ = ["MAX_WORDS", "Pipeline"]

MAX_WORDS = 1_000
"""Longest question, in words; models read some 200 of them, so a longer one is a mistake."""


class Pipeline:
    """Answers questions from one generation of an index; may be used from several threads.

    Args:
        index: an open index.

    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "club.txt").write_text("The club has met since 1987. Ann Lee chairs the chess club.")
    >>> answer = Pipeline(Index.sync(folder / ".pincite", [folder])).ask("Who chairs the chess club?")
    >>> answer.text
    'Ann Lee chairs the chess club.'
    >>> answer.citations[0].line, answer.citations[0].column, answer.citations[0].verified
    (1, 30, True)
    """

    def __init__(self, index: Index) -> None:
        self.index = index

    def ask(self, question: str, k: int = 10, *, min_confidence: float = MIN_CONFIDENCE) -> Answer:
        """Return the answer that the articles give, with its citations, or an answer without text if they give none.

        Args:
            question: in words.
            k: passages to read.
            min_confidence: in [0, 1]; below, there is no answer.

        Raises:
            QuestionError: the question is empty or far too long.
        """
        started = time.perf_counter()
        question = _checked(question, k)
        vector = self.index.embedder.embed_query(question) if self.index.fingerprint else None
        embedded = time.perf_counter()
        hits = retrieve(self.index, question, vector, k)
        retrieved = time.perf_counter()
        spans = read_sentences(self.index, question, vector, hits) if vector is not None else []
        answer = compose(question, spans, hits, _source_of(self.index), min_confidence=min_confidence, elapsed={})
        ended = time.perf_counter()
        elapsed = {
            "embed": 1000 * (embedded - started),
            "retrieve": 1000 * (retrieved - embedded),
            "read": 1000 * (ended - retrieved),
            "total": 1000 * (ended - started),
        }
        return replace(answer, elapsed=elapsed)

    def search(self, query: str, k: int = 10, *, mode: Mode = "hybrid") -> list[Hit]:
        """Return the `k` best passages for `query`, best first; raises as `ask` does."""
        query = _checked(query, k)
        needs_vector = mode != "sparse" and self.index.fingerprint
        vector = self.index.embedder.embed_query(query) if needs_vector else None
        return retrieve(self.index, query, vector, k, mode=mode)


def _source_of(index: Index) -> Callable[[Hit], tuple[Document, Evidence]]:
    """Return a function from a hit to its document and to what its file says now; each file is read once."""
    known: dict[str, tuple[Document, Evidence]] = {}

    def source(hit: Hit) -> tuple[Document, Evidence]:
        key = hit.passage.document_id
        if key not in known:
            document = index.document(key)
            known[key] = document, examine(document, index.location(document))
        return known[key]

    return source


def _checked(question: str, k: int) -> str:
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    words = len(question.split())
    if not words:
        raise QuestionError('The question is empty. Ask one: pincite ask "who sits on the board?"')
    if words > MAX_WORDS:
        raise QuestionError(f"The question has {words:,} words; at most {MAX_WORDS:,} are read. Ask a shorter one.")
    return question.strip()
