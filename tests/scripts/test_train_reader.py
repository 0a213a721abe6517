"""Training: workers make one step together, the loss falls, and a run that was stopped ends as one that was not."""

from __future__ import annotations

import argparse
import math
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from reader_data import Example, Sampler

from pincite.index.model_folder import find_folder, find_model
from pincite.qa import packaged_reader
from pincite.qa.span_model import READERS

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow  # torch alone takes seconds to import


def tiny_model(folder: Path) -> Any:
    """In place of `build`: a BERT of one layer of 32 columns with random weights."""
    from transformers import BertConfig, BertForQuestionAnswering

    config = BertConfig(
        vocab_size=30522,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = BertForQuestionAnswering(config)
    model.bert.embeddings.word_embeddings.weight.requires_grad_(False)
    return model


def settings(work: Path, **changed: Any) -> argparse.Namespace:
    work.mkdir(exist_ok=True)
    return argparse.Namespace(
        **{"work": work, "seed": 1, "rate": 5e-3, "steps": 30, "decay": 10, "tokens": 1024}
        | {"encoder": None, "labels": None, "begin": None}
        | changed
    )


def checkpoint(work: Path) -> dict[str, Any]:
    import torch

    state: dict[str, Any] = torch.load(work / "checkpoint.pt", weights_only=True)
    return state


def test_two_workers_add_up_to_one(train_reader: ModuleType) -> None:
    import torch

    torch.manual_seed(1)
    rows, targets = torch.randn(7, 5), torch.randn(7, 3)
    whole = torch.nn.Linear(5, 3)
    ((whole(rows) - targets) ** 2).mean().backward()
    workers = [torch.nn.Linear(5, 3) for _ in range(2)]
    shared, barrier = torch.zeros(2, 5 * 3 + 3 + 1), threading.Barrier(2)
    stops: dict[int, bool] = {}

    def work(rank: int) -> None:
        workers[rank].load_state_dict(whole.state_dict())
        own = slice(rank, None, 2)
        loss = ((workers[rank](rows[own]) - targets[own]) ** 2).mean() * (len(rows[own]) / len(rows))
        loss.backward()
        weights = list(workers[rank].parameters())
        stops[rank] = train_reader.add_gradients(weights, shared, rank, barrier, rank == 1)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert stops == {0: False, 1: False}, "only the first worker's signal counts, and both stop at the same step"
    for worker in workers:
        for own, expected in zip(worker.parameters(), whole.parameters(), strict=True):
            assert own.grad is not None and expected.grad is not None
            torch.testing.assert_close(own.grad, expected.grad)


def test_a_worker_without_examples_gets_the_others_gradients(train_reader: ModuleType) -> None:
    import torch

    busy, idle = (torch.nn.Linear(2, 1) for _ in range(2))
    busy(torch.ones(1, 2)).sum().backward()
    shared, barrier = torch.zeros(2, 4), threading.Barrier(2)
    found: list[bool] = []
    arguments = (list(idle.parameters()), shared, 1, barrier, False)
    thread = threading.Thread(target=lambda: found.append(train_reader.add_gradients(*arguments)))
    thread.start()
    found.append(train_reader.add_gradients(list(busy.parameters()), shared, 0, barrier, True))
    thread.join(20)
    assert found == [True, True]
    assert [weight.grad.tolist() for weight in idle.parameters() if weight.grad is not None] == [[[1, 1]], [1]]


def test_the_loss_is_the_cross_entropy_of_what_may_be_an_answer(train_reader: ModuleType) -> None:
    import torch

    def example(question: int, text: int, start: int, end: int) -> Example:
        types = np.r_[np.zeros(question + 2), np.ones(text + 1)].astype(np.int64)
        return Example(np.arange(len(types)), types, start, end)

    batch = [example(3, 4, 6, 7), example(2, 12, 0, 0)]
    draw = torch.Generator().manual_seed(1)
    starts, ends = torch.randn(2, 32, generator=draw), torch.randn(2, 32, generator=draw)

    def model(**features: torch.Tensor) -> Any:
        assert features["input_ids"].shape == (2, 32)
        assert features["attention_mask"].sum(1).tolist() == [10, 17]
        return SimpleNamespace(start_logits=starts, end_logits=ends)

    expected = 0.0
    for row, one in enumerate(batch):
        possible = [0, *np.flatnonzero(one.types).tolist()]
        for logits, place in ((starts, one.start), (ends, one.end)):
            raised = [math.exp(logits[row, position]) for position in possible]
            expected -= math.log(raised[possible.index(place)] / sum(raised)) / 4
    assert float(train_reader.loss_of(model, batch, "cpu")) == pytest.approx(expected, rel=1e-4)


def test_the_rate_warms_up_stays_and_falls_to_nothing(train_reader: ModuleType) -> None:
    rates = [train_reader.rate_at(step, 1000, 200) for step in range(1001)]
    assert rates[0] == pytest.approx(1 / 300) and rates[150] == pytest.approx(151 / 300)
    assert set(rates[300:800]) == {1.0} and rates[900] == pytest.approx(0.5) and rates[1000] == 0
    assert rates[:300] == sorted(rates[:300]) and rates[800:] == sorted(rates[800:], reverse=True)


def test_training_lowers_the_loss(
    train_reader: ModuleType, tiny: None, sampler: Sampler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[float] = []
    loss_of = train_reader.loss_of

    def noting(*arguments: Any) -> Any:
        loss = loss_of(*arguments)
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(train_reader, "loss_of", noting)
    train_reader.work(0, 1, settings(tmp_path / "work", steps=60, decay=20), sampler, None, None)
    assert len(losses) == 60
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:5])
    state = checkpoint(tmp_path / "work")
    assert state["step"] == 60 and state["epoch"] > 0
    assert not any(path.suffix == ".tmp" for path in (tmp_path / "work").iterdir())


def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    train_reader: ModuleType, tiny: None, sampler: Sampler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    train_reader.work(0, 1, settings(tmp_path / "whole"), sampler, None, None)
    loss_of, steps = train_reader.loss_of, iter(range(1, 100))

    def interrupted(*arguments: Any) -> Any:
        if (step := next(steps)) in (4, 17):
            signal.raise_signal(signal.SIGTERM if step == 4 else signal.SIGINT)
        return loss_of(*arguments)

    monkeypatch.setattr(train_reader, "loss_of", interrupted)
    for stop in (4, 17, 30):
        train_reader.work(0, 1, settings(tmp_path / "parts"), sampler, None, None)
        assert checkpoint(tmp_path / "parts")["step"] == stop
    whole, parts = checkpoint(tmp_path / "whole"), checkpoint(tmp_path / "parts")
    assert whole["epoch"] > 0 and (whole["epoch"], whole["done"]) == (parts["epoch"], parts["done"])
    for name, weight in whole["model"].items():
        assert torch.equal(weight, parts["model"][name]), name


def test_a_run_goes_on_with_an_epoch_that_became_shorter(
    train_reader: ModuleType, tiny: None, sampler: Sampler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_reader.work(0, 1, settings(tmp_path, steps=6), sampler, None, None)
    assert checkpoint(tmp_path)["done"] == 6
    whole = train_reader.batches
    monkeypatch.setattr(train_reader, "batches", lambda *arguments: whole(*arguments)[:4])
    train_reader.work(0, 1, settings(tmp_path, steps=9), sampler, None, None)
    state = checkpoint(tmp_path)
    assert (state["step"], state["epoch"], state["done"]) == (9, 1, 3)


# In a process of its own: that of the tests has threads, which a fork does not survive.
PROGRAM = """
import sys
from functools import partial
from pathlib import Path
import train_reader
from reader_data import read_sets
from tests.scripts.test_reader_data import LONG_SET
from tests.scripts.test_train_reader import settings, tiny_model

folder = Path(sys.argv[1])
train_reader.build, train_reader.WARM_UP = tiny_model, 5
train_reader.read_sets = partial(read_sets, names=[LONG_SET])
train_reader.torch.cuda.is_available = lambda: False
for count in (1, 2):
    work = folder / str(count)
    work.mkdir()
    (work / "mined.json").write_text("{}")
    train_reader.train(settings(work, steps=6, decay=2, data=folder, workers=count))
"""


def test_two_processes_train_as_one(train_reader: ModuleType, sampler: Sampler, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "scripts")])}
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    one, two = (checkpoint(tmp_path / str(count)) for count in (1, 2))
    assert one["step"] == two["step"] == 6
    apart = [float((weight - two["model"][name]).abs().mean()) for name, weight in one["model"].items()]
    assert np.mean(apart) < 5e-4, "by rounding to bfloat16 4e-5; by gradients that are not shared 3e-3"


def test_what_is_exported_is_what_the_packaged_reader_loads(
    train_reader: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    monkeypatch.setenv("PINCITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(train_reader, "__file__", str(tmp_path / "scripts" / "train_reader.py"))
    (tmp_path / "qa").mkdir()
    trained = train_reader.build(find_model().path)
    torch.save({"model": trained.state_dict(), "step": 77}, tmp_path / "checkpoint.pt")
    train_reader.export(argparse.Namespace(work=tmp_path, average=None, unrounded=None))
    assert "[77] steps" in capsys.readouterr().err
    found = packaged_reader.find_packaged(tmp_path / "qa")
    model, _ = packaged_reader.load_packaged(found.path)
    for name, weight in model.state_dict().items():
        scale = weight.abs().max() / 127 if weight.ndim == 2 and not name.startswith("qa_outputs") else 0
        assert (weight - trained.state_dict()[name]).abs().max() <= 0.51 * scale, name
    assert packaged_reader.read_about(tmp_path / "qa")["trained"] == {"steps": [77]}

    from pincite.qa.span_export import TorchReader

    train_reader.export(argparse.Namespace(work=tmp_path, average=None, unrounded=tmp_path / "whole"))
    whole = TorchReader(find_folder(str(tmp_path / "whole"), READERS))  # which reads two texts at once
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight.float().cpu(), trained.state_dict()[name]), name


def test_exported_mean_of_two_checkpoints_lies_between_them(
    train_reader: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(train_reader, "__file__", str(tmp_path / "scripts" / "train_reader.py"))
    (tmp_path / "qa").mkdir()
    trained = train_reader.build(find_model().path)
    weights = trained.state_dict()
    for step, factor in ((1, 1.0), (2, 3.0)):
        scaled = {name: weight * factor for name, weight in weights.items()}
        torch.save({"model": scaled, "step": step}, tmp_path / f"{step}.pt")
    both = [tmp_path / "1.pt", tmp_path / "2.pt"]
    train_reader.export(argparse.Namespace(work=tmp_path, average=both, unrounded=None))
    model, _ = packaged_reader.load_packaged(tmp_path / "qa")
    name = "bert.encoder.layer.0.attention.self.query.weight"
    assert torch.allclose(model.state_dict()[name], 2 * weights[name], atol=0.02)
