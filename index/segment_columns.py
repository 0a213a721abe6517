"""What a sync has read and embedded -> the columns of a segment, as `contents.py` reads them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pincite.index.contents import FileRow
from pincite.index.dense_codes import build_codes
from pincite.index.passage import LINE_END, Document, Passage
from pincite.index.segment import pack_strings, row_checksums
from pincite.index.sources import Skipped
from pincite.index.sparse import build_postings

__all__ = [
    "CODES_FROM",
    "NewDocument",
    "encode",
    "encode_files",
    "encode_gone",
    "encode_keys",
    "encode_vectors",
    "indexed_text",
    "offsets_of",
    "passage_key",
]

CODES_FROM = 4_096
"""Passages from which a segment carries RaBitQ codes; below, exact search of it costs less than 0.3 ms."""


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


def _skips_text(skipped: Sequence[Skipped]) -> str:
    return json.dumps([(item.path, item.reason) for item in skipped]) if skipped else ""


def _marks_text(document: Document) -> str:
    return json.dumps([document.unit, *((mark.start, mark.label) for mark in document.marks)]) if document.marks else ""


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
