"""Scored spans -> one Answer: choose, merge what says the same, cite, or abstain.

An answer's text is a quote. Abstaining is a value, too: `Answer.text` is None and there are no citations. Copies of a
text are one source, however many there are: they are cited once, with all their places.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pincite.index import Document, Evidence, Span
from pincite.qa.citations import Citation, cite
from pincite.qa.copies import Copies
from pincite.qa.metrics import normalize_answer
from pincite.qa.reader import ScoredSpan
from pincite.qa.retriever import Hit

__all__ = ["Alternative", "Answer", "compose", "independent"]


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another answer that was found, less certain than the first or worded otherwise."""

    text: str
    confidence: float
    citations: tuple[Citation, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """The files that give this answer, in the order of the citations; of copies the one that is cited."""
        return independent(self.citations)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the articles say, word for word.

    Attributes:
        question: as asked.
        text: the answer, a quote; None where the articles do not say.
        confidence: in [0, 1], that the answer, or the best span if there is none, answers the question.
        citations: where it stands, the best first, copies of one sentence in one; empty if there is no answer.
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
        """The files that give this answer, in the order of the citations; of copies the one that is cited."""
        return independent(self.citations)

    @property
    def disagreeing(self) -> tuple[Alternative, ...]:
        """Other answers that are nearly as likely and come from files that do not give this one, nor their copies."""
        own = _paths(self.citations)
        return tuple(
            other
            for other in self.alternatives
            if other.confidence >= _NEARLY * self.confidence and not own & _paths(other.citations)
        )


_NEARLY = 0.8


def independent(citations: Sequence[Citation]) -> tuple[str, ...]:
    """Return the files of citations without those that are copies of one before, be it in another place of theirs."""
    found: list[str] = []
    seen: set[str] = set()
    for citation in citations:
        places = _paths([citation])
        if not places & seen:
            found.append(citation.path)
        seen |= places
    return tuple(found)


def _paths(citations: Iterable[Citation]) -> set[str]:
    return {place.path for citation in citations for place in (citation, *citation.also)}


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
    copies = Copies(hits, lambda hit: source(hit)[0])
    for group in groups:
        citations = _citations(group, source, copies)
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


def _citations(
    group: Sequence[ScoredSpan], source: Callable[[Hit], tuple[Document, Evidence]], copies: Copies
) -> tuple[Citation, ...]:
    """Return one citation for each place, its copies in `also`.

    Passages overlap, so the same place can be found twice; so can a copy, if it was read itself.
    """
    citations = []
    cited: set[tuple[str, int]] = set()
    copied: dict[str, list[Span]] = defaultdict(list)
    for candidate in group:
        name, sentence = candidate.hit.passage.document_id, candidate.sentence_span
        if (name, candidate.span.start) in cited or any(
            other.start < sentence.end and sentence.start < other.end for other in copied[name]
        ):
            continue
        others = list(copies.of(candidate.hit, candidate.span, sentence))
        found = []
        for hit, span, sentence_span in [(candidate.hit, candidate.span, sentence), *others]:
            document, evidence = source(hit)
            cited.add((document.id, span.start))
            citation = cite(document, span, sentence_span, candidate.confidence, evidence)
            found.append((_order_of_copies(document, citation), citation))
        for hit, _, sentence_span in others:
            copied[hit.passage.document_id].append(sentence_span)
        first, *also = [citation for _, citation in sorted(found, key=lambda pair: pair[0])]
        citations.append(replace(first, also=tuple(also)))
    return tuple(citations)


def _order_of_copies(document: Document, citation: Citation) -> tuple[bool, bool, int, str]:
    """Return by what copies are ordered: verified first, then plain text, then the shortest path."""
    return not citation.verified, not document.encoding, len(document.path), document.path
