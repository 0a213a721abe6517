"""Document -> Evidence: what its file says now, to be held against what was indexed."""

from __future__ import annotations

import json
import mmap
import os
from dataclasses import dataclass
from hashlib import sha256
from io import BufferedReader, FileIO

from pincite.index.formats import format_of
from pincite.index.passage import Document
from pincite.index.records import LONGEST_LINE
from pincite.index.sources import decode, open_regular
from pincite.index.walk import reason_for

__all__ = ["Evidence", "Places", "examine"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a document's file says now.

    `problem` is empty if the file is as indexed. `line` is where the document begins in it. `raw` is the line of a
    `.jsonl` record, as it stands in the file.
    """

    text: str
    line: int
    problem: str = ""
    raw: str = ""


Places = dict[str, tuple[int, int]]
"""The records of a `.jsonl` file: sha256 of a line -> its 1-based number, and the byte at which it begins."""


def examine(document: Document, location: str, scanned: dict[str, Places] | None = None) -> Evidence:
    """Read the file of a document again and return what it says now.

    Args:
        document: as indexed.
        location: absolute path of its file.
        scanned: where to remember, by location, the places of all records of a file in which one has moved: for whoever
            examines many. Without it a record that has moved is looked for by its `_id`.
    """
    location = os.path.realpath(location)  # it may be a link, followed when it was indexed
    try:
        with BufferedReader(open_regular(location), 1 << 16) as file:
            if document.record:
                return _examine_record(document, file, location, scanned)
            data = file.read(format_of(document.path).largest + 1)  # one that has grown beyond this has changed
    except FileNotFoundError:
        return Evidence(document.text, document.line, "the file is no longer there")
    except OSError as error:
        return Evidence(document.text, document.line, f"the file cannot be read: {reason_for(error)}")
    if sha256(data).hexdigest() != document.sha256:
        return Evidence(document.text, document.line, "the file has changed since it was indexed")
    text = decode(data, document.encoding)[0] if document.encoding else document.text
    return Evidence(text, document.line)


def _examine_record(
    document: Document, file: BufferedReader[FileIO], location: str, scanned: dict[str, Places] | None
) -> Evidence:
    line, raw = document.line, _line_at(file, document.offset)
    if _digest(raw) != document.sha256:
        if scanned is None:
            place = _find_by_id(file, document)
        else:
            if location not in scanned:
                scanned[location] = _scan(file)
            place = scanned[location].get(document.sha256)
        if place is None:
            return Evidence(document.text, document.line, "the record has changed since it was indexed")
        line, raw = place[0], _line_at(file, place[1])
    return Evidence(document.text, line, raw=raw.decode("utf-8", "replace"))


def _find_by_id(file: BufferedReader[FileIO], document: Document) -> tuple[int, int] | None:
    """Return line and offset of a record that has moved, at the speed of a search for its `_id`."""
    if os.fstat(file.fileno()).st_size == 0:
        return None
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for name in {json.dumps(document.record, ensure_ascii=kept).encode() for kept in (True, False)}:
            at = data.find(name)
            while at >= 0:
                start = data.rfind(b"\n", 0, at) + 1
                if _digest(_line_at(file, start)) == document.sha256:
                    return _count_lines(data, start) + 1, start
                at = data.find(name, at + 1)
    return _scan(file).get(document.sha256)  # its `_id` is written in an unusual way, or it has none


def _scan(file: BufferedReader[FileIO]) -> Places:
    places: Places = {}
    offset = file.seek(0)
    for line, raw in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), 1):
        places.setdefault(_digest(raw), (line, offset))
        offset += len(raw)
    return places


def _count_lines(data: mmap.mmap, end: int) -> int:
    step = 1 << 20
    return sum(data[start : min(start + step, end)].count(b"\n") for start in range(0, end, step))


def _line_at(file: BufferedReader[FileIO], offset: int) -> bytes:
    file.seek(offset)
    return file.readline(LONGEST_LINE)


def _digest(line: bytes) -> str:
    return sha256(line.rstrip(b"\r\n")).hexdigest()
