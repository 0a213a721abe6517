"""(question, hits) -> spans that may answer it, from all hits on one scale, each with the chance that it does.

The span model says for each passage where an answer would begin and end, and how much better that is than none. What
it says of one passage cannot be compared with another before it is weighed: the chance is a logistic regression on the
model's margin and on what words and ranks tell (features.py), fitted on questions that the model never saw
(`scripts/fit_reader.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pincite.index import Index, Span
from pincite.index.sentences import outline
from pincite.index.terms import analyze
from pincite.qa.features import Asked, Sentence, ask_words, covered, offers, sentences_of
from pincite.qa.retriever import Hit
from pincite.qa.span_model import SpanModel, Window

__all__ = [
    "FEATURES",
    "MIN_CONFIDENCE",
    "RERANKED",
    "Reading",
    "ScoredSpan",
    "best_spans",
    "clean_bounds",
    "measure",
    "read_parts",
    "reranked",
    "score",
]

MAX_TOKENS = 40
"""Longest span, in tokens: a list of companies has 30."""

LIST_SLACK = 4.0
"""Logits that a whole list of names may be less likely than its likeliest part. Other lists are left as the model has
them: for them it is right too often that only a part answers."""

PART = 3
"""Sentences that are read at a time. The model, trained on short texts, is too ready to find nothing in a long one: by
parts it is right as often, and tells better where there is no answer."""

SPANS = 3
"""Spans of a passage that are weighed."""

RERANKED = 20
"""Hits that `search` reads to order them."""

RERANK_WEIGHT = 0.3
RERANK_SCALE = 5.0

MIN_CONFIDENCE = 0.15
"""Below, there is no answer."""

FEATURES = ("margin", "covered", "covered_around", "behind", "kind", "furniture")

# Fitted and calibrated by: python scripts/fit_reader.py fit QA_TRAIN
WEIGHTS: Mapping[str, float] = {
    "margin": 0.264,  # of the span over "no answer", in logits
    "covered": 0.031,  # share of the question's terms, weighted by idf, that are in the sentence
    "covered_around": 0.086,  # the same, with the sentences beside it, its heading and the title
    "behind": 11.013,  # score of the passage less that of the best passage
    "kind": 0.131,  # 1 if the span offers what "who", "when", "how many" ... asks for, -1 if not, 0 if that is unknown
    "furniture": -0.526,  # 1 if the sentence is a heading, a byline, a date line, front matter or a question
}
BIAS = -1.765


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
    """A span before it is weighed: `span` and `sentence` are in the document, `features` in the order of `FEATURES`."""

    hit: Hit
    span: Span
    text: str
    sentence: Sentence
    features: tuple[float, ...]


def measure(index: Index, model: SpanModel, question: str, hits: Sequence[Hit], best: float) -> list[Reading]:
    """Return the best spans of each passage with their features, in the order of the passages.

    Args:
        index: whose hits they are.
        model: reads them.
        question: as asked.
        hits: passages.
        best: score of the best passage, whether it is among `hits` or not.
    """
    asked = ask_words(index, question)
    windows = read_parts(model, question, [hit.passage.text for hit in hits])
    found = []
    for hit, seen in zip(hits, windows, strict=True):
        sentences = sentences_of(hit)
        starts = [one.span.start - hit.passage.span.start for one in sentences]
        spans = best_spans(seen, hit.passage.text, SPANS, sentences=starts)
        found += [_reading(asked, hit, sentences, span, margin, hit.score - best) for span, margin in spans]
    return found


def read_parts(model: SpanModel, question: str, texts: Sequence[str]) -> list[list[Window]]:
    """Return what the model says of each text, read in parts of `PART` sentences that overlap by one."""
    places: list[tuple[int, int]] = []
    parts: list[str] = []
    for number, text in enumerate(texts):
        layout = outline(text)
        starts, ends = layout.starts.tolist(), layout.ends.tolist()
        for first in range(0, max(len(starts) - 1, 1), PART - 1):
            start, end = (starts[first], ends[min(first + PART, len(ends)) - 1]) if starts else (0, len(text))
            places.append((number, start))
            parts.append(text[start:end])
    found: list[list[Window]] = [[] for _ in texts]
    for window in model.read(question, parts):
        number, start = places[window.text]
        found[number].append(replace(window, text=number, offsets=window.offsets + start))
    return found


def _reading(
    asked: Asked, hit: Hit, sentences: Sequence[Sentence], span: Span, margin: float, behind: float
) -> Reading:
    """Return a span of a hit with its features; of a yes/no question, the sentence that decides it."""
    first = hit.passage.span.start
    place = Span(first + span.start, first + span.end)
    touched = [one for one in sentences if one.span.start < place.end and place.start < one.span.end]
    sentence = _joined(touched, hit) if touched else Sentence(place, "", frozenset(), frozenset(), False)
    if asked.kind == "yes/no":
        place = sentence.span
    text = hit.passage.text[place.start - first : place.end - first]
    begin = sentence.span.start
    place = Span(max(place.start, begin), max(place.end, begin))
    features = (
        margin,
        covered(asked.idf, sentence.terms),
        covered(asked.idf, sentence.terms | sentence.around),
        behind,
        offers(asked.kind, sentence.text, Span(place.start - begin, place.end - begin), asked.words),
        float(sentence.is_furniture),
    )
    return Reading(hit, place, text, sentence, features)


def _joined(sentences: Sequence[Sentence], hit: Hit) -> Sentence:
    """Return neighbouring sentences as one."""
    if len(sentences) == 1:
        return sentences[0]
    whole = Span(sentences[0].span.start, sentences[-1].span.end)
    text = hit.passage.text[whole.start - hit.passage.span.start : whole.end - hit.passage.span.start]
    terms, around = (frozenset().union(*sets) for sets in zip(*((s.terms, s.around) for s in sentences), strict=True))
    return Sentence(whole, text, terms, around, all(one.is_furniture for one in sentences))


def score(readings: Sequence[Reading]) -> list[ScoredSpan]:
    """Return the readings as spans with their chances, best first; none overlaps a better one."""
    weights = np.array([WEIGHTS[name] for name in FEATURES])
    chances = 1 / (
        1 + np.exp(-(np.array([one.features for one in readings]).reshape(-1, len(weights)) @ weights + BIAS))
    )
    order = sorted(range(len(readings)), key=lambda i: (-chances[i], readings[i].hit.path, readings[i].span))
    taken: dict[str, list[Span]] = {}
    spans = []
    for i in order:
        one = readings[i]
        others = taken.setdefault(one.hit.passage.document_id, [])
        if all(one.span.end <= other.start or other.end <= one.span.start for other in others):
            others.append(one.span)
            spans.append(ScoredSpan(one.hit, one.span, one.sentence.span, one.text, one.features[0], float(chances[i])))
    return spans


def reranked(hits: Sequence[Hit], readings: Sequence[Reading]) -> list[Hit]:
    """Return the hits in the order of their scores and of what was found in them; those not read get nothing.

    The score of a hit that was read is raised by up to `RERANK_WEIGHT`, by the chance that the model alone gives its
    best span.
    """
    margins: dict[tuple[str, Span], float] = {}
    for reading in readings:
        key = (reading.hit.passage.document_id, reading.hit.passage.span)
        margins[key] = max(margins.get(key, -np.inf), reading.features[0])
    found = []
    for hit in hits:
        margin = margins.get((hit.passage.document_id, hit.passage.span))
        raised = 0.0 if margin is None else RERANK_WEIGHT / (1 + np.exp(-margin / RERANK_SCALE))
        found.append(replace(hit, score=float(hit.score + raised)))
    return sorted(found, key=lambda hit: -hit.score)


def best_spans(
    windows: Sequence[Window], text: str, n: int = 1, *, sentences: Sequence[int] | None = None
) -> list[tuple[Span, float]]:
    """Return the spans of `text` that the model finds likeliest, best first, none within or across another.

    No span goes beyond a sentence. One that is part of a list of names is taken with the rest of the list if the model
    finds that nearly as likely.

    Args:
        windows: what the model says of the text.
        text: the text.
        n: at most so many.
        sentences: characters at which its sentences begin; found if not given.

    Returns:
        (span, margin): characters of the text on clean bounds, and the sum of the logits of its first and last token
        less that of "no answer". Empty only if the text has nothing but function words.
    """
    starts = outline(text).starts if sentences is None else np.asarray(sentences, np.int64)
    candidates = [pair for window in windows for pair in _pairs(window, starts)]
    candidates.sort(key=lambda pair: (-pair[0], *pair[1:]))
    found: list[tuple[Span, float]] = []
    for margin, start, end in candidates:
        if any(start < one.end and one.start < end for one, _ in found) or not says_something(text[start:end]):
            continue
        span = clean_bounds(text, *_whole_list(text, margin, start, end, candidates))
        if span.start < span.end and all(span.end <= one.start or one.end <= span.start for one, _ in found):
            found.append((span, margin))
            if len(found) == n:
                break
    return found


def says_something(text: str) -> bool:
    """Return whether a text has more than the commonest words, which alone answer nothing.

    >>> says_something("in"), says_something("in 2016"), says_something("May")
    (False, True, True)
    """
    return any(word[0].isupper() or any(map(str.isdigit, word)) for word in text.split()) or bool(analyze(text))


def _pairs(window: Window, sentences: NDArray[np.int64]) -> Iterator[tuple[float, int, int]]:
    """Yield (margin, start, end) of the likeliest spans of a window, in characters, each within a sentence."""
    count = len(window.offsets)
    inside = np.searchsorted(sentences, window.offsets[:, 0], side="right")
    starts = np.argsort(-window.start, kind="stable")[:_TOP].tolist()
    ends = np.argsort(-window.end, kind="stable")[:_TOP].tolist()
    # Each of the best alone as well: there is always a span, also where no good start goes before a good end.
    pairs = {(i, j) for i in starts for j in ends if i <= j < min(i + MAX_TOKENS, count) and inside[i] == inside[j]}
    for i, j in sorted(pairs | {(i, i) for i in (*starts, *ends)}):
        margin = float(window.start[i] + window.end[j]) - window.null
        yield margin, int(window.offsets[i, 0]), int(window.offsets[j, 1])


def _whole_list(
    text: str, margin: float, start: int, end: int, candidates: Sequence[tuple[float, int, int]]
) -> tuple[int, int]:
    """Return the longest list of names around a span that the model finds nearly as likely, or the span itself."""
    longest = start, end
    for other, a, b in candidates:
        if other < margin - LIST_SLACK:
            break
        if a <= start and end <= b and b - a > longest[1] - longest[0]:
            before, after = text[a:start], text[end:b]
            is_whole = (not before or _LIST_BEFORE.search(before)) and (not after or _LIST_AFTER.match(after))
            if is_whole and _NAMES.match(text, a, b):
                longest = a, b
    return longest


_LIST_BEFORE = re.compile(r"(?:[,;]|\band|\bor)\s+(?:the\s+)?$")
_NAME = r"(?:the )?[A-Z0-9][\w.&'’-]*(?: (?:of |the |and )?[\w.&'’-]+){0,3}"
_NAMES = re.compile(rf"{_NAME}(?:, {_NAME})*,? (?:and|or) {_NAME}$")
_LIST_AFTER = re.compile(r"\s*(?:[,;]|and\b|or\b)\s*\w")
_TOP = 16  # starts and ends of a window that are combined


# --- clean bounds ------------------------------------------------------------------------------------------------

_EDGE_LEFT = re.compile(r"(?:[\s,;:!?)\]}…–—*_>]|[-.](?!\d))+")
_EDGE_RIGHT = re.compile(r"[\s,;:!?(\[{…–—*_<-]+$")
_ABBREVIATED = re.compile(r"(?:\b[^\W\d_]\.|\b(?:Inc|Corp|Ltd|Co|Jr|Sr|St|No|Bros|etc|Dr|Mr|Mrs|Ms|Mt|vs|approx)\.)$")
_PAIRS = (("(", ")"), ("[", "]"), ("{", "}"), ("“", "”"), ("«", "»"), ("„", "“"))


def clean_bounds(text: str, start: int, end: int) -> Span:
    """Return the span widened to whole words and trimmed of white space, of punctuation and of half a pair of marks.

    >>> text = 'It was “built by Ann (née Roe)”, in 1987.'
    >>> [clean_bounds(text, *ends).of(text) for ends in ((8, 18), (17, 29), (34, 41))]
    ['built by Ann', 'Ann (née Roe)', 'in 1987']
    """
    while 0 < start < end and text[start - 1].isalnum() and text[start].isalnum():
        start -= 1
    while start < end < len(text) and text[end - 1].isalnum() and text[end].isalnum():
        end += 1
    changed = True
    while changed and start < end:
        changed = False
        if match := _EDGE_LEFT.match(text, start, end):
            start, changed = match.end(), True
        if match := _EDGE_RIGHT.search(text, start, end):
            end, changed = match.start(), True
        if text[start:end].endswith(".") and not _ABBREVIATED.search(text, start, end):
            end, changed = end - 1, True
        part = text[start:end]
        for opening, closing in _PAIRS:
            if part.count(opening) > part.count(closing):
                if text.startswith(closing, end):
                    end, changed = end + 1, True
                elif part.startswith(opening):
                    start, changed = start + 1, True
            elif part.count(opening) < part.count(closing) and part.endswith(closing):
                end, changed = end - 1, True
            if changed:
                break
        for mark in "\"'":
            if not changed and part.count(mark) == 1 and part[:1] == mark:
                start, changed = start + 1, True
            elif not changed and part.count(mark) == 1 and part[-1:] == mark:
                end, changed = end - 1, True
    return Span(start, max(start, end))
