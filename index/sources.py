"""Paths -> Documents: each file opened once, checked, hashed and decoded, or reported with the reason.

Nothing here is fatal but a source that is missing. A text file is read whole, so that its hash and its text are of
the same bytes; `.jsonl` files, which hold whole corpora, are streamed.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING

from pincite.index.decoding import binary_reason, decode, length_reason
from pincite.index.opening import open_regular, reason_for
from pincite.index.passage import Document, document_id
from pincite.index.records import read_records
from pincite.index.titles import title_and_metadata
from pincite.index.walk import Skipped, SourceFile, Stamp, find_files, find_in

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "CHANGED",
    "LARGEST_FILE",
    "PASSING",
    "Skipped",
    "SourceFile",
    "Stamp",
    "decode",
    "find_files",
    "find_in",
    "open_regular",
    "read_documents",
]

LARGEST_FILE = 32 * 1024 * 1024
"""Bytes; the collected works of Shakespeare are 5.5 million. A `.jsonl` file has this limit for each line instead."""

CHANGED = "changed while it was read"

PASSING = frozenset({CHANGED, *(reason_for(OSError(n, os.strerror(n))) for n in (errno.EIO, errno.ESTALE))})
"""The reasons for which a file is skipped that will be worth reading again."""

_ENDLESS = "it holds more than its size says, as files of the kernel do"

_HTML = frozenset({".html", ".htm", ".xhtml"})


def read_documents(file: SourceFile) -> Iterator[Document | Skipped]:
    """Yield the document in `file`, or the documents of a `.jsonl` file, or why there is none.

    A file that changes while it is read is read once more. A `.jsonl` file that does so has been passed on already:
    then `Skipped` comes last, and its records are to be read again at the next occasion.
    """
    extension = os.path.splitext(file.path)[1].lower()
    try:
        with open_regular(file.location) as raw:
            if os.path.realpath(file.location) != file.location:  # hours may have passed since it was found
                yield Skipped(file.path, "a folder that it was found in has become a link")
            elif extension == ".jsonl":
                yield from _read_records(file.path, raw)
            else:
                yield _read_file(file.path, extension, raw)
    except OSError as error:
        yield Skipped(file.path, reason_for(error))


class _Beginning(io.RawIOBase):
    """The first bytes of a file, so many as it had when it was opened: one that grows all the time ends, too."""

    def __init__(self, raw: io.FileIO, size: int) -> None:
        self._raw = raw
        self._left = size

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Read the next bytes into `buffer` and return how many."""
        with memoryview(buffer) as view:
            size = self._raw.readinto(view[: self._left]) or 0
        self._left -= size
        return size


def _read_records(path: str, raw: io.FileIO) -> Iterator[Document | Skipped]:
    before = _state(raw)
    with io.BufferedReader(_Beginning(raw, before[0]), 1 << 20) as stream:
        yield from read_records(stream, path)
    if _state(raw) != before:
        yield Skipped(path, CHANGED)
    elif before[0] == 0 and raw.read(1):
        yield Skipped(path, _ENDLESS)


def _read_file(path: str, extension: str, raw: io.FileIO) -> Document | Skipped:
    for _ in range(2):
        before = _state(raw)
        size = before[0]
        if size > LARGEST_FILE:
            return Skipped(path, f"too large ({size / 1e6:,.0f} MB; the limit is {LARGEST_FILE >> 20} MiB)")
        raw.seek(0)
        data = _read_up_to(raw, size + 1)
        if _state(raw) == before:
            return _document(path, extension, data) if len(data) == size else Skipped(path, _ENDLESS)
    return Skipped(path, CHANGED)


def _document(path: str, extension: str, data: bytes) -> Document | Skipped:
    text, encoding = decode(data)
    binary = binary_reason(data, text, encoding)
    if binary:
        return Skipped(path, binary)
    if extension in _HTML:
        # lxml, and with it most of an HTML reader's time to import, is loaded when there is a page to read.
        from pincite.index.webpages import read_web_page

        try:
            page = read_web_page(data)
        except ValueError as error:
            return Skipped(path, str(error))
        title, text, encoding, metadata = page.title, page.text, "", dict(page.metadata)
    else:
        title, metadata = title_and_metadata(text, extension)
    if not text or text.isspace():
        return Skipped(path, "no text")
    too_long = length_reason(text)
    if too_long:
        return Skipped(path, too_long)
    digest = sha256(data).hexdigest()
    return Document(
        id=document_id(path, digest),
        path=path,
        title=title,
        text=text,
        sha256=digest,
        encoding=encoding,
        metadata=metadata,
    )


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
