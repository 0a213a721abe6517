"""The commit: whatever fails in it, the old state or the new one is there, and the next sync succeeds."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pincite.index import Index, PinciteError, disk, verify
from tests.conftest import HashingEmbedder


class Crash(BaseException):
    """The process dies here: nothing after it runs, no clean-up either."""


class Faults:
    """Counts the changes to the file system and lets one of them fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, failure: BaseException) -> None:
        self.count = 0
        self.at = at
        self.failure = failure
        self.dead = False
        for name in ("_write", "fsync", "rename", "sync_folder", "unlink"):
            monkeypatch.setattr(disk, name, self.wrapped(name, getattr(disk, name)))

    def wrapped(self, name: str, call: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object) -> object:
            if self.dead:
                return 0
            self.count += 1
            if self.count != self.at:
                return call(*arguments)
            if name == "_write":
                file, block = arguments
                assert isinstance(file, int) and isinstance(block, bytes | memoryview)
                os.write(file, bytes(block)[: len(block) // 2])  # torn
            self.dead = isinstance(self.failure, Crash)
            raise self.failure

        return counted


FAILURES = [Crash(), OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EIO, "Input/output error")]


def state(folder: Path) -> dict[str, str]:
    index = Index.open(folder / ".pincite")
    assert list(verify(index)) == [] or all(not problem.damage for problem in verify(index))
    return {Path(document.path).name: document.text for document in index.documents()}


@pytest.mark.parametrize("failure", FAILURES, ids=["crash", "full disk", "broken disk"])
def test_any_failed_step_leaves_the_old_or_the_new_state(
    articles: Path, embedder: HashingEmbedder, failure: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    Index.sync(articles / ".pincite", [articles], embedder=embedder)
    old = state(articles)
    shutil.copytree(articles / ".pincite", articles.parent / "before")
    (articles / "train.txt").write_text("The train to Bern leaves at one.")
    (articles / "garden.md").unlink()
    (articles / "boat.txt").write_text("The boat to Thun leaves at two.")
    new = {path.name: path.read_text() for path in articles.glob("*.*") if path.is_file()}
    outcomes = set()
    step = 0
    while True:
        step += 1
        shutil.rmtree(articles / ".pincite")
        shutil.copytree(articles.parent / "before", articles / ".pincite")
        with monkeypatch.context() as patch:
            faults = Faults(patch, step, failure)
            with suppress(Crash, PinciteError):
                Index.sync(articles / ".pincite", embedder=embedder)
            if faults.count < step:
                break
        found = state(articles)
        assert found in (old, new), step
        outcomes.add(found == new)
        assert Index.sync(articles / ".pincite", embedder=embedder).stats().documents == 3
        assert state(articles) == new
        kept = {entry.name for entry in Index.open(articles / ".pincite").manifest.segments}
        assert {path.name for path in (articles / ".pincite").iterdir()} == kept | {"FORMAT", "LOCK", "manifest.json"}
    assert step > 8 and outcomes == {True, False}


@pytest.mark.parametrize("failure", FAILURES, ids=["crash", "full disk", "broken disk"])
def test_any_failed_step_of_the_first_sync_can_be_repeated(
    articles: Path, embedder: HashingEmbedder, failure: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = 0
    while True:
        step += 1
        shutil.rmtree(articles / ".pincite", ignore_errors=True)
        with monkeypatch.context() as patch:
            faults = Faults(patch, step, failure)
            with suppress(Crash, PinciteError):
                Index.sync(articles / ".pincite", [articles], embedder=embedder)
            if faults.count < step:
                break
        index = Index.sync(articles / ".pincite", [articles], embedder=embedder)
        assert index.stats().documents == 3
        assert list(verify(index)) == []
    assert step > 8
