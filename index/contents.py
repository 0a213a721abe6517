"""What a segment holds: files, their documents, the passages of those, and which older documents are gone.

Sync writes these columns, the store reads them. Files are sorted by path and documents by file, so that both are found
without reading all; the newest row of a path says what was last known of that file. Text is kept once a document, as
UTF-8, and a passage is a range of it.
"""

from __future__ import annotations

import json
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pincite.index.dense import build_codes
from pincite.index.extracted import Mark, mark_at
from pincite.index.passage import LINE_END, Document, Passage, Span
from pincite.index.segment import Segment, pack_strings, row_checksums
from pincite.index.sources import Skipped, Stamp
from pincite.index.sparse import build_postings

__all__ = [
    "CODES_FROM",
    "KEY_COLUMNS",
    "FileRow",
    "NewDocument",
    "Place",
    "SegmentContents",
    "encode",
    "encode_files",
    "encode_gone",
    "encode_keys",
    "encode_vectors",
    "indexed_text",
    "offsets_of",
    "passage_key",
    "path_key",
]

KEY_COLUMNS = ("key_sorted", "key_row", "passage_key", "vector_crc")
"""The columns by which vectors are found and checked."""

CODES_FROM = 4_096
"""Passages from which a segment carries RaBitQ codes; below, exact search of it costs less than 0.3 ms."""


@dataclass(frozen=True, slots=True)
class FileRow:
    """What is known of a file: its stamp when it was read, and what of it was skipped, if anything."""

    path: str
    stamp: Stamp
    is_gone: bool = False
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document on its way into a segment.

    Attributes:
        document: the document; `file`: the path of its file.
        lead: what of its title stands before each of its passages.
        passages: its passages; `keys`: their keys.
    """

    document: Document
    file: str
    lead: str
    passages: Sequence[Passage]
    keys: Sequence[bytes]


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


def indexed_text(lead: str, text: str) -> str:
    """Return what is embedded and indexed for a passage: its text under the title of its document.

    >>> indexed_text("A title", "Some text.")
    'A title\\nSome text.'
    """
    return f"{lead}\n{text}" if lead else text


def passage_key(lead: str, text: str) -> bytes:
    """Return the 16 bytes under which the vector of a passage is found again, wherever the passage moves to."""
    return blake2b(indexed_text(lead, text).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def encode(
    files: Sequence[FileRow],
    documents: Sequence[NewDocument],
    vectors: NDArray[np.float16],
    gone: Mapping[str, Sequence[int]],
    embedder: str = "",
) -> dict[str, NDArray[Any]]:
    """Return the columns of a segment.

    Args:
        files: a row for each file of `documents`, and for each other file of which something is newly known; by path.
        documents: in the order of their files; their passages follow each other in the order of `vectors`.
        vectors: float16, shape `(passages, dim)`, rows of unit norm.
        gone: documents of older segments that are replaced or removed: name of the segment -> rows.
        embedder: fingerprint of what made the vectors, for whoever finds the segment without a manifest.
    """
    file_rows = {row.path: number for number, row in enumerate(files)}
    columns = encode_files(files)
    columns |= pack_strings("document_record", [item.document.record for item in documents])
    columns |= pack_strings("document_title", [item.document.title for item in documents])
    columns |= pack_strings("document_encoding", [item.document.encoding for item in documents])
    columns |= pack_strings(
        "document_metadata",
        [json.dumps(dict(item.document.metadata)) if item.document.metadata else "" for item in documents],
    )
    columns |= pack_strings("document_format", [item.document.format for item in documents])
    columns |= pack_strings("document_marks", [_marks_text(item.document) for item in documents])
    columns["document_file"] = np.array([file_rows[item.file] for item in documents], np.uint32)
    columns["document_id"] = _bytes_rows([bytes.fromhex(item.document.id) for item in documents], 16)
    columns["document_sha256"] = _bytes_rows([bytes.fromhex(item.document.sha256) for item in documents], 32)
    columns["document_place"] = np.array(
        [(item.document.line, item.document.offset) for item in documents], np.int64
    ).reshape(-1, 2)
    columns["document_passages"] = offsets_of([len(item.passages) for item in documents])

    texts = [item.document.text.encode("utf-8", "surrogatepass") for item in documents]
    columns["text"] = np.frombuffer(b"".join(texts), np.uint8)
    columns["text_at"] = offsets_of([len(text) for text in texts])
    columns["text_crc"] = np.array([zlib.crc32(text) for text in texts], np.uint32)

    spans = [(passage.span.start, passage.span.end) for item in documents for passage in item.passages]
    columns["passage_span"] = np.array(spans, np.int64).reshape(-1, 2)
    columns["passage_line"] = np.array([line for item in documents for line in _lines(item)], np.int64)
    ranges = [found for item, text in zip(documents, texts, strict=True) for found in _byte_ranges(item, text)]
    columns["passage_bytes"] = np.array([found[:2] for found in ranges], np.int64).reshape(-1, 2)
    columns["passage_crc"] = np.array([found[2] for found in ranges], np.uint32)
    columns |= encode_keys(_bytes_rows([key for item in documents for key in item.keys], 16))

    columns |= {"embedder": np.frombuffer(embedder.encode(), np.uint8)}
    columns |= {"vectors": vectors, "vector_crc": row_checksums(vectors)}
    if len(vectors) >= CODES_FROM:
        columns["codes"] = build_codes(vectors)
    columns |= build_postings(indexed_text(item.lead, passage.text) for item in documents for passage in item.passages)

    return columns | encode_gone(gone)


def encode_files(files: Sequence[FileRow]) -> dict[str, NDArray[Any]]:
    """Return the columns of what is known of files; `files` are sorted by `path_key`."""
    columns = pack_strings("file_path", [row.path for row in files])
    columns |= pack_strings("file_skipped", [_skips_text(row.skipped) for row in files])
    columns["file_gone"] = np.array([row.is_gone for row in files], np.uint8)
    columns["file_stamp"] = np.array(
        [(row.stamp.size, row.stamp.mtime_ns, row.stamp.ctime_ns, row.stamp.inode) for row in files], np.int64
    ).reshape(-1, 4)
    return columns


def encode_keys(keys: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """Return the columns by which passages are found again; `keys` has shape `(passages, 16)`."""
    heads = keys[:, :8].copy().view(np.uint64).reshape(-1)
    order = np.argsort(heads, kind="stable")
    return {"passage_key": keys, "key_sorted": heads[order], "key_row": order.astype(np.uint32)}


def encode_vectors(keys: Sequence[bytes], vectors: NDArray[np.float16], embedder: str) -> dict[str, NDArray[Any]]:
    """Return the columns of a segment that holds nothing but vectors, for whoever would have to embed them again."""
    columns = encode_keys(_bytes_rows(keys, 16))
    columns |= {"document_file": np.zeros(0, np.uint32), "passage_span": np.zeros((len(keys), 2), np.int64)}
    columns |= {"embedder": np.frombuffer(embedder.encode(), np.uint8)}
    return columns | {"vectors": vectors, "vector_crc": row_checksums(vectors)}


def encode_gone(gone: Mapping[str, Sequence[int]]) -> dict[str, NDArray[Any]]:
    """Return the columns of the documents of older segments that are gone: name of the segment -> rows."""
    names = sorted(gone)
    pairs = [(number, row) for number, name in enumerate(names) for row in sorted(gone[name])]
    return pack_strings("gone_segment", names) | {"gone": np.array(pairs, np.uint32).reshape(-1, 2)}


def path_key(path: str) -> bytes:
    """Return what the files of a segment are sorted by."""
    return path.encode("utf-8", "surrogateescape")


def _skips_text(skipped: Sequence[Skipped]) -> str:
    return json.dumps([(item.path, item.reason) for item in skipped]) if skipped else ""


def _marks_text(document: Document) -> str:
    return json.dumps([document.unit, *((mark.start, mark.label) for mark in document.marks)]) if document.marks else ""


def _marks(text: str) -> tuple[str, tuple[Mark, ...]]:
    """Return unit and marks of a document."""
    unit, *marks = json.loads(text) if text else [""]
    return unit, tuple(Mark(*mark) for mark in marks)


def _bytes_rows(rows: Sequence[bytes], width: int) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, width)


def offsets_of(sizes: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each of some pieces that lie end to end begins, and where the last one ends."""
    at = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=at[1:])
    return at


def _lines(item: NewDocument) -> list[int]:
    """Return the 1-based line of the file on which each passage begins."""
    if item.document.is_record:
        return [item.document.line] * len(item.passages)
    ends = np.fromiter((match.end() for match in LINE_END.finditer(item.document.text)), np.int64)
    starts = [passage.span.start for passage in item.passages]
    lines: list[int] = (np.searchsorted(ends, starts, side="right") + 1).tolist()
    return lines


def _byte_ranges(item: NewDocument, text: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield start, end and crc32 of each passage in the UTF-8 text of its document."""
    characters = item.document.text
    ascii_only = len(text) == len(characters)
    known, known_byte = 0, 0
    for passage in item.passages:
        start, end = passage.span.start, passage.span.end
        if ascii_only:
            first, last = start, end
        else:
            if start < known:
                known, known_byte = 0, 0
            first = known_byte + _encoded_length(characters[known:start])
            last = first + _encoded_length(characters[start:end])
            known, known_byte = start, first
        yield first, last, zlib.crc32(text[first:last])


def _encoded_length(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


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
