"""(question, hits) -> parts of the hits, a few sentences each, most promising first; and what a model reads in them.

A passage may have ten sentences, and the answer stands in one. By its rank and by the words that it shares with the
question a part tells beforehand whether it is worth reading.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

from pincite.index import Span
from pincite.index.sentences import Outline, outline
from pincite.index.terms import analyze
from pincite.qa.features import Asked, Sentence, covered, sentences_of
from pincite.qa.retriever import Hit
from pincite.qa.span_model import SpanModel, Window

__all__ = ["TITLE_WORDS", "Part", "parts_of", "read_parts", "read_texts"]

PART = 3
"""Sentences of a part. The model, trained on short texts, is too ready to find nothing in a long one: by parts it is
right as often, and tells better where there is no answer."""

WORDS = 0.4
"""What all of the question's words in a part are worth beside the score of its passage. From 0.2 to 0.8 it was the same
on SQuAD and cmu_qad."""

TITLE_WORDS = 5
"""A title of at most so many words names what its article is about, which the text then calls "it" or "the town". A
longer one is a headline: read before the text it draws the answer to itself."""


@dataclass(frozen=True, slots=True)
class Part:
    """A few sentences of a hit.

    Attributes:
        hit: the hit.
        rank: its place among the hits.
        behind: score of the hit less that of the best one.
        layout: the outline of the text of its passage.
        sentences: all sentences of that passage.
        span: which characters of the text of the passage are the part.
        promise: how likely it is worth reading; compares within one question.
        title: what is read before it but can't be the answer; empty if the part says itself what it is about.
    """

    hit: Hit
    rank: int
    behind: float
    layout: Outline
    sentences: Sequence[Sentence]
    span: Span
    promise: float
    title: str


def parts_of(asked: Asked, hits: Sequence[Hit]) -> list[Part]:
    """Return all parts of all hits, most promising first.

    Args:
        asked: what the question asks by its words.
        hits: passages, best first.
    """
    parts = []
    best = max((hit.score for hit in hits), default=0.0)
    for rank, hit in enumerate(hits):
        layout = outline(hit.passage.text)
        sentences = sentences_of(hit, layout)
        begin, behind = hit.passage.span.start, hit.score - best
        for span in _spans(hit.passage.text, layout):
            inside = [one.terms for one in sentences if span.start <= one.span.start - begin < span.end]
            terms = frozenset[str]().union(*inside)
            promise, title = hit.score + WORDS * covered(asked.idf, terms), _title_of(hit, asked.idf.keys() - terms)
            parts.append(Part(hit, rank, behind, layout, sentences, span, promise, title))
    return sorted(parts, key=lambda part: -part.promise)


def read_parts(model: SpanModel, question: str, parts: Sequence[Part]) -> list[list[Window]]:
    """Return what the model says of each part; offsets count characters of the text of its passage."""
    places = [(part.hit.passage.text, part.span) for part in parts]
    return _read(model, question, places, [part.title for part in parts])


def read_texts(model: SpanModel, question: str, texts: Sequence[str], layouts: Sequence[Outline]) -> list[list[Window]]:
    """Return what the model says of all parts of each text.

    Args:
        model: reads.
        question: as asked.
        texts: any strings.
        layouts: the sentences of each text.
    """
    places = [(n, span) for n, (text, own) in enumerate(zip(texts, layouts, strict=True)) for span in _spans(text, own)]
    found: list[list[Window]] = [[] for _ in texts]
    read = _read(model, question, [(texts[number], span) for number, span in places], [""] * len(places))
    for (number, _), windows in zip(places, read, strict=True):
        found[number] += [replace(window, text=number) for window in windows]
    return found


def _title_of(hit: Hit, lacking: Set[str]) -> str:
    """Return the title of a hit if it is a short one with a term that a part of the hit lacks; else an empty string."""
    words = hit.title.split()
    return " ".join(words) if len(words) <= TITLE_WORDS and not lacking.isdisjoint(analyze(hit.title)) else ""


def _spans(text: str, layout: Outline) -> list[Span]:
    """Return the parts of a text: `PART` sentences each, one in common with the next part; one at least."""
    starts, ends = layout.starts.tolist(), layout.ends.tolist()
    if not starts:
        return [Span(0, len(text))]
    firsts = range(0, max(len(starts) - 1, 1), PART - 1)
    return [Span(starts[first], ends[min(first + PART, len(ends)) - 1]) for first in firsts]


def _read(
    model: SpanModel, question: str, places: Sequence[tuple[str, Span]], titles: Sequence[str]
) -> list[list[Window]]:
    """Return what the model says of spans of texts, each read behind a title, with offsets in the texts."""
    before = [title and f"{title}. " for title in titles]
    texts = [front + span.of(text) for front, (text, span) in zip(before, places, strict=True)]
    found: list[list[Window]] = [[] for _ in places]
    for window in model.read(question, texts):
        front, first = len(before[window.text]), places[window.text][1].start
        own = window.offsets[:, 0] >= front
        offsets = window.offsets[own] - front + first
        found[window.text].append(replace(window, offsets=offsets, start=window.start[own], end=window.end[own]))
    return found
