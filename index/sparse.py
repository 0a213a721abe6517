"""Passages -> BM25 postings, plain arrays in a segment; and search over the postings of all segments.

BM25 as in Robertson & Zaragoza 2009 (equation 3.15) with Lucene's idf, log(1 + (N - n + 0.5) / (n + 0.5)), which is
never negative. Statistics are those of the live passages of all segments, so that the scores are those of one freshly
built segment. A term's count is capped at 255 (one byte; its weight is then .99 of the largest possible).
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pincite.index.errors import IndexFormatError
from pincite.index.terms import analyze, expand, surfaces

__all__ = ["SparseIndex", "analyze", "build_postings"]

K1 = 1.2
B = 0.75

_NAMES = {
    "bm25_terms": np.uint8,  # the distinct terms in UTF-8, sorted by their bytes, end to end
    "bm25_term_offsets": np.int64,  # shape (terms + 1,): where each begins
    "bm25_posting_offsets": np.int64,  # shape (terms + 1,): where the postings of each begin
    "bm25_rows": np.uint32,  # shape (postings,): passages with the term, ascending
    "bm25_counts": np.uint8,  # shape (postings,): how often the term is there, at most 255
    "bm25_lengths": np.uint32,  # shape (passages,): terms in each
}
_FLUSH_TERMS = 4_000_000
# Sorting a posting by row costs about as much as zeroing and scanning this many floats (no optimum from 5 to 80).
_SORT_COST = 40
_BLOCK = 256


class _Run(NamedTuple):
    """The postings of some of the terms from one stretch of text, by term and then row."""

    terms: NDArray[np.uint32]  # distinct, ascending
    sizes: NDArray[np.int64]
    rows: NDArray[np.uint32]
    counts: NDArray[np.uint8]


class _Surfaces(dict[str, int]):
    """Numbers the surfaces as they come, and remembers the terms of each."""

    def __init__(self) -> None:
        self.terms: dict[str, int] = {}
        self.parts = array("I")  # term numbers of the surfaces, end to end
        self.ends = array("Q")

    def __missing__(self, surface: str) -> int:
        for term in expand(surface):
            self.parts.append(self.terms.setdefault(term, len(self.terms)))
        self.ends.append(len(self.parts))
        self[surface] = number = len(self)
        return number


def build_postings(texts: Iterable[str]) -> dict[str, NDArray[np.generic]]:
    """Return the postings of `texts`, row i for the i-th: the arrays that `SparseIndex` takes.

    Streams: the texts are not kept, and memory is some 200 MB and about twice the result.
    """
    known = _Surfaces()
    runs: list[_Run] = []
    lengths: list[NDArray[np.uint32]] = []
    words, sizes, first = array("I"), array("I"), 0
    for text in texts:
        before = len(words)
        words.extend(map(known.__getitem__, surfaces(text)))
        sizes.append(len(words) - before)
        if len(words) >= _FLUSH_TERMS:
            _flush(known, words, sizes, first, runs, lengths)
            words, sizes, first = array("I"), array("I"), first + len(sizes)
    _flush(known, words, sizes, first, runs, lengths)
    return _merge(list(known.terms), runs, np.concatenate(lengths))


def _flush(
    known: _Surfaces,
    words: array[int],
    sizes: array[int],
    first: int,
    runs: list[_Run],
    lengths: list[NDArray[np.uint32]],
) -> None:
    ends = np.frombuffer(known.ends, np.uint64).astype(np.int64) if known.ends else np.empty(0, np.int64)
    parts = np.array(known.parts, np.uint32)
    word = np.array(words, np.uint32)
    starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
    n_terms = (ends - starts)[word]
    # Each word is replaced by its terms: the i-th term overall is parts[starts[word] + i - (terms before the word)].
    before = np.cumsum(n_terms) - n_terms
    term = parts[np.repeat(starts[word] - before, n_terms) + np.arange(int(n_terms.sum()))]
    size = np.array(sizes, np.uint32)
    row = np.repeat(np.repeat(np.arange(len(size), dtype=np.uint32), size), n_terms)
    lengths.append(np.bincount(row, minlength=len(size)).astype(np.uint32))
    key = term.astype(np.uint64) << np.uint64(32) | row
    key.sort()
    at = np.flatnonzero(np.diff(key, prepend=~key[:1]))
    count = np.minimum(np.diff(at, append=len(key)), 255).astype(np.uint8)
    key = key[at]
    term = (key >> np.uint64(32)).astype(np.uint32)
    begin = np.flatnonzero(np.diff(term, prepend=~term[:1]))
    rows = (key & np.uint64(0xFFFFFFFF)).astype(np.uint32) + np.uint32(first)
    runs.append(_Run(term[begin], np.diff(begin, append=len(term)), rows, count))


def _merge(terms: list[str], runs: list[_Run], lengths: NDArray[np.uint32]) -> dict[str, NDArray[np.generic]]:
    encoded = [term.encode("utf-8", "surrogatepass") for term in terms]
    order = sorted(range(len(terms)), key=encoded.__getitem__)
    rank = np.empty(len(terms), np.int64)
    rank[order] = np.arange(len(terms))
    sizes = np.zeros(len(terms), np.int64)
    for run in runs:
        sizes[rank[run.terms]] += run.sizes
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    rows = np.empty(offsets[-1], np.uint32)
    counts = np.empty(offsets[-1], np.uint8)
    filled = offsets[:-1].copy()
    runs.reverse()
    while runs:  # each is dropped once it is copied
        run = runs.pop()
        at = rank[run.terms]
        begin = np.cumsum(run.sizes) - run.sizes
        to = np.repeat(filled[at] - begin, run.sizes) + np.arange(len(run.rows))
        rows[to], counts[to] = run.rows, run.counts
        filled[at] += run.sizes
    blob = b"".join(encoded[i] for i in order)
    return {
        "bm25_terms": np.frombuffer(blob, np.uint8),
        "bm25_term_offsets": np.cumsum([0, *(len(encoded[i]) for i in order)], dtype=np.int64),
        "bm25_posting_offsets": offsets,
        "bm25_rows": rows,
        "bm25_counts": counts,
        "bm25_lengths": lengths,
    }


class _Segment:
    """The postings of one segment, with its deleted rows left out as they are read."""

    def __init__(self, postings: Mapping[str, NDArray[np.generic]], live: NDArray[np.bool_] | None) -> None:
        arrays = {}
        for name, dtype in _NAMES.items():
            found = postings.get(name)
            if found is None or found.dtype != dtype or found.ndim != 1:
                raise IndexFormatError(f"A segment's array {name} is missing or damaged: rebuild the index.")
            arrays[name] = np.asarray(found)  # drops the memmap class, whose slices are slow
        self.terms = arrays["bm25_terms"]
        self.term_offsets = arrays["bm25_term_offsets"]
        self.posting_offsets = arrays["bm25_posting_offsets"]
        self.rows = arrays["bm25_rows"]
        self.counts = arrays["bm25_counts"]
        self.lengths = arrays["bm25_lengths"]
        self.live = None if live is None or bool(live.all()) else np.asarray(live)
        ends = (len(self.terms), len(self.rows), len(self.counts))
        stored = (int(o[-1]) if len(o) else -1 for o in (self.term_offsets, self.posting_offsets, self.posting_offsets))
        if ends != tuple(stored) or len(self.term_offsets) != len(self.posting_offsets):
            raise IndexFormatError("A segment's BM25 postings do not fit together: rebuild the index.")
        if self.live is not None and self.live.shape != self.lengths.shape:
            raise ValueError(f"a mask of shape {self.live.shape} for {len(self.lengths)} rows")

    def find(self, term: bytes) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
        """Return the live rows that hold `term`, ascending, and how often each does."""
        low, high = 0, len(self.term_offsets) - 1
        while low < high:
            middle = (low + high) // 2
            if self._term(middle) < term:
                low = middle + 1
            else:
                high = middle
        if low == len(self.term_offsets) - 1 or self._term(low) != term:
            return self.rows[:0], self.counts[:0]
        part = slice(int(self.posting_offsets[low]), int(self.posting_offsets[low + 1]))
        rows, counts = self.rows[part], self.counts[part]
        if self.live is not None:
            keep = self.live[rows]
            rows, counts = rows[keep], counts[keep]
        return rows, counts

    def _term(self, i: int) -> bytes:
        return self.terms[int(self.term_offsets[i]) : int(self.term_offsets[i + 1])].tobytes()


class SparseIndex:
    """BM25 over segments; rows are global, segments concatenated in order. Any number of threads may search."""

    def __init__(
        self,
        postings: Sequence[Mapping[str, NDArray[np.generic]]],
        live: Sequence[NDArray[np.bool_] | None],
        *,
        k1: float = K1,
        b: float = B,
    ) -> None:
        """Keep the arrays, unread.

        Args:
            postings: for each segment the result of `build_postings`; the arrays may be memory-mapped.
            live: for each segment a mask of shape `(passages,)`, or None if no row is deleted.
            k1: how soon repeats of a term stop adding; 0 counts a term once.
            b: how much a long passage is held back; 0 not at all, 1 in full.
        """
        self._segments = [_Segment(p, m) for p, m in zip(postings, live, strict=True)]
        self._starts = np.cumsum([0, *(len(s.lengths) for s in self._segments)], dtype=np.int64)
        self._k1, self._b = k1, b
        self._lock = threading.Lock()
        self._statistics: tuple[int, list[NDArray[np.float32]]] | None = None

    def search(self, query: str, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the `k` live rows of largest BM25 and their scores, best first, ties by row ascending.

        Rows without any term of the query are never returned, so there may be fewer than `k`, or none.
        A term that the query repeats counts as often.
        """
        if k < 0:
            raise ValueError(f"k must be 0 or more, not {k}")
        matches = self._matches(query)
        n_postings = sum(len(rows) for _, _, rows, _ in matches)
        if k == 0 or n_postings == 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        n = int(self._starts[-1])
        if n_postings * _SORT_COST < n:
            rows, at = np.unique(
                np.concatenate([rows + self._starts[s] for s, _, rows, _ in matches]), return_inverse=True
            )
            bm25, end = np.zeros(len(rows), np.float32), 0
            for match in matches:
                begin, end = end, end + len(match[2])
                bm25[at[begin:end]] += self._weights(*match)
        else:
            total = np.zeros(-(-n // _BLOCK) * _BLOCK, np.float32)
            for match in matches:
                part = total[self._starts[match[0]] : self._starts[match[0] + 1]]
                rows = match[2].astype(np.intp)  # or numpy would do it in each of the two steps
                # The rows of one term in one segment are distinct, so that each is written once.
                part[rows] = part.take(rows) + self._weights(*match)
            rows = np.flatnonzero(total >= _lower_bound(total, k))
            bm25 = total[rows]
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
        out = np.zeros(len(rows), np.float32)
        for segment, idf, found, counts in self._matches(query):
            if len(found):
                local = rows - self._starts[segment]
                at = np.minimum(np.searchsorted(found, local), len(found) - 1)
                hit = np.flatnonzero(found[at] == local)
                out[hit] += self._weights(segment, idf, found[at[hit]], counts[at[hit]])
        return out

    def idf(self, terms: Sequence[str]) -> NDArray[np.float32]:
        """Return the idf of each of some terms, as `terms.analyze` makes them."""
        n, _ = self._prepared()
        encoded = [term.encode("utf-8", "surrogatepass") for term in terms]
        df = np.array([sum(len(s.find(term)[0]) for s in self._segments) for term in encoded], np.float32)
        return np.log1p((n - df + np.float32(0.5)) / (df + np.float32(0.5)))

    def _matches(self, query: str) -> list[tuple[int, float, NDArray[np.uint32], NDArray[np.uint8]]]:
        """Return segment, weighted idf, rows and counts of each term of `query`, term by term as they come."""
        repeats: dict[str, int] = {}
        for term in analyze(query):
            repeats[term] = repeats.get(term, 0) + 1
        if not repeats or not self._segments:
            return []
        n, _ = self._prepared()
        matches = []
        for term, repeat in repeats.items():
            found = [s.find(term.encode("utf-8", "surrogatepass")) for s in self._segments]
            df = sum(len(rows) for rows, _ in found)
            idf = repeat * float(np.log1p((n - df + 0.5) / (df + 0.5)))
            matches += [(i, idf, rows, counts) for i, (rows, counts) in enumerate(found) if len(rows)]
        return matches

    def _weights(
        self, segment: int, idf: float, rows: NDArray[np.uint32], counts: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        norms = self._prepared()[1][segment]
        count = counts.astype(np.float32)
        weights = norms.take(rows)
        weights += count
        np.divide(count, weights, out=weights)
        weights *= np.float32(idf)
        return weights

    def _prepared(self) -> tuple[int, list[NDArray[np.float32]]]:
        """Return the number of live rows, and for each segment every row's k1 * (1 - b + b * length / average)."""
        if self._statistics is None:
            with self._lock:
                if self._statistics is None:
                    n, total = 0, 0
                    for s in self._segments:
                        lengths = s.lengths if s.live is None else s.lengths[s.live]
                        n, total = n + len(lengths), total + int(lengths.sum(dtype=np.int64))
                    average = max(total, 1) / max(n, 1)
                    factor, base = np.float32(self._k1 * self._b / average), np.float32(self._k1 * (1 - self._b))
                    norms = [s.lengths.astype(np.float32) * factor + base for s in self._segments]
                    self._statistics = n, norms
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
