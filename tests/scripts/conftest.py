"""What tests of the scripts need: the scripts themselves on the path, and the training script made small."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from tokenizers import Tokenizer

from pincite.index.loading import quiet
from pincite.index.model_folder import find_model

if TYPE_CHECKING:
    from reader_data import Sampler

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))


@pytest.fixture
def train_reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script, without what it does to its process."""
    with quiet():
        import torch
        import train_reader

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        monkeypatch.setattr(train_reader, "keep_memory", lambda: None)
        yield train_reader
        for number, handler in handlers.items():
            signal.signal(number, handler)
        torch.set_num_threads(threads)


@pytest.fixture
def tiny(train_reader: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the reader: a BERT of one layer of 32 columns with random weights."""
    from tests.scripts.test_train_reader import tiny_model

    monkeypatch.setattr(train_reader, "build", tiny_model)
    monkeypatch.setattr(train_reader, "WARM_UP", 5)


@pytest.fixture
def sampler(tmp_path: Path) -> Sampler:
    """What draws examples from twenty long paragraphs."""
    from reader_data import Sampler, read_sets

    from tests.scripts.test_reader_data import LONG_SET, long_paragraph, write_set

    write_set(tmp_path / f"{LONG_SET}.json", [long_paragraph(n) for n in range(20)])
    tokenizer = Tokenizer.from_file(str(find_model().path / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return Sampler(tokenizer, *read_sets(tmp_path, [LONG_SET]), {}, seed=1)
