"""(question, hits) -> the sentences of the hits and what words alone tell of each: features for the reader.

A model that reads is wrong in its own ways, and words in theirs: the reader weighs both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from pincite.index import Span
from pincite.index.interface import SearchIndex
from pincite.index.sentences import Opening, Outline, outline
from pincite.index.terms import analyze
from pincite.qa.question_kind import is_yes_no
from pincite.qa.retriever import Hit

__all__ = [
    "Asked",
    "Sentence",
    "ask_words",
    "covered",
    "only_asks",
    "sentence_around",
    "sentences_of",
]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a question asks by its words: terms with their idf, and whether yes or no would answer it."""

    idf: Mapping[str, float]
    is_yes_no: bool


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a hit; `span` is in the document, `around` the terms beside it, those of the title included.

    Furniture is what states nothing: a heading, a byline, a date line, front matter or a question.
    """

    span: Span
    text: str
    terms: frozenset[str]
    around: frozenset[str]
    is_furniture: bool


def ask_words(index: SearchIndex, question: str) -> Asked:
    """Return what a question asks by its words, weighted by the index."""
    terms = list(dict.fromkeys(analyze(question)))
    idf = dict(zip(terms, index.idf(terms).tolist(), strict=True))
    return Asked(idf, is_yes_no(question))


def sentences_of(hit: Hit, layout: Outline) -> list[Sentence]:
    """Return the sentences of a hit, in order, without gaps that hold words; `layout` is that of its text."""
    text, first = hit.passage.text, hit.passage.span.start
    spans = [Span(*ends) for ends in zip(layout.starts.tolist(), layout.ends.tolist(), strict=True)]
    terms = [frozenset(analyze(span.of(text))) for span in spans]
    front = _FRONT_MATTER.match(text) if first == 0 else None
    is_heading = [opening == Opening.HEADING for opening in layout.openings.tolist()]
    none = frozenset[str]()
    title = heading = frozenset(analyze(hit.title))
    found = []
    for i, span in enumerate(spans):
        if is_heading[i]:
            heading = terms[i]
        before = terms[i - 1] if i else none
        after = terms[i + 1] if i + 1 < len(spans) and not is_heading[i + 1] else none
        is_front = front is not None and span.start < front.end()
        own = span.of(text)
        is_furniture = is_heading[i] or is_front or bool(_QUESTION.search(own) or _FURNITURE.match(own))
        place = Span(first + span.start, first + span.end)
        found.append(Sentence(place, own, terms[i], title | heading | before | after, is_furniture))
    return found


def sentence_around(sentences: Sequence[Sentence], place: Span, hit: Hit) -> Sentence:
    """Return the sentence of a hit in which a span of its document is; the sentences as one, if it touches several.

    Args:
        sentences: of the hit, as `sentences_of` returns them.
        place: in the document, one character at least.
        hit: where both are.
    """
    touched = [one for one in sentences if one.span.start < place.end and place.start < one.span.end]
    if len(touched) == 1:
        return touched[0]
    whole = Span(touched[0].span.start, touched[-1].span.end)
    first = hit.passage.span.start
    text = hit.passage.text[whole.start - first : whole.end - first]
    terms, around = (frozenset().union(*sets) for sets in zip(*((s.terms, s.around) for s in touched), strict=True))
    return Sentence(whole, text, terms, around, all(one.is_furniture for one in touched))


def only_asks(hit: Hit) -> bool:
    """Return whether a passage is a list of questions, such as an interview guide, and not questions with answers."""
    text = hit.passage.text
    if _MARK.search(text) is None:
        return False
    sentences = sentences_of(hit, outline(text))
    asked = sum(_QUESTION.search(one.text) is not None for one in sentences)
    stated = sum(not one.is_furniture for one in sentences)
    return asked > 2 * stated


_MARK = re.compile(r"[?？؟]")
_QUESTION = re.compile(rf"{_MARK.pattern}[\W_]{{0,20}}+$")
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_FURNITURE = re.compile(
    rf"\W*+by[ :]\s*+\S[^.!?]{{1,80}}$|"
    rf"\W*+(?:published|updated|posted)?\W*+(?:[a-z]{{3,9}},?\s+)?"
    rf"(?:\d{{4}}-\d\d?-\d\d?|\d\d?[./]\d\d?[./]\d{{2,4}}|\d\d?\.?\s+{_MONTH},?\s+\d{{4}}|{_MONTH}\s+\d\d?,?\s+\d{{4}})"
    r"\b[^a-z]{0,30}$",
    re.IGNORECASE,
)
_FRONT_MATTER = re.compile(r"---[ \t]*\r?\n(?:[^\r\n]*\r?\n){0,40}?(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)")


def covered(idf: Mapping[str, float], terms: Set[str]) -> float:
    """Return the share of the question's terms that are in `terms`, weighted by idf; 0 if the question has none.

    >>> covered({"board": 3.0, "sit": 1.0}, {"board", "member"})
    0.75
    """
    total = sum(idf.values())
    return sum(weight for term, weight in idf.items() if term in terms) / total if total else 0.0
