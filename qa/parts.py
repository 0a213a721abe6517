"""(question, hits) -> parts of the hits, a few sentences each, most promising first; and what a model reads in them.

A passage may have ten sentences, and the answer stands in one. By its rank and by the words that it shares with the
question a part tells beforehand whether it is worth reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pincite.index import Span
from pincite.index.sentences import Outline, outline
from pincite.qa.features import Asked, Sentence, covered, sentences_of
from pincite.qa.retriever import Hit
from pincite.qa.span_model import SpanModel, Window

__all__ = ["Part", "parts_of", "read_parts", "read_texts"]

PART = 3
"""Sentences of a part. The model, trained on short texts, is too ready to find nothing in a long one: by parts it is
right as often, and tells better where there is no answer."""

WORDS = 0.4
"""What all of the question's words in a part are worth beside the score of its passage. From 0.2 to 0.8 it was the same
on SQuAD and cmu_qad."""


@dataclass(frozen=True, slots=True)
class Part:
    """A few sentences of a hit.

    Attributes:
        hit: the hit.
        rank: its place among the hits.
        layout: the outline of the text of its passage.
        sentences: all sentences of that passage.
        span: which characters of the text of the passage are the part.
        promise: how likely it is worth reading; compares within one question.
    """

    hit: Hit
    rank: int
    layout: Outline
    sentences: Sequence[Sentence]
    span: Span
    promise: float


def parts_of(asked: Asked, hits: Sequence[Hit]) -> list[Part]:
    """Return all parts of all hits, most promising first.

    Args:
        asked: what the question asks by its words.
        hits: passages, best first.
    """
    parts = []
    for rank, hit in enumerate(hits):
        text, begin = hit.passage.text, hit.passage.span.start
        layout = outline(text)
        sentences = sentences_of(hit, layout)
        for span in _spans(text, layout):
            inside = [one.terms for one in sentences if span.start <= one.span.start - begin < span.end]
            promise = hit.score + WORDS * covered(asked.idf, frozenset().union(*inside))
            parts.append(Part(hit, rank, layout, sentences, span, promise))
    return sorted(parts, key=lambda part: -part.promise)


def read_parts(model: SpanModel, question: str, parts: Sequence[Part]) -> list[list[Window]]:
    """Return what the model says of each part; offsets count characters of the text of its passage."""
    return _read(model, question, [(part.hit.passage.text, part.span) for part in parts])


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
    read = _read(model, question, [(texts[number], span) for number, span in places])
    for (number, _), windows in zip(places, read, strict=True):
        found[number] += [replace(window, text=number) for window in windows]
    return found


def _spans(text: str, layout: Outline) -> list[Span]:
    """Return the parts of a text: `PART` sentences each, one in common with the next part; one at least."""
    starts, ends = layout.starts.tolist(), layout.ends.tolist()
    if not starts:
        return [Span(0, len(text))]
    firsts = range(0, max(len(starts) - 1, 1), PART - 1)
    return [Span(starts[first], ends[min(first + PART, len(ends)) - 1]) for first in firsts]


def _read(model: SpanModel, question: str, places: Sequence[tuple[str, Span]]) -> list[list[Window]]:
    """Return what the model says of spans of texts, with offsets in the texts."""
    found: list[list[Window]] = [[] for _ in places]
    for window in model.read(question, [span.of(text) for text, span in places]):
        found[window.text].append(replace(window, offsets=window.offsets + places[window.text][1].start))
    return found
