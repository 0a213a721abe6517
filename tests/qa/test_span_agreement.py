from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pincite.index.model_folder import find_model
from pincite.qa.span_agreement import check_pairs, compare
from pincite.qa.span_model import check_pieces
from pincite.qa.span_pairs import Piece

Logits = list[NDArray[np.float32]]


def piece_of(tokens: int) -> Piece:
    """[CLS] q [SEP] and so many tokens of text, [SEP]."""
    ids = np.arange(tokens + 4)
    return Piece(0, ids, np.zeros_like(ids), slice(3, 3 + tokens), np.zeros((tokens, 2), np.int64), 0)


def drawn(pieces: list[Piece], scale: float) -> Logits:
    draw = np.random.default_rng(4)
    return [draw.normal(0, scale, (len(piece.ids), 2)).astype(np.float32) for piece in pieces]


def test_check_pairs_reach_from_nothing_beyond_the_window() -> None:
    definition = (find_model().path / "tokenizer.json").read_text(encoding="utf-8")
    pieces = check_pieces(definition, 320, 101)
    lengths = {len(piece.offsets) for piece in pieces}
    assert min(lengths) == 0
    assert sum(0 < length < 16 for length in lengths) >= 3
    assert sum(length > 128 for length in lengths) >= 8
    assert max(len(piece.ids) for piece in pieces) == 320
    assert len(pieces) > len(check_pairs(320)) == 32
    assert len(set(check_pairs(320))) == 32


@pytest.mark.parametrize("scale", [0.05, 1, 6])
def test_rounding_to_bfloat16_is_near_enough(scale: float) -> None:
    pieces = [piece_of(n) for n in (0, 1, 2, 7, 60, 250)]
    exact = drawn(pieces, scale)
    # Half of the last of 8 bits, at random: what a network's last layer adds at the least.
    noise = np.random.default_rng(5)
    rounded = [one * (1 + noise.uniform(-(2**-8), 2**-8, one.shape)).astype(np.float32) for one in exact]
    assert compare(pieces, exact, exact).figures == {"max_shift": 0, "max_loss": 0}
    assert compare(pieces, rounded, exact).is_close


def test_another_chance_or_another_span_is_not_near_enough() -> None:
    pieces = [piece_of(6), piece_of(6)]
    exact: Logits = [np.zeros((10, 2), np.float32) for _ in pieces]
    exact[1][4] = 5
    for position, column, change in ((0, 0, 1.0), (0, 1, -4.0), (5, 0, 1.0), (8, 1, np.nan), (4, 0, np.inf)):
        other = [one.copy() for one in exact]
        other[1 if position == 4 else 0][position, column] += change
        assert not compare(pieces, other, exact).is_close, (position, column, change)
    # Neither the question nor what ends a text is ever an answer.
    other = [one.copy() for one in exact]
    other[0][[1, 2, 9]] = 50
    assert compare(pieces, other, exact).is_close


def test_the_span_found_must_be_nearly_the_best() -> None:
    pieces = [piece_of(200)]
    exact: Logits = [np.zeros((204, 2), np.float32)]
    exact[0][50:150] = 0.2
    exact[0][180] = 0.25
    other = [exact[0].copy()]
    other[0][20] = 0.4  # no chance is shifted much, yet this start and end are found, worse by 0.5
    agreement = compare(pieces, other, exact)
    assert agreement.figures["max_shift"] < 0.01
    assert agreement.figures["max_loss"] == pytest.approx(0.5)
    assert not agreement.is_close
