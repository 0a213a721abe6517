"""Postings <-> bytes.

A posting mostly is one byte: how many passages were passed over since the last, and whether the term is there more than
once. In 100,000 passages of news that makes 1.5 bytes a posting, where a row of 4 and a count of 1 made 5, and decoding
them takes 3 ns each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pincite.index.errors import IndexFormatError

__all__ = ["MOST_ROWS", "TermPostings", "decode_postings", "decode_terms", "encode_postings", "misfit", "ranges"]

MOST_ROWS = 1 << 24
"""Passages that a segment may have, of which the number fits three bytes."""

_FAR = 127


def encode_postings(
    rows: NDArray[np.int64], counts: NDArray[np.uint8], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the postings of some terms as bytes, and how many bytes each has.

    A term has first a byte for each posting: twice the passages that were passed over since the last, and one more if
    the count is not 1. Where that is `_FAR` passages or more it says `_FAR`, and the number follows behind these
    bytes, in three. The counts that are not 1 come last.

    Args:
        rows: of one term after the other, ascending for each.
        counts: of each posting.
        sizes: postings of each term.
    """
    starts = np.cumsum(sizes) - sizes
    passed = np.diff(rows, prepend=0) - 1
    passed[starts] = rows[starts]
    is_far, is_many = passed >= _FAR, counts > 1
    term = np.repeat(np.arange(len(sizes)), sizes)
    n_far = 3 * np.bincount(term[is_far], minlength=len(sizes))
    n_many = np.bincount(term[is_many], minlength=len(sizes))
    total = sizes + n_far + n_many
    at = np.cumsum(total) - total
    data = np.empty(int(total.sum()), np.uint8)
    data[ranges(at, sizes)] = np.minimum(passed, _FAR) << 1 | is_many
    far = passed[is_far].astype("<u4").view(np.uint8).reshape(-1, 4)
    data[ranges(at + sizes, n_far)] = far[:, :3].ravel()
    data[ranges(at + sizes + n_far, n_many)] = counts[is_many]
    return data, total


class TermPostings(NamedTuple):
    """The postings of a term, of which most have the count 1.

    Attributes:
        rows: ascending.
        many: which of `rows` have another count; `counts`: these counts.
    """

    rows: NDArray[np.intp]
    many: NDArray[np.intp]
    counts: NDArray[np.uint8]


def decode_postings(data: NDArray[np.uint8], frequency: int) -> TermPostings:
    """Return the postings of one term; `frequency` is how many it has."""
    head = data[:frequency]
    steps = (head >> 1) + np.uint8(1)
    far = (steps == _FAR + 1).nonzero()[0]
    many = (head & 1).view(np.bool_).nonzero()[0]  # of bytes that are no booleans, it would take ten times as long
    end = frequency + 3 * len(far)
    if not 0 < frequency == len(head) or len(data) != end + len(many):
        raise misfit()
    rows = steps.astype(np.intp)
    if len(far):
        rows[far] = _three_bytes(data[frequency:end]) + 1
    rows[0] -= 1
    return TermPostings(np.cumsum(rows, out=rows), many, data[end:])


def decode_terms(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
    """Return rows and counts of several terms, one after the other; their bytes lie from offset to offset."""
    head = data[ranges(offsets[:-1], sizes)]
    steps = (head >> 1).astype(np.intp)
    is_far, is_many = steps == _FAR, (head & 1).astype(np.bool_)
    term = np.repeat(np.arange(len(sizes)), sizes)
    n_far = 3 * np.bincount(term[is_far], minlength=len(sizes))
    n_many = np.bincount(term[is_many], minlength=len(sizes))
    if (sizes + n_far + n_many != np.diff(offsets)).any():
        raise misfit()
    steps[is_far] = _three_bytes(data[ranges(offsets[:-1] + sizes, n_far)])
    steps += 1
    rows = np.cumsum(steps)
    starts = np.cumsum(sizes) - sizes
    rows -= np.repeat((rows - steps)[starts[sizes > 0]], sizes[sizes > 0]) + 1
    counts = np.ones(len(rows), np.uint8)
    counts[is_many] = data[ranges(offsets[1:] - n_many, n_many)]
    return rows, counts


def _three_bytes(data: NDArray[np.uint8]) -> NDArray[np.intp]:
    low, middle, high = data.reshape(-1, 3).T.astype(np.intp)
    return low | middle << 8 | high << 16


def ranges(starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers from each start on, as many as its size says, end to end."""
    before = np.cumsum(sizes) - sizes
    numbers: NDArray[np.int64] = np.repeat(starts - before, sizes) + np.arange(int(sizes.sum()))
    return numbers


def misfit() -> IndexFormatError:
    """Return the error to raise where postings are not what was written."""
    return IndexFormatError("The BM25 postings of a segment do not fit together. Repair the index: pincite repair")
