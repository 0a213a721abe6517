"""Watching: sync at once, and again whenever a source has changed, for as long as somebody iterates.

What the system tells is believed, but never relied upon: the notices of a full queue, a network disk or a folder that
was unmounted do not come. So sources that cannot be watched are looked at every few seconds, the presence of all is,
and every ten minutes all files are compared by their stamps.
"""

from __future__ import annotations

import math
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pincite.index.build import SyncReport, sync
from pincite.index.errors import PinciteError, SourceError
from pincite.index.manifest import Source, read_manifest
from pincite.index.scope import Presence, Scope, is_empty, presence, take_scope

__all__ = ["Notice", "Sync", "watch"]

Sync = Callable[[str, Sequence[str]], SyncReport]
"""Brings the index in a folder in step with some of its sources or files, or with all sources if none are named."""

_FEW = 64  # changed files up to which these are synced, and no source is walked
_TICK = 0.25  # seconds after which a stop is seen
_LOOK = 1.0  # seconds between two looks whether the sources are there
_LONGEST_WAIT = 60.0  # seconds, after many failures
_PATIENCE = 20  # times the debounce time that a burst of changes may take before it is synced nevertheless
_SHARE = 20  # of the time goes into looking at what cannot be watched at most one part in so many
_SWEEP_SHARE = 100  # the same for looking at all files
_DEAF_TIMES, _DEAF_SECONDS = 3, 60.0  # so many failures of the system's notices, and they are done without
_LONGEST_REASON = 200  # characters
_TRIES = 5  # to watch folders that come and go meanwhile


@dataclass(frozen=True, slots=True)
class Notice:
    """What a watcher has to say besides its reports; the message is one line."""

    message: str


def watch(
    path: str | os.PathLike[str],
    *,
    debounce: float = 0.5,
    poll: float = 2.0,
    sweep: float = 600.0,
    stop: threading.Event | None = None,
    sync: Sync = sync,
) -> Iterator[SyncReport | Notice]:
    """Keep the index in the folder `path` in step with its sources; yield a report after each sync.

    A sync that fails with a `PinciteError` is a notice, and is tried again after a while that grows up to a minute.

    Args:
        path: the folder of an index.
        debounce: seconds without a change after which changes are synced.
        poll: seconds between two looks at sources that cannot be watched, more if a look takes long.
        sweep: seconds between two looks at all files, in case that a change was not noticed.
        stop: ends the iteration within a second once it is set; without it, only closing the iterator does.
        sync: what to call for each sync, first of all with every source.

    Raises:
        IndexNotFoundError: there is no index.
        IndexFormatError: it is damaged or of another version.
    """
    watcher = _Watcher(os.fspath(path), debounce, poll, sweep, stop or threading.Event(), sync)
    try:
        yield from watcher.run()
    finally:
        watcher.close()


class _Ears:
    """Notices of the system about changes in some folders, put into a queue by a thread of their own."""

    def __init__(self, folders: Sequence[str], heard: queue.SimpleQueue[set[str] | Exception]) -> None:
        from watchfiles._rust_notify import RustNotify  # documented under "Rust backend direct usage"

        self._rust = RustNotify(list(folders), False, False, 1000, False, False)
        self._heard = heard
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="pincite-watch", daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            # With a timeout, what comes just before it would be lost.
            while isinstance(changes := self._rust.watch(1000, 50, 0, self._stop), set):
                self._heard.put({path for _, path in changes})
        except Exception as error:  # handed over to whoever reads the queue
            self._heard.put(error)

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()
        self._rust.close()


class _Watcher:
    """The state of one `watch`."""

    def __init__(
        self, folder: str, debounce: float, poll: float, sweep: float, stop: threading.Event, sync: Sync
    ) -> None:
        self.folder = folder
        self.root = os.path.dirname(os.path.abspath(folder))
        self.debounce, self.poll, self.sweep = debounce, poll, sweep
        self.stop = stop
        self.sync = sync
        self.sources = read_manifest(folder).sources
        self.present: dict[str, Presence | None] = {}
        self.held: set[str] = set()  # sources taken for unmounted
        self.scope = Scope(self.root, folder)
        self.ears: _Ears | None = None
        self.heard: queue.SimpleQueue[set[str] | Exception] = queue.SimpleQueue()
        self.deaf_at: list[float] = []
        self.anew = True  # the scope is to be taken again
        self.everything = True
        self.due: set[str] = set()
        self.failures = 0
        self.failure = ""  # the last one's message
        self.told: set[str] = set()  # notices that are given once
        self.not_before = self.next_look = self.next_poll = 0.0
        self.next_sweep = math.inf  # until everything was synced once

    def run(self) -> Iterator[SyncReport | Notice]:
        """Look, sync and listen, in turn."""
        while not self.stop.is_set():
            now = time.monotonic()
            if now >= self.next_sweep:
                self.everything = self.anew = True
            is_due = (self.everything or bool(self.due)) and now >= self.not_before
            if is_due or now >= self.next_look:
                yield from self._look()
            if self.anew and now >= self.not_before:
                yield from self._watch_anew()
            if now >= self.next_poll:
                self._poll()
            if is_due:
                yield from self._bring_in_step()
            else:
                self._listen()

    def close(self) -> None:
        """Stop listening."""
        if self.ears:
            self.ears.close()
        self.ears = None

    def _location(self, source: Source) -> str:
        return os.path.normpath(os.path.join(self.root, source.path))

    def _look(self) -> Iterator[Notice]:
        """See which sources there are, and which of them are there."""
        self.next_look = time.monotonic() + _LOOK
        with suppress(PinciteError):  # the next sync says so
            sources = read_manifest(self.folder).sources
            if sources != self.sources:
                self.sources = sources
                self.anew = self.everything = True
        for source in self.sources:
            location = self._location(source)
            before, now = self.present.get(location), presence(location)
            is_first = location not in self.present
            self.present[location] = now
            if location in self.held and (now != before or not is_empty(location)):
                self.held.remove(location)
                self.anew = self.everything = True
            if now == before or is_first:
                continue
            self.anew = self.everything = True
            if before and now and before[0] != now[0] and is_empty(location):
                self.held.add(location)
                yield Notice(
                    f"{source.path} is empty, and on another disk than before: taken for unmounted, its documents "
                    f"are kept."
                )
            elif not before:
                yield Notice(f"{source.path} is there again.")

    def _watch_anew(self) -> Iterator[Notice]:
        """Take the scope again; listen to it before nobody listens to what was there before."""
        self.anew = False
        there = {self._location(source): source for source in self.sources if self._is_there(self._location(source))}
        self.deaf_at = [at for at in self.deaf_at if time.monotonic() - at < _DEAF_SECONDS]
        ears, why = None, "the system fails to tell of changes"
        for _ in range(_TRIES):
            scope = take_scope(self.root, self.folder, list(there.values()))
            if not scope.folders or len(self.deaf_at) >= _DEAF_TIMES:
                break
            try:
                ears = _Ears(list(scope.folders), self.heard)
                break
            except FileNotFoundError as error:  # removed since the walk
                why = str(error)
            except (OSError, RuntimeError) as error:  # too many folders, or too many programs that watch
                why = str(error)
                break
        if scope.folders and not ears:
            scope.unwatchable = dict.fromkeys(scope.states, " ".join(why.split())[:_LONGEST_REASON])
        self.due |= {
            location
            for location in scope.unwatchable
            if location not in self.scope.unwatchable or self.scope.states[location] != scope.states[location]
        }
        self.close()
        self.scope, self.ears = scope, ears
        self.next_poll = time.monotonic() + self.poll
        for location, reason in scope.unwatchable.items():
            notice = (
                f"Cannot watch {there[location].path}: {reason}. "
                f"Its files are looked at every {self.poll:g} s instead, or less often if that takes long."
            )
            if notice not in self.told:
                self.told.add(notice)
                yield Notice(notice)

    def _is_there(self, location: str) -> bool:
        return location not in self.held and self.present.get(location) is not None

    def _poll(self) -> None:
        """Compare the states of the sources that cannot be watched with those of the last time."""
        started = time.monotonic()
        for source in self.sources:
            location = self._location(source)
            if location in self.scope.unwatchable and self._is_there(location):
                now = take_scope(self.root, self.folder, [source]).states.get(location)
                if now and now != self.scope.states[location]:
                    self.scope.states[location] = now
                    self.due.add(location)
        ended = time.monotonic()
        self.next_poll = ended + max(self.poll, _SHARE * (ended - started))

    def _bring_in_step(self) -> Iterator[SyncReport | Notice]:
        """Sync what is due."""
        started = time.monotonic()
        everything = self.everything
        names = [] if everything else sorted(self.due)
        if everything and self.held:
            names = [location for location in map(self._location, self.sources) if self._is_there(location)]
        self.due.clear()
        self.everything = False
        if everything:
            self.next_sweep = started + self.sweep
        if everything and self.held and not names:
            return
        try:
            read_manifest(self.folder)  # else a sync with names would build a new index of these
            report = self._sync(names)
        except PinciteError as error:
            self.everything = True
            self.failures += 1
            self.not_before = time.monotonic() + min(2.0 ** (self.failures - 1), _LONGEST_WAIT)
            message = " ".join(str(error).split())
            if message != self.failure:
                self.failure = message
                yield Notice(f"{message} Watching goes on.")
            return
        self.failure, self.failures = "", 0
        ended = time.monotonic()
        if everything:
            self.next_sweep = ended + max(self.sweep, _SWEEP_SHARE * (ended - started))
        yield report

    def _sync(self, names: Sequence[str]) -> SyncReport:
        try:
            return self.sync(self.folder, names)
        except SourceError:
            if not names or self.held:
                raise
            return self.sync(self.folder, [])  # a file that came and went, which was never in the index

    def _listen(self) -> None:
        """Wait for changes, and then until there are none for a while."""
        quiet_at, latest = time.monotonic() + _TICK, math.inf
        while (left := min(quiet_at, latest) - time.monotonic()) > 0 and not self.stop.is_set():
            try:
                heard = self.heard.get(timeout=min(left, _TICK))
            except queue.Empty:
                continue
            if isinstance(heard, Exception):
                self._lose_ears(heard)
                return
            due, anew = self.scope.due(heard)
            self.due |= due
            self.anew |= anew
            if len(self.due) > _FEW:
                self.everything = True
                self.due.clear()
            if due or anew:
                quiet_at = time.monotonic() + self.debounce
                latest = min(latest, time.monotonic() + _PATIENCE * self.debounce)

    def _lose_ears(self, error: Exception) -> None:
        """Listen anew after the system's notices have failed, as they do at a name that is no UTF-8."""
        if not isinstance(error, RuntimeError):
            raise error
        self.deaf_at.append(time.monotonic())
        self.anew = self.everything = True
