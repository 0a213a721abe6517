"""What an index in Milvus knows -> the rows of its two collections, and back.

All that Milvus need not understand is JSON in ASCII under `data`: names and texts may have what no VARCHAR takes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b

import numpy as np

from pincite.index.contents import FileRow
from pincite.index.errors import IndexFormatError
from pincite.index.extracted import mark_at
from pincite.index.manifest import Fingerprint, Source
from pincite.index.milvus_store import MilvusStore, Row
from pincite.index.passage import Document
from pincite.index.segment_columns import NewDocument
from pincite.index.sources import Skipped, Stamp

__all__ = ["Manifest", "document_row", "file_of", "file_row", "key_of", "passage_row", "text_rows"]

_FORMAT = 1
_PIECE = 60_000  # characters of ASCII in a row
_LONGEST = 65_535  # bytes of a VARCHAR


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an index says of itself.

    Attributes:
        generation, sources, fingerprint: as those of `Index`.
        documents, passages, terms: counts; `terms` is the sum of the lengths of passages.
        average: length of passages with which the weights of terms were made.
        writer: the sync at work, and when it last said so, in seconds since 1970; empty and 0 for none.
        is_counted: whether the counts are those of what is there: not while a sync works, nor if it was killed.
    """

    generation: int = 0
    sources: tuple[Source, ...] = ()
    fingerprint: Fingerprint | None = None
    documents: int = 0
    passages: int = 0
    terms: int = 0
    average: float = 0.0
    writer: tuple[str, float] = ("", 0.0)
    is_counted: bool = True
    format: int = _FORMAT

    @property
    def row(self) -> Row:
        """It as it is stored."""
        return {"key": "manifest", "kind": "manifest", "data": json.dumps(asdict(self))}

    @classmethod
    def read(cls, store: MilvusStore) -> Manifest | None:
        """Return the manifest; None if there is no index, or only the beginning of one.

        Raises:
            IndexFormatError: it is of another version.
        """
        rows = store.get(store.sources, ["manifest"], ["data"]) if store.exists() else []
        if not rows:
            return None
        said = json.loads(rows[0]["data"])
        if said.get("format") != _FORMAT:
            raise IndexFormatError(
                f"The index {store.name} is of another version of pincite. Rebuild it: pincite index --rebuild"
            )
        said["sources"] = tuple(Source(one["path"], tuple(one["exclude"])) for one in said["sources"])
        said["fingerprint"] = Fingerprint(**said["fingerprint"]) if said["fingerprint"] else None
        return cls(**said | {"writer": tuple(said["writer"])})


def key_of(path: str, record: str = "") -> str:
    """Return the 32 hex digits of a file, or of a document in it."""
    return blake2b(f"{path}\0{record}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def file_row(row: FileRow) -> Row:
    """Return the row of what is known of a file."""
    stamp, skipped = row.stamp, [(one.path, one.reason) for one in row.skipped]
    while len(json.dumps(skipped)) > _PIECE // 2:
        skipped.pop()
    said = [row.path, (stamp.size, stamp.mtime_ns, stamp.ctime_ns, stamp.inode), skipped]
    return {"key": f"file:{key_of(row.path)}", "kind": "file", "data": json.dumps(said)}


def file_of(data: str) -> FileRow:
    """Return what is known of a file, given the `data` of its row."""
    path, stamp, skipped = json.loads(data)
    return FileRow(path, Stamp(*stamp), skipped=tuple(Skipped(*one) for one in skipped))


def document_row(item: NewDocument) -> Row:
    """Return the row of a document, which says all of it but for its text and marks."""
    document = item.document
    names = ("id", "record", "title", "sha256", "line", "offset", "encoding", "format")
    head = {name: getattr(document, name) for name in names} | {
        "path": item.file,
        "metadata": _fitting(document.metadata),
        "pieces": len(_pieces(document)),
    }
    key = f"doc:{key_of(item.file, document.record)}"
    return {"key": key, "kind": "doc", "file": key_of(item.file), "document": document.id, "data": json.dumps(head)}


def _fitting(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return metadata, of a document with very much of it only what fits into a row, the shortest values first."""
    fitting, size = set[str](), 0
    for key, value in sorted(metadata.items(), key=lambda item: len(item[1])):
        size += len(json.dumps([key, value]))
        if size <= _PIECE // 2:
            fitting.add(key)
    return {key: value for key, value in metadata.items() if key in fitting}


def _pieces(document: Document) -> list[str]:
    marks = [(mark.start, mark.label) for mark in document.marks]
    whole = json.dumps([document.text, document.unit, marks])
    return [whole[first : first + _PIECE] for first in range(0, len(whole), _PIECE)]


def text_rows(item: NewDocument) -> Iterator[Row]:
    """Yield the rows of the text and the marks of a document."""
    name = item.document.id
    for number, piece in enumerate(_pieces(item.document)):
        yield {"key": f"text:{name}:{number}", "kind": "text", "document": name, "data": piece}


def passage_row(item: NewDocument, number: int, ends: Sequence[int], length: int) -> Row:
    """Return the row of a passage, but for its vectors.

    Args:
        item: its document.
        number: which of its passages.
        ends: where the lines of its document end.
        length: terms in it.
    """
    document, passage = item.document, item.passages[number]
    start, end = passage.span.start, passage.span.end
    line = document.line if document.is_record else int(np.searchsorted(ends, start, side="right")) + 1
    mark = mark_at(document.marks, start)
    try:
        is_whole = len(passage.text.encode()) <= _LONGEST
    except UnicodeEncodeError:
        is_whole = False
    where = [document.unit if mark else "", mark.label if mark else ""]
    return {
        "id": int(key_of(document.id, str(number))[:16], 16) >> 1,
        "document": document.id,
        "source": key_of(item.file, document.record),
        "text": passage.text if is_whole else "",
        "data": json.dumps([start, end, line, *where, length, is_whole, item.keys[number].hex()]),
    }
