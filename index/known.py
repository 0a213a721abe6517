"""What an index knows of files and their documents, looked up by path without reading all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pincite.index.contents import FileRow, SegmentContents
from pincite.index.store import Index

__all__ = ["NO_PLACES", "KnownDocuments", "known_documents", "known_files", "known_under"]

NO_PLACES = (np.empty(0, np.int64), np.empty(0, np.int64))
"""Where the documents of a file are that has none."""

_LOOKUP = 20  # finding one path in a sorted column costs about as much as reading this many in a row


def known_files(segments: Sequence[SegmentContents]) -> dict[str, FileRow]:
    """Return what is last known of each file, by path; `segments` are in the order of their commits."""
    return {row.path: row for contents in segments for row in contents.files()}


def known_under(segments: Sequence[SegmentContents], path: str) -> dict[str, FileRow]:
    """Return what is last known of the file `path`, and of the files below it if it is a folder."""
    known = {}
    for contents in segments:
        for row in (*contents.file_rows(path), *contents.file_rows_in(path)):
            file = contents.file(row)
            known[file.path] = file
    return known


class KnownDocuments:
    """The documents of one file before a sync, taken out one by one as they are met again.

    Args:
        index: where they are.
        numbers, rows: segment number and document row of each, older segments first.
    """

    def __init__(self, index: Index, numbers: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
        self._index, self._numbers, self._rows = index, numbers, rows
        self._left = np.ones(len(rows), np.bool_)
        # A file of millions of records is known by 8 bytes a record.
        hashes = np.zeros(len(rows), np.int64)
        for number in np.unique(numbers).tolist():
            of_segment = numbers == number
            wanted = rows[of_segment]
            first = int(wanted.min())
            records = index.segments[number].segment.strings("document_record", first, int(wanted.max()) + 1)
            hashes[of_segment] = [hash(records[row - first]) for row in wanted.tolist()]
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    def take(self, record: str) -> tuple[int, int] | None:
        """Return segment number and row of the newest document that is `record`, and forget it; None if none is."""
        key = hash(record)
        first, last = (int(np.searchsorted(self._hashes, key, side=side)) for side in ("left", "right"))
        for at in reversed(self._order[first:last].tolist()):
            number, row = int(self._numbers[at]), int(self._rows[at])
            if self._left[at] and self._index.segments[number].record_of(row) == record:
                self._left[at] = False
                return number, row
        return None

    def rest(self) -> Iterator[tuple[int, int]]:
        """Yield segment number and row of each document that was not taken."""
        left = np.flatnonzero(self._left)
        yield from zip(self._numbers[left].tolist(), self._rows[left].tolist(), strict=True)


def known_documents(index: Index, paths: Sequence[str]) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return the places of the documents of some files, by path; files without any are left out."""
    found: dict[str, list[tuple[int, NDArray[np.int64]]]] = {}
    wanted = set(paths)
    for number, (contents, live) in enumerate(zip(index.segments, index.live_documents, strict=True)):
        if len(wanted) * _LOOKUP < contents.file_count:
            files = [(path, row) for path in wanted for row in contents.file_rows(path)]
        else:
            names = contents.segment.strings("file_path")
            files = [(path, row) for row, path in enumerate(names) if path in wanted]
        bounds = np.searchsorted(contents.segment.array("document_file"), [[row, row + 1] for _, row in files])
        for (path, _), (first, last) in zip(files, bounds.tolist(), strict=True):
            rows = first + np.flatnonzero(live[first:last])
            if len(rows):
                found.setdefault(path, []).append((number, rows))
    return {path: _joined(parts) for path, parts in found.items()}


def _joined(parts: Sequence[tuple[int, NDArray[np.int64]]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    numbers = np.repeat([number for number, _ in parts], [len(rows) for _, rows in parts])
    return numbers, np.concatenate([rows for _, rows in parts])
