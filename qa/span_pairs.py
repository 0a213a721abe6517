"""(question, texts) -> windows of token ids as a span model takes them, with the place of each token in its text.

The tokenizer's own template puts question and text together. Windows are cut here: tokenizers has one limit for both,
while a question has its own, and the windows of one text are wanted in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pincite.index.tokens import without_surrogates

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["OVERLAP", "QUESTION_TOKENS", "Piece", "cut"]

QUESTION_TOKENS = 64
"""Of a question are read; a quarter of the window if that is less. As in training, and as BERT was run on SQuAD."""

OVERLAP = 128
"""Tokens that a window shares with the one before; half of them if it holds fewer than twice as many."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One window of one text, behind the question.

    Attributes:
        text: which text, by its number.
        ids, types: of all tokens, int64, shape `(t,)`.
        place: where the tokens of the text are among them.
        offsets: characters of the text for each of its tokens, shape `(n, 2)`.
        null: position of the token that stands for "no answer".
    """

    text: int
    ids: NDArray[np.int64]
    types: NDArray[np.int64]
    place: slice
    offsets: NDArray[np.int64]
    null: int


def cut(tokenizer: Tokenizer, question: str, texts: Sequence[str], *, window: int, null_id: int) -> list[Piece]:
    """Return the windows of each text, in order of text, then position: at least one, even of an empty text.

    Args:
        tokenizer: without truncation and padding.
        question: any string.
        texts: any strings.
        window: tokens of a window, question and special tokens included.
        null_id: token that the tokenizer adds, and that stands for "no answer".

    Raises:
        ValueError: the tokenizer does not add that token.
    """
    asked = tokenizer.encode(without_surrogates([question])[0], add_special_tokens=False)
    asked.truncate(min(QUESTION_TOKENS, max(1, window // 4)))
    room = max(1, window - tokenizer.num_special_tokens_to_add(True) - len(asked))
    step = room - min(OVERLAP, room // 2)
    pieces = []
    for text, encoding in enumerate(tokenizer.encode_batch(without_surrogates(texts), add_special_tokens=False)):
        pair = tokenizer.post_process(asked, encoding)
        ids, types = np.array(pair.ids, dtype=np.int64), np.array(pair.type_ids, dtype=np.int64)
        # Not those of the pair: byte-level templates take white space off again, and with it the first letter.
        offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
        inside = [position for position, sequence in enumerate(pair.sequence_ids) if sequence == 1]
        # The tokens of a text stand side by side in every template; of an empty one there are none.
        first, end = (inside[0], inside[-1] + 1) if inside else (len(ids), len(ids))
        special = np.array(pair.special_tokens_mask, dtype=bool)
        special[first:end] = False
        nulls = np.flatnonzero(special & (ids == null_id))
        if not len(nulls):
            raise ValueError(f"no token {null_id} is added to a pair of texts")
        for start in range(first, max(end - room, first) + step, step):
            stop = min(start + room, end)
            chosen = np.r_[0:first, start:stop, end : len(ids)]
            null = int(nulls[0]) if nulls[0] < first else int(nulls[0]) - (end - first) + (stop - start)
            place = slice(first, first + stop - start)
            pieces.append(Piece(text, ids[chosen], types[chosen], place, offsets[start - first : stop - first], null))
    return pieces
