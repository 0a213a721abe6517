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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pincite.index.build import sync
from pincite.index.errors import PinciteError, SourceError
from pincite.index.manifest import Source, read_manifest
from pincite.index.reports import SyncReport
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
        watcher.end_listening()


def _listen_to(folders: list[str], heard: queue.SimpleQueue[set[str] | Exception]) -> Callable[[], None]:
    """Put the system's notices of changes in some folders into a queue, in a thread; return what ends it."""
    from watchfiles._rust_notify import RustNotify  # documented under "Rust backend direct usage"

    rust = RustNotify(folders, False, False, 1000, False, False)
    stop = threading.Event()

    def listen() -> None:
        try:
            # With a timeout, what comes just before it would be lost.
            while isinstance(changes := rust.watch(1000, 50, 0, stop), set):
                heard.put({path for _, path in changes})
        except Exception as error:  # handed over to whoever reads the queue
            heard.put(error)

    thread = threading.Thread(target=listen, name="pincite-watch", daemon=True)
    thread.start()

    def end() -> None:
        stop.set()
        thread.join()
        rust.close()

    return end


class _Watcher:
    """The state of one `watch`; sources go by their locations."""

    def __init__(
        self, folder: str, debounce: float, poll: float, sweep: float, stop: threading.Event, sync: Sync
    ) -> None:
        self.folder = folder
        self.root = os.path.dirname(os.path.abspath(folder))
        self.debounce, self.poll, self.sweep = debounce, poll, sweep
        self.stop = stop
        self.sync = sync
        self.sources = self._known()
        self.present: dict[str, Presence | None] = {}
        self.held: set[str] = set()  # sources taken for unmounted
        self.scope = Scope(self.root, folder)
        self.end_listening: Callable[[], None] = lambda: None
        self.heard: queue.SimpleQueue[set[str] | Exception] = queue.SimpleQueue()
        self.deaf = ""  # why the system's notices are done without until the next sweep
        self.anew = self.everything = True  # the scope is to be taken again, all to be synced
        self.due: set[str] = set()
        self.wait = 1.0  # seconds after the next failure
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
                self.deaf = ""
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

    def _known(self) -> Mapping[str, Source]:
        sources = read_manifest(self.folder).sources
        return {os.path.normpath(os.path.join(self.root, source.path)): source for source in sources}

    def _there(self) -> list[str]:
        return [location for location in self.sources if self.present.get(location) and location not in self.held]

    def _look(self) -> Iterator[Notice]:
        """See which sources there are, and which of them are there."""
        self.next_look = time.monotonic() + _LOOK
        sources, before, held = self.sources, self.present, self.held
        with suppress(PinciteError):  # the next sync says so
            self.sources = self._known()
        self.present = {location: presence(location) for location in self.sources}
        self.held = {place for place in held if self.present.get(place) == before[place] and is_empty(place)}
        if (sources, before, held) != (self.sources, self.present, self.held):
            self.anew = self.everything = True
        for location, now in self.present.items():
            was = before.get(location, now)
            if was and now and was[0] != now[0] and is_empty(location):
                self.held.add(location)
                yield Notice(
                    f"{self.sources[location].path} is empty, and on another disk than before: taken for unmounted, "
                    f"its documents are kept."
                )
            elif now and not was:
                yield Notice(f"{self.sources[location].path} is there again.")

    def _watch_anew(self) -> Iterator[Notice]:
        """Take the scope again; listen to it before nobody listens to what was there before."""
        self.anew = False
        end, why = None, self.deaf
        for _ in range(_TRIES):
            scope = take_scope(self.root, self.folder, [self.sources[location] for location in self._there()])
            if not scope.folders or self.deaf:
                break
            try:
                end = _listen_to(list(scope.folders), self.heard)
                break
            except FileNotFoundError as error:  # removed since the walk
                why = str(error)
            except (OSError, RuntimeError) as error:  # too many folders, or too many programs that watch
                why = str(error)
                break
        if scope.folders and not end:
            scope.unwatchable = dict.fromkeys(scope.states, " ".join(why.split())[:_LONGEST_REASON]) | scope.unwatchable
        self.end_listening()
        self.scope, self.end_listening = scope, end or (lambda: None)
        self.due |= scope.unwatchable.keys()
        self.next_poll = time.monotonic() + self.poll
        for location, reason in scope.unwatchable.items():
            notice = (
                f"Cannot watch {self.sources[location].path}: {reason}. "
                f"Its files are looked at every {self.poll:g} s instead, or less often if that takes long."
            )
            if notice not in self.told:
                self.told.add(notice)
                yield Notice(notice)

    def _poll(self) -> None:
        """Compare the states of the sources that cannot be watched with those of the last time."""
        started = time.monotonic()
        for location in self._there():
            if location in self.scope.unwatchable:
                now = take_scope(self.root, self.folder, [self.sources[location]]).states.get(location)
                if now and now != self.scope.states[location]:
                    self.scope.states[location] = now
                    self.due.add(location)
        self.next_poll = _later(started, self.poll, _SHARE)

    def _bring_in_step(self) -> Iterator[SyncReport | Notice]:
        """Sync what is due."""
        started = time.monotonic()
        everything, self.everything = self.everything, False
        names = sorted(self.due)
        if everything:
            names = self._there() if self.held else []
            self.next_sweep = started + self.sweep
        self.due.clear()
        if self.held and not names:
            return
        try:
            read_manifest(self.folder)  # else a sync with names would build a new index of these
            report = self.sync(self.folder, names)
        except PinciteError as error:
            self.everything = True
            if isinstance(error, SourceError) and not everything:
                return  # a file came and went, which was never in the index
            self.not_before = time.monotonic() + self.wait
            self.wait = min(2 * self.wait, _LONGEST_WAIT)
            before, self.failure = self.failure, " ".join(str(error).split())
            if self.failure != before:
                yield Notice(f"{self.failure} Watching goes on.")
            return
        self.wait, self.failure = 1.0, ""
        if everything:
            self.next_sweep = _later(started, self.sweep, _SWEEP_SHARE)
        yield report

    def _listen(self) -> None:
        """Wait for changes, and then until there are none for a while."""
        quiet_at, latest = time.monotonic() + _TICK, math.inf
        while (left := min(quiet_at, latest) - time.monotonic()) > 0 and not self.stop.is_set():
            try:
                heard = self.heard.get(timeout=min(left, _TICK))
            except queue.Empty:
                continue
            if isinstance(heard, RuntimeError):  # as at a name that is no UTF-8
                self.deaf = "the system fails to tell of changes"
                self.anew = self.everything = True
                return
            if isinstance(heard, Exception):
                raise heard
            due, anew = self.scope.due(heard)
            self.due |= due
            self.anew |= anew
            if len(self.due) > _FEW:
                self.everything = True
                self.due.clear()
            if due or anew:
                quiet_at = time.monotonic() + self.debounce
                latest = min(latest, time.monotonic() + _PATIENCE * self.debounce)


def _later(started: float, seconds: float, share: int) -> float:
    """Return when to do again what has begun at `started`: of the time, at most one part in `share` goes into it."""
    ended = time.monotonic()
    return ended + max(seconds, share * (ended - started))
