"""The front door: question -> Answer, through retriever, reader and answers in this order.

Of the passages found, the parts are read that promise most: first the best of them, others only if these leave doubt.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pincite.index import Document, Evidence, QuestionError, examine
from pincite.index.filters import Condition, parse_wheres
from pincite.index.interface import SearchIndex
from pincite.qa.answers import Answer, compose
from pincite.qa.duplicates import fold
from pincite.qa.features import ask_words, only_asks
from pincite.qa.parts import parts_of
from pincite.qa.reader import MIN_CONFIDENCE, RERANKED, ScoredSpan, measure, reranked, score
from pincite.qa.reranker import Reranker, reordered
from pincite.qa.retriever import Hit, Mode, retrieve
from pincite.qa.span_model import SpanModel, is_compiled, load_reader

__all__ = ["MAX_WORDS", "Pipeline"]

MAX_WORDS = 1_000
"""Longest question, in words; models read some 200 of them, so a longer one is a mistake."""

DECISIVE = 0.5
"""Confidence from which on no more parts are read: of 400 questions of SQuAD asked blind, none had another answer after
reading the others. Where all parts of all passages were read, six had."""

_FIRST = 4
"""Parts that are read first. Where any decide these do: a span of a lower one is confident only far ahead of theirs."""

_LEAST = 8
_PER_PASSAGE = 0.8
"""Parts that are read in all: for each passage, and at least. Of ten passages of SQuAD and cmu_qad 7 to 11 parts gave
the same F1 within 0.003, and all parts, twice and four times as many, no more."""

_SPARE = 20
"""Hits that are retrieved beyond those wanted, to find copies among them."""

_MOST_FOLDED = 2_000
"""Hits that are retrieved at most to have enough that differ; folding so many takes a third of a second."""


class Pipeline:
    """Answers questions from one generation of an index; may be used from several threads.

    Args:
        index: an open index.
        reader: finds the answers in the passages; None for pincite's own, loaded when first needed.
        reranker: orders the passages before they are read, such as a CrossEncoder; None for none.

    >>> import pathlib, tempfile
    >>> from pincite.index import Index
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "club.txt").write_text("The club has met since 1987. Ann Lee chairs the chess club.")
    >>> answer = Pipeline(Index.sync(folder / ".pincite", [folder])).ask("Who chairs the chess club?")
    >>> answer.text
    'Ann Lee'
    >>> answer.citations[0].line, answer.citations[0].column, answer.citations[0].verified
    (1, 30, True)
    """

    def __init__(
        self, index: SearchIndex, *, reader: SpanModel | None = None, reranker: Reranker | None = None
    ) -> None:
        self.index = index
        self.reranker = reranker
        self._reader = reader
        self._loading = threading.Lock()

    @property
    def reader(self) -> SpanModel:
        """The model that reads; loaded when first used."""
        with self._loading:
            if self._reader is None:
                self._reader = load_reader()
            return self._reader

    def ask(
        self,
        question: str,
        k: int = 10,
        *,
        min_confidence: float = MIN_CONFIDENCE,
        read_all: bool = False,
        where: str | Sequence[str | Condition] = (),
    ) -> Answer:
        """Return the answer that the articles give, with its citations, or an answer without text if they give none.

        Args:
            question: in words.
            k: passages to look for the answer in; some four parts of five are read, those that promise most.
            min_confidence: in [0, 1]; below, there is no answer.
            read_all: read the passages whole, even if the first parts decide.
            where: conditions on the documents, which must all hold, such as "date>=2021-05" or "path=reports/**".

        Raises:
            QuestionError: the question is empty or far too long, or a condition cannot be read.
        """
        started = time.perf_counter()
        question, conditions = _checked(question, k), parse_wheres(where)
        self._load_ahead()
        vector = self.index.embedder.embed_query(question) if self.index.fingerprint else None
        embedded = time.perf_counter()
        # A list of questions has the very words of one, and would put all that answers it behind.
        hits = self._retrieved(question, vector, k, conditions, only_asks)
        retrieved = time.perf_counter()
        hits, spans = self._read(question, hits, read_all)
        answer = compose(question, spans, hits, _source_of(self.index), min_confidence=min_confidence, elapsed={})
        ended = time.perf_counter()
        elapsed = {
            "embed": 1000 * (embedded - started),
            "retrieve": 1000 * (retrieved - embedded),
            "read": 1000 * (ended - retrieved),
            "total": 1000 * (ended - started),
        }
        return replace(answer, elapsed=elapsed)

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        mode: Mode | Literal["full"] = "hybrid",
        where: str | Sequence[str | Condition] = (),
    ) -> list[Hit]:
        """Return the `k` best passages for `query`, best first; raises as `ask` does.

        A passage that only repeats another document's is not one of them: it is in `also` of that other one.

        Args:
            query: any text.
            k: how many.
            mode: which scores count; "full" has the best of the hybrid ones read, and ordered by what is found.
            where: conditions on the documents, as for `ask`.
        """
        query, conditions = _checked(query, k), parse_wheres(where)
        needs_vector = mode != "sparse" and self.index.fingerprint
        vector = self.index.embedder.embed_query(query) if needs_vector else None
        if mode != "full":
            return self._different(query, vector, k, conditions, mode)
        hits = self._retrieved(query, vector, max(k, RERANKED), conditions)
        first = self._read(query, hits[:RERANKED], True)[0]
        return [*first, *hits[RERANKED:]][:k]

    def _load_ahead(self) -> None:
        """Begin to load the default reader while passages are found: 0.2 s of a first question. Never compiles it."""
        if self._reader is None and self.index.fingerprint:

            def load() -> None:
                # Whatever goes wrong here goes wrong again where the reader is needed, and is told there.
                with suppress(Exception):
                    if is_compiled():
                        self.reader.read("", [])

            threading.Thread(target=load, name="pincite-load-reader").start()

    def _retrieved(
        self,
        question: str,
        vector: NDArray[np.float32] | None,
        k: int,
        where: Sequence[Condition],
        leaves_out: Callable[[Hit], bool] | None = None,
    ) -> list[Hit]:
        """Return the hits to read: of twice as many, if a re-ranker chooses them."""
        if self.reranker is None:
            return self._different(question, vector, k, where, leaves_out=leaves_out)
        hits = self._different(question, vector, max(2 * k, RERANKED), where, leaves_out=leaves_out)
        return reordered(hits, self.reranker.score(question, [hit.passage.text for hit in hits]))[:k]

    def _different(
        self,
        question: str,
        vector: NDArray[np.float32] | None,
        k: int,
        where: Sequence[Condition],
        mode: Mode = "hybrid",
        leaves_out: Callable[[Hit], bool] | None = None,
    ) -> list[Hit]:
        """Return the `k` best hits, copies folded; as many are retrieved as that takes, within reason.

        What `leaves_out` is true of comes only where there is nothing else.
        """
        wanted = k + _SPARE
        while True:
            hits = retrieve(self.index, question, vector, wanted, mode=mode, where=where)
            folded = fold(hits)
            found = [hit for hit in folded if not leaves_out(hit)] if leaves_out else folded
            if len(found) >= k or len(hits) < wanted or wanted >= _MOST_FOLDED:
                return (found or folded)[:k]
            wanted = min(3 * wanted, _MOST_FOLDED)

    def _read(self, question: str, hits: Sequence[Hit], read_all: bool) -> tuple[list[Hit], list[ScoredSpan]]:
        """Return the hits as the reader orders them, and what it finds in them."""
        asked = ask_words(self.index, question)
        read = partial(measure, asked, self.reader, question)
        parts = parts_of(asked, hits)
        first, others = (
            (parts, []) if read_all else (parts[:_FIRST], parts[_FIRST : max(_LEAST, round(_PER_PASSAGE * len(hits)))])
        )
        readings = read(first)
        spans = score(readings)
        if others and not (spans and spans[0].confidence >= DECISIVE):
            readings += read(others)
            spans = score(readings)
        return list(hits) if self.reranker is not None else reranked(question, hits, readings), spans


def _source_of(index: SearchIndex) -> Callable[[Hit], tuple[Document, Evidence]]:
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
