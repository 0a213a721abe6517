"""Adding segments to an index, merging and committing them; whoever uses this holds the lock.

What is added is on the disk at once, and part of the index from the next commit on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pincite.index import disk
from pincite.index.contents import KEY_COLUMNS, SegmentContents
from pincite.index.errors import IndexFormatError, PinciteError
from pincite.index.manifest import (
    Manifest,
    SegmentEntry,
    commit,
    create,
    damage,
    new_segment_path,
    orphans,
    read_manifest,
    remove_orphans,
    writer,
)
from pincite.index.merge import LARGEST, all_runs, merge_segments, next_run
from pincite.index.segment import Segment, write_segment
from pincite.index.segment_columns import encode_vectors
from pincite.index.store import Index, check_chunker, open_segments

__all__ = ["Writer", "compact"]


def compact(folder: str) -> None:
    """Rewrite the index in `folder` without what is gone from it, in as few segments as may be."""
    read_manifest(folder)  # before a lock is made where there is no index
    with writer(folder):
        manifest = read_manifest(folder)
        check_chunker(folder, manifest.fingerprint)
        Writer(folder, manifest).compact()


class Writer:
    """The next generation of an index.

    Attributes:
        manifest: what the next commit will make the newest generation.
        segments: the open segments of `manifest`.

    Raises:
        IndexFormatError: a segment is missing or damaged.
    """

    def __init__(self, folder: str, manifest: Manifest, *, is_new: bool = False) -> None:
        self.folder = folder
        self.manifest = manifest
        try:
            self.segments = open_segments(folder, manifest)
        except FileNotFoundError as error:
            raise damage(folder, f"{os.path.basename(error.filename)} is missing") from error
        self._is_new = is_new
        self._kept: set[str] = set()
        self._ahead: list[str] = []
        self._added = 0

    def add(self, columns: Iterable[tuple[str, NDArray[Any]]]) -> None:
        """Write a segment with some columns, each with its name, as the newest."""
        self._begin()
        self._replace(range(len(self.segments), len(self.segments)), columns)
        self._added += self.segments[-1].passages
        while self._ahead:
            disk.unlink(self._ahead.pop())

    def write_ahead(self, keys: Sequence[bytes], vectors: NDArray[np.float16], embedder: str) -> None:
        """Write vectors of the next segment, so that an interruption does not cost them, if the disk allows."""
        self._begin()
        path = new_segment_path(self.folder)
        with suppress(OSError):
            write_segment(path, encode_vectors(keys, vectors, embedder).items())
            self._ahead.append(path)

    def commit(self) -> None:
        """Make what was added the newest generation."""
        self._begin()
        self.manifest = commit(self.folder, self.manifest)

    def _begin(self) -> None:
        if self._is_new:
            create(self.folder)
            self._is_new = False

    def clean(self) -> None:
        """Remove files that no commit refers to any more."""
        remove_orphans(self.folder, self.manifest, self._kept)

    def take_orphans(self, committed: Manifest) -> list[SegmentContents]:
        """Return what an interrupted writer embedded and did not come to commit; `drop_orphans` removes it."""
        found = []
        for name in orphans(self.folder, committed):
            with suppress(IndexFormatError, OSError):
                contents = SegmentContents(name, Segment(os.path.join(self.folder, name)))
                for column in KEY_COLUMNS:
                    contents.segment.check(column)
                found.append(contents)
        self._kept = {contents.name for contents in found}
        remove_orphans(self.folder, committed, self._kept)
        return found

    def drop_orphans(self) -> None:
        """Remove what `take_orphans` kept."""
        self._kept = set()
        self.clean()

    def merge(self, first: int = 0, *, is_committed: bool = True) -> None:
        """Merge what the policy says is due, each time in a commit of its own unless all is to be one commit.

        No more is rewritten than was added, and `LARGEST` passages: what is left is due again at the next occasion. If
        the disk refuses, for want of space maybe, merging is put off as well: the index is whole without.

        Args:
            first: the first segment that may be merged.
            is_committed: nothing waits to be committed.
        """
        allowed = LARGEST + self._added
        while True:
            written, live = self._counts()
            run = next_run(written[first:], live[first:])
            if run is None:
                return
            run = range(run.start + first, run.stop + first)
            allowed -= sum(live[run.start : run.stop])
            if allowed < 0:
                return
            merged = [contents.segment.path for contents in self.segments[run.start : run.stop]]
            try:
                self._merge(run)
            except PinciteError as error:
                if isinstance(error.__cause__, OSError):
                    return
                raise
            if is_committed:
                self.commit()
                self.clean()
            else:
                for path in merged:
                    disk.unlink(path)

    def compact(self) -> None:
        """Merge all segments into as few as may be, without anything that is gone; commit each merge."""
        written, live = self._counts()
        for run in reversed(all_runs(written, live)):
            self._merge(run)
            self.commit()
            self.clean()

    def _counts(self) -> tuple[list[int], list[int]]:
        """Return the passages of each segment as written, and those that are live."""
        index = Index(self.folder, self.manifest, self.segments, None)
        live = []
        for contents, mask in zip(self.segments, index.live_documents, strict=True):
            sizes = np.diff(contents.segment.array("document_passages"))
            live.append(int(sizes[mask].sum()))
        return [contents.passages for contents in self.segments], live

    def _merge(self, run: range) -> None:
        index = Index(self.folder, self.manifest, self.segments, None)
        self._replace(run, merge_segments(self.segments, run, index.live_documents))

    def _replace(self, run: range, columns: Iterable[tuple[str, NDArray[Any]]] | None) -> None:
        """Put a segment with some columns, or none, in the place of others."""
        entries = list(self.manifest.segments)
        if columns is None:
            entries[run.start : run.stop] = []
            self.segments[run.start : run.stop] = []
        else:
            path = new_segment_path(self.folder)
            with disk.explained(self.folder):
                size, checksum = write_segment(path, columns)
            contents = SegmentContents(os.path.basename(path), Segment(path, size, checksum))
            entry = SegmentEntry(contents.name, size, checksum, contents.documents, contents.passages)
            entries[run.start : run.stop] = [entry]
            self.segments[run.start : run.stop] = [contents]
        self.manifest = replace(self.manifest, segments=tuple(entries))
