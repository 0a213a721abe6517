"""Scored spans -> one Answer: choose, merge what says the same, cite, or abstain.

An answer's text is a quote. Abstaining is a value, too: `Answer.text` is None and there are no citations.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pincite.index import Document, Evidence
from pincite.qa.citations import Citation, cite
from pincite.qa.metrics import normalize_answer
from pincite.qa.reader import ScoredSpan
from pincite.qa.retriever import Hit

__all__ = ["Alternative", "Answer", "compose"]


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another answer that was found, less certain than the first or worded otherwise."""

    text: str
    confidence: float
    citations: tuple[Citation, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the articles say, word for word.

    Attributes:
        question: as asked.
        text: the answer, a quote; None where the articles do not say.
        confidence: in [0, 1], that the answer, or the best span if there is none, answers the question.
        citations: where it stands, the best first; empty if there is no answer.
        hits: the passages that were found, in the reader's order; not all were read if the first ones decided.
        alternatives: other answers, the best first.
        elapsed: milliseconds by step: `embed`, `retrieve`, `read`, `total`.
    """

    question: str
    text: str | None
    confidence: float
    citations: tuple[Citation, ...]
    hits: tuple[Hit, ...]
    alternatives: tuple[Alternative, ...] = ()
    elapsed: Mapping[str, float] = field(default_factory=dict)

    @property
    def sources(self) -> tuple[str, ...]:
        """The files that give this answer, in the order of the citations."""
        return tuple(dict.fromkeys(citation.path for citation in self.citations))

    @property
    def disagreeing(self) -> tuple[Alternative, ...]:
        """Other answers that are nearly as likely and come from files that do not give this one."""
        own = set(self.sources)
        return tuple(
            other
            for other in self.alternatives
            if other.confidence >= _NEARLY * self.confidence and not own & {place.path for place in other.citations}
        )


_NEARLY = 0.8


def compose(
    question: str,
    spans: Sequence[ScoredSpan],
    hits: Sequence[Hit],
    source: Callable[[Hit], tuple[Document, Evidence]],
    *,
    min_confidence: float,
    elapsed: Mapping[str, float],
) -> Answer:
    """Return the answer that `spans` add up to.

    Args:
        question: as asked.
        spans: candidates from several passages on one scale.
        hits: the passages that were found.
        source: the document of a hit, and what its file says now.
        min_confidence: below, there is no answer.
        elapsed: milliseconds by step.
    """
    ordered = sorted(spans, key=lambda span: (-span.confidence, span.hit.path, span.span))
    groups: list[list[ScoredSpan]] = []
    for candidate in ordered:
        if candidate.confidence >= min_confidence:
            like = (group for group in groups if says_the_same(group[0].text, candidate.text))
            if (group := next(like, None)) is None:
                groups.append([candidate])
            else:
                group.append(candidate)
    found = []
    for group in groups:
        citations = _citations(group, source)
        found.append(Alternative(citations[0].quote, group[0].confidence, citations))
    if not found:
        best = ordered[0].confidence if ordered else 0.0
        return Answer(question, None, best, (), tuple(hits), (), elapsed)
    first, *others = found
    return Answer(question, first.text, first.confidence, first.citations, tuple(hits), tuple(others), elapsed)


def says_the_same(one: str, other: str) -> bool:
    """Return whether two answers are one: the same words, or a name or number with more or fewer words around it.

    >>> says_the_same("Mark Zuckerberg", "Zuckerberg"), says_the_same("six", "six companies")
    (True, True)
    >>> says_the_same("in 2016", "in 2017"), says_the_same("the board", "the board of Meta")
    (False, False)
    """
    words, others = (normalize_answer(text).split() for text in (one, other))
    if words == others:
        return True
    short, long = sorted((words, others), key=len)
    if not short or len(long) > len(short) + _EXTRA_WORDS:
        return False
    text = one if short == words else other
    is_telling = _NAME_OR_NUMBER.search(text) is not None or (len(short) == 1 and short[0] in _NUMBERS)
    return is_telling and any(long[i : i + len(short)] == short for i in range(len(long) - len(short) + 1))


_EXTRA_WORDS = 2
_NAME_OR_NUMBER = re.compile(r"\b(?:[A-Z]|\d)")
_NUMBERS = frozenset(
    ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
)


def _citations(group: Sequence[ScoredSpan], source: Callable[[Hit], tuple[Document, Evidence]]) -> tuple[Citation, ...]:
    """Return one citation a place; passages overlap, so the same place can be found twice."""
    citations: dict[tuple[str, int], Citation] = {}
    for candidate in group:
        document, evidence = source(candidate.hit)
        citation = cite(document, candidate.span, candidate.sentence_span, candidate.confidence, evidence)
        citations.setdefault((document.path, candidate.span.start), citation)
    return tuple(citations.values())
