"""pincite's own reader: weights beside this file, and the word vectors and tokenizer of the default embedding model.

It was trained from that model with its word vectors frozen (scripts/train_reader.py), so that half of the weights need
not be packaged again; the others are rounded to 8 bits.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pincite.index.errors import ModelNotFoundError
from pincite.index.model_folder import ModelFolder, file_hashes, find_model

if TYPE_CHECKING:
    import torch

__all__ = ["NAME", "WINDOW", "find_packaged", "load_packaged"]

NAME = "pincite-reader"

WINDOW = 320
"""Tokens that it reads at a time: a passage of the default size (254) behind any but the longest question. Training had
windows of 192 tokens of text."""

_FORMAT = 1
_WEIGHTS = "reader.safetensors"
_WORD_VECTORS = "embeddings.word_embeddings.weight"


def find_packaged(home: Path = Path(__file__).parent) -> ModelFolder:
    """Return where the packaged reader is; its weights must have the sha256 that reader.json states.

    Args:
        home: folder of reader.safetensors and reader.json.

    Raises:
        ModelNotFoundError: they are missing, damaged, or do not belong together, or there is no default model.
    """
    try:
        about = read_about(home)
        digest = file_hashes(home, [_WEIGHTS])[_WEIGHTS]
        if digest != about["sha256"]:
            raise ValueError("its sha256 is not the one in reader.json")
        config = json.dumps(about["config"], sort_keys=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelNotFoundError(
            f"pincite's reader {home / _WEIGHTS} is damaged or missing: {' '.join(str(error).split())}. "
            "Install pincite again: pip install --force-reinstall --no-deps pincite"
        ) from error
    parts = ["pincite reader 1", digest, config, str(WINDOW), find_model().fingerprint]
    return ModelFolder(NAME, home, sha256("\n".join(parts).encode()).hexdigest())


def read_about(home: Path) -> dict[str, Any]:
    """Return what reader.json says: "sha256" and "config", the fields of a BertConfig.

    Raises:
        OSError, ValueError, TypeError, KeyError: it cannot be read, or is of another format.
    """
    about: dict[str, Any] = json.loads((home / "reader.json").read_bytes())
    if about["format"] != _FORMAT:
        raise ValueError(f"format {about['format']}, not {_FORMAT}")
    return about


def load_packaged(home: Path) -> tuple[torch.nn.Module, Any]:
    """Return the packaged model, in float32, and its tokenizer as tokenizers loads it.

    Each matrix is stored as "NAME", int8, with "NAME.scale", float32, a factor for each of its rows.
    """
    import torch
    from safetensors import safe_open
    from safetensors.torch import load_file
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertForQuestionAnswering

    default = find_model().path
    stored = load_file(home / _WEIGHTS)
    weights = {
        name: value.float() * stored[f"{name}.scale"][:, None] if f"{name}.scale" in stored else value
        for name, value in stored.items()
        if not name.endswith(".scale")
    }
    with safe_open(default / "model.safetensors", framework="pt") as file:
        weights[f"bert.{_WORD_VECTORS}"] = file.get_tensor(_WORD_VECTORS)
    # The initial weights are drawn and at once replaced: that should not disturb anyone's random numbers.
    with torch.random.fork_rng(devices=[]):
        model: Any = BertForQuestionAnswering(BertConfig(**read_about(home)["config"]))
    wrong = model.load_state_dict(weights, strict=False)
    missing = [name for name in wrong.missing_keys if not name.endswith("_ids")]
    if missing or wrong.unexpected_keys:
        raise ValueError(f"weights missing {missing[:3]} or unknown {wrong.unexpected_keys[:3]}")
    return model.eval(), Tokenizer.from_file(str(default / "tokenizer.json"))
