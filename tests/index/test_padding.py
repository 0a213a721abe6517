from __future__ import annotations

import random

import numpy as np
import pytest

from pincite.index.padding import Inputs, by_length

NAMES = ("input_ids", "attention_mask", "token_type_ids")


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_hides_nothing_and_adds_nothing(side: str) -> None:
    inputs = Inputs(NAMES, window=40, pad_id=9, padding_side=side)
    ids = [np.arange(1, n + 1) for n in (3, 17, 0, 20)]
    types = [one % 2 for one in ids]
    feed = inputs.feed(ids, types)
    assert tuple(feed) == NAMES
    assert {array.shape for array in feed.values()} == {(4, 32)}
    assert {array.dtype for array in feed.values()} == {np.dtype(np.int64)}
    for row, (own, kinds) in enumerate(zip(ids, types, strict=True)):
        mask = feed["attention_mask"][row] == 1
        assert feed["input_ids"][row][mask].tolist() == own.tolist()
        assert feed["token_type_ids"][row][mask].tolist() == kinds.tolist()
        assert set(feed["input_ids"][row][~mask].tolist()) == {9}
        assert mask.tolist() == (sorted(mask, reverse=side == "right"))
        assert feed["input_ids"][row, inputs.place(len(own), 32)].tolist() == own.tolist()


def test_only_what_the_network_takes_is_fed() -> None:
    inputs = Inputs(NAMES[:2], window=40, pad_id=0, padding_side="right")
    assert tuple(inputs.feed([np.array([5])], [np.array([1])])) == NAMES[:2]


def test_widths_are_few_and_within_the_window() -> None:
    inputs = Inputs(NAMES, window=40, pad_id=0, padding_side="right")
    assert [inputs.width(length) for length in (0, 1, 16, 17, 33, 40)] == [1, 16, 16, 32, 40, 40]
    assert inputs.width(45) == 45  # a model without a window of its own


def test_batches_hold_every_row_once_longest_first() -> None:
    lengths = random.Random(2).choices(range(1, 60), k=100)
    batches = list(by_length(lengths, lambda length: 120 // length))
    rows = [row for batch in batches for row in batch]
    assert sorted(rows) == list(range(100))
    assert [lengths[row] for row in rows] == sorted(lengths, reverse=True)
    for batch in batches[:-1]:
        assert len(batch) == 120 // lengths[batch[0]]
    assert list(by_length([], lambda length: 1)) == []
    assert list(by_length([7, 7], lambda length: 0)) == [[0], [1]]
