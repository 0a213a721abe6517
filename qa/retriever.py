"""Question -> Hits: the nearest vectors and the best words, weighed into one score.

The score of a passage is absolute, so that it also tells a question that the articles answer from one that they do
not: the cosine, and the square root of the share that BM25 has of the most that it could have for the question's
words. Every candidate gets both, also the one that did not find it. Scaling both scores to the candidates of each
question did no better on the development sets, and fusing ranks did worse: it forgets how much better the better side
was. More than 0.4 on the cosine loses on long articles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pincite.index import Passage
from pincite.index.filters import Condition, parse_wheres
from pincite.index.interface import SearchIndex
from pincite.index.terms import analyze

__all__ = ["CANDIDATES", "DENSE_WEIGHT", "Hit", "Mode", "parts_of_score", "retrieve"]

Mode = Literal["dense", "sparse", "hybrid"]

CANDIDATES = 100
"""Candidates from each side."""

DENSE_WEIGHT = 0.4
"""Weight of the cosine; BM25 has the rest."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found.

    Attributes:
        passage: the passage.
        path: the document's path; `title`: its title, or its file's name.
        line: 1-based line on which the passage begins.
        score: for hybrid near 1 at best and near 0 where nothing fits; the cosine for dense, BM25 for sparse.
        dense_rank: 1-based rank by cosine among the candidates; None if it was not among the nearest.
        sparse_rank: the same by BM25.
        format: of what kind the document is; `unit`, `mark`: in which page or the like the passage begins.
        metadata: what the document says of itself.
        also: passages of other documents that say nothing else; see `duplicates.py`.
        row: of the passage, in the index that was asked.
    """

    passage: Passage
    path: str
    title: str
    line: int
    score: float
    dense_rank: int | None
    sparse_rank: int | None
    format: str = ""
    unit: str = ""
    mark: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    also: tuple[Hit, ...] = ()
    row: int = field(default=-1, compare=False, repr=False)


def retrieve(
    index: SearchIndex,
    query: str,
    vector: NDArray[np.float32] | None,
    k: int,
    *,
    mode: Mode = "hybrid",
    where: str | Sequence[str | Condition] = (),
) -> list[Hit]:
    """Return the `k` best passages for `query`, best first; ties in the order of path and position.

    With conditions these are the best of the documents for which all hold, with the scores that they have anyway.

    Args:
        index: where to look.
        query: any text.
        vector: its embedding, float32, shape `(dim,)`; not used for `mode="sparse"`.
        k: how many.
        mode: which scores count.
        where: conditions as `parse_where` takes and makes them.

    Raises:
        QuestionError: a condition cannot be read.
    """
    conditions = parse_wheres(where)
    within = index.rows_where(conditions) if conditions else None
    depth = max(k, CANDIDATES)
    none = np.zeros(0, np.int64)
    use_dense = mode != "sparse" and vector is not None
    dense_rows = index.search_dense(vector, depth, within)[0] if use_dense and vector is not None else none
    sparse_rows = index.search_sparse(query, depth, within)[0] if mode != "dense" else none
    rows = np.union1d(dense_rows, sparse_rows)
    if not len(rows):
        return []
    cosine = index.cosine(vector, rows) if use_dense and vector is not None else None
    bm25 = index.bm25(query, rows) if mode != "dense" else None
    scores = _fused(index, query, cosine, bm25)
    best = _top(scores, k)
    dense_rank = {int(row): rank for rank, row in enumerate(dense_rows, 1)}
    sparse_rank = {int(row): rank for rank, row in enumerate(sparse_rows, 1)}
    hits = []
    for place, passage in zip(best, index.passages(rows[best]), strict=True):
        row = int(rows[place])
        standing = index.place_of(row)
        hits.append(
            Hit(
                passage=passage,
                path=standing.path,
                title=standing.title or standing.path.rpartition("/")[2],
                line=standing.line,
                score=float(scores[place]),
                dense_rank=dense_rank.get(row),
                sparse_rank=sparse_rank.get(row),
                format=standing.format,
                unit=standing.unit,
                mark=standing.mark,
                metadata=standing.metadata,
                row=row,
            )
        )
    hits.sort(key=lambda hit: (-hit.score, hit.path, hit.passage.span))
    return hits[:k]


def _fused(
    index: SearchIndex, query: str, cosine: NDArray[np.float32] | None, bm25: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """Return the score of each row: of one side as it is, of both as their weighted sum."""
    if cosine is None or bm25 is None:
        return cosine if cosine is not None else bm25 if bm25 is not None else np.zeros(0, np.float32)
    meaning, words = parts_of_score(index, query, cosine, bm25)
    return np.asarray(meaning + words, np.float32)


def parts_of_score(
    index: SearchIndex, query: str, cosine: NDArray[np.float32], bm25: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what cosine and BM25 give to the hybrid score of each row, which is their sum; both of shape `(rows,)`."""
    unrelated = index.fingerprint.unrelated if index.fingerprint else 0.0
    nearness = (cosine - unrelated) / (1 - unrelated)
    most = float(index.idf(analyze(query)).sum())  # no passage has as much: BM25 of a term is below its idf
    share = np.sqrt(bm25 / most) if most > 0 else np.zeros_like(bm25)
    return DENSE_WEIGHT * nearness, (1 - DENSE_WEIGHT) * share


def _top(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return the places of the `k` greatest scores and of all that tie with the last of them, within reason."""
    if len(scores) <= k:
        return np.arange(len(scores))
    kth = np.partition(scores, len(scores) - k)[len(scores) - k]
    return np.flatnonzero(scores >= kth)[: 4 * k]
