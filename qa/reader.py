"""(question, parts of hits) -> spans that may answer it, on one scale, each with the chance that it does.

The span model says for each part where an answer would begin and end, and how much better that is than none. What it
says of one passage cannot be compared with another before it is weighed: the chance is a logistic regression on the
model's margin and on what words and ranks tell (features.py), fitted on questions that the model never saw
(`scripts/fit_reader.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from pincite.index import Span
from pincite.qa.features import Asked, Sentence, covered, sentence_around
from pincite.qa.parts import Part, read_parts
from pincite.qa.question_kind import is_question
from pincite.qa.retriever import Hit
from pincite.qa.span_decoding import best_spans
from pincite.qa.span_model import SpanModel

__all__ = ["MIN_CONFIDENCE", "RERANKED", "WEIGHTS", "Reading", "ScoredSpan", "measure", "reranked", "score"]

SPANS = 3
"""Spans of a passage that are weighed."""

RERANKED = 20
"""Hits that `search` reads to order them."""

RERANK_WEIGHT = 0.4
RERANK_SCALE = 5.0
RERANK_FROM = 5.0
"""A hit gains `RERANK_WEIGHT / (1 + exp(-margin / RERANK_SCALE))` by its best span, times `1 / (1 + exp(RERANK_FROM -
best margin))` by the best span of all: where the reader finds no answer anywhere, it knows no better order. Chosen on
half of the queries of five retrieval sets; `RERANK_FROM` anew for these weights, on trecqa_ir and news_2022."""

MIN_CONFIDENCE = 0.15
"""Below, there is no answer."""

# Fitted and calibrated by: python scripts/fit_reader.py QA_TRAIN WORK; but for "furniture", of which those questions
# have next to none: -1.2 by them; -1.5 is from where on no heading of seeds/ is taken for an answer.
WEIGHTS: Mapping[str, float] = {
    "margin": 0.354,  # of the span over "no answer", in logits
    "covered": -0.402,  # share of the question's terms, weighted by idf, that are in the sentence
    "covered_around": 0.407,  # the same, with the sentences beside it, its heading and the title
    "behind": 14.73,  # score of the passage less that of the best passage
    "furniture": -1.5,  # 1 if the sentence is a heading, a byline, a date line, front matter or a question
}
BIAS = -1.537


@dataclass(frozen=True, slots=True)
class ScoredSpan:
    """A span of a document that may be the answer.

    `span` and `sentence_span` count characters of the document; `margin` is the span model's, in logits over "no
    answer"; `confidence` is in [0, 1].
    """

    hit: Hit
    span: Span
    sentence_span: Span
    text: str
    margin: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Reading:
    """A span before it is weighed: `span` and `sentence_span` are in the document, `features` named as in `WEIGHTS`."""

    hit: Hit
    span: Span
    sentence_span: Span
    text: str
    features: Mapping[str, float]


def measure(asked: Asked, model: SpanModel, question: str, parts: Sequence[Part]) -> list[Reading]:
    """Return the best spans of the parts of each passage with their features, those of the best passage first.

    Args:
        asked: what the question asks by its words.
        model: reads them.
        question: as asked.
        parts: of passages.
    """
    parts = sorted(parts, key=lambda part: (part.rank, part.span))
    read = zip(parts, read_parts(model, question, parts), strict=True)
    found = []
    for _, several in groupby(read, key=lambda pair: pair[0].rank):
        pairs = list(several)
        one, windows = pairs[0][0], [window for _, found in pairs for window in found]
        spans = best_spans(windows, one.hit.passage.text, one.layout, SPANS, question=question)
        found += [_reading(asked, one.hit, one.sentences, span, margin, one.behind) for span, margin in spans]
    return found


def _reading(
    asked: Asked, hit: Hit, sentences: Sequence[Sentence], span: Span, margin: float, behind: float
) -> Reading:
    """Return a span of a hit with its features; for a yes/no question, the sentence that decides it."""
    first = hit.passage.span.start
    place = Span(first + span.start, first + span.end)
    sentence = sentence_around(sentences, place, hit)
    if asked.is_yes_no:
        place = sentence.span
    features = {
        "margin": margin,
        "covered": covered(asked.idf, sentence.terms),
        "covered_around": covered(asked.idf, sentence.terms | sentence.around),
        "behind": behind,
        "furniture": float(sentence.is_furniture),
    }
    text = hit.passage.text[place.start - first : place.end - first]
    return Reading(hit, place, sentence.span, text, features)


def score(readings: Sequence[Reading]) -> list[ScoredSpan]:
    """Return the readings as spans with their chances, best first; none overlaps a better one."""
    taken: dict[str, list[Span]] = {}
    spans = []
    chances = [(_chance(one.features), one) for one in readings]
    for chance, one in sorted(chances, key=lambda pair: (-pair[0], pair[1].hit.path, pair[1].span)):
        others = taken.setdefault(one.hit.passage.document_id, [])
        if all(one.span.end <= other.start or other.end <= one.span.start for other in others):
            others.append(one.span)
            spans.append(ScoredSpan(one.hit, one.span, one.sentence_span, one.text, one.features["margin"], chance))
    return spans


def _chance(features: Mapping[str, float]) -> float:
    """Return the chance that a span with these features answers."""
    return _sigmoid(sum(weight * features[name] for name, weight in WEIGHTS.items()) + BIAS)


def _sigmoid(logit: float) -> float:
    return (1 + math.tanh(logit / 2)) / 2  # exp would overflow


def reranked(question: str, hits: Sequence[Hit], readings: Sequence[Reading]) -> list[Hit]:
    """Return the hits in the order of their scores and of what was found in them; those not read get nothing.

    The score of a hit that was read is raised by up to `RERANK_WEIGHT`, as its best span is likely by the model alone.
    What is no question has no answer to be found: for it the hits stay as they are.
    """
    if not readings or not is_question(question):
        return list(hits)
    margins: dict[tuple[str, Span], float] = {}
    for reading in readings:
        key = (reading.hit.passage.document_id, reading.hit.passage.span)
        margins[key] = max(margins.get(key, -math.inf), reading.features["margin"])
    weight = RERANK_WEIGHT * _sigmoid(max(margins.values()) - RERANK_FROM)
    found = []
    for hit in hits:
        margin = margins.get((hit.passage.document_id, hit.passage.span))
        raised = 0.0 if margin is None else weight * _sigmoid(margin / RERANK_SCALE)
        found.append(replace(hit, score=hit.score + raised))
    return sorted(found, key=lambda hit: -hit.score)
