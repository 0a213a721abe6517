"""What a segment holds: files, their documents, the passages of those, and which older documents are gone.

`segment_columns.py` makes these columns, the store reads them. Files are sorted by path and documents by file, so that
both are found without reading all; the newest row of a path says what was last known of that file. Text is kept once a
document, as UTF-8, and a passage is a range of it.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pincite.index.extracted import Mark, mark_at
from pincite.index.passage import Document, Passage, Span
from pincite.index.segment import Segment, row_checksums
from pincite.index.sources import Skipped, Stamp

__all__ = ["KEY_COLUMNS", "FileRow", "Place", "SegmentContents", "path_key"]

KEY_COLUMNS = ("key_sorted", "key_row", "passage_key", "vector_crc")
"""The columns by which vectors are found and checked."""


@dataclass(frozen=True, slots=True)
class FileRow:
    """What is known of a file: its stamp when it was read, and what of it was skipped, if anything."""

    path: str
    stamp: Stamp
    is_gone: bool = False
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a passage stands: as in its `Document`, and the 1-based line and the mark in which it begins."""

    path: str
    title: str
    line: int
    format: str = ""
    unit: str = ""
    mark: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


def path_key(path: str) -> bytes:
    """Return what the files of a segment are sorted by."""
    return path.encode("utf-8", "surrogateescape")


def _marks(text: str) -> tuple[str, tuple[Mark, ...]]:
    """Return unit and marks of a document."""
    unit, *marks = json.loads(text) if text else [""]
    return unit, tuple(Mark(*mark) for mark in marks)


def _file_row(path: str, stamp: Sequence[int], is_gone: int, skipped: str) -> FileRow:
    skips = tuple(Skipped(*item) for item in json.loads(skipped)) if skipped else ()
    return FileRow(path, Stamp(*stamp), bool(is_gone), skips)


class SegmentContents:
    """The files, documents and passages of one open segment."""

    def __init__(self, name: str, segment: Segment) -> None:
        self.name = name
        self.segment = segment
        self.documents = segment.rows("document_file")
        self.passages = segment.rows("passage_span")

    @property
    def embedder(self) -> str:
        """The fingerprint of what made the vectors."""
        return str(self.segment.array("embedder").tobytes(), "utf-8", "replace")

    @property
    def file_count(self) -> int:
        """The number of files of which this segment knows something."""
        return self.segment.rows("file_gone")

    def files(self) -> Iterator[FileRow]:
        """Yield what this segment knows of files, by path."""
        segment = self.segment
        paths, skips = segment.strings("file_path"), segment.strings("file_skipped")
        stamps, gone = segment.array("file_stamp").tolist(), segment.array("file_gone").tolist()
        for path, stamp, is_gone, text in zip(paths, stamps, gone, skips, strict=True):
            yield _file_row(path, stamp, is_gone, text)

    def file(self, row: int) -> FileRow:
        """Return what this segment knows of file `row`."""
        segment = self.segment
        stamp, is_gone = segment.array("file_stamp")[row].tolist(), segment.array("file_gone")[row]
        return _file_row(segment.text("file_path", row), stamp, is_gone, segment.text("file_skipped", row))

    def file_rows(self, path: str) -> range:
        """Return the row of the file `path`, as a range that is empty if this segment knows nothing of it."""
        row = self._first_file(path_key(path))
        is_known = row < self.file_count and self.segment.text("file_path", row) == path
        return range(row, row + is_known)

    def file_rows_in(self, folder: str) -> range:
        """Return the rows of the files in a folder and below it."""
        prefix = path_key(folder.rstrip("/"))
        return range(self._first_file(prefix + b"/"), self._first_file(prefix + b"0"))  # 0 follows / in ASCII

    def _first_file(self, key: bytes) -> int:
        return bisect_left(range(self.file_count), key, key=lambda row: path_key(self.segment.text("file_path", row)))

    def document_rows(self, file: int) -> range:
        """Return the rows of the documents of file `file`, live or not."""
        first, last = np.searchsorted(self.segment.array("document_file"), [file, file + 1]).tolist()
        return range(first, last)

    def gone(self) -> Iterator[tuple[str, int]]:
        """Yield (segment, document row) for each document of an older segment that this one replaces or removes."""
        for number, row in self.segment.array("gone").tolist():
            yield self.segment.text("gone_segment", number), row

    def file_of(self, row: int) -> str:
        """Return the path of the file to which document `row` belongs."""
        return self.segment.text("file_path", int(self.segment.array("document_file")[row]))

    def record_of(self, row: int) -> str:
        """Return the `_id` of document `row` in its `.jsonl` file, empty for a whole file."""
        return self.segment.text("document_record", row)

    def document(self, row: int) -> Document:
        """Return document `row`, its text checked."""
        segment = self.segment
        record = self.record_of(row)
        line, offset = segment.array("document_place")[row].tolist()
        start, end = segment.array("text_at")[row : row + 2].tolist()
        text = segment.checked_bytes("text", start, end, int(segment.array("text_crc")[row]))
        unit, marks = _marks(segment.text("document_marks", row))
        return Document(
            id=segment.array("document_id")[row].tobytes().hex(),
            path=self.file_of(row) + (f"#{record}" if record else ""),
            title=segment.text("document_title", row),
            text=text.decode("utf-8", "surrogatepass"),
            sha256=self.sha256(row),
            record=record,
            line=line,
            offset=offset,
            encoding=segment.text("document_encoding", row),
            metadata=self.metadata(row),
            format=segment.text("document_format", row),
            unit=unit,
            marks=marks,
        )

    def metadata(self, row: int) -> dict[str, str]:
        """Return what document `row` says of itself."""
        text = self.segment.text("document_metadata", row)
        return dict(json.loads(text)) if text else {}

    def sha256(self, row: int) -> str:
        """Return the hex digest of the source of document `row`."""
        return str(self.segment.array("document_sha256")[row].tobytes().hex())

    def passage_rows(self, row: int) -> range:
        """Return the rows of the passages of document `row`."""
        start, end = self.segment.array("document_passages")[row : row + 2].tolist()
        return range(start, end)

    def document_row(self, passage: int) -> int:
        """Return the row of the document to which a passage belongs."""
        return int(np.searchsorted(self.segment.array("document_passages"), passage, side="right")) - 1

    def place(self, row: int) -> Place:
        """Return where passage `row` stands, without reading its document."""
        document = self.document_row(row)
        path, record = self.file_of(document), self.record_of(document)
        unit, marks = _marks(self.segment.text("document_marks", document))
        mark = mark_at(marks, int(self.segment.array("passage_span")[row, 0]))
        return Place(
            path=path + (f"#{record}" if record else ""),
            title=self.segment.text("document_title", document),
            line=int(self.segment.array("passage_line")[row]),
            format=self.segment.text("document_format", document),
            unit=unit if mark else "",
            mark=mark.label if mark else "",
            metadata=self.metadata(document),
        )

    def passage(self, row: int) -> Passage:
        """Return passage `row`, its text checked."""
        segment = self.segment
        document = self.document_row(row)
        begin = int(segment.array("text_at")[document])
        first, last = segment.array("passage_bytes")[row].tolist()
        text = segment.checked_bytes("text", begin + first, begin + last, int(segment.array("passage_crc")[row]))
        start, end = segment.array("passage_span")[row].tolist()
        document_id = segment.array("document_id")[document].tobytes().hex()
        return Passage(document_id, Span(start, end), text.decode("utf-8", "surrogatepass"))

    def rows_of_keys(self, keys: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return, for each 16-byte key, the row of a passage with that key, or -1."""
        heads = keys[:, :8].copy().view(np.uint64).reshape(-1)
        rows = np.full(len(keys), -1, np.int64)
        if not self.passages:
            return rows
        ordered, row_of, stored = (self.segment.array(name) for name in ("key_sorted", "key_row", "passage_key"))
        place = np.minimum(np.searchsorted(ordered, heads), len(ordered) - 1)
        candidates = row_of[place].astype(np.int64)
        same = (stored[candidates] == keys).all(axis=1)
        rows[same] = candidates[same]
        return rows

    def vectors(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
        """Return the vectors of some passages, shape `(len(rows), dim)`, and which of them are what was written."""
        found = self.segment.unchecked("vectors")[rows]
        return np.asarray(found), row_checksums(found) == self.segment.array("vector_crc")[rows]
