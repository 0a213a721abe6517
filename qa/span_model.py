"""(question, texts) -> logits of each token as the start and as the end of the answer, by an extractive model.

The default model is pincite's own (packaged_reader.py); any extractive question-answering model of transformers takes
its place. torch is the reference; on a CPU the model is compiled once and then run by OpenVINO, as for embedding.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pincite.index.model_folder import Family, ModelFolder, find_folder
from pincite.index.network import (
    Agreement,
    Network,
    Run,
    core_count,
    entry_path,
    has_gpu,
    read_entry,
)
from pincite.index.padding import Inputs, TokenBatch, by_length
from pincite.index.tokens import load_tokenizer
from pincite.qa import packaged_reader
from pincite.qa.span_agreement import check_pairs, compare
from pincite.qa.span_pairs import Piece, cut

__all__ = [
    "KIND",
    "CompiledReader",
    "SpanModel",
    "Window",
    "check_pieces",
    "find_compiled",
    "is_compiled",
    "load_reader",
    "windows_of",
]

KIND = "reader"
"""What entries of the cache are called."""

_BATCH_TOKENS = 320
"""Padded tokens of a batch: one passage, or several short ones. For ten passages of 180-254 tokens, batches of 1, 2, 3
and 5 took the same time within 3 %; small ones keep all cores busy to the end, and share no core's delay."""

_MAX_STREAMS = 8
"""Windows read at a time: a question has about ten, and each stream takes memory and time to load. One stream of two
threads loads 0.1 s sooner than two of one, but reads a third more slowly where other programs keep the cores busy."""

READERS = Family(
    title="an extractive question-answering model",
    library="transformers",
    saver="AutoModelForQuestionAnswering.save_pretrained",
    owner="",
)


@dataclass(frozen=True, slots=True)
class Window:
    """What a model says of one window of one text. Its logits compare within one model, over all texts and windows.

    Attributes:
        text: which text, by its number in the call.
        offsets: characters of that text for each of its tokens in the window, int64, shape `(t, 2)`.
        start: logit of each token as the first of the answer, float32, shape `(t,)`.
        end: logit of each token as the last one.
        null: sum of the start and end logits of "no answer".
    """

    text: int
    offsets: NDArray[np.int64]
    start: NDArray[np.float32]
    end: NDArray[np.float32]
    null: float


class SpanModel(Protocol):
    """What scores the spans of texts as answers.

    Attributes:
        name: what `load_reader` takes to load it again, from any working folder.
        fingerprint: 64 hex digits, the same wherever the same model gives the same scores.
    """

    name: str
    fingerprint: str

    def read(self, question: str, texts: Sequence[str]) -> list[Window]:
        """Return the windows in order of text, then position; each text has at least one. Safe to call from threads.

        Args:
            question: any string; its first 64 tokens count.
            texts: any strings. One that is longer than the model's window is read in overlapping windows. None at all
                loads the model, and no more: a thread can do that while the passages are being looked for.
        """


def load_reader(model: str | None = None) -> SpanModel:
    """Return the fastest reader that this machine has for a model; the first time on a CPU compiles it (10 s).

    Args:
        model: a folder of any extractive question-answering model of transformers, the name of one in the local
            Hugging Face cache, or None for pincite's own. Nothing is downloaded.

    Raises:
        ModelNotFoundError: the model is not on this machine, or cannot be loaded.
    """
    if model is None or model == packaged_reader.NAME:
        folder = packaged_reader.find_packaged()
    else:
        folder = find_folder(model, READERS)
    if not has_gpu() and (compiled := find_compiled(folder)):
        return compiled
    from pincite.qa.span_export import TorchReader, compile_reader

    return compile_reader(folder, TorchReader(folder))


def is_compiled() -> bool:
    """Return whether pincite's own reader is at hand compiled, so that loading it imports no torch.

    Raises:
        ModelNotFoundError: the reader's weights are damaged.
    """
    return not has_gpu() and find_compiled(packaged_reader.find_packaged()) is not None


class CompiledReader:
    """A SpanModel that runs a compiled model on the CPU; tokenizer and network are loaded when first used.

    Should the network not run, or not agree, on this machine, torch does the work.
    """

    def __init__(self, entry: Path, folder: ModelFolder, inputs: Inputs, null_id: int, tokenizer: str) -> None:
        self.name = folder.name
        self.fingerprint = folder.fingerprint
        self._folder = folder
        self._inputs = inputs
        self._null_id = null_id
        self._tokenizer = tokenizer
        check = partial(_agreement, entry, inputs, null_id, tokenizer)
        is_int8 = folder.name == packaged_reader.NAME
        self._network = Network(entry, check, streams=min(core_count(), _MAX_STREAMS), is_int8=is_int8)
        self._instead: SpanModel | None = None
        self._fallback_lock = threading.Lock()

    @property
    def precision(self) -> str:
        """What the network computes in on this machine: "int8", "bf16" or "f32"; loads it."""
        return self._network.precision

    def read(self, question: str, texts: Sequence[str]) -> list[Window]:
        """Return what the model says of each text; see `SpanModel`."""
        if not self._network.load(parallel=True):
            return self._other().read(question, texts)
        tokenizer = load_tokenizer(self._tokenizer)
        pieces = cut(tokenizer, question, texts, window=self._inputs.window, null_id=self._null_id)
        return windows_of(pieces, _logits(self._network.run, self._inputs, pieces))

    def _other(self) -> SpanModel:
        """Return the reader that does the work instead."""
        from pincite.qa.span_export import TorchReader

        with self._fallback_lock:
            if self._instead is None:
                self._instead = TorchReader(self._folder)
            return self._instead


def find_compiled(folder: ModelFolder, *, cache: Path | None = None) -> CompiledReader | None:
    """Return the compiled reader of a model from the cache; None if it is not there, or damaged."""
    entry = entry_path(KIND, folder.fingerprint, cache)
    try:
        settings = read_entry(KIND, entry)
        null_id = int(settings.pop("null_id"))
        tokenizer = (entry / "tokenizer.json").read_text(encoding="utf-8")
        return CompiledReader(entry, folder, Inputs(**settings), null_id, tokenizer)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def check_pieces(tokenizer: str, window: int, null_id: int) -> list[Piece]:
    """Return the windows of the fixed pairs on which a compiled model and torch must agree."""
    loaded = load_tokenizer(tokenizer)
    pairs = check_pairs(window)
    return [piece for asked, text in pairs for piece in cut(loaded, asked, [text], window=window, null_id=null_id)]


def windows_of(pieces: Sequence[Piece], logits: Sequence[NDArray[np.float32]]) -> list[Window]:
    """Return what logits, shape `(t, 2)` for each piece, say of the tokens of the texts."""
    windows = []
    for piece, own in zip(pieces, logits, strict=True):
        start, end = np.ascontiguousarray(own[piece.place].T)
        windows.append(Window(piece.text, piece.offsets, start, end, float(own[piece.null].sum())))
    return windows


def _agreement(entry: Path, inputs: Inputs, null_id: int, tokenizer: str, run: Run) -> Agreement:
    """Return how near the network comes to what torch made of the fixed pairs."""
    pieces = check_pieces(tokenizer, inputs.window, null_id)
    lines = np.load(entry / "reference.npy", allow_pickle=False)
    ends = np.cumsum([0, *(len(piece.ids) for piece in pieces)])
    reference = [lines[start:end] for start, end in pairwise(ends.tolist())]
    return compare(pieces, _logits(run, inputs, pieces), reference)


def _logits(run: Run, inputs: Inputs, pieces: Sequence[Piece]) -> list[NDArray[np.float32]]:
    """Return the logits of starts and ends for all tokens of each piece, shape `(t, 2)`."""
    found = [np.empty((len(piece.ids), 2), dtype=np.float32) for piece in pieces]

    def store(rows: Sequence[int], output: NDArray[np.float32]) -> None:
        for row, logits in zip(rows, output, strict=True):
            found[row][:] = logits[inputs.place(len(found[row]), len(logits))]

    run(_batches(inputs, pieces), store)
    return found


def _batches(inputs: Inputs, pieces: Sequence[Piece]) -> Iterator[TokenBatch]:
    for rows in by_length([len(piece.ids) for piece in pieces], lambda length: _BATCH_TOKENS // inputs.width(length)):
        yield rows, inputs.feed([pieces[row].ids for row in rows], [pieces[row].types for row in rows])
