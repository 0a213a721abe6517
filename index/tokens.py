"""Texts -> the tokens that a model sees, by the fast tokenizer alone: no torch, no transformers.

Both embedders use it, so that the passages of an index do not depend on which of them was at hand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pincite.index.errors import ModelNotFoundError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["TextTokenizer", "definition_of", "load_tokenizer", "without_surrogates"]

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

    @cached_property
    def _whole(self) -> Tokenizer:
        return load_tokenizer(self.definition)

    # Truncation is a setting of the tokenizer object, not of a call: hence another object, for texts that need it.
    @cached_property
    def _cut(self) -> Tokenizer:
        tokenizer = _load(self.definition)
        tokenizer.enable_truncation(self._window, direction=self._truncation_side)
        return tokenizer

    def offsets(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return, for each text, the character offsets of its tokens: shape `(t, 2)`, no special tokens, not cut."""
        encodings = self._whole.encode_batch(without_surrogates(texts), add_special_tokens=False)
        return [np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2) for encoding in encodings]

    def ids(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return, for each text, the ids of its tokens, special tokens included, cut to the window."""
        texts = without_surrogates(texts)
        found = [np.array(encoding.ids, dtype=np.int64) for encoding in self._whole.encode_batch_fast(texts)]
        if long := [row for row, ids in enumerate(found) if len(ids) > self._window]:
            cut = self._cut.encode_batch_fast([texts[row] for row in long])
            for row, encoding in zip(long, cut, strict=True):
                found[row] = np.array(encoding.ids, dtype=np.int64)
        return found

    def room(self, prompt: str) -> int:
        """Return the number of tokens that the window leaves to a text behind `prompt`; at least 1."""
        special = self._whole.num_special_tokens_to_add(False)
        taken = len(self._whole.encode(prompt, add_special_tokens=False)) if prompt else 0
        return max(1, self._window - special - taken)


@lru_cache(maxsize=1)
def load_tokenizer(definition: str) -> Tokenizer:
    """Return the tokenizer that a `tokenizer.json` defines, without truncation and padding: shared, not to be changed.

    The last one is kept, for the default embedder and reader have the same and loading takes 30 ms.
    """
    return _load(definition)


def _load(definition: str) -> Tokenizer:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(definition)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def definition_of(tokenizer: Any, name: str) -> str:
    """Return the `tokenizer.json` of a loaded model's tokenizer, lower-casing as loaded, without truncation.

    Args:
        tokenizer: as transformers loaded it.
        name: of the model.

    Raises:
        ModelNotFoundError: it is not a fast tokenizer.
    """
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not hasattr(backend, "to_str"):
        raise ModelNotFoundError(
            f"The model {name} has no fast tokenizer, whose offsets pincite needs. Choose another model"
        )
    return str(_load(backend.to_str()).to_str())


def without_surrogates(texts: Sequence[str]) -> list[str]:
    """Return the texts with each lone surrogate as U+FFFD: no UTF-8 can hold it, and the offsets stay.

    >>> without_surrogates(["caf\\ud8e9", "tea"])
    ['caf\ufffd', 'tea']
    """
    return [text if text.isascii() else _SURROGATE.sub("\ufffd", text) for text in texts]
