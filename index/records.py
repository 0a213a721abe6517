"""A .jsonl file -> one document a line, streamed: `{"_id": ..., "title": ..., "text": ...}`.

The layout of retrieval test collections. A line that is no record is reported with its number and the others go on.
Memory holds one line and 100 bytes for each `_id`, to notice one that comes twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import IO, Any

from pincite.index.decoding import length_reason
from pincite.index.extracted import Extracted, Part
from pincite.index.lines import pass_line_end
from pincite.index.members import Reading
from pincite.index.metadata import standardized
from pincite.index.titles import one_line
from pincite.index.walk import Skipped

__all__ = ["LONGEST_LINE", "Record", "parse_record", "read_jsonl"]

LONGEST_LINE = 32 * 1024 * 1024
"""Bytes; a longer line is skipped without being held in memory. JSON made to harm takes 25 times its size."""

_LONGEST_ID = 1_000  # characters
_MOST_REPORTED = 1_000  # lines of a file that are reported one by one
_MOST_ALIEN = 100_000  # lines without a record before them, after which it is taken for another kind of file
_MOST_PASSED = 1 << 30  # bytes of overlong lines of a file: a hole of terabytes takes no room on the disk
_MOST_METADATA = 32


@dataclass(frozen=True, slots=True)
class Record:
    """What one line holds; `id` is made from the line if it names none."""

    id: str
    title: str
    text: str
    metadata: Mapping[str, str]


def read_jsonl(stream: IO[bytes], path: str, reading: Reading | None = None) -> Iterator[Part | Skipped]:
    """Yield the records of a buffered `stream` that stands at its beginning, in order.

    A record's `offset` is where its line begins and its `sha256` is that of the line without its end (without
    carriage returns and line feeds), so that a citation can be checked by reading that one line.
    """
    reported = unreported = 0
    is_corpus = False
    wanted = reading.wanted.sha256 if reading and reading.wanted else ""
    for item in _read_lines(stream, path, wanted):
        if isinstance(item, Part):
            is_corpus = True
            yield item
        elif not is_corpus and reported + unreported == _MOST_ALIEN:
            yield Skipped(path, f"none of its first {_MOST_ALIEN:,} lines is a record")
            return
        elif reported < _MOST_REPORTED:
            reported += 1
            yield item
        else:
            unreported += 1
    if unreported:
        yield Skipped(path, f"{unreported:,} more lines")


def _read_lines(stream: IO[bytes], path: str, wanted: str) -> Iterator[Part | Skipped]:
    """Yield what each line holds; with `wanted`, the hash of a line, what is in that line."""
    seen: set[bytes] = set()
    offset, number, passed = 0, 0, 0
    while line := stream.readline(LONGEST_LINE + 1):
        number += 1
        start, offset = offset, offset + len(line)
        if len(line) > LONGEST_LINE and not line.endswith(b"\n"):
            ends, rest = pass_line_end(stream, _MOST_PASSED - passed)
            offset, passed = offset + rest, passed + rest
            more = "" if ends else ", and what follows it is not read"
            yield Skipped(f"{path}:{number}", f"the line is longer than {LONGEST_LINE >> 20} MiB{more}")
            if not ends:
                return
            continue
        if number == 1:
            if line.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")):
                yield Skipped(path, "UTF-16 or UTF-32; a .jsonl file must be UTF-8")
                return
            if line.startswith(b"\xef\xbb\xbf"):
                start, line = 3, line[3:]
        line = line.rstrip(b"\r\n")
        if not line.strip():
            continue
        digest = sha256(line).hexdigest()
        if wanted and digest != wanted:
            continue
        try:
            record = parse_record(line)
        except ValueError as error:
            yield Skipped(f"{path}:{number}", str(error))
            continue
        identity = blake2b(record.id.encode("utf-8"), digest_size=16).digest()
        if identity in seen:
            yield Skipped(f"{path}:{number}", f"another line has the same _id {record.id[:80]!r}")
            continue
        seen.add(identity)
        content = Extracted(record.text, record.title, standardized(record.metadata))
        yield Part(record.id, content, digest, line=number, offset=start)


def parse_record(line: bytes) -> Record:
    """Return the record in one line of a `.jsonl` file.

    Without an `_id` or `id`, the record is named by the hash of its line, which stays when the line moves.

    Raises:
        ValueError: if the line holds none; the message is one line and says why.

    >>> parse_record(b'{"_id": 7, "title": "Tides", "text": "The moon.", "year": 1998}')
    Record(id='7', title='Tides', text='The moon.', metadata={'year': '1998'})
    """
    try:
        fields = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
    except RecursionError as error:
        raise ValueError("not read: JSON nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"not JSON: {getattr(error, 'msg', error)}") from error
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")
    text = fields.pop("text", None)
    if not isinstance(text, str) or not text.strip():
        raise ValueError("no text" if text is None or isinstance(text, str) else "its text is not a string")
    title = fields.pop("title", None)
    name = fields.pop("_id", None)
    if name is None:
        name = fields.pop("id", None)
    if name is None or name == "":
        name = sha256(line).hexdigest()[:16]
    elif isinstance(name, bool) or not isinstance(name, str | int):
        raise ValueError("its _id is neither a string nor a whole number")
    too_long = length_reason(text)
    if too_long:
        raise ValueError(too_long)
    if len(str(name)) > _LONGEST_ID:
        raise ValueError(f"its _id is longer than {_LONGEST_ID:,} characters")
    return Record(
        _sound(str(name)), one_line(_sound(title)) if isinstance(title, str) else "", _sound(text), _scalars(fields)
    )


def _scalars(fields: dict[str, Any]) -> dict[str, str]:
    """Return the strings, numbers and truth values among `fields` and in its `metadata`, as strings."""
    nested = fields.pop("metadata", None)
    every = (nested if isinstance(nested, dict) else {}) | fields
    found: dict[str, str] = {}
    for key, value in every.items():
        if isinstance(value, str | int | float) and value != "" and len(found) < _MOST_METADATA:
            found[one_line(_sound(key))] = one_line(_sound(value if isinstance(value, str) else json.dumps(value)))
    return found


def _sound(text: str) -> str:
    """Return `text` with halves of surrogate pairs, which JSON allows and UTF-8 doesn't, as U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
