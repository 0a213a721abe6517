"""Sources -> which files are new, changed or gone, going by their stamps; no file is read.

A stamp (size, times, inode) that is the recorded one means that the file is as it was: the times include that of the
last change of anything about the file, which no ordinary program can set back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from pincite.index.contents import FileRow
from pincite.index.errors import SourceError
from pincite.index.known import known_files
from pincite.index.manifest import Source
from pincite.index.sources import Skipped, SourceFile, Stamp, find_files, find_in
from pincite.index.store import Index

__all__ = [
    "NO_STAMP",
    "Stale",
    "Survey",
    "changes_since",
    "let_clock_tick",
    "look_at_sources",
    "overlapping",
    "take_survey",
    "under",
    "updated_sources",
]

NO_STAMP = Stamp(-1, -1, -1, -1)
"""The stamp of no file."""

_TICK_NS = 20_000_000
"""A file changed this shortly ago may change again without a new time stamp: file systems stamp by clock ticks."""


_MOST_KEPT = 10_000
"""Stale files that are kept in memory; more are found again by a second walk."""


@dataclass(frozen=True, slots=True)
class Stale:
    """The files whose stamp is not the recorded one, in the order of the walk.

    Attributes:
        count: how many there are; `new`: how many of them are not known.
        size: bytes of all.
        newest_ns: the time of the latest change of any, in nanoseconds since 1970.
        files: gives them each time it is called. What changes meanwhile is left to the next survey.
    """

    count: int
    new: int
    size: int
    newest_ns: int
    files: Callable[[], Iterator[SourceFile]]


@dataclass(frozen=True, slots=True)
class Survey:
    """What a walk through some sources found.

    Attributes:
        met: the known files that are still there.
        stale: the files that are not as recorded.
        skipped: what was not readable, now or when it was last tried.
        walked: the sources that are there, and the parts of others.
    """

    met: Collection[str]
    stale: Stale
    skipped: Sequence[Skipped]
    walked: Sequence[Source]

    def vanished(
        self, known: Mapping[str, FileRow], dropped: Sequence[Source], sources: Sequence[Source]
    ) -> Iterator[str]:
        """Yield the known files that are in the walked sources no more, or only in dropped ones."""
        for path, row in known.items():
            is_due = under(path, self.walked) or (under(path, dropped) and not under(path, sources))
            if is_due and not row.is_gone and path not in self.met:
                yield path


def take_survey(
    root: str,
    sources: Sequence[Source],
    known: Mapping[str, FileRow],
    parts: Sequence[tuple[str, Source]] = (),
    *,
    read_all: bool = False,
) -> Survey:
    """Walk some sources and compare their files with what is known.

    Args:
        root: the folder that holds the index.
        sources: to be walked whole.
        known: what is last known of each file in them.
        parts: files and folders in other sources, each with its source; of these sources nothing else is looked at.
        read_all: every file counts as stale.
    """
    skipped: list[Skipped] = []
    walked: list[Source] = []
    finds: list[Callable[[], Iterator[SourceFile | Skipped]]] = []
    for source in sources:
        location = os.path.join(root, source.path)
        if not os.path.lexists(location):
            reason = "the source is not there now; its documents are kept (drop it: --remove)"
            skipped.append(Skipped(source.path, reason))
            continue
        walked.append(source)
        finds.append(partial(find_files, location, root=root, exclude=source.exclude))
    for path, source in parts:
        walked.append(Source(path))
        finds.append(partial(find_in, os.path.join(root, source.path), path, root=root, exclude=source.exclude))

    def is_stale(file: SourceFile) -> bool:
        row = known.get(file.path)
        return read_all or row is None or row.stamp != file.stamp

    met: set[str] = set()
    kept: list[SourceFile] = []
    count = new = size = newest_ns = 0
    for item in _each_once([find() for find in finds]):
        if isinstance(item, Skipped):
            skipped.append(item)
            continue
        row = known.get(item.path)
        if row is not None:
            met.add(row.path)
            if not is_stale(item):
                skipped += row.skipped
                continue
        count, size = count + 1, size + item.stamp.size
        new += row is None or row.is_gone or row.stamp == NO_STAMP
        newest_ns = max(newest_ns, item.stamp.mtime_ns, item.stamp.ctime_ns)
        if count <= _MOST_KEPT:
            kept.append(item)

    def again() -> Iterator[SourceFile]:
        for item in _each_once([_still_there(find) for find in finds]):
            if (
                isinstance(item, SourceFile)
                and max(item.stamp.mtime_ns, item.stamp.ctime_ns) <= newest_ns
                and is_stale(item)
            ):
                yield item

    files = partial(iter, kept) if count <= _MOST_KEPT else again
    if count > _MOST_KEPT:
        kept.clear()
    return Survey(met, Stale(count, new, size, newest_ns, files), skipped, walked)


def _each_once(finds: Sequence[Iterator[SourceFile | Skipped]]) -> Iterator[SourceFile | Skipped]:
    """Yield what several walks find, each file once."""
    if len(finds) == 1:
        yield from finds[0]
        return
    found: set[str] = set()
    for find in finds:
        for item in find:
            if isinstance(item, Skipped):
                yield item
            elif item.path not in found:
                found.add(item.path)
                yield item


def _still_there(find: Callable[[], Iterator[SourceFile | Skipped]]) -> Iterator[SourceFile | Skipped]:
    try:
        yield from find()
    except SourceError:  # it was there a moment ago
        return


def updated_sources(
    sources: Sequence[Source], named: Sequence[Source], dropped: Sequence[Source], exclude: Sequence[str] | None
) -> tuple[Source, ...]:
    """Return `sources` without the dropped and with the named ones; without `exclude`, known ones keep theirs.

    Raises:
        SourceError: a source is to be dropped that is none.
    """
    updated = {source.path: source for source in sources}
    for source in dropped:
        if source.path not in updated:
            known = ", ".join(updated) or "none"
            raise SourceError(f"{source.path} is not a source of this index. Its sources: {known}.")
        del updated[source.path]
    for source in named:
        kept = updated.get(source.path)
        updated[source.path] = kept if kept and exclude is None else source
    return tuple(updated.values())


def overlapping(sources: Sequence[Source], touched: Sequence[Source]) -> list[Source]:
    """Return those of `sources` that are, hold or lie in one of `touched`."""
    return [
        source
        for source in sources
        if under(source.path, touched) or any(under(other.path, [source]) for other in touched)
    ]


def look_at_sources(index: Index) -> Survey:
    """Walk all sources of an index and compare their files with what it knows; nothing is read."""
    return take_survey(os.path.dirname(os.path.abspath(index.path)), index.sources, known_files(index.segments))


def changes_since(index: Index, survey: Survey | None = None) -> dict[str, int]:
    """Return how many files are `new`, `changed` or `missing` since the index was last brought in step.

    Args:
        index: an open index.
        survey: what `look_at_sources` found; None to look now.
    """
    survey = survey or look_at_sources(index)
    known = known_files(index.segments)
    missing = sum(not row.is_gone and path not in survey.met for path, row in known.items())
    return {"new": survey.stale.new, "changed": survey.stale.count - survey.stale.new, "missing": missing}


def let_clock_tick(newest_ns: int) -> None:
    """Wait until a later change of any file would show in its stamp; `newest_ns` is the time of the latest one."""
    age = time.time_ns() - newest_ns
    if 0 <= age < _TICK_NS:
        time.sleep(_TICK_NS / 1e9)


def under(path: str, sources: Sequence[Source]) -> bool:
    """Return whether `path` is one of `sources` or lies in one of them.

    >>> under("notes/a.txt", [Source("notes")]), under("notes.txt", [Source("notes")])
    (True, False)
    """
    return any(
        path == source.path
        or path.startswith(f"{source.path.rstrip('/')}/")
        or (source.path == "." and not path.startswith("/"))
        for source in sources
    )
