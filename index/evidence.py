"""Document -> Evidence: what its file says now, to be held against what was indexed."""

from __future__ import annotations

import json
import mmap
import os
from dataclasses import dataclass
from hashlib import blake2b, sha256
from io import BufferedReader, FileIO

from pincite.index.extracted import Part
from pincite.index.formats import Format, format_of
from pincite.index.members import Reading, Wanted
from pincite.index.passage import Document
from pincite.index.records import LONGEST_LINE
from pincite.index.sources import buffered, decode, open_regular
from pincite.index.walk import Skipped, reason_for

__all__ = ["Evidence", "Places", "examine"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a document's file says now.

    `problem` is empty if the document is in its file as it was indexed. `line` is where it begins there. `raw` is the
    line of a `.jsonl` record, as it stands in the file.
    """

    text: str
    line: int
    problem: str = ""
    raw: str = ""


Places = dict[str, tuple[int, int]]
"""The documents of a file of many: hash -> 1-based line and byte at which it begins.

The hash is the sha256 of a line of a `.jsonl` file; of a part of any other file, that of its name and its sha256.
"""


def examine(document: Document, location: str, scanned: dict[str, Places] | None = None) -> Evidence:
    """Read the file of a document again and return what it says now.

    Args:
        document: as indexed.
        location: absolute path of its file.
        scanned: where to remember, by location, what is in a file of many documents, for whoever examines many: it is
            then read once, a `.jsonl` file only if a record of it has moved. Without it, each call reads such a file
            at most once.
    """
    location = os.path.realpath(location)  # it may be a link, followed when it was indexed
    path = document.path.removesuffix(f"#{document.record}") if document.record else document.path
    kind = format_of(path)
    try:
        with open_regular(location) as raw:
            if kind.holds_many and kind.name != "jsonl":
                return _examine_part(document, raw, path, kind, location, scanned)
            file = BufferedReader(raw, 1 << 16)
            if kind.holds_many:
                return _examine_record(document, file, location, scanned)
            data = file.read(kind.largest + 1)  # one that has grown beyond this has changed
    except FileNotFoundError:
        return Evidence(document.text, document.line, "the file is no longer there")
    except OSError as error:
        return Evidence(document.text, document.line, f"the file cannot be read: {reason_for(error)}")
    if sha256(data).hexdigest() != document.sha256:
        return Evidence(document.text, document.line, "the file has changed since it was indexed")
    text = decode(data, document.encoding)[0] if document.encoding else document.text
    return Evidence(text, document.line)


def _examine_part(
    document: Document,
    raw: FileIO,
    path: str,
    kind: Format,
    location: str,
    scanned: dict[str, Places] | None,
) -> Evidence:
    if scanned is None:
        return _found(document, raw, path, kind)
    if location not in scanned:
        scanned[location] = _scan_parts(raw, path, kind)
    place = scanned[location].get(_key(document.record, document.sha256))
    if place is None:
        return Evidence(document.text, document.line, "it is not in its file as it was indexed")
    return Evidence(document.text, place[0])


def _found(document: Document, raw: FileIO, path: str, kind: Format) -> Evidence:
    """Return what a file says now of one of its parts, looked for where it was, or else in all of it.

    A part that is named by a number may have got another one.
    """
    reading = Reading(Wanted(document.record, document.sha256, document.line, document.offset), is_check=True)
    moved: Part | None = None
    problem = "it is no longer in its file"
    with buffered(raw) as stream:
        for item in kind.parts_reader()(stream, path, reading):
            if isinstance(item, Skipped):
                if item.path in (path, document.path):
                    problem = f"it cannot be read any more: {item.reason}"
            elif item.sha256 == document.sha256 and item.record == document.record:
                return Evidence(item.extracted.text or document.text, item.line)
            elif item.record == document.record:
                problem = "it has changed since it was indexed"
                if not _has_number(item.record):
                    break
            elif item.sha256 == document.sha256 and _general(item.record) == _general(document.record):
                moved = moved or item
    return (
        Evidence(moved.extracted.text or document.text, moved.line)
        if moved
        else Evidence(document.text, document.line, problem)
    )


def _scan_parts(raw: FileIO, path: str, kind: Format) -> Places:
    places: Places = {}
    with buffered(raw) as stream:
        for item in kind.parts_reader()(stream, path, Reading(is_check=True)):
            if isinstance(item, Part):
                places.setdefault(_key(item.record, item.sha256), (item.line, item.offset))
    return places


def _key(record: str, digest: str) -> str:
    return blake2b(f"{_general(record)}\0{digest}".encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def _general(record: str) -> str:
    """Return the name of a part without its number, if it has no other name: rows and mails before it may have gone."""
    return record.rpartition("#")[0] + "#" if _has_number(record) else record


def _has_number(record: str) -> bool:
    return record.rpartition("#")[2].isdecimal()


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
