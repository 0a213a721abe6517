"""A model's name -> an Embedder: texts -> unit float32 rows.

sentence-transformers loads any model and is the reference. On a CPU the same model, compiled (compiled.py), takes its
place: several times as fast, and started without importing torch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from pincite.index.compiled import find_compiled, unit_rows
from pincite.index.loading import load_sentence_transformer
from pincite.index.model_folder import ModelFolder, find_model
from pincite.index.network import has_gpu
from pincite.index.passage import Vectors
from pincite.index.tokens import TextTokenizer, definition_of, without_surrogates

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Embedder", "SentenceTransformerEmbedder", "load_embedder", "unrelated_cosine"]

_WINDOW_TEXTS = 4096
"""Texts handed to sentence-transformers at a time: enough to sort by length, and few beside the vectors."""

_MAX_WINDOW = 8192
"""Tokens; for models that state no window, or one beyond what a passage ever has."""


class Embedder(Protocol):
    """What turns texts into vectors.

    Attributes:
        name: what `load_embedder` takes to load it again, from any working folder.
        fingerprint: 64 hex digits, the same wherever the same model gives the same vectors.
        dim: columns of the vectors.
        max_tokens: tokens of a passage that fit the model's window, its special tokens and prompt taken off.
    """

    name: str
    fingerprint: str
    dim: int
    max_tokens: int

    def token_offsets(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return, for each text, the character offsets of its tokens: shape `(t, 2)`, no special tokens, not cut."""

    def embed_passages(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> Vectors:
        """Return the vectors of passages, row i for text i; text beyond the window is left out.

        The vector of a text depends on its batch by rounding only: cosine at least 0.999 between any two.

        Args:
            texts: any strings; the empty one has a vector too.
            progress: called in the caller's thread with the number of passages done since the last call.
        """

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Return the unit vector of a question, shape `(dim,)`. Safe to call from several threads."""


def load_embedder(model: str | None = None) -> Embedder:
    """Return the fastest embedder that this machine has for a model; the first time on a CPU compiles it (10 s).

    Args:
        model: a folder of any sentence-transformers model, the name of one in the local Hugging Face cache, or None
            for all-MiniLM-L6-v2. Nothing is downloaded.

    Raises:
        ModelNotFoundError: the model is not on this machine, or cannot be loaded.
    """
    folder = find_model(model)
    if not has_gpu() and (compiled := find_compiled(folder)):
        return compiled
    # Imported here: what only a compilation needs would add 10 ms to each question.
    from pincite.index.export import compile_model

    return compile_model(folder, SentenceTransformerEmbedder(folder))


_UNRELATED = (
    "Bake the bread for forty minutes at 220 degrees.",
    "The treaty was signed by both kings in 1648.",
    "Her left knee was operated on in the spring.",
    "A comet consists mainly of ice and dust.",
    "Shares of the airline fell by nine percent.",
    "He tunes his guitar a semitone lower.",
    "The compiler reports an unused variable.",
    "Swallows leave for the south in September.",
    "Our landlord has not answered any letter.",
    "The goalkeeper saved two penalties.",
    "Wet clay is pressed into wooden moulds.",
    "The ferry takes cars, but no lorries.",
)


def unrelated_cosine(embedder: Embedder) -> float:
    """Return the mean cosine of texts that have nothing to do with each other, which is a model's zero."""
    vectors = embedder.embed_passages(_UNRELATED)
    count = len(vectors)
    return round(float(((vectors @ vectors.T).sum() - count) / (count * (count - 1))), 4)


class SentenceTransformerEmbedder:
    """An Embedder that runs sentence-transformers itself, in float32, on a GPU if there is one.

    Args:
        folder: the model.
        device: as torch names it; None for a GPU if there is one, else the CPU.
    """

    def __init__(self, folder: ModelFolder, *, device: str | None = None) -> None:
        self.name = folder.name
        self.fingerprint = folder.fingerprint
        self.model: SentenceTransformer = load_sentence_transformer("SentenceTransformer", folder, device)
        self.device: str = self.model.device.type
        self.query_prompt = _prompt(self.model, "query")
        self.passage_prompt = _prompt(self.model, "document", "passage", "corpus")
        self.window = int(min(self.model.max_seq_length or 512, _MAX_WINDOW))
        self.tokenizer = TextTokenizer(
            definition_of(self.model.tokenizer, self.name),
            window=self.window,
            truncation_side=getattr(self.model.tokenizer, "truncation_side", "right"),
        )
        self.max_tokens = self.tokenizer.room(self.passage_prompt)
        self._lock = threading.Lock()
        self.dim = len(self._encode([""], self.query_prompt)[0])

    def token_offsets(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the offsets of each text's tokens; see `Embedder`."""
        return self.tokenizer.offsets(texts)

    def embed_passages(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> Vectors:
        """Return the vectors of passages; see `Embedder`."""
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        for start in range(0, len(texts), _WINDOW_TEXTS):
            part = texts[start : start + _WINDOW_TEXTS]
            vectors[start : start + len(part)] = self._encode(part, self.passage_prompt)
            if progress is not None:
                progress(len(part))
        return vectors

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Return the vector of a question; see `Embedder`."""
        row: NDArray[np.float32] = self._encode([text], self.query_prompt)[0]
        return row

    def _encode(self, texts: Sequence[str], prompt: str) -> Vectors:
        with self._lock:
            rows = self.model.encode(
                without_surrogates(texts),
                prompt=prompt or None,
                batch_size=32,
                show_progress_bar=False,
                convert_to_numpy=True,
            )
        return unit_rows(rows)


def _prompt(model: SentenceTransformer, *names: str) -> str:
    """Return the first prompt of these names that is not empty, or none.

    As `encode_query` and `encode_document` choose it, but that a model's "passage" prompt is used although
    sentence-transformers adds an empty "document" prompt to every model.
    """
    prompts: dict[str, str | None] = model.prompts
    return next(filter(None, map(prompts.get, names)), "")
