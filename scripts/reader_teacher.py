"""A larger encoder that the reader learns from: its model for training, and its logits of the reader's examples.

The reader's weights are few, and so is the data. An encoder of eight times its size learns more from the same examples;
what it makes of each token of an example tells the reader more than where the answer begins and ends (Hinton et al.
2015, "Distilling the knowledge in a neural network").
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from reader_data import Example

from pincite.index import int8
from pincite.index.model_folder import find_model
from pincite.index.network import import_openvino
from pincite.index.tracing import write_network

FROZEN = 4  # layers; the lowest ones of twelve learn next to nothing in so few steps, and take a third of the time


class Teacher(torch.nn.Module):
    """all-mpnet-base-v2, or another MPNet, with an untrained head for starts and ends, without dropout.

    It takes what the reader takes: both models have the words of BERT, under other numbers.

    Args:
        folder: of the encoder, as sentence-transformers saves it.
        frozen: layers that stay as they are, besides word vectors and relative positions.
    """

    def __init__(self, folder: Path, frozen: int = FROZEN) -> None:
        super().__init__()
        from transformers import MPNetForQuestionAnswering

        self.model = MPNetForQuestionAnswering.from_pretrained(
            folder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
        )
        encoder = self.model.mpnet.encoder
        for part in (self.model.mpnet.embeddings, encoder.relative_attention_bias, *encoder.layer[:frozen]):
            part.requires_grad_(False)
        self.numbers: torch.Tensor
        self.register_buffer("numbers", _numbers(folder), persistent=False)

    def forward(self, input_ids: torch.Tensor, token_type_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        """Return what has `start_logits` and `end_logits`, shape `(n, t)`; types are nothing to an MPNet."""
        return self.model(input_ids=self.numbers[input_ids], attention_mask=attention_mask)


def _numbers(folder: Path) -> torch.Tensor:
    """Return the encoder's number of each token of the default model."""

    def words(path: Path) -> dict[str, int]:
        vocabulary: dict[str, int] = json.loads((path / "tokenizer.json").read_bytes())["model"]["vocab"]
        return vocabulary

    own, names = words(folder), {"[CLS]": "<s>", "[SEP]": "</s>", "[PAD]": "<pad>", "[MASK]": "<mask>"}
    ours = words(find_model().path)
    numbers = torch.full((len(ours),), own["[UNK]"])
    for word, number in ours.items():
        numbers[number] = own.get(names.get(word, word), own["[UNK]"])
    return numbers


class _Both(torch.nn.Module):
    """A model whose two logits of each token are one output, shape `(n, t, 2)`, as compiled networks have it."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, types: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        output = self.model(input_ids=ids, token_type_ids=types, attention_mask=mask)
        return torch.stack([output.start_logits, output.end_logits], dim=-1)


def compiled(model: torch.nn.Module, workers: int) -> Any:
    """Return an openvino.AsyncInferQueue of a model with int8 matrices: takes ids, types, mask, gives `(n, t, 2)`."""
    openvino = import_openvino()
    example = {name: torch.ones(2, 64, dtype=torch.int64) for name in ("input_ids", "token_type_ids", "attention_mask")}
    with TemporaryDirectory() as folder:
        write_network(_Both(model), example, Path(folder))
        core = openvino.Core()
        network = int8.rounded(core.read_model(Path(folder) / "model.xml"))
        options = {"NUM_STREAMS": workers, "INFERENCE_NUM_THREADS": workers, **int8.OPTIONS}
        return openvino.AsyncInferQueue(core.compile_model(network, "CPU", options), workers)


def identity(examples: Sequence[Example]) -> str:
    """Return 64 hex digits for the token ids of some examples, in their order."""
    return sha256(np.concatenate([one.ids for one in examples]).tobytes()).hexdigest()


def save_labels(path: Path, examples: Sequence[Example], logits: NDArray[np.float16]) -> None:
    """Write what a teacher says of all tokens of some examples, one after another, shape `(tokens, 2)`."""
    np.savez(path, logits=logits, identity=np.array(identity(examples)))


def with_labels(path: Path, examples: Sequence[Example]) -> list[Example]:
    """Return the examples with what `save_labels` wrote of them.

    Raises:
        ValueError: they are others.
    """
    with np.load(path, allow_pickle=False) as stored:
        logits = stored["logits"]
        if str(stored["identity"]) != identity(examples):
            raise ValueError(
                f"{path} has the labels of other examples: use the data, mined.json and seed of the teacher"
            )
    ends = np.cumsum([len(one.ids) for one in examples])
    return [
        replace(one, soft=logits[end - len(one.ids) : end]) for one, end in zip(examples, ends.tolist(), strict=True)
    ]
