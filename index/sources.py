"""Paths -> Documents: each file opened once, checked, hashed and decoded, or reported with the reason.

Nothing here is fatal but a source that is missing. A text file is read whole, so that its hash and its text are of
the same bytes; `.jsonl` files, which hold whole corpora, are streamed.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from hashlib import sha256

from pincite.index.decoding import binary_reason, decode
from pincite.index.passage import Document, document_id
from pincite.index.records import read_records
from pincite.index.titles import title_and_metadata
from pincite.index.walk import Skipped, SourceFile, Stamp, find_files, open_regular, reason_for

__all__ = [
    "CHANGED",
    "LARGEST_FILE",
    "Skipped",
    "SourceFile",
    "Stamp",
    "decode",
    "find_files",
    "open_regular",
    "read_documents",
]

LARGEST_FILE = 64 * 1024 * 1024
"""Bytes; the collected works of Shakespeare are 5.5 million. A `.jsonl` file has this limit for each line instead."""

CHANGED = "changed while it was read"
"""The reason for which a file is skipped that will be worth reading again."""

_HTML = frozenset({".html", ".htm", ".xhtml"})


def read_documents(file: SourceFile) -> Iterator[Document | Skipped]:
    """Yield the document in `file`, or the documents of a `.jsonl` file, or why there is none.

    A file that changes while it is read is read once more. A `.jsonl` file that does so has been passed on already:
    then `Skipped` comes last, and its records are to be read again at the next occasion.
    """
    extension = os.path.splitext(file.path)[1].lower()
    try:
        with open_regular(file.location) as raw:
            if extension == ".jsonl":
                before = _state(raw)
                with io.BufferedReader(raw, 1 << 20) as stream:
                    yield from read_records(stream, file.path)
                    if _state(raw) != before:
                        yield Skipped(file.path, CHANGED)
            else:
                yield _read_file(file.path, extension, raw)
    except OSError as error:
        yield Skipped(file.path, reason_for(error))


def _read_file(path: str, extension: str, raw: io.FileIO) -> Document | Skipped:
    for _ in range(2):
        before = _state(raw)
        size = before[0]
        if size > LARGEST_FILE:
            return Skipped(path, f"too large ({size / 1e6:,.0f} MB; the limit is {LARGEST_FILE >> 20} MiB)")
        raw.seek(0)
        data = _read_up_to(raw, size + 1)
        if len(data) == size and _state(raw) == before:
            return _document(path, extension, data)
    return Skipped(path, CHANGED)


def _document(path: str, extension: str, data: bytes) -> Document | Skipped:
    text, encoding = decode(data)
    binary = binary_reason(data, text, encoding)
    if binary:
        return Skipped(path, binary)
    if extension in _HTML:
        # lxml, and with it most of an HTML reader's time to import, is loaded when there is a page to read.
        from pincite.index.webpages import read_web_page

        page = read_web_page(data)
        title, text, encoding, metadata = page.title, page.text, "", dict(page.metadata)
    else:
        title, metadata = title_and_metadata(text, extension)
    if not text or text.isspace():
        return Skipped(path, "no text")
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
