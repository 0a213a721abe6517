"""Paths -> Documents: each file opened once, checked, hashed and read as its format says, or reported with the reason.

Nothing here is fatal but a source that is missing. A file of one document is read whole, so that its hash and its text
are of the same bytes; those that hold many, as `.jsonl` files hold whole corpora, are streamed.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING

from pincite.index.decoding import binary_reason, decode, length_reason
from pincite.index.extracted import Extracted, MissingExtraError, Part, UnreadableError
from pincite.index.formats import Format, extension_of, format_of
from pincite.index.opening import open_regular, reason_for
from pincite.index.passage import Document, document_id
from pincite.index.titles import one_line, title_and_metadata
from pincite.index.walk import Skipped, SourceFile, Stamp, find_files, find_in

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "CHANGED",
    "Skipped",
    "SourceFile",
    "Stamp",
    "buffered",
    "decode",
    "find_files",
    "find_in",
    "open_regular",
    "read_content",
    "read_documents",
]

CHANGED = "changed while it was read"

_ENDLESS = "it holds more than its size says, as files of the kernel do"


def read_documents(file: SourceFile) -> Iterator[Document | Skipped]:
    """Yield the document in `file`, or its documents if it holds several, and what of it could not be read, and why.

    A file that changes while it is read is read once more. One of several documents that does so has been passed on
    already: then `Skipped` comes last, and they are to be read again at the next occasion.
    """
    kind = format_of(file.path)
    try:
        with open_regular(file.location) as raw:
            if os.path.realpath(file.location) != file.location:  # hours may have passed since it was found
                yield Skipped(file.path, "a folder that it was found in has become a link")
            elif kind.holds_many:
                yield from _read_parts(file.path, kind, raw)
            else:
                yield from _read_whole(file.path, kind, raw)
    except OSError as error:
        yield Skipped(file.path, reason_for(error), passes=error.errno in (errno.EIO, errno.ESTALE))
    except Exception as error:  # a file that nobody thought of shall not stop the others; what is known of it stays
        reason = f"it cannot be read as {kind.name} ({type(error).__name__}: {one_line(str(error))})"
        yield Skipped(file.path, reason, passes=True)


class _Beginning(io.RawIOBase):
    """The first bytes of a file, so many as it had when it was opened: one that grows all the time ends, too."""

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw
        self._size = _state(raw)[0]
        self._at = 0

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that it can be read from any place."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place and return it; raises ValueError for one before the beginning."""
        place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if place < 0:
            raise ValueError("a place before the beginning")
        self._at = self._raw.seek(min(place, self._size))
        return self._at

    def readinto(self, buffer: Buffer, /) -> int:
        """Read the next bytes into `buffer` and return how many."""
        with memoryview(buffer) as view:
            size = self._raw.readinto(view[: max(0, self._size - self._at)]) or 0
        self._at += size
        return size


def buffered(raw: io.FileIO) -> io.BufferedReader:
    """Return a file of many documents, just opened, as their readers want it; closing it leaves `raw` open."""
    return io.BufferedReader(_Beginning(raw), 1 << 20)


def _read_parts(path: str, kind: Format, raw: io.FileIO) -> Iterator[Document | Skipped]:
    before = _state(raw)
    with buffered(raw) as stream:
        for part in kind.parts_reader()(stream, path):
            if isinstance(part, Skipped):
                yield part
                continue
            document = _part_document(path, kind, part)
            yield document
            for note in part.extracted.notes:
                yield Skipped(document.path, note)
    if _state(raw) != before:
        yield Skipped(path, CHANGED, passes=True)
    elif before[0] == 0 and raw.read(1):
        yield Skipped(path, _ENDLESS)


def _part_document(path: str, kind: Format, part: Part) -> Document:
    name = f"{path}#{part.record}" if part.record else path
    content = part.extracted
    return Document(
        id=document_id(name, part.sha256),
        path=name,
        title=content.title,
        text=content.text,
        sha256=part.sha256,
        record=part.record,
        line=part.line,
        offset=part.offset,
        encoding="",
        metadata=content.metadata,
        format=part.format or kind.name,
        unit=content.unit,
        marks=content.marks,
    )


def _read_whole(path: str, kind: Format, raw: io.FileIO) -> Iterator[Document | Skipped]:
    for _ in range(2):
        before = _state(raw)
        size = before[0]
        if size > kind.largest:
            yield Skipped(path, f"too large ({size / 1e6:,.0f} MB; the limit is {kind.largest >> 20} MiB)")
            return
        raw.seek(0)
        data = _read_up_to(raw, size + 1)
        if _state(raw) == before:
            if len(data) == size:
                yield from _documents(path, kind, data)
            else:
                yield Skipped(path, _ENDLESS)
            return
    yield Skipped(path, CHANGED, passes=True)


def _documents(path: str, kind: Format, data: bytes) -> Iterator[Document | Skipped]:
    """Yield the document that `data` holds, if it holds one, and what of it could not be read."""
    try:
        content, encoding = read_content(path, kind, data)
    except UnreadableError as error:
        yield Skipped(path, str(error), passes=isinstance(error, MissingExtraError))
        return
    digest = sha256(data).hexdigest()
    yield Document(
        id=document_id(path, digest),
        path=path,
        title=content.title,
        text=content.text,
        sha256=digest,
        encoding=encoding,
        metadata=content.metadata,
        format=kind.name,
        unit=content.unit,
        marks=content.marks,
    )
    for note in content.notes:
        yield Skipped(path, note)


def read_content(name: str, kind: Format, data: bytes) -> tuple[Extracted, str]:
    """Return what a file of one document says, and the encoding in which its text is in there, empty if it is not.

    Raises:
        UnreadableError: it holds no text, or cannot be read.
    """
    if kind.module:
        content, encoding = kind.reader()(data), ""
    else:
        text, encoding = decode(data)
        binary = binary_reason(data, text, encoding)
        if binary:
            raise UnreadableError(binary)
        title, metadata = title_and_metadata(text, extension_of(name))
        content = Extracted(text, title, metadata)
    if not content.text or content.text.isspace():
        raise UnreadableError("; ".join(content.notes) or "no text")
    too_long = length_reason(content.text)
    if too_long:
        raise UnreadableError(too_long)
    return content, encoding


def _state(raw: io.FileIO) -> tuple[int, int]:
    status = os.fstat(raw.fileno())
    return status.st_size, status.st_mtime_ns


def _read_up_to(raw: io.FileIO, size: int) -> bytes:
    """Return the next `size` bytes, or all there are if fewer; one read of a file may give less than asked for."""
    pieces = []
    while size > 0 and (piece := raw.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces) if len(pieces) != 1 else pieces[0]
