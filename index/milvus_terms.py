"""Texts -> the sparse vectors by which Milvus finds passages, and BM25 from these: the same as that of sparse.py.

Milvus' own BM25 cuts words in its own way, and milvus-lite's counts each segment by itself. So a term of terms.py is a
dimension, its weight what BM25 gives it but for the idf, and a question has the idf: the inner product is BM25. The
weights are made with the average length of the first passages, since that of all is never known; how often a term is in
a passage is found again from its weight, and the scores are made with the average as it is now.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from pincite.index.sparse import K1, B
from pincite.index.terms import analyze

__all__ = ["Terms", "bm25", "bucket_of", "idf", "pack_counts", "sparse_vector", "term_number", "unpack_counts"]

_NO_TERM = 0  # a dimension that no term has, for passages without terms: no vector may be empty
_BUCKETS = 4_096  # 5,000 terms fit into each


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of a passage: weights by their numbers, and how many there are, repeats included."""

    weights: Mapping[int, float]
    length: int


def term_number(term: str) -> int:
    """Return the dimension of a term; two of a million share theirs as likely as not, which does no harm."""
    return int.from_bytes(blake2b(term.encode("utf-8", "surrogatepass"), digest_size=4).digest()) % (2**32 - 2) + 1


def sparse_vector(counts: Mapping[int, int], average: float) -> dict[int, float]:
    """Return the weight of each term of a passage, given how often it has them and the average length."""
    norm = _norm(sum(counts.values()), average)
    return {number: count / (count + norm) for number, count in counts.items()} or {_NO_TERM: 1e-6}


def bm25(
    query: str, df: Mapping[int, int], n: int, passages: Sequence[Terms], then: float, now: float
) -> NDArray[np.float32]:
    """Return the BM25 of each of some passages.

    Args:
        query: any text.
        df: in how many passages each term of it is, by number.
        n: how many passages there are.
        passages: their terms.
        then: the average length with which the weights were made; `now`: the one of today.
    """
    asked = Counter(map(term_number, analyze(query)))
    weights = {number: count * float(idf(df.get(number, 0), n)) for number, count in asked.items()}
    scores = np.zeros(len(passages), np.float32)
    for place, one in enumerate(passages):
        old, new = _norm(one.length, then), _norm(one.length, now)
        for number in weights.keys() & one.weights.keys():
            count = round(one.weights[number] * old / (1 - one.weights[number]))
            scores[place] += weights[number] * count / (count + new)
    return scores


def idf(df: int, n: int) -> np.float32:
    """Return the inverse document frequency of a term that is in `df` of `n` passages."""
    return np.float32(max(np.log1p((n - df + 0.5) / (df + 0.5)), 0.0))


def _norm(length: int, average: float) -> float:
    return K1 * (1 - B + B * length / max(average, 1e-9))


def bucket_of(number: int) -> str:
    """Return the key of the row that has the count of a term."""
    return f"df:{number % _BUCKETS}"


def pack_counts(counts: Mapping[int, int]) -> str:
    """Return the counts of the terms of one row as they are stored."""
    return json.dumps({str(number): count for number, count in counts.items() if count > 0})


def unpack_counts(texts: Iterable[str]) -> Counter[int]:
    """Return what some rows say of terms."""
    return Counter({int(number): count for text in texts for number, count in json.loads(text).items()})
