"""What many tests need: a tiny corpus, an embedder without a model, and a reader that is told the answers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from pincite.index import Vectors, build, load_embedder, store, survey
from pincite.qa import pipeline
from pincite.qa.span_model import Window, load_reader

# The same examples every time, and no failure for a slow machine; fewer where nothing slow is to be run.
settings.register_profile("pincite", deadline=None, derandomize=True)
settings.register_profile("quick", settings.get_profile("pincite"), max_examples=30)


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("quick" if config.getoption("markexpr") == "not slow" else "pincite")


_WORD = re.compile(r"\w+|[^\w\s]")


class HashingEmbedder:
    """Words hashed into a few dimensions: the same text has the same vector on every machine, without a model."""

    name = "hashing"
    dim = 64
    max_tokens = 120

    def __init__(self, salt: str = "") -> None:
        self.salt = salt
        self.fingerprint = f"hashing{salt}"
        self.embedded: list[str] = []

    def token_offsets(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        return [np.array([match.span() for match in _WORD.finditer(text)], np.int64).reshape(-1, 2) for text in texts]

    def embed_passages(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> Vectors:
        self.embedded.extend(texts)
        if progress:
            progress(len(texts))
        return np.array([self.embed_query(text) for text in texts], np.float32).reshape(-1, self.dim)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        vector = np.full(self.dim, 1e-3, np.float32)
        for word in _WORD.findall(text.lower()):
            digest = blake2b((self.salt + word).encode("utf-8", "replace"), digest_size=8).digest()
            vector[digest[0] % self.dim] += 1.0 if digest[1] % 2 else -1.0
        return np.asarray(vector / np.linalg.norm(vector), np.float32)


class KnowingReader:
    """A span model that is told the answers: sure of one where it stands in a text, sure of none elsewhere.

    Where there is none, its likeliest span is the text's first word. It reads windows of `width` words, half of them
    shared with the next window.
    """

    name = "knowing"
    fingerprint = "0" * 64

    def __init__(self, answers: Mapping[str, str], *, width: int = 1000) -> None:
        self.answers = answers
        self.width = width

    def read(self, question: str, texts: Sequence[str]) -> list[Window]:
        return [window for i, text in enumerate(texts) for window in self._windows(i, text, self.answers[question])]

    def _windows(self, number: int, text: str, answer: str) -> list[Window]:
        offsets = np.array([match.span() for match in _WORD.finditer(text)], np.int64).reshape(-1, 2)
        place = text.find(answer) if answer else -1
        windows = []
        for first in range(0, max(len(offsets) - self.width // 2, 1), self.width // 2):
            part = offsets[first : first + self.width]
            start, end = (np.full(len(part), -35.0, np.float32) for _ in range(2))
            start[:1] = end[:1] = -30.0
            if place >= 0:
                start[part[:, 0] == place] = end[part[:, 1] == place + len(answer)] = 30.0
            windows.append(Window(number, part, start, end, 0.0))
        return windows


# Every way out of Python to the network is noted in a file, since a forked child or a caught error would hide it.
_NOTING = """
import os, sys
def note(event, arguments):
    if event.startswith("socket.") and event != "socket.gethostname" or event == "urllib.Request":
        with open(sys.argv[1], "a") as file:
            file.write(f"{event} {arguments}\\n")
        raise OSError("the network is out of bounds")
sys.addaudithook(note)
"""


def run_offline(program: str, tmp_path: Path, cache: Path) -> list[str]:
    """Run a program in a fresh process; return the words that it prints, then the modules that it has loaded.

    Asserts that it succeeds, that nothing of it or in it speaks to the user, and that it never opens a socket.
    """
    home, attempts = tmp_path / "home", tmp_path / "attempts"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "HF_HUB_OFFLINE"}}
    environment |= {"HOME": str(home), "PINCITE_CACHE": str(cache)}
    program = f"{_NOTING}{program}\nprint(*sorted(sys.modules))"
    child = subprocess.run(
        [sys.executable, "-c", program, str(attempts)], env=environment, capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr
    assert child.stderr == ""
    assert not attempts.exists(), attempts.read_text()
    assert not (home / "intel").exists()  # where OpenVINO's telemetry keeps its identity
    return child.stdout.split()


_REALTIME_COARSE = 5  # the clock of Linux that files are stamped by (clock_gettime(2))


@pytest.fixture(autouse=True, scope="session")
def no_waiting() -> Iterator[None]:
    """Wait neither for the disk, as a simulated one shows what syncs are for, nor longer for a tick than it takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        if sys.platform == "linux":
            patch.setattr(survey, "_TICK_NS", int(time.clock_getres(_REALTIME_COARSE) * 1e9))
        yield


@pytest.fixture(autouse=True, scope="session")
def models_loaded_once() -> Iterator[None]:
    """Keep the models that indexes and pipelines load by themselves, for the other tests in this process."""
    with pytest.MonkeyPatch.context() as patch:
        embedder_of = lru_cache(2)(load_embedder)
        for module in (build, store):
            patch.setattr(module, "load_embedder", embedder_of)
        patch.setattr(pipeline, "load_reader", lru_cache(2)(load_reader))
        yield


@pytest.fixture
def embedder() -> HashingEmbedder:
    return HashingEmbedder()


@pytest.fixture
def articles(tmp_path: Path) -> Path:
    """A folder of three short articles."""
    folder = tmp_path / "articles"
    folder.mkdir()
    (folder / "board.txt").write_text("The board of the club\n\nOn the board sit Ann, Bob and Cid. They meet in May.\n")
    (folder / "garden.md").write_text("# The garden\n\nRoses grow behind the house.\n\nThe pond holds three carp.\n")
    (folder / "train.txt").write_text("The train to Bern leaves at noon. It has six cars and a bar.\n")
    return folder
