"""The values of one key of documents, packed: each distinct one once, and a number for each document."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from pincite.index.filters import Bounds, date_bounds, number_bounds

__all__ = ["Mask", "ValueColumn"]

Mask = NDArray[np.bool_]

_LOOKUP = 4  # finding a value and looking at it costs about as much as looking at this many in a row


class ValueColumn:
    """The values of one key.

    Attributes:
        numbers: for each document the number of its value, -1 if it has none; shape `(documents,)`.
        count: of distinct values, none of which has a NUL in it.
    """

    def __init__(self, numbers: NDArray[np.int32], values: Sequence[str]) -> None:
        self.numbers = numbers
        self.count = len(values)
        encoded = [value.encode("utf-8", "surrogatepass") for value in values]
        self._text = b"\0".join([*encoded, b""])
        self._at = array("q", accumulate((len(value) + 1 for value in encoded), initial=0))

    def that_are(self, is_meant: Callable[[str], bool], piece: str) -> Mask:
        """Return which distinct values are meant; only those that have `piece` in them can be."""
        meant = np.zeros(self.count, np.bool_)
        encoded = piece.encode("utf-8", "surrogatepass")
        if self._text.count(encoded) * _LOOKUP > self.count:
            meant[:] = [is_meant(value) for value in self._values()]
            return meant
        at = self._text.find(encoded)
        while at >= 0:
            number = bisect_right(self._at, at) - 1
            start, after = self._at[number], self._at[number + 1]
            meant[number] = is_meant(self._text[start : after - 1].decode("utf-8", "surrogatepass"))
            at = self._text.find(encoded, after)
        return meant

    def _values(self) -> list[str]:
        return self._text.decode("utf-8", "surrogatepass").split("\0")[:-1]

    @cached_property
    def as_numbers(self) -> NDArray[np.float64]:
        """The bounds of each distinct value as a number, shape `(2, count)`; not a number where it is none."""
        return self._bounds(number_bounds)

    @cached_property
    def as_dates(self) -> NDArray[np.float64]:
        """The bounds of each distinct value as a date; as those of `as_numbers`."""
        return self._bounds(date_bounds)

    def _bounds(self, read: Callable[[str], Bounds | None]) -> NDArray[np.float64]:
        found = [(its.low, its.high) if (its := read(value)) else (np.nan, np.nan) for value in self._values()]
        return np.array(found, np.float64).reshape(-1, 2).T

    def of_documents(self, meant: Mask) -> Mask:
        """Return which documents have one of the values that are meant."""
        has: Mask = np.append(meant, False)[self.numbers]  # -1 is the last
        return has
