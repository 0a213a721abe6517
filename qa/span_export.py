"""A model's folder -> a reader that torch runs, and its network in the cache, for span_model.py to run."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pincite.index.errors import ModelNotFoundError
from pincite.index.loading import LOCAL, loading
from pincite.index.model_folder import ModelFolder
from pincite.index.padding import Inputs, by_length
from pincite.index.tokens import definition_of, load_tokenizer
from pincite.index.tracing import INPUTS, compiled_if_possible, write_network
from pincite.qa import packaged_reader
from pincite.qa.span_model import KIND, CompiledReader, Window, check_pieces, find_compiled, windows_of
from pincite.qa.span_pairs import Piece, cut

__all__ = ["TorchReader", "compile_reader"]

_BATCH = 8
"""Windows of a batch that torch runs."""

_MAX_WINDOW = 512
"""Tokens; for models that state no window, or one beyond what a passage ever has."""


class TorchReader:
    """A SpanModel that torch runs, in float32, on a GPU if there is one.

    Args:
        folder: the model.
        device: as torch names it; None for a GPU if there is one, else the CPU.

    Raises:
        ModelNotFoundError: it cannot be loaded, or is not a model that finds answers in texts.
    """

    def __init__(self, folder: ModelFolder, *, device: str | None = None) -> None:
        import torch

        self.name = folder.name
        self.fingerprint = folder.fingerprint
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._lock = threading.Lock()
        with loading(folder.name):
            model, self.tokenizer, self.inputs, self.null_id = _load(folder)
            self.model = model.to(self.device)
            # What cannot be read at all is told now, and not by the first question.
            windows = self.read("who?", ["", "one text " * self.inputs.window])
        if not np.isfinite([one.null for one in windows]).all():
            raise ModelNotFoundError(
                f"The model {folder.name} gives scores that are no numbers: its weights are damaged. "
                "Choose another model"
            )

    def read(self, question: str, texts: Sequence[str]) -> list[Window]:
        """Return what the model says of each text; see `SpanModel`."""
        tokenizer = load_tokenizer(self.tokenizer)
        pieces = cut(tokenizer, question, texts, window=self.inputs.window, null_id=self.null_id)
        return windows_of(pieces, self.logits(pieces))

    def logits(self, pieces: Sequence[Piece]) -> list[NDArray[np.float32]]:
        """Return the logits of starts and ends for all tokens of each piece, shape `(t, 2)`."""
        import torch

        found = [np.empty((0, 2), dtype=np.float32)] * len(pieces)
        for rows in by_length([len(piece.ids) for piece in pieces], lambda length: _BATCH):
            feed = self.inputs.feed([pieces[row].ids for row in rows], [pieces[row].types for row in rows])
            with self._lock, torch.inference_mode():
                output = self.model(**{name: torch.from_numpy(value).to(self.device) for name, value in feed.items()})
                both = torch.stack([output.start_logits, output.end_logits], dim=-1).float().cpu().numpy()
            for row, own in zip(rows, both, strict=True):
                found[row] = own[self.inputs.place(len(pieces[row].ids), len(own))]
        return found


def compile_reader(folder: ModelFolder, reference: TorchReader) -> CompiledReader | TorchReader:
    """Return a loaded model compiled; see `compiled_if_possible`."""
    pieces = check_pieces(reference.tokenizer, reference.inputs.window, reference.null_id)
    return compiled_if_possible(
        KIND,
        reference,
        lambda cache: find_compiled(folder, cache=cache),
        fill=partial(_export, reference, pieces[5:7]),
        tokenizer=reference.tokenizer,
        outputs=lambda: np.concatenate(reference.logits(pieces)),
    )


def _export(reference: TorchReader, example: Sequence[Piece], draft: Path) -> dict[str, object]:
    """Write model.xml and model.bin, traced with an example; return the settings to run them with."""
    import torch

    model, names = reference.model, reference.inputs.names

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *values: torch.Tensor) -> torch.Tensor:
            output = self.model(**dict(zip(names, values, strict=True)))
            return torch.stack([output.start_logits, output.end_logits], dim=-1)

    feed = reference.inputs.feed([piece.ids for piece in example], [piece.types for piece in example])
    write_network(Network(), {name: torch.from_numpy(value) for name, value in feed.items()}, draft)
    return {**asdict(reference.inputs), "null_id": reference.null_id}


def _load(folder: ModelFolder) -> tuple[Any, str, Inputs, int]:
    """Return a model in float32, the definition of its tokenizer, its inputs, and its token for "no answer"."""
    if folder.name == packaged_reader.NAME:
        model, tokenizer = packaged_reader.load_packaged(folder.path)
        inputs = Inputs(INPUTS, packaged_reader.WINDOW, tokenizer.token_to_id("[PAD]"), "right")
        return model, definition_of(tokenizer, folder.name), inputs, int(tokenizer.token_to_id("[CLS]"))
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    model, loading = AutoModelForQuestionAnswering.from_pretrained(
        str(folder.path), use_safetensors=True, output_loading_info=True, **LOCAL
    )
    # transformers fills in for weights that are not there, and only warns.
    if missing := sorted(loading["missing_keys"]):
        raise ModelNotFoundError(
            f"The model {folder.name} is not trained to find answers: it has no weights {missing[0]}. "
            "Give an extractive question-answering model"
        )
    tokenizer = AutoTokenizer.from_pretrained(str(folder.path), use_fast=True, **LOCAL)
    if tokenizer.cls_token_id is None:
        raise ModelNotFoundError(
            f"The model {folder.name} has no [CLS] token, whose scores tell that a text has no answer. "
            "Choose another model"
        )
    return (
        model.float().eval(),
        definition_of(tokenizer, folder.name),
        _inputs(model, tokenizer),
        tokenizer.cls_token_id,
    )


def _inputs(model: Any, tokenizer: Any) -> Inputs:
    """Return what a model of transformers takes, as its tokenizer and configuration say."""
    taken = inspect.signature(model.forward).parameters
    names = tuple(name for name in INPUTS if name in tokenizer.model_input_names and name in taken)
    pad = int(tokenizer.pad_token_id or 0)
    positions = getattr(model.config, "max_position_embeddings", None) or _MAX_WINDOW
    # RoBERTa and its kin count positions from the number of the padding token.
    window = min(int(min(tokenizer.model_max_length, _MAX_WINDOW)), positions - (pad + 1 if pad else 0))
    # Padded right whatever the tokenizer says, so that the positions of tokens do not depend on the batch.
    return Inputs(names, window, pad, "right")
