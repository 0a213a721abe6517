from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from pincite.index.model_folder import find_model
from pincite.index.tokens import load_tokenizer
from pincite.qa.span_pairs import QUESTION_TOKENS, cut

CLS, SEP = 101, 102
TEXTS = ["Zoë's café 🚲 rides", "", "e\u0301te\u0301 \ud800 x [SEP] [CLS] y", "tab\tand\r\nbreak", "boat " * 700]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer((find_model().path / "tokenizer.json").read_text(encoding="utf-8"))


def test_a_window_is_the_pair_as_the_tokenizer_makes_it(tokenizer: Tokenizer) -> None:
    (piece,) = cut(tokenizer, "Who rides?", ["Zoë rides."], window=320, null_id=CLS)
    pair = tokenizer.encode("Who rides?", "Zoë rides.")
    assert piece.ids.tolist() == pair.ids
    assert piece.types.tolist() == pair.type_ids
    assert piece.null == 0
    assert ["Zoë rides."[start:end] for start, end in piece.offsets] == ["Zoë", "rides", "."]


def test_offsets_are_characters_of_the_text(tokenizer: Tokenizer) -> None:
    pieces = cut(tokenizer, "wh\ud800?", TEXTS, window=320, null_id=CLS)
    for row, text in enumerate(TEXTS):
        covered = {
            i for piece in pieces if piece.text == row for start, end in piece.offsets for i in range(start, end)
        }
        assert covered >= {i for i, char in enumerate(text) if char.isalnum()}
        assert not any(text[i].isspace() for i in covered)
    for piece in pieces:
        assert len(piece.ids) == len(piece.types) <= 320
        assert len(piece.offsets) == len(piece.ids[piece.place])
        assert (piece.types[piece.place] == 1).all()


@pytest.mark.parametrize("tokens", [0, 1, 43, 44, 45, 66, 67, 68, 500])
def test_windows_cover_every_token_in_order_and_overlap(tokenizer: Tokenizer, tokens: int) -> None:
    pieces = cut(tokenizer, "who is it", ["ox " * tokens], window=50, null_id=CLS)
    firsts = [set(piece.offsets[:, 0].tolist()) for piece in pieces]
    assert set.union(*firsts) == {3 * n for n in range(tokens)}
    assert len(pieces) == max(1, -(-(tokens - 22) // 22))
    for one, other in pairwise(pieces):
        assert one.offsets[22:, 0].tolist() == other.offsets[: 44 - 22, 0].tolist()[: len(one.offsets) - 22]
    for piece in pieces:
        assert piece.ids[piece.null] == CLS
        assert piece.ids[-1] == SEP


def test_a_long_question_leaves_room_for_the_text(tokenizer: Tokenizer) -> None:
    long = "boat " * 5_000
    (piece,) = cut(tokenizer, long, ["one text"], window=320, null_id=CLS)
    assert len(piece.ids) == QUESTION_TOKENS + 3 + 2
    pieces = cut(tokenizer, long, ["boat " * 40], window=32, null_id=CLS)
    assert {len(piece.ids) for piece in pieces[:-1]} == {32}
    assert len(np.unique(np.concatenate([piece.offsets for piece in pieces]), axis=0)) == 40
    for question in ("", "🚲"):
        assert len(cut(tokenizer, question, ["", "x"], window=320, null_id=CLS)) == 2


def test_the_token_for_no_answer_may_stand_last(tokenizer: Tokenizer) -> None:
    other = Tokenizer.from_str(tokenizer.to_str())
    template = TemplateProcessing(
        single="$A [SEP] [CLS]", pair="$A [SEP] $B:1 [SEP]:1 [CLS]:2", special_tokens=[("[SEP]", SEP), ("[CLS]", CLS)]
    )
    other.post_processor = template
    pieces = cut(other, "who", ["", "[CLS] ox", "ox " * 100], window=50, null_id=CLS)
    assert len(pieces) > 4
    for piece in pieces:
        assert piece.null == len(piece.ids) - 1
        assert piece.ids[piece.null] == CLS


def test_a_tokenizer_without_that_token_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="no token 7"):
        cut(tokenizer, "who", ["[unused6]"], window=50, null_id=7)
