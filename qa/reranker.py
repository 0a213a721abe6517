"""(question, texts) -> scores by a CrossEncoder of sentence-transformers, for who has one and time: pincite has none.

sentence-transformers runs it itself, imported when the first texts are scored.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from pincite.index.errors import ModelNotFoundError
from pincite.index.loading import load_sentence_transformer
from pincite.index.model_folder import Family, ModelFolder, find_folder
from pincite.index.tokens import without_surrogates
from pincite.qa.retriever import Hit

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

__all__ = ["CrossEncoderReranker", "Reranker", "load_reranker", "reordered"]

_BATCH = 16

_RERANKERS = Family(
    title="a sentence-transformers CrossEncoder",
    library="sentence-transformers",
    saver="CrossEncoder.save_pretrained",
    owner="cross-encoder",
)


class Reranker(Protocol):
    """What scores how well texts answer a question.

    Attributes:
        name: what `load_reranker` takes to load it again, from any working folder.
    """

    name: str

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a score for each text, shape `(n,)`: higher is better, on the model's own scale. Thread-safe."""


def load_reranker(model: str) -> Reranker:
    """Return a re-ranker; the model's weights are loaded when it is first used.

    Args:
        model: a folder of any sentence-transformers CrossEncoder, or the name of one in the local Hugging Face cache.
            Nothing is downloaded.

    Raises:
        ModelNotFoundError: the model is not on this machine, or is no CrossEncoder.
    """
    folder = find_folder(model, _RERANKERS)
    try:
        is_reranker = _is_reranker(folder.path)
    except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise ModelNotFoundError(
            f"The model {folder.name} cannot be read: {error}. Check the files in {folder.path}"
        ) from error
    if not is_reranker:
        # sentence-transformers would make one of it, with a classifier of random weights.
        raise ModelNotFoundError(
            f"The model {folder.name} is not {_RERANKERS.title}: it gives no score to a pair of texts. "
            "Choose another model"
        )
    return CrossEncoderReranker(folder)


def reordered(hits: Sequence[Hit], scores: NDArray[np.float32]) -> list[Hit]:
    """Return the hits by their scores, best first, those without a number last; equals keep their order.

    The hits are unchanged: their own scores still say how they were retrieved.
    """
    ranked = np.where(np.isnan(scores), -np.inf, scores)
    return [hits[i] for i in np.argsort(-ranked, kind="stable").tolist()]


class CrossEncoderReranker:
    """A Reranker that runs sentence-transformers, on a GPU if there is one.

    Args:
        folder: the model.
        device: as torch names it; None for a GPU if there is one, else the CPU.
    """

    def __init__(self, folder: ModelFolder, *, device: str | None = None) -> None:
        self.name = folder.name
        self._folder = folder
        self._device = device
        self._model: CrossEncoder | None = None
        self._lock = threading.Lock()

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a score for each text; see `Reranker`.

        Raises:
            ModelNotFoundError: the model cannot be loaded, or gives a pair more than one score.
        """
        if not texts:
            return np.empty(0, dtype=np.float32)
        (asked,) = without_surrogates([question])
        pairs = [(asked, text) for text in without_surrogates(texts)]
        with self._lock:
            if self._model is None:
                self._model = _load(self._folder, self._device)
            scores = self._model.predict(pairs, batch_size=_BATCH, show_progress_bar=False, convert_to_numpy=True)
        return np.asarray(scores, dtype=np.float32).reshape(len(texts))


def _is_reranker(folder: Path) -> bool:
    """Return whether a folder says that its model scores pairs."""
    if (folder / "modules.json").exists():
        stated = json.loads((folder / "config_sentence_transformers.json").read_bytes())
        return bool(stated.get("model_type") == "CrossEncoder")
    names = json.loads((folder / "config.json").read_bytes()).get("architectures") or [""]
    return str(names[0]).endswith(("ForSequenceClassification", "ForCausalLM"))


def _load(folder: ModelFolder, device: str | None) -> CrossEncoder:
    model: CrossEncoder = load_sentence_transformer("CrossEncoder", folder, device)
    if model.num_labels != 1:
        raise ModelNotFoundError(
            f"The model {folder.name} gives {model.num_labels} scores to a pair of texts, a re-ranker one. "
            "Choose another model"
        )
    return model
