"""Unit vectors of the segments -> the rows nearest to a query by inner product, with FAISS.

Up to 100,000 live rows the float16 rows are searched exactly. Beyond, RaBitQ codes choose candidates (see
`dense_codes.py`), and the float16 rows decide between them.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pincite.index.column import Column
from pincite.index.dense_codes import import_faiss, load_codes, one_thread

__all__ = ["EXACT_ROWS", "DenseIndex"]

EXACT_ROWS = 100_000
"""Live rows up to which the exact search is used: 3.8 ms a query there at 384 dimensions, one thread."""

# 4 bits of the query find the same neighbours as 8 (recall@10 .997 at 100,000 rows, 200 candidates) in 2/3 of the time.
_QUERY_BITS = 4
_BLOCK = 16_384
_SPARE = 16
_FEW = 8  # of a block, when fewer than one row in so many is wanted, they are read one by one
# Twice the error of a sum of 384 products in float32: two sums of the same row may differ by this much.
_ROUNDING = 4e-6


class _Part(NamedTuple):
    """One FAISS index, and what the row numbers in it are called outside."""

    index: Any  # faiss has no type stubs
    rows: NDArray[np.int64] | None  # exact: position in the index -> global row; None: these are codes
    segment: int  # codes: of this segment
    start: int  # codes: position 0 is this global row
    live: NDArray[np.uint8] | None  # codes: bitmap of the positions that may be found; None: all


class _Choice(NamedTuple):
    """The rows that may be found."""

    masks: Sequence[NDArray[np.bool_] | None]  # for each segment; None: all of its rows
    total: int
    within: NDArray[np.bool_] | None  # what was asked for of all rows; None: these are the live ones


class DenseIndex:
    """Inner-product search over segments; rows are global, segments concatenated in order.

    The FAISS structures are made on the first search. Any number of threads may search at once.
    """

    def __init__(
        self,
        vectors: Sequence[NDArray[np.float16] | Column],
        codes: Sequence[NDArray[np.uint8] | Column | None],
        live: Sequence[NDArray[np.bool_] | None],
        *,
        checksums: Sequence[Column] | None = None,
        exact_rows: int = EXACT_ROWS,
    ) -> None:
        """Keep the arrays, unread.

        Args:
            vectors: for each segment shape `(n, dim)`, unit rows.
            codes: for each segment the result of `build_codes`, or None for a segment that is searched exactly.
            live: for each segment a mask of shape `(n,)`, or None if no row is deleted.
            checksums: for each segment the crc32 of each row, by which rows that are read one by one are checked.
            exact_rows: live rows up to which codes are not used.
        """
        if not len(vectors) == len(codes) == len(live):
            raise ValueError(f"{len(vectors)} vectors, {len(codes)} codes and {len(live)} masks: need one per segment")
        self._vectors = [_as_column(v) for v in vectors]
        self._codes = [None if c is None else _as_column(c) for c in codes]
        self._dim = self._vectors[0].array.shape[1] if self._vectors else 0
        for v, m in zip(self._vectors, live, strict=True):
            shape, dtype = v.array.shape, v.array.dtype
            if len(shape) != 2 or shape[1] != self._dim or dtype != np.float16:
                raise ValueError(f"a segment's vectors are {dtype} of shape {shape}: need float16 (n, dim)")
            if m is not None and m.shape != (len(v),):
                raise ValueError(f"a mask of shape {m.shape} for {len(v)} rows")
        self._live = [None if m is None or bool(m.all()) else np.asarray(m) for m in live]
        self._starts = np.cumsum([0, *(len(v) for v in self._vectors)], dtype=np.int64)
        self._every = self._choice(self._live)
        self._n_live = self._every.total
        self._checksums: Sequence[Column | None] = checksums or [None] * len(vectors)
        self._exact_rows = exact_rows
        self._lock = threading.Lock()
        self._parts: list[_Part] | None = None

    def search(
        self, query: NDArray[np.float32], k: int, within: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the `k` live rows of largest cosine and their cosines, best first, ties by row ascending.

        Fewer than `k` if fewer are live; a row that is not finite is never returned. Exact up to `exact_rows`
        live rows; beyond, cosines are exact and the rows are those of an exact search but for about 1 in 200.

        Args:
            query: shape `(dim,)`, finite, unit norm.
            k: 0 or more.
            within: shape `(rows,)`: which rows may be found; None for all. What is found is the best of these, as if
                there were no others.
        """
        query = self._checked(query)
        if k < 0:
            raise ValueError(f"k must be 0 or more, not {k}")
        choice = self._every if within is None else self._chosen(within)
        k = min(k, choice.total)
        if k == 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        if not query.any():  # equally far from everything; RaBitQ would divide by its norm
            return _best(*self._first_of(choice, k), k)
        rows = self._candidates(query, k, choice)
        if rows is not None:
            found, cosine = _best(rows, self._cosines(query, rows), k)
            if len(found) == k:
                return found, cosine
        return self._search_all(query, k, choice)

    def scores(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the cosine of each of `rows`, live or not, in the order given; equal to those of `search`.

        A row that is not finite has cosine 0.

        Args:
            query: shape `(dim,)`, finite, unit norm.
            rows: global rows, in any order.
        """
        cosine = self._cosines(self._checked(query), np.asarray(rows, np.int64))
        return np.nan_to_num(cosine, copy=False, nan=0.0, posinf=0.0, neginf=0.0)

    def _choice(self, masks: Sequence[NDArray[np.bool_] | None], within: NDArray[np.bool_] | None = None) -> _Choice:
        sizes = (len(v) if m is None else int(np.count_nonzero(m)) for v, m in zip(self._vectors, masks, strict=True))
        return _Choice(masks, sum(sizes), within)

    def _chosen(self, within: NDArray[np.bool_]) -> _Choice:
        """Return the live rows within those."""
        if within.shape != (self._starts[-1],) or within.dtype != np.bool_:
            raise ValueError(f"within is {within.dtype} of shape {within.shape}: need bool ({self._starts[-1]},)")
        parts = [within[start:end] for start, end in pairwise(self._starts.tolist())]
        masks = [part if live is None else part & live for part, live in zip(parts, self._live, strict=True)]
        return self._choice(masks, within)

    def _checked(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        query = np.ascontiguousarray(query, np.float32)
        dim = self._dim if self._vectors else query.size
        if query.shape != (dim,):
            raise ValueError(f"a query of shape {query.shape}: need ({dim},)")
        if not np.isfinite(query).all():
            raise ValueError("the query's vector has values that are not finite")
        return query

    def _cosines(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < self._starts[-1]:
            raise ValueError(f"rows {rows.min()} to {rows.max()}: need 0 to {self._starts[-1] - 1}")
        out = np.empty(len(rows), np.float32)
        order = np.argsort(rows, kind="stable")  # ascending, so that a memory-mapped file is read forwards
        bounds = np.searchsorted(rows[order], self._starts)
        columns = zip(self._vectors, self._checksums, self._starts, bounds, bounds[1:], strict=False)
        for vectors, checksums, start, a, b in columns:
            for i in range(a, b, _BLOCK):
                block = order[i : min(i + _BLOCK, b)]
                out[block] = _products(vectors.take(rows[block] - start, checksums), query)
        return out

    def _first_of(self, choice: _Choice, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        rows = np.concatenate(
            [
                start + (np.flatnonzero(mask)[:k] if mask is not None else np.arange(min(k, len(vectors))))
                for vectors, mask, start in zip(self._vectors, choice.masks, self._starts, strict=False)
            ]
        )[:k]
        return rows, np.zeros(len(rows), np.float32)

    def _search_all(
        self, query: NDArray[np.float32], k: int, choice: _Choice
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        rows, cosine = np.empty(0, np.int64), np.empty(0, np.float32)
        columns = zip(self._vectors, self._checksums, choice.masks, self._starts, strict=False)
        for vectors, checksums, mask, start in columns:
            for i in range(0, len(vectors), _BLOCK):
                size = min(_BLOCK, len(vectors) - i)
                at = np.arange(size) if mask is None else np.flatnonzero(mask[i : i + _BLOCK])
                if len(at) * _FEW < size:
                    block = vectors.take(i + at, checksums)
                else:
                    block = vectors.part(i, i + size)
                    block = block if mask is None else block[at]
                more = _products(block, query)
                rows, cosine = _best(np.concatenate([rows, start + i + at]), np.concatenate([cosine, more]), k)
            vectors.release()
        return rows, cosine

    def _candidates(self, query: NDArray[np.float32], k: int, choice: _Choice) -> NDArray[np.int64] | None:
        """Return rows among which the best `k` are, or None if looking at every one is cheaper."""
        # By all live rows, also where few are wanted: those may be just the ones near the query, hard to tell apart.
        wanted = k + _SPARE if self._n_live <= self._exact_rows else candidates(self._n_live, k, len(query))
        if wanted * 4 >= choice.total:  # a long heap is slower than a scan without one
            return None
        faiss = import_faiss()
        exact, row, estimate = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
        with one_thread():
            for part in self._faiss_parts():
                if part.rows is not None:
                    within = None if choice.within is None else choice.within[part.rows]
                    exact = part.rows[_search_exactly(part.index, query, k, within)]
                    continue
                bitmap = part.live
                if choice.within is not None:
                    mask = choice.masks[part.segment]
                    if mask is None or not mask.any():
                        continue
                    bitmap = np.packbits(mask, bitorder="little")
                options = faiss.RaBitQSearchParameters(qb=_QUERY_BITS)
                if bitmap is not None:
                    selector = faiss.IDSelectorBitmap(bitmap)
                    options.sel = selector  # does not keep `selector` alive
                if len(row) < wanted:
                    founds, ats = part.index.search(query[None], min(wanted, part.index.ntotal), params=options)
                    found, at = founds[ats >= 0], ats[ats >= 0]
                else:
                    # Only what is better than the worst so far; without a heap that takes a third of the time.
                    _, found, at = part.index.range_search(query[None], float(estimate.min()), params=options)
                row, estimate = np.concatenate([row, at + part.start]), np.concatenate([estimate, found])
                if len(row) > wanted:
                    best = np.argpartition(-estimate, wanted - 1)[:wanted]
                    row, estimate = row[best], estimate[best]
        return np.concatenate([exact, row])

    def _faiss_parts(self) -> list[_Part]:
        if self._parts is None:
            with self._lock:
                if self._parts is None:
                    self._parts = self._build_parts()
        return self._parts

    def _build_parts(self) -> list[_Part]:
        exact, parts = [], []
        for i, codes in enumerate(self._codes):
            live = self._live[i]
            if len(self._vectors[i]) == 0 or (live is not None and not live.any()):
                continue
            if codes is None or self._n_live <= self._exact_rows:
                exact.append(i)
            else:
                bitmap = None if live is None else np.packbits(live, bitorder="little")
                index = load_codes(codes, self._vectors[i].array.shape)
                parts.append(_Part(index, None, i, int(self._starts[i]), bitmap))
        parts.sort(key=lambda part: -part.index.ntotal)  # the sooner there are enough candidates, the fewer heaps
        if exact:
            parts.append(self._build_exact(exact))
        return parts

    def _build_exact(self, segments: list[int]) -> _Part:
        """Return one exact index over the live rows of `segments`: float16 codes are the rows' own bytes."""
        faiss = import_faiss()
        masks = [self._live[i] for i in segments]
        sizes = [len(self._vectors[i]) if m is None else int(m.sum()) for i, m in zip(segments, masks, strict=True)]
        dim = self._dim
        index = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        index.codes.resize(sum(sizes) * dim * 2)  # the one allocation; adding block by block would double it
        index.codes.resize(0)
        rows = np.empty(sum(sizes), np.int64)
        filled = 0
        for i, mask in zip(segments, masks, strict=True):
            for a in range(0, len(self._vectors[i]), _BLOCK):
                block = self._vectors[i].part(a, a + _BLOCK)
                at = np.arange(len(block)) if mask is None else np.flatnonzero(mask[a : a + _BLOCK])
                block = np.ascontiguousarray(block if mask is None else block[at], "<f2")
                if len(at):
                    index.add_sa_codes(block.view(np.uint8))
                rows[filled : filled + len(at)] = self._starts[i] + a + at
                filled += len(at)
            self._vectors[i].release()
        return _Part(index, rows, 0, 0, None)


def candidates(n: int, k: int, dim: int) -> int:
    """Return how many of `n` rows the codes fetch for the re-ranking to find the best `k`.

    Measured on all-MiniLM-L6-v2: for .996 of the best 10 among 50,000 sentences of news, 200 rows at 384 dimensions,
    400 at 256, 1,200 at 128. Of the best 10 among 100,000 passages as `scripts/bench.py scale` makes them, 200 rows
    have .994 and 300 have .997; of the best 100, 1,000 have .995. Of the best 100 among 1,000,000 1,581 have .990 and
    3,162 have .998, a quarter slower; the best 10 are among either.

    >>> candidates(100_000, 10, 384), candidates(1_000_000, 10, 384), candidates(10_000_000, 10, 384)
    (300, 949, 3000)
    """
    few_bits = max(1.0, 384 / max(dim, 1))
    return round(max(300, 5 * k) * math.sqrt(max(1.0, n / 100_000)) * few_bits * math.sqrt(few_bits))


def _search_exactly(
    index: Any, query: NDArray[np.float32], k: int, within: NDArray[np.bool_] | None
) -> NDArray[np.int64]:
    """Return the positions of at least the best `k`, and of all that tie with the k-th: FAISS breaks ties anyhow.

    Only those that are `within`, if it says which; there may be fewer then.
    """
    faiss = import_faiss()
    most, options = index.ntotal, None
    if within is not None:
        most = int(np.count_nonzero(within))
        options = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(np.packbits(within, bitorder="little")))
    if most <= k:
        return np.arange(index.ntotal) if within is None else np.flatnonzero(within)
    wanted = k + _SPARE
    while True:
        wanted = min(wanted, most)
        cosine, at = index.search(query[None], wanted, params=options)
        if wanted == most or cosine[0, -1] < cosine[0, k - 1] - _ROUNDING:
            found: NDArray[np.int64] = at[0][at[0] >= 0]
            return found
        wanted *= 8


def _as_column(array: NDArray[Any] | Column) -> Column:
    # np.asarray drops the memmap class, whose every slice costs a microsecond more.
    return array if isinstance(array, Column) else Column(np.asarray(array))


def _products(block: NDArray[np.float16], query: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return each row's inner product, the same whichever rows are beside it (it is not in BLAS nor in einsum)."""
    with np.errstate(invalid="ignore"):  # rows that are not finite are left out in `_best`
        products: NDArray[np.float32] = (block.astype(np.float32) * query).sum(axis=1)
    return products


def _best(
    rows: NDArray[np.int64], cosine: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the `k` of largest cosine, best first, ties by row ascending, without those that are not finite."""
    finite = np.isfinite(cosine)
    if not finite.all():
        rows, cosine = rows[finite], cosine[finite]
    if len(rows) > 4 * k > 0:
        keep = cosine >= np.partition(cosine, len(cosine) - k)[len(cosine) - k]
        rows, cosine = rows[keep], cosine[keep]
    order = np.lexsort((rows, -cosine))[:k]
    return rows[order], cosine[order]
