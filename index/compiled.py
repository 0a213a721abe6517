"""A compiled model in the user's cache -> unit float32 rows, with OpenVINO alone: torch is not imported.

What export.py wrote is run by network.py. Vectors are trusted as far as cosine 0.999 to those that
sentence-transformers gave for fixed texts; what does not reach it is left to sentence-transformers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pincite.index.agreement import MIN_COSINE, check_texts
from pincite.index.model_folder import ModelFolder
from pincite.index.network import Agreement, Network, Run, core_count, entry_path, read_entry
from pincite.index.padding import Inputs, TokenBatch, by_length
from pincite.index.passage import Vectors
from pincite.index.tokens import TextTokenizer

if TYPE_CHECKING:
    from pincite.index.embedder import Embedder

__all__ = ["KIND", "CompiledEmbedder", "Settings", "find_compiled", "unit_rows"]

KIND = "embedder"
"""What entries of the cache are called."""

_BATCH_TOKENS = 1024
"""Padded tokens of a batch. From 384 to 2,560 the CPU time of a passage was the same within 10 %."""

_FEW = 64
_VERY_FEW = 8
"""Texts for which the streams for passages are not loaded (0.1 s): where the network for questions is at hand, and
where neither is."""

_SORTED_TEXTS = 4096
"""Texts tokenized, sorted by length and batched together; the next lot is tokenized meanwhile."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the runtime must know of a model; stored beside the network.

    Attributes:
        dim: columns of the vectors.
        window: tokens of the model's window, special tokens included.
        max_tokens: tokens of a passage that fit beside special tokens and prompt.
        inputs: the network's inputs, some of input_ids, attention_mask, token_type_ids (always 0).
        pad_id: token that fills a batch.
        padding_side: "right" or "left".
        truncation_side: "right" or "left".
        query_prompt: text put before each question.
        passage_prompt: text put before each passage.
    """

    dim: int
    window: int
    max_tokens: int
    inputs: tuple[str, ...]
    pad_id: int
    padding_side: str
    truncation_side: str
    query_prompt: str
    passage_prompt: str

    @property
    def network_inputs(self) -> Inputs:
        """What the network takes."""
        return Inputs(self.inputs, self.window, self.pad_id, self.padding_side)


class CompiledEmbedder:
    """An Embedder that runs a compiled model on the CPU.

    Tokenizer and network are loaded when first used, and separately: passages run in as many streams as there are
    cores, questions on a single thread. Should the network not run, or not agree, on this machine,
    sentence-transformers does the work.
    """

    def __init__(self, entry: Path, folder: ModelFolder, settings: Settings, tokenizer: TextTokenizer) -> None:
        self.name = folder.name
        self.fingerprint = folder.fingerprint
        self.dim = settings.dim
        self.max_tokens = settings.max_tokens
        self._folder = folder
        self._settings = settings
        self._tokenizer = tokenizer
        check = partial(_agreement, entry, settings, tokenizer)
        self._network = Network(entry, check, streams=core_count())
        self._instead: Embedder | None = None
        self._fallback_lock = threading.Lock()

    @property
    def precision(self) -> str:
        """What the network computes in on this machine: "bf16" or "f32"; loads it."""
        return self._network.precision

    def token_offsets(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the offsets of each text's tokens; see `Embedder`. Does not load the network."""
        return self._tokenizer.offsets(texts)

    def embed_passages(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> Vectors:
        """Return the vectors of passages; see `Embedder`."""
        is_parallel = len(texts) > (_FEW if self._network.has_request else _VERY_FEW)
        if not self._network.load(parallel=is_parallel):
            return self._other().embed_passages(texts, progress=progress)
        batches = _batches(self._settings, self._tokenizer, self._settings.passage_prompt, texts)
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        if is_parallel:
            self._network.run(batches, partial(_store, vectors), progress)
            return vectors
        for rows, feed in batches:
            vectors[rows] = unit_rows(self._network.infer(feed))
            if progress is not None:
                progress(len(rows))
        return vectors

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Return the vector of a question; see `Embedder`."""
        if not self._network.load(parallel=False):
            return self._other().embed_query(text)
        ids = self._tokenizer.ids([self._settings.query_prompt + text])
        row: NDArray[np.float32] = unit_rows(self._network.infer(self._settings.network_inputs.feed(ids)))[0]
        return row

    def _other(self) -> Embedder:
        """Return the embedder that does the work instead."""
        from pincite.index.embedder import SentenceTransformerEmbedder

        with self._fallback_lock:
            if self._instead is None:
                self._instead = SentenceTransformerEmbedder(self._folder)
            return self._instead


def find_compiled(folder: ModelFolder, *, cache: Path | None = None) -> CompiledEmbedder | None:
    """Return the compiled embedder of a model from the cache; None if it is not there, or damaged."""
    entry = entry_path(KIND, folder.fingerprint, cache)
    try:
        settings = Settings(**read_entry(KIND, entry))
        tokenizer = TextTokenizer(
            (entry / "tokenizer.json").read_text(encoding="utf-8"),
            window=settings.window,
            truncation_side=settings.truncation_side,
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return CompiledEmbedder(entry, folder, settings, tokenizer)


def _agreement(entry: Path, settings: Settings, tokenizer: TextTokenizer, run: Run) -> Agreement:
    """Return how near the network's vectors of fixed texts come to those of sentence-transformers."""
    reference = np.load(entry / "reference.npy", allow_pickle=False)
    vectors = np.empty((len(reference), settings.dim), dtype=np.float32)
    run(_batches(settings, tokenizer, settings.passage_prompt, check_texts(settings.window)), partial(_store, vectors))
    cosine = (vectors * reference).sum(axis=1)
    figures = {"min_cosine": float(cosine.min()), "mean_cosine": float(cosine.mean())}
    return Agreement(figures["min_cosine"] >= MIN_COSINE, figures)


def _store(vectors: Vectors, rows: Sequence[int], output: NDArray[np.float32]) -> None:
    vectors[rows] = unit_rows(output)


def _batches(settings: Settings, tokenizer: TextTokenizer, prompt: str, texts: Sequence[str]) -> Iterator[TokenBatch]:
    """Yield rows and network inputs. Lots of texts are tokenized ahead on a thread, one lot at a time."""
    from concurrent.futures import ThreadPoolExecutor

    inputs = settings.network_inputs
    lots = (range(start, min(start + _SORTED_TEXTS, len(texts))) for start in range(0, len(texts), _SORTED_TEXTS))

    def tokenize(lot: range) -> list[NDArray[np.int64]]:
        return tokenizer.ids([prompt + texts[i] for i in lot])

    with ThreadPoolExecutor(1, thread_name_prefix="pincite-tokenize") as ahead:
        first = next(lots, None)
        pending = None if first is None else (first, ahead.submit(tokenize, first))
        while pending is not None:
            lot, ids = pending[0], pending[1].result()
            following = next(lots, None)
            pending = None if following is None else (following, ahead.submit(tokenize, following))
            for rows in by_length([len(own) for own in ids], lambda length: _BATCH_TOKENS // inputs.width(length)):
                yield [lot.start + row for row in rows], inputs.feed([ids[row] for row in rows])


def unit_rows(rows: NDArray[Any]) -> Vectors:
    """Return rows scaled to unit norm; one without direction (zero, or not finite) becomes the first unit vector.

    >>> unit_rows(np.array([[0.0, 2.0], [0.0, 0.0]])).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    vectors = np.array(rows, dtype=np.float32, order="C")
    norms = np.linalg.norm(vectors, axis=1)
    broken = ~(np.isfinite(norms) & (norms > 0))
    if broken.any():
        vectors[broken] = np.eye(1, vectors.shape[1], dtype=np.float32)
        norms[broken] = 1
    vectors /= norms[:, None]
    return vectors
