"""An index that is served: always its newest generation, synced in the background, its models loaded beforehand."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from pincite.index import Embedder, Index, PinciteError, Progress, SyncReport
from pincite.index.build import sync
from pincite.index.overview import Overview, overview
from pincite.index.survey import changes_since
from pincite.qa.pipeline import Pipeline
from pincite.qa.span_model import SpanModel, load_reader

__all__ = ["LiveIndex", "SyncState"]

_NOTHING = Progress(0, 0, 0, 0)

_KEPT_SECONDS, _KEPT_TIMES = 5.0, 20.0
"""A look at the sources is good for so many seconds, and for so many times what it took."""

_LAST_WAIT = 10.0  # seconds, for a sync to stop: it does so between two batches


@dataclass(frozen=True, slots=True)
class SyncState:
    """How far the last sync has come.

    Attributes:
        state: "idle" before the first one.
        progress: in bytes and passages.
        seconds: since it began; that it took, when it is over.
        report: what it did.
        problem: why it failed.
    """

    state: Literal["idle", "running", "done", "failed"] = "idle"
    progress: Progress = _NOTHING
    seconds: float = 0.0
    report: SyncReport | None = None
    problem: str = ""


class _StoppedError(Exception):
    """The server ends while a sync is running."""


class LiveIndex:
    """An index to answer from for as long as a server runs. Safe to use from several threads.

    Args:
        path: the folder of the index.
        embedder: what embeds; by default the model that the index was built with.
        reader: what reads; by default pincite's own.
        can_sync: whether the index may be brought in step with its sources.
        report: told, in a line, of what should not happen.

    Raises:
        PinciteError: there is no index in `path`, or it cannot be opened.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        embedder: Embedder | None = None,
        reader: SpanModel | None = None,
        can_sync: bool = True,
        report: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        self.path = os.fspath(path)
        self.can_sync = can_sync
        self.is_warm = False
        self._report = report
        self._embedder, self._reader = embedder, reader
        self._stamp = self._manifest_stamp()
        self._index = Index.open(self.path, embedder=embedder)
        self._opening, self._loading, self._syncing, self._looking = (threading.Lock() for _ in range(4))
        self._sync_state = SyncState()
        self._sync_began = 0.0
        self._changes: tuple[Index, float, dict[str, int]] | None = None
        self._overview: tuple[Index, Overview] | None = None
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def index(self) -> Index:
        """Return the newest generation; raises `PinciteError` if it cannot be opened any more."""
        stamp = self._manifest_stamp()
        if stamp != self._stamp:
            with self._opening:
                if stamp != self._stamp:
                    self._index = self._index.refresh()
                    self._stamp = stamp
        return self._index

    def pipeline(self) -> Pipeline:
        """Return what answers from the newest generation; loads the reader if that is not done."""
        index = self.index()
        with self._loading:
            if self._reader is None and index.fingerprint:
                self._reader = load_reader()
        return Pipeline(index, reader=self._reader)

    def changes(self) -> Mapping[str, int] | None:
        """Return how many files are new, changed or missing since the last sync, as of some seconds ago.

        None while a sync is running, which is about to change it.
        """
        if self._sync_state.state == "running":
            return None
        with self._looking:
            index = self.index()
            began = time.monotonic()
            if self._changes is None or self._changes[0] is not index or self._changes[1] < began:
                found = changes_since(index)
                ended = time.monotonic()
                kept = max(_KEPT_SECONDS, _KEPT_TIMES * (ended - began))
                self._changes = index, ended + kept, found
            return self._changes[2]

    def overview(self) -> Overview:
        """Return what became of the files of the newest generation."""
        with self._looking:
            index = self.index()
            if self._overview is None or self._overview[0] is not index:
                self._overview = index, overview(index)
            return self._overview[1]

    def sync_state(self) -> SyncState:
        """Return how far the last sync has come."""
        state = self._sync_state
        if state.state != "running":
            return state
        return SyncState("running", state.progress, time.monotonic() - self._sync_began)

    def start(self, *, sync_first: bool = False) -> None:
        """Load the models in the background, and sync if so asked."""
        self._run_aside(self._warm)
        if sync_first and self.can_sync:
            self.start_sync()

    def start_sync(self) -> bool:
        """Begin a sync in the background; return False if one is running."""
        with self._syncing:
            if self._sync_state.state == "running":
                return False
            self._sync_began = time.monotonic()
            self._sync_state = SyncState("running")
        self._run_aside(self._sync)
        return True

    def close(self) -> None:
        """Stop a sync, what it committed stays; wait some seconds for it."""
        self._stop.set()
        deadline = time.monotonic() + _LAST_WAIT
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run_aside(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=f"pincite{work.__name__}")
        self._threads = [*(one for one in self._threads if one.is_alive()), thread]
        thread.start()

    def _warm(self) -> None:
        # Whatever goes wrong here goes wrong again at the first question, and is told there.
        with suppress(Exception):
            if self.index().fingerprint:
                self.pipeline().ask("What is it?", 1)
        self.is_warm = True

    def _sync(self) -> None:
        try:
            index = self.index()
            embedder = index.embedder if index.fingerprint else self._embedder
            report = sync(self.path, embedder=embedder, progress=self._advance)
            self.index()
            self._end_sync("done", report=report)
        except _StoppedError:
            self._end_sync("failed", problem="Stopped; what was committed is kept.")
        except PinciteError as error:
            self._end_sync("failed", problem=" ".join(str(error).split()))
        except Exception as error:  # the thread's end: nobody else would tell of it
            self._report(error)
            self._end_sync("failed", problem="This should not happen. The server's terminal says more.")

    def _end_sync(
        self, state: Literal["done", "failed"], *, report: SyncReport | None = None, problem: str = ""
    ) -> None:
        seconds = time.monotonic() - self._sync_began
        self._sync_state = SyncState(state, self._sync_state.progress, seconds, report, problem)

    def _advance(self, progress: Progress) -> None:
        if self._stop.is_set():
            raise _StoppedError
        self._sync_state = SyncState("running", progress)

    def _manifest_stamp(self) -> tuple[int, ...]:
        """Return what changes with each commit; nothing if there is no manifest any more, which opening it tells."""
        try:
            status = os.stat(os.path.join(self.path, "manifest.json"))
        except OSError:
            return ()
        return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
