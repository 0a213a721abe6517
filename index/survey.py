"""Sources -> which files are new, changed or gone, going by their stamps; no file is read.

A stamp (size, times, inode) that is the recorded one means that the file is as it was: the times include that of the
last change of anything about the file, which no ordinary program can set back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pincite.index.contents import FileRow
from pincite.index.errors import SourceError
from pincite.index.known import known_files
from pincite.index.manifest import Source
from pincite.index.sources import Skipped, SourceFile, Stamp, find_files, find_in
from pincite.index.store import Index

__all__ = [
    "NO_STAMP",
    "Survey",
    "changes_since",
    "let_clock_tick",
    "overlapping",
    "take_survey",
    "under",
    "updated_sources",
]

NO_STAMP = Stamp(-1, -1, -1, -1)
"""The stamp of no file."""

_UNKNOWN = FileRow("", NO_STAMP, is_gone=True)

_TICK_NS = 20_000_000
"""A file changed this shortly ago may change again without a new time stamp: file systems stamp by clock ticks."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a walk through some sources found.

    Attributes:
        found: every file that was met, by path.
        stale: the files whose stamp is not the recorded one.
        skipped: what was not readable, now or when it was last tried.
        walked: the sources that are there, and the parts of others.
    """

    found: Mapping[str, SourceFile]
    stale: Sequence[SourceFile]
    skipped: Sequence[Skipped]
    walked: Sequence[Source]

    def vanished(
        self, known: Mapping[str, FileRow], dropped: Sequence[Source], sources: Sequence[Source]
    ) -> Iterator[str]:
        """Yield the known files that are in the walked sources no more, or only in dropped ones."""
        for path, row in known.items():
            is_due = under(path, self.walked) or (under(path, dropped) and not under(path, sources))
            if is_due and not row.is_gone and path not in self.found:
                yield path


def take_survey(
    root: str, sources: Sequence[Source], known: Mapping[str, FileRow], parts: Sequence[tuple[str, Source]] = ()
) -> Survey:
    """Walk some sources and compare their files with what is known.

    Args:
        root: the folder that holds the index.
        sources: to be walked whole.
        known: what is last known of each file in them.
        parts: files and folders in other sources, each with its source; of these sources nothing else is looked at.
    """
    found: dict[str, SourceFile] = {}
    stale: list[SourceFile] = []
    skipped: list[Skipped] = []
    walked: list[Source] = []
    items: list[Iterator[SourceFile | Skipped]] = []
    for source in sources:
        location = os.path.join(root, source.path)
        if not os.path.lexists(location):
            reason = "the source is not there now; its documents are kept (drop it: --remove)"
            skipped.append(Skipped(source.path, reason))
            continue
        walked.append(source)
        items.append(find_files(location, root=root, exclude=source.exclude))
    for path, source in parts:
        walked.append(Source(path))
        items.append(find_in(os.path.join(root, source.path), path, root=root, exclude=source.exclude))
    for found_in_one in items:
        for item in found_in_one:
            if isinstance(item, Skipped):
                skipped.append(item)
            elif item.path not in found:
                found[item.path] = item
                row = known.get(item.path)
                if row is None or row.stamp != item.stamp:
                    stale.append(item)
                else:
                    skipped += row.skipped
    return Survey(found, stale, skipped, walked)


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


def changes_since(index: Index) -> dict[str, int]:
    """Return how many files are `new`, `changed` or `missing` since the index was last brought in step."""
    known = known_files(index.segments)
    survey = take_survey(os.path.dirname(os.path.abspath(index.path)), index.sources, known)
    new = sum(known.get(file.path, _UNKNOWN).is_gone for file in survey.stale)
    missing = sum(not row.is_gone and path not in survey.found for path, row in known.items())
    return {"new": new, "changed": len(survey.stale) - new, "missing": missing}


def let_clock_tick(files: Sequence[SourceFile]) -> None:
    """Wait until a later change of any of `files` would show in its stamp."""
    newest = max(max(file.stamp.mtime_ns, file.stamp.ctime_ns) for file in files)
    age = time.time_ns() - newest
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
