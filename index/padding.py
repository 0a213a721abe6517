"""Token ids of some texts -> padded batches, as a network takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Inputs", "TokenBatch", "by_length"]

_LENGTH_STEP = 16
"""Tokens; texts are padded to multiples of it. Each new shape costs 20-30 ms of code generation."""

TokenBatch = tuple[Sequence[int], dict[str, NDArray[np.int64]]]
"""Rows, which are the caller's numbers for the texts of the batch, and the network's inputs for them."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a network takes, and how texts are padded for it.

    Attributes:
        names: its inputs, some of input_ids, attention_mask, token_type_ids.
        window: tokens of the model's window, special tokens included.
        pad_id: token that fills a batch.
        padding_side: "right" or "left".
    """

    names: tuple[str, ...]
    window: int
    pad_id: int
    padding_side: str

    def width(self, length: int) -> int:
        """Return the tokens to which a text of `length` tokens is padded: few widths, as each is compiled."""
        return max(1, min(-(-length // _LENGTH_STEP) * _LENGTH_STEP, self.window), length)

    def place(self, length: int, width: int) -> slice:
        """Return where the tokens of a text are in a padded row."""
        return slice(0, length) if self.padding_side == "right" else slice(width - length, width)

    def feed(
        self, ids: Sequence[NDArray[np.int64]], types: Sequence[NDArray[np.int64]] | None = None
    ) -> dict[str, NDArray[np.int64]]:
        """Return the network's inputs for token ids and their types (all 0 if None), padded."""
        width = self.width(max(map(len, ids)))
        tokens = np.full((len(ids), width), self.pad_id, dtype=np.int64)
        mask, kinds = np.zeros_like(tokens), np.zeros_like(tokens)
        for row, own in enumerate(ids):
            place = self.place(len(own), width)
            tokens[row, place] = own
            mask[row, place] = 1
            if types is not None:
                kinds[row, place] = types[row]
        feed = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": kinds}
        return {name: feed[name] for name in self.names}


def by_length(lengths: Sequence[int], count: Callable[[int], int]) -> Iterator[list[int]]:
    """Yield the rows of batches, longest first: the last ones are short, and all streams end together.

    Args:
        lengths: tokens of each row.
        count: texts of a batch, by the length of its longest.

    >>> list(by_length([3, 9, 4], lambda length: 18 // length))
    [[1, 2], [0]]
    """
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    while order:
        size = max(1, count(lengths[order[0]]))
        rows, order = order[:size], order[size:]
        yield rows
