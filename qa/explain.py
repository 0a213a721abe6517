"""Why each passage ranks where it does: how near in meaning, by which words, and what the reader found in it.

Every number is one that the ranking used: the parts of a passage's score add up to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pincite.index.terms import analyze, surfaces
from pincite.qa.features import ask_words
from pincite.qa.parts import parts_of
from pincite.qa.pipeline import Pipeline
from pincite.qa.reader import ScoredSpan, measure, score
from pincite.qa.render import Style, printable, within
from pincite.qa.render_json import Json
from pincite.qa.retriever import Hit, parts_of_score

__all__ = ["Explanation", "explain", "explanation_json", "explanation_text"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where the score of a passage comes from: it is `meaning + words + reading`.

    Attributes:
        hit: the passage, with the score by which it was ranked.
        meaning: what the cosine gives, `cosine`, of passage and question; `unrelated` is that of unrelated texts.
        words: what BM25 gives; `terms`: BM25 of each word of the question that the passage has, the best first;
            `missing`: the words that it lacks.
        reading: what the reader's best span raised it by.
        span: the likeliest answer in it, None if there is none: `margin` is in logits over "no answer".
    """

    hit: Hit
    meaning: float
    cosine: float
    unrelated: float
    words: float
    terms: tuple[tuple[str, float], ...]
    missing: tuple[str, ...]
    reading: float
    span: ScoredSpan | None


def explain(pipeline: Pipeline, question: str, hits: Sequence[Hit]) -> list[Explanation]:
    """Return an explanation of each hit, in their order.

    Args:
        pipeline: the one that found the hits.
        question: for which it found them.
        hits: of `ask`, or of `search` in the modes "hybrid" and "full".
    """
    if not hits:
        return []
    index = pipeline.index
    rows = np.array([hit.row for hit in hits], np.int64)
    cosine, bm25 = index.cosine(index.embedder.embed_query(question), rows), index.bm25(question, rows)
    meaning, words = parts_of_score(index, question, cosine, bm25)
    spoken = [word for word in dict.fromkeys(surfaces(question)) if analyze(word)]
    shares = np.array([index.bm25(word, rows) for word in spoken]).reshape(-1, len(rows))
    retrieved = [replace(hit, score=float(score)) for hit, score in zip(hits, meaning + words, strict=True)]
    asked = ask_words(index, question)
    spans: dict[int, ScoredSpan] = {}
    for span in score(measure(asked, pipeline.reader, question, parts_of(asked, retrieved))):
        spans.setdefault(span.hit.row, span)
    return [
        Explanation(
            hit=hit,
            meaning=float(meaning[i]),
            cosine=float(cosine[i]),
            unrelated=index.fingerprint.unrelated if index.fingerprint else 0.0,
            words=float(words[i]),
            terms=tuple((spoken[n], float(shares[n, i])) for n in np.argsort(-shares[:, i]) if shares[n, i] > 0),
            missing=tuple(word for word, share in zip(spoken, shares[:, i], strict=True) if share <= 0),
            reading=hit.score - retrieved[i].score,
            span=spans.get(hit.row),
        )
        for i, hit in enumerate(hits)
    ]


def explanation_text(explanations: Sequence[Explanation], style: Style) -> str:
    """Return what `--explain` prints below an answer: three lines for each passage."""
    blocks = ["Why the passages rank as they do:"]
    for rank, one in enumerate(explanations, 1):
        hit = one.hit
        place = style.place(hit.path, hit.line) + within(hit.unit, hit.mark)
        parts = f"{hit.score:.2f} = meaning {one.meaning:.2f} + words {one.words:.2f} + reader {one.reading:.2f}"
        nearest = f", {_ordinal(hit.dense_rank)} of all" if hit.dense_rank else ", not among the nearest"
        found = ", ".join(f"{printable(word)} {weight:.1f}" for word, weight in one.terms) or "none"
        lacks = f"; lacks {', '.join(map(printable, one.missing))}" if one.missing else ""
        lines = [
            f"{rank:>2}. {place}  {style.paint(parts, '2')}",
            f"    meaning: cosine {one.cosine:.2f}{nearest}; unrelated texts have {one.unrelated:.2f}",
            f"    words: {found}{lacks}" + (f"; {_ordinal(hit.sparse_rank)} of all" if hit.sparse_rank else ""),
        ]
        if one.span:
            margin = f'{abs(one.span.margin):.1f} {"above" if one.span.margin > 0 else "below"} "no answer"'
            counted = "" if one.reading >= 0.005 else "; not counted"
            found = f"“{printable(one.span.text)}”, confidence {one.span.confidence:.2f}"
            lines.append(f"    reader: {found}, {margin}{counted}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _ordinal(number: int) -> str:
    """Return 1st, 2nd, 3rd, 4th ...

    >>> [_ordinal(number) for number in (1, 2, 3, 4, 11, 12, 21, 101, 111)]
    ['1st', '2nd', '3rd', '4th', '11th', '12th', '21st', '101st', '111th']
    """
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def explanation_json(explanations: Sequence[Explanation]) -> list[Json]:
    """Return the list that `--explain --json` adds as "explanation", one object for each of "passages"."""
    return [
        {
            "score": round(one.hit.score, 4),
            "meaning": round(one.meaning, 4),
            "cosine": round(one.cosine, 4),
            "dense_rank": one.hit.dense_rank,
            "words": round(one.words, 4),
            "terms": {word: round(weight, 4) for word, weight in one.terms},
            "missing": list(one.missing),
            "sparse_rank": one.hit.sparse_rank,
            "reading": round(one.reading, 4),
            "span": None
            if one.span is None
            else {
                "text": one.span.text,
                "start": one.span.span.start,
                "end": one.span.span.end,
                "margin": round(one.span.margin, 4),
                "confidence": round(one.span.confidence, 4),
            },
        }
        for one in explanations
    ]
