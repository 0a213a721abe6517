"""A path of a citation -> the document's text, or its file: of what is in the index, and of nothing else.

Text comes from the index, never from the file system. A file is given only if it is, byte for byte, what was indexed,
if it lies in one of the sources, whatever links there are now, and if it is of a kind that browsers show safely.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import sha256
from io import BufferedReader
from typing import Any

from pincite.index import Document, Index
from pincite.index.extracted import mark_at
from pincite.index.formats import format_of
from pincite.index.known import KnownDocuments, known_documents
from pincite.index.opening import open_regular
from pincite.index.paths import stored_path
from pincite.qa.api_parameters import ApiError
from pincite.qa.citations import line_and_column

__all__ = ["MOST_TEXT", "SHOWN_FILES", "document_named", "file_bytes", "source_json"]

MOST_TEXT = 100_000
"""Characters of a document that one answer holds."""

SHOWN_FILES: Mapping[str, str] = {"pdf": "application/pdf"}
"""Format -> media type of files that are given out: such as a browser shows without running what is in them."""


def source_json(index: Index, path: str, start: int, end: int | None) -> dict[str, Any]:
    """Return the text of a document from `start` to `end`, with the passages and marks in there.

    Raises:
        ApiError: there is no such document in the index.
    """
    document = document_named(index, path)
    length = len(document.text)
    start = min(start, length)
    end = min(length, start + MOST_TEXT, length if end is None else max(start, end))
    before = mark_at(document.marks, start)
    marks = [mark for mark in document.marks if mark is before or start <= mark.start < end]
    passages = [one.span for one in index.passages_of(document.id) if one.span.start < end and start < one.span.end]
    return {
        "path": document.path,
        "title": document.title or document.path.rpartition("/")[2],
        "format": document.format,
        "author": document.metadata.get("author") or None,
        "date": document.metadata.get("date") or None,
        "url": document.metadata.get("url") or None,
        "text": document.text[start:end],
        "start": start,
        "end": end,
        "length": length,
        "line": document.line if document.is_record else line_and_column(document.text, start)[0],
        "is_record": document.is_record,
        "unit": document.unit or None,
        "marks": [{"start": mark.start, "label": mark.label} for mark in marks],
        "passages": [{"start": span.start, "end": span.end} for span in passages],
        "file": media_type(document),
        "generation": index.generation,
    }


def media_type(document: Document) -> str | None:
    """Return as what the file of a document is given out; None if it is not."""
    return None if document.record else SHOWN_FILES.get(document.format)


def file_bytes(index: Index, path: str) -> tuple[bytes, str]:
    """Return the bytes of a document's file and their media type.

    Raises:
        ApiError: there is no such document, its file is not given out, or it is not as indexed any more.
    """
    document = document_named(index, path)
    kind = media_type(document)
    if kind is None:
        raise ApiError(403, "not_shown", "Files of this kind are not given out; /api/source has the text.")
    changed = ApiError(409, "changed", "The file is not as it was when it was indexed. Update: pincite index")
    try:
        location = os.path.realpath(index.location(document))
        if not any(_lies_in(location, index, source.path) for source in index.sources):
            raise changed
        with BufferedReader(open_regular(location)) as file:
            data = file.read(format_of(document.path).largest + 1)  # one that has grown beyond this has changed
    except (OSError, ValueError) as error:
        raise changed from error
    if sha256(data).hexdigest() != document.sha256:
        raise changed
    return data, kind


def _lies_in(location: str, index: Index, source: str) -> bool:
    root = os.path.dirname(os.path.abspath(index.path))
    held = os.path.realpath(os.path.join(root, source))
    return location == held or location.startswith(held.rstrip(os.sep) + os.sep)


def document_named(index: Index, path: str) -> Document:
    """Return the document that a citation calls `path`: a file's only one, or `file#id` of one that holds many.

    A file of many is not read to find one of them.
    """
    splits = [number for number, character in enumerate(path) if character == "#"]
    root = os.path.dirname(os.path.abspath(index.path))
    names = {len(path): stored_path(path, root)} | {at: stored_path(path[:at], root) for at in splits if at}
    places = known_documents(index, list(names.values()))
    for at, name in names.items():
        if name in places and (found := KnownDocuments(index, *places[name]).take(path[at + 1 :])):
            return index.document_at(*found)
    raise ApiError(404, "not_indexed", "There is no such document in the index.")
