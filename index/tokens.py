"""Texts -> the tokens that a model sees, by the fast tokenizer alone: no torch, no transformers.

Both embedders use it, so that the passages of an index do not depend on which of them was at hand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["TextTokenizer", "without_surrogates"]

_SURROGATE = re.compile("[\ud800-\udfff]")


class TextTokenizer:
    """The tokenizer of a model, loaded when first used.

    Args:
        definition: the content of a `tokenizer.json`.
        window: tokens of the model's window, special tokens included.
        truncation_side: "right" or "left", where a text that is too long is cut.
    """

    def __init__(self, definition: str, *, window: int, truncation_side: str = "right") -> None:
        self.definition = definition
        self._window = window
        self._truncation_side = truncation_side

    # Truncation is a setting of the tokenizer object, not of a call: hence one object for each use, lazily.
    @cached_property
    def _whole(self) -> Tokenizer:
        return self._load()

    @cached_property
    def _cut(self) -> Tokenizer:
        tokenizer = self._load()
        tokenizer.enable_truncation(self._window, direction=self._truncation_side)
        return tokenizer

    def _load(self) -> Tokenizer:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(self.definition)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    def offsets(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return, for each text, the character offsets of its tokens: shape `(t, 2)`, no special tokens, not cut."""
        encodings = self._whole.encode_batch(without_surrogates(texts), add_special_tokens=False)
        return [np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2) for encoding in encodings]

    def ids(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return, for each text, the ids of its tokens, special tokens included, cut to the window."""
        encodings = self._cut.encode_batch_fast(without_surrogates(texts))
        return [np.array(encoding.ids, dtype=np.int64) for encoding in encodings]

    def room(self, prompt: str) -> int:
        """Return the number of tokens that the window leaves to a text behind `prompt`; at least 1."""
        special = self._whole.num_special_tokens_to_add(False)
        taken = len(self._whole.encode(prompt, add_special_tokens=False)) if prompt else 0
        return max(1, self._window - special - taken)


def without_surrogates(texts: Sequence[str]) -> list[str]:
    """Return the texts with each lone surrogate as U+FFFD: no UTF-8 can hold it, and the offsets stay.

    >>> without_surrogates(["caf\\ud8e9", "tea"])
    ['caf\ufffd', 'tea']
    """
    return [text if text.isascii() else _SURROGATE.sub("\ufffd", text) for text in texts]
