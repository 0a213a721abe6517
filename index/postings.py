"""Passages -> BM25 postings, the columns of a segment; and postings of several segments -> those of one."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pincite.index.column import Column
from pincite.index.posting_codes import (
    MOST_ROWS,
    TermPostings,
    decode_postings,
    decode_terms,
    encode_postings,
    misfit,
    ranges,
)
from pincite.index.segment import Segment
from pincite.index.terms import expand, surfaces

__all__ = ["Postings", "SegmentPostings", "build_postings", "merge_postings"]

Postings = Mapping[str, NDArray[Any]]
"""The columns of `build_postings`; Any: they have several dtypes."""

_NAMES: dict[str, type[np.generic]] = {
    "bm25_terms": np.uint8,  # the distinct terms in UTF-8, sorted by their bytes, end to end
    "bm25_term_offsets": np.uint32,  # shape (terms + 1,): where each begins
    "bm25_frequencies": np.uint32,  # shape (terms,): how many passages have it
    "bm25_postings": np.uint8,  # the postings of each term, as `encode_postings` makes them, end to end
    "bm25_posting_offsets": np.uint32,  # shape (terms + 1,): where those of each begin
    "bm25_lengths": np.uint32,  # shape (passages,): terms in each
}
_FLUSH_TERMS = 4_000_000
_CHUNK = 1_000_000
"""Postings that are coded or merged at a time, which bounds the memory for it to some 100 MB."""


class SegmentPostings:
    """The postings of one segment, read term by term.

    Args:
        postings: what `build_postings` made, or the segment that it was written to.

    Raises:
        IndexFormatError: they are not what `build_postings` makes.
    """

    def __init__(self, postings: Postings | Segment) -> None:
        self._terms, self._term_offsets, self._frequencies, self._data, self._offsets, self._lengths = (
            _column(postings, name, dtype) for name, dtype in _NAMES.items()
        )
        self.n_terms = len(self._frequencies)
        self.n_passages = len(self._lengths)
        self._probes: dict[int, bytes] = {}
        for offsets, data in ((self._term_offsets, self._terms), (self._offsets, self._data)):
            if len(offsets) != self.n_terms + 1 or int(offsets.part(self.n_terms, self.n_terms + 1)[0]) != len(data):
                raise misfit()

    def lengths(self) -> NDArray[np.uint32]:
        """Return the terms in each passage."""
        return self._lengths.whole()

    def find(self, term: bytes) -> int | None:
        """Return the number of a term, None if it is in no passage."""
        low, high, wide = 0, self.n_terms, self.n_terms >> 10
        while low < high:
            middle = (low + high) // 2
            found = self._probes.get(middle)
            if found is None:
                found = self._term(middle)
                if high - low > wide:  # the first ten steps are the same for all terms
                    self._probes[middle] = found
            if found < term:
                low = middle + 1
            else:
                high = middle
        return low if low < self.n_terms and self._term(low) == term else None

    def _term(self, number: int) -> bytes:
        start, end = self._term_offsets.part(number, number + 2).tolist()
        return self._terms.part(start, end).tobytes()

    def terms(self) -> list[bytes]:
        """Return all terms, in order."""
        data = self._terms.whole().tobytes()
        return [data[start:end] for start, end in pairwise(self._term_offsets.whole().tolist())]

    def postings(self, number: int) -> TermPostings:
        """Return the passages that have a term, and how often each does."""
        start, end = self._offsets.part(number, number + 2).tolist()
        return decode_postings(self._data.read(start, end), self.frequency(number))

    def frequency(self, number: int) -> int:
        """Return how many passages have a term."""
        return int(self._frequencies.part(number, number + 1)[0])

    def frequencies(self) -> NDArray[np.uint32]:
        """Return how many passages have each term."""
        return self._frequencies.whole()

    def stretch(self, first: int, last: int) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
        """Return the passages and counts of the terms `first` to `last` (without it), one term after the other."""
        offsets = self._offsets.whole()[first : last + 1].astype(np.int64)
        data = self._data.read(int(offsets[0]), int(offsets[-1]))
        return decode_terms(data, offsets - offsets[0], self.frequencies()[first:last].astype(np.int64))


def _column(postings: Postings | Segment, name: str, dtype: type[np.generic]) -> Column:
    if isinstance(postings, Segment):
        column = postings.column(name)
    elif name in postings:
        column = Column(np.asarray(postings[name]))  # not a memmap, whose slices are slow
    else:
        raise misfit()
    if column.array.dtype != dtype or column.array.ndim != 1:
        raise misfit()
    return column


class _Writer:
    """Puts terms and their postings, which come in order, together to columns."""

    def __init__(self) -> None:
        self._terms: list[bytes] = []
        self._sizes: list[NDArray[np.int64]] = []
        self._data: list[NDArray[np.uint8]] = []
        self._lengths: list[NDArray[np.int64]] = []

    def add(
        self, terms: Sequence[bytes], rows: NDArray[np.int64], counts: NDArray[np.uint8], sizes: NDArray[np.int64]
    ) -> None:
        """Add the postings of some terms, all of them in some passage; arguments as of `encode_postings`."""
        data, lengths = encode_postings(rows, counts, sizes)
        self._terms += terms
        self._data.append(data)
        self._sizes.append(sizes)
        self._lengths.append(lengths)

    def columns(self, lengths: NDArray[np.uint32]) -> dict[str, NDArray[Any]]:
        """Return the columns; `lengths` are the terms in each passage."""
        none = np.empty(0, np.int64)
        if len(lengths) > MOST_ROWS:
            raise ValueError(f"{len(lengths)} passages in one segment: at most {MOST_ROWS}")
        columns: dict[str, NDArray[Any]] = {
            "bm25_terms": np.frombuffer(b"".join(self._terms), np.uint8),
            "bm25_term_offsets": _offsets(np.array([len(term) for term in self._terms], np.int64)),
            "bm25_frequencies": np.concatenate([none, *self._sizes]).astype(np.uint32),
            "bm25_postings": np.concatenate([np.empty(0, np.uint8), *self._data]),
            "bm25_posting_offsets": _offsets(np.concatenate([none, *self._lengths])),
            "bm25_lengths": lengths,
        }
        return columns


def _offsets(sizes: NDArray[np.int64]) -> NDArray[np.uint32]:
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    if offsets[-1] >= 1 << 32:
        raise ValueError(f"{offsets[-1]} bytes of terms or postings in one segment: at most 4 GiB")
    return offsets.astype(np.uint32)


def _chunks(sizes: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield stretches of terms, first and last (without it), of about `_CHUNK` postings, one term at least."""
    ends = np.cumsum(sizes)
    first = 0
    while first < len(sizes):
        before = int(ends[first] - sizes[first])
        last = max(int(np.searchsorted(ends, before + _CHUNK, side="right")), first + 1)
        yield first, last
        first = last


def merge_postings(
    postings: Sequence[Postings | Segment], moved: Sequence[NDArray[np.int64]]
) -> dict[str, NDArray[Any]]:
    """Return postings of several segments as those of one.

    Args:
        postings: for each segment the result of `build_postings`, or the segment itself.
        moved: for each segment shape `(passages,)`: the new row of each passage, -1 if it is left out.
    """
    segments = [SegmentPostings(columns) for columns in postings]
    lengths = np.zeros(sum(int((rows >= 0).sum()) for rows in moved), np.uint32)
    if len(lengths) > MOST_ROWS:
        raise ValueError(f"{len(lengths)} passages in one segment: at most {MOST_ROWS}")
    names = [segment.terms() for segment in segments]
    every = sorted(set().union(*names))
    number_of = {name: number for number, name in enumerate(every)}
    sizes = np.zeros(len(every), np.int64)
    numbers = []
    for segment, known, rows in zip(segments, names, moved, strict=True):
        lengths[rows[rows >= 0]] = segment.lengths()[rows >= 0]
        own = np.array([number_of[name] for name in known], np.int64)
        sizes[own] += segment.frequencies()
        numbers.append(own)
    writer = _Writer()
    for first, last in _chunks(sizes):
        keys, counts = [], []
        for segment, own, to in zip(segments, numbers, moved, strict=True):
            begin, end = np.searchsorted(own, [first, last]).tolist()  # both are in the order of the terms
            if begin < end:
                rows, count = segment.stretch(begin, end)
                new = to[rows]
                of_term = np.repeat(own[begin:end] - first, segment.frequencies()[begin:end])
                keys.append((of_term * MOST_ROWS + new)[new >= 0])
                counts.append(count[new >= 0])
        key = np.concatenate(keys)
        order = np.argsort(key, kind="stable")
        key, count = key[order], np.concatenate(counts)[order]
        size = np.bincount(key // MOST_ROWS, minlength=last - first)
        used = np.flatnonzero(size)
        writer.add([every[first + number] for number in used.tolist()], key % MOST_ROWS, count, size[used])
    return writer.columns(lengths)


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


def build_postings(texts: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Return the postings of `texts`, row i for the i-th: the columns that `SegmentPostings` takes.

    Streams: the texts are not kept, and memory is some 200 MB and about twice the result. A term's count is capped at
    255 (its weight is then .99 of the largest possible).
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
    return _join(list(known.terms), runs, np.concatenate(lengths))


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


def _join(terms: list[str], runs: list[_Run], lengths: NDArray[np.uint32]) -> dict[str, NDArray[Any]]:
    """Return the columns for terms that are numbered as they came; `runs` are in the order of their rows."""
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
        to = ranges(filled[at], run.sizes)
        rows[to], counts[to] = run.rows, run.counts
        filled[at] += run.sizes
    writer = _Writer()
    for first, last in _chunks(sizes):
        part = slice(offsets[first], offsets[last])
        names = [encoded[number] for number in order[first:last]]
        writer.add(names, rows[part].astype(np.int64), counts[part], sizes[first:last])
    return writer.columns(lengths)
