"""A model's folder -> the model, as torch's libraries load it: offline, without code of its own, and quietly."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pincite.index.errors import ModelNotFoundError
from pincite.index.model_folder import ModelFolder

__all__ = ["LOCAL", "load_sentence_transformer", "loading", "quiet"]

LOCAL = {"local_files_only": True, "trust_remote_code": False}
"""How transformers and sentence-transformers load every model."""


def load_sentence_transformer(kind: str, folder: ModelFolder, device: str | None) -> Any:
    """Return a model of sentence-transformers, in float32 and to be run only.

    Args:
        kind: its class, "SentenceTransformer" or "CrossEncoder".
        folder: where it is.
        device: as torch names it; None for a GPU if there is one, else the CPU.

    Raises:
        ModelNotFoundError: it cannot be loaded.
    """
    with loading(folder.name):
        import sentence_transformers

        load = getattr(sentence_transformers, kind)
        return load(str(folder.path), device=device, model_kwargs={"use_safetensors": True}, **LOCAL).float().eval()


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Load a model quietly: all that a broken or foreign one makes the libraries raise is a ModelNotFoundError."""
    with quiet():
        try:
            yield
        except ModelNotFoundError:
            raise
        except Exception as error:
            cause = " ".join(str(error).split())[:300].rstrip(".")
            raise ModelNotFoundError(
                f"The model {name} cannot be loaded: {cause}. Check its files, or choose another model"
            ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings, logs and progress bars of torch, transformers and sentence-transformers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.utils import logging as transformers_logging

        loggers = [logging.getLogger(name) for name in ("transformers", "sentence_transformers", "torch")]
        levels = [logger.level for logger in loggers]
        bars = transformers_logging.is_progress_bar_enabled()
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            if bars:
                transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
