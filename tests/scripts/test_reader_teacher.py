"""Distilling: a larger encoder takes the reader's tokens, and the reader learns what it says of each of them."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from reader_data import Example, Sampler

from pincite.index.model_folder import find_model
from tests.scripts.test_train_reader import checkpoint, settings

pytestmark = pytest.mark.slow  # torch alone takes seconds to import


def example(length: int, start: int, end: int, soft: Any = None) -> Example:
    types = np.r_[np.zeros(4), np.ones(length - 4)].astype(np.int64)
    return Example(np.arange(length), types, start, end, soft)


def chances(logits: Any, possible: list[int]) -> Any:
    raised = np.exp(np.asarray(logits, np.float64)[possible] / 2)  # the temperature
    return raised / raised.sum()


def test_the_loss_is_partly_the_divergence_from_the_teacher(train_reader: ModuleType) -> None:
    import torch

    draw = np.random.default_rng(3)
    own = draw.normal(size=(2, 16, 2)).astype(np.float32)
    taught = [draw.normal(size=(length, 2)).astype(np.float16) for length in (9, 12)]
    batch = [example(9, 5, 6, taught[0]), example(12, 0, 0, taught[1])]

    def model(**features: torch.Tensor) -> Any:
        return SimpleNamespace(start_logits=torch.from_numpy(own[:, :, 0]), end_logits=torch.from_numpy(own[:, :, 1]))

    apart = 0.0
    for row, (one, soft) in enumerate(zip(batch, taught, strict=True)):
        possible = [0, *range(4, len(one.ids))]
        for side in (0, 1):
            right, found = chances(soft[:, side], possible), chances(own[row, :, side], possible)
            apart += float((right * np.log(right / found)).sum()) / 4
    plain = float(train_reader.loss_of(model, [replace(one, soft=None) for one in batch], "cpu"))
    assert float(train_reader.loss_of(model, batch, "cpu")) == pytest.approx(0.3 * plain + 0.7 * 4 * apart, rel=1e-3)
    agreeing = [replace(one, soft=own[row, : len(one.ids)].astype(np.float16)) for row, one in enumerate(batch)]
    assert float(train_reader.loss_of(model, agreeing, "cpu")) == pytest.approx(0.3 * plain, rel=1e-2)


def test_labels_belong_to_their_examples(tmp_path: Path) -> None:
    from reader_teacher import save_labels, with_labels

    examples = [example(length, 0, 0) for length in (6, 9, 5)]
    logits = np.arange(40, dtype=np.float16).reshape(20, 2)
    save_labels(tmp_path / "labels.npz", examples, logits)
    found = with_labels(tmp_path / "labels.npz", examples)
    assert [one.soft.tolist() for one in found if one.soft is not None] == [
        part.tolist() for part in (logits[:6], logits[6:15], logits[15:])
    ]
    with pytest.raises(ValueError, match="other examples"):
        with_labels(tmp_path / "labels.npz", examples[:2])


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """An MPNet of two layers with random weights, whose words are those of the default model in another order."""
    from transformers import MPNetConfig, MPNetModel

    folder = tmp_path / "encoder"
    words = json.loads((find_model().path / "tokenizer.json").read_bytes())["model"]["vocab"]
    names = {"[CLS]": "<s>", "[SEP]": "</s>", "[PAD]": "<pad>", "[MASK]": "<mask>"}
    order = [names.get(word, word) for word in words]
    random.Random(1).shuffle(order)
    config = MPNetConfig(
        vocab_size=len(order),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=514,
    )
    MPNetModel(config).save_pretrained(folder)
    tokenizer = {"model": {"vocab": {word: number for number, word in enumerate(order)}}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


def test_the_teacher_knows_the_words_by_its_own_numbers(train_reader: ModuleType, encoder: Path) -> None:
    from reader_teacher import Teacher

    teacher = Teacher(encoder, frozen=1)
    ours = json.loads((find_model().path / "tokenizer.json").read_bytes())["model"]["vocab"]
    theirs = json.loads((encoder / "tokenizer.json").read_bytes())["model"]["vocab"]
    for word in ("board", "##ing", "[UNK]"):
        assert int(teacher.numbers[ours[word]]) == theirs[word]
    assert int(teacher.numbers[ours["[CLS]"]]) == theirs["<s>"]
    learning = {name.split(".layer.")[-1][0] for name, one in teacher.named_parameters() if one.requires_grad}
    assert learning == {"1", "m"}, "the second layer, and model.qa_outputs"
    assert not any("numbers" in name for name in teacher.state_dict())


def test_a_reader_learns_from_a_teacher_s_labels(
    train_reader: ModuleType,
    tiny: None,
    sampler: Sampler,
    encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(train_reader, "sampler_of", lambda arguments: sampler)
    taught = settings(tmp_path / "teacher", encoder=encoder, steps=3, decay=1, workers=1, epochs=2)
    train_reader.work(0, 1, taught, sampler, None, None)
    train_reader.label(taught)
    labels = sorted(path.name for path in taught.work.glob("labels-*"))
    assert labels == ["labels-0.npz", "labels-1.npz"]
    stored = np.load(taught.work / "labels-0.npz")["logits"]
    stamp = (taught.work / "labels-1.npz").stat().st_mtime_ns
    (taught.work / "labels-0.npz").unlink()
    train_reader.label(taught)
    again = np.load(taught.work / "labels-0.npz")["logits"]
    assert again.tolist() == stored.tolist() and (taught.work / "labels-1.npz").stat().st_mtime_ns == stamp
    assert len(stored) == sum(len(one.ids) for one in sampler.epoch(0)) and np.abs(stored).sum(axis=1).all()

    told: list[Any] = []
    teacher = train_reader.model_of(taught).eval()
    teacher.load_state_dict(checkpoint(taught.work)["model"])
    run = train_reader.by_torch(teacher, "cpu")
    run([[one] for one in sampler.epoch(0)], lambda _, both: told.append(both[0]))
    exact = np.concatenate([both[: len(one.ids)] for one, both in zip(sampler.epoch(0), told, strict=True)])
    assert np.abs(stored - exact).max() < 0.05 * np.abs(exact).max(), "int8 and bfloat16 say the same"

    work = settings(tmp_path / "work", labels=taught.work, steps=40, begin=None)
    seen = [one for epoch in range(3) for one in train_reader.examples_of(work, sampler, epoch)]
    assert all(one.soft is not None and len(one.soft) == len(one.ids) for one in seen)
    losses: list[float] = []
    loss_of = train_reader.loss_of

    def noting(*arguments: Any) -> Any:
        losses.append(float((loss := loss_of(*arguments)).detach()))
        return loss

    monkeypatch.setattr(train_reader, "loss_of", noting)
    train_reader.work(0, 1, work, sampler, None, None)
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    train_reader.work(
        0, 1, settings(tmp_path / "on", begin=work.work / "checkpoint.pt", steps=1, rate=0.0), sampler, None, None
    )
    before, after = (checkpoint(tmp_path / name)["model"] for name in ("work", "on"))
    assert all(bool((weight == after[name]).all()) for name, weight in before.items())
