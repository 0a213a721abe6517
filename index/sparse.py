"""BM25 over the postings of all segments.

BM25 as in Robertson & Zaragoza 2009 (equation 3.15) with Lucene's idf, log(1 + (N - n + 0.5) / (n + 0.5)), which is
never negative. Statistics are those of the live passages of all segments, so that the scores are those of one freshly
built segment.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache, partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pincite.index.posting_codes import TermPostings
from pincite.index.postings import Postings, SegmentPostings, build_postings, merge_postings
from pincite.index.segment import Segment
from pincite.index.terms import analyze

__all__ = ["SparseIndex", "analyze", "build_postings", "merge_postings"]

K1 = 1.2
B = 0.75

# Sorting a posting by row costs about as much as zeroing and scanning this many floats (no optimum from 5 to 80).
_SORT_COST = 40
_BLOCK = 256
_LOOKED_UP = 4_096
"""Terms whose places are remembered: each is asked for several times a question, and many in most questions."""


class _Segment:
    """The postings of one segment, and which of its rows are deleted."""

    def __init__(self, postings: Postings | Segment, live: NDArray[np.bool_] | None) -> None:
        self.stored = SegmentPostings(postings)
        self.n_passages = self.stored.n_passages
        self.live = None if live is None or bool(live.all()) else np.asarray(live)
        if self.live is not None and self.live.shape != (self.n_passages,):
            raise ValueError(f"a mask of shape {self.live.shape} for {self.n_passages} rows")
        self.dead = np.empty(0, np.int64) if self.live is None else np.flatnonzero(~self.live)
        self._last: tuple[int, TermPostings] | None = None

    def frequency(self, term: int) -> int:
        """Return how many live passages have a term."""
        frequency = self.stored.frequency(term)
        if self.live is None:
            return frequency
        rows = self.postings(term).rows
        if len(self.dead) > frequency >> 4:
            return int(np.count_nonzero(self.live[rows]))
        at = np.minimum(np.searchsorted(rows, self.dead), frequency - 1)
        return frequency - int(np.count_nonzero(rows[at] == self.dead))

    def postings(self, term: int) -> TermPostings:
        """Return the postings of a term, deleted rows among them; the last ones are kept: they are asked for twice."""
        last = self._last
        if last is None or last[0] != term:
            last = self._last = term, self.stored.postings(term)
        return last[1]


class _Match(NamedTuple):
    """The postings of one term in one segment, deleted rows among them; `idf` is times how often the query has it."""

    segment: int
    idf: float
    postings: TermPostings


class _Places(NamedTuple):
    """Where a term is: how many live passages have it, and its number in each segment that knows it."""

    df: int
    parts: list[tuple[int, int]]


def _look_up(segments: Sequence[_Segment], term: str) -> _Places:
    encoded = term.encode("utf-8", "surrogatepass")
    found = [(number, segment.stored.find(encoded)) for number, segment in enumerate(segments)]
    parts = [(number, place) for number, place in found if place is not None]
    return _Places(sum(segments[number].frequency(place) for number, place in parts), parts)


_Statistics = tuple[int, list[tuple[NDArray[np.float32], NDArray[np.float32]]]]
"""What `SparseIndex._prepared` returns."""

_Sums = tuple[str, NDArray[np.int64] | None, NDArray[np.float32]]
"""A query, and for it what `SparseIndex._sums` returns."""


class SparseIndex:
    """BM25 over segments; rows are global, segments concatenated in order. Any number of threads may search."""

    def __init__(
        self,
        postings: Sequence[Postings | Segment],
        live: Sequence[NDArray[np.bool_] | None],
        *,
        k1: float = K1,
        b: float = B,
    ) -> None:
        """Keep the arrays, unread.

        Args:
            postings: for each segment the result of `build_postings`, or itself, which is then read and checked term
                by term.
            live: for each segment a mask of shape `(passages,)`, or None if no row is deleted.
            k1: how soon repeats of a term stop adding; 0 counts a term once.
            b: how much a long passage is held back; 0 not at all, 1 in full.
        """
        self._segments = [_Segment(p, m) for p, m in zip(postings, live, strict=True)]
        self._starts = np.cumsum([0, *(s.n_passages for s in self._segments)], dtype=np.int64)
        self._look_up = lru_cache(_LOOKED_UP)(partial(_look_up, self._segments))
        self._k1, self._b = k1, b
        self._lock = threading.Lock()
        self._last: _Sums = "", np.empty(0, np.int64), np.empty(0, np.float32)
        self._statistics: _Statistics | None = None

    def search(
        self, query: str, k: int, within: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the `k` live rows of largest BM25 and their scores, best first, ties by row ascending.

        Rows without any term of the query are never returned, so there may be fewer than `k`, or none.
        A term that the query repeats counts as often.

        Args:
            query: any text.
            k: 0 or more.
            within: shape `(rows,)`: which rows may be found; None for all. Scores do not depend on it: the statistics
                are those of all live rows.
        """
        if k < 0:
            raise ValueError(f"k must be 0 or more, not {k}")
        rows, bm25 = self._sums(query)
        if within is not None:
            rows, bm25 = self._only(within, rows, bm25)
        if k == 0 or len(bm25) == 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        if rows is None:
            rows = np.flatnonzero(bm25 >= _lower_bound(bm25, k))
            bm25 = bm25[rows]
        if len(rows) > 4 * k:
            keep = bm25 >= np.partition(bm25, len(bm25) - k)[len(bm25) - k]
            rows, bm25 = rows[keep], bm25[keep]
        order = np.lexsort((rows, -bm25))[:k]
        return rows[order].astype(np.int64), bm25[order]

    def scores(self, query: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the BM25 of each of `rows` in the order given, 0 without a term of the query or if deleted."""
        rows = np.asarray(rows, np.int64)
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < self._starts[-1]:
            raise ValueError(f"rows {rows.min()} to {rows.max()}: need 0 to {self._starts[-1] - 1}")
        found, bm25 = self._sums(query)
        if len(bm25) == 0:
            return np.zeros(len(rows), np.float32)
        if found is None:
            return bm25[rows]
        at = np.minimum(np.searchsorted(found, rows), len(found) - 1)
        return np.where(found[at] == rows, bm25[at], np.float32(0))

    def _only(
        self, within: NDArray[np.bool_], rows: NDArray[np.int64] | None, bm25: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64] | None, NDArray[np.float32]]:
        """Return what `_sums` returned for the rows that are within those."""
        n = int(self._starts[-1])
        if within.shape != (n,) or within.dtype != np.bool_:
            raise ValueError(f"within is {within.dtype} of shape {within.shape}: need bool ({n},)")
        if rows is not None:
            keep = within[rows]
            return rows[keep], bm25[keep]
        some = np.zeros_like(bm25)
        np.multiply(bm25[:n], within, out=some[:n])
        return None, some

    def _sums(self, query: str) -> tuple[NDArray[np.int64] | None, NDArray[np.float32]]:
        """Return the rows that have a term of `query`, ascending, and the BM25 of each; without rows, that of all.

        Those of the last query are kept: the best rows of a question are asked for, and then the scores of some.
        """
        known, rows, bm25 = self._last
        if known != query:
            matches = self._matches(query)
            n_postings = sum(len(match.postings.rows) for match in matches)
            if n_postings * _SORT_COST < self._starts[-1] or n_postings == 0:
                rows, bm25 = self._sum_sorted(matches)
            else:
                rows, bm25 = None, self._sum_all(matches)
            self._last = query, rows, bm25
        return rows, bm25

    def _sum_sorted(self, matches: Sequence[_Match]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        every = [match.postings.rows + self._starts[match.segment] for match in matches]
        rows, at = np.unique(np.concatenate([np.empty(0, np.int64), *every]), return_inverse=True)
        bm25, end = np.zeros(len(rows), np.float32), 0
        for match in matches:
            begin, end = end, end + len(match.postings.rows)
            bm25[at[begin:end]] += self._weights(match)
        keep = np.ones(len(rows), np.bool_)
        for segment, start in zip(self._segments, self._starts.tolist(), strict=False):
            if segment.live is not None:
                first, last = np.searchsorted(rows, [start, start + segment.n_passages]).tolist()
                keep[first:last] = segment.live[rows[first:last] - start]
        return rows[keep], bm25[keep]

    def _sum_all(self, matches: Sequence[_Match]) -> NDArray[np.float32]:
        """Return the BM25 of all rows, and zeros to a whole number of blocks."""
        total = np.zeros(-(-int(self._starts[-1]) // _BLOCK) * _BLOCK, np.float32)
        parts = [total[start:end] for start, end in pairwise(self._starts.tolist())]
        for match in matches:
            part, rows = parts[match.segment], match.postings.rows
            # The rows of one term in one segment are distinct, so that each is written once.
            part[rows] = part.take(rows) + self._weights(match)
        for segment, part in zip(self._segments, parts, strict=True):
            part[segment.dead] = 0
        return total

    def idf(self, terms: Sequence[str]) -> NDArray[np.float32]:
        """Return the idf of each of some terms, as `terms.analyze` makes them."""
        n, _ = self._prepared()
        df = np.array([self._look_up(term).df for term in terms], np.float32)
        return np.log1p((n - df + np.float32(0.5)) / (df + np.float32(0.5)))

    def _matches(self, query: str) -> list[_Match]:
        """Return the postings of each term of `query`, term by term as they come."""
        repeats: dict[str, int] = {}
        for term in analyze(query):
            repeats[term] = repeats.get(term, 0) + 1
        matches = []
        for term, repeat in repeats.items() if self._segments else ():
            n, (df, parts) = self._prepared()[0], self._look_up(term)
            idf = repeat * float(np.log1p((n - df + 0.5) / (df + 0.5)))
            matches += [_Match(number, idf, self._segments[number].postings(place)) for number, place in parts]
        return matches

    def _weights(self, match: _Match) -> NDArray[np.float32]:
        """Return what each posting of a match adds to the BM25 of its row."""
        norms, singles = self._prepared()[1][match.segment]
        rows, many, counts = match.postings
        weights = singles.take(rows)
        if len(many):
            count = counts.astype(np.float32)
            weights[many] = count / (norms.take(rows[many]) + count)
        weights *= np.float32(match.idf)
        return weights

    def _prepared(self) -> _Statistics:
        """Return the number of live rows; and for each segment every row's k1 * (1 - b + b * length / average), and
        the weight of a term that is in it once, but for the idf: nearly all are.
        """
        if self._statistics is None:
            with self._lock:
                if self._statistics is None:
                    n, total = 0, 0
                    for s in self._segments:
                        lengths = s.stored.lengths() if s.live is None else s.stored.lengths()[s.live]
                        n, total = n + len(lengths), total + int(lengths.sum(dtype=np.int64))
                    average = max(total, 1) / max(n, 1)
                    factor, base = np.float32(self._k1 * self._b / average), np.float32(self._k1 * (1 - self._b))
                    norms = [s.stored.lengths().astype(np.float32) * factor + base for s in self._segments]
                    one = np.float32(1)
                    self._statistics = n, [(norm, one / (norm + one)) for norm in norms]
        return self._statistics


def _lower_bound(total: NDArray[np.float32], k: int) -> np.float32:
    """Return a positive score that at least `k` rows reach, or the least positive one if fewer are positive.

    The k-th largest of the maxima of blocks is such a score, and far cheaper than the k-th largest of all.
    """
    least: np.float32 = np.nextafter(np.float32(0), np.float32(1))
    maxima = total.reshape(-1, _BLOCK).max(axis=1)
    if len(maxima) <= k:
        return least
    bound: np.float32 = np.partition(maxima, len(maxima) - k)[len(maxima) - k]
    return bound if bound > least else least
