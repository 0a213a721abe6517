"""A .eml or .mbox file -> its messages and the files attached to them: `box.mbox#<message id>`, `letter.eml#plan.pdf`.

The subject is the title, the sender the author. A message is known by the hash of its bytes, so that it can be checked
without taking it to pieces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from email.utils import getaddresses, parsedate_to_datetime
from hashlib import blake2b, sha256
from io import BytesIO
from itertools import islice
from typing import IO, Any

from pincite.index.decoding import length_reason
from pincite.index.extracted import Extracted, Part, UnreadableError
from pincite.index.letter import text_of
from pincite.index.members import Reading, Wanted, few_reports, is_read, read_member, read_up_to
from pincite.index.metadata import dated
from pincite.index.mime import Mail, decoded_header, headers_of, parse_mail
from pincite.index.titles import one_line
from pincite.index.walk import Skipped

__all__ = ["read_eml", "read_mbox"]

_LARGEST = 32 << 20
"""Bytes of a message; of a larger one the beginning is read, without the files attached to it."""

_MOST_PASSED = 1 << 30  # bytes of a message: a hole of terabytes takes no room on the disk
_PIECE = 1 << 20
_LONGEST_ID = 250
_USUAL = frozenset({"from", "to", "subject", "date", "message-id", "received", "return-path", "sender"})
_SEPARATOR = re.compile(rb"From .{0,500}\d\d?:\d\d")
_ESCAPED = re.compile(rb">+From ")
_ID = re.compile(r"<([^<>\s#]+)>|([^<>\s#]+)$")


@dataclass(frozen=True, slots=True)
class _Message:
    """A message of a file; `data` is its beginning if `is_cut`, its hash that of all of it."""

    data: bytes
    sha256: str
    is_cut: bool
    line: int = 1
    offset: int = 0


def read_eml(stream: IO[bytes], path: str, reading: Reading | None = None) -> Iterator[Part | Skipped]:
    """Yield a mail, under the path of its file, and the files attached to it."""
    data = read_up_to(stream, _LARGEST + 1)
    hashed, size = sha256(data), len(data)
    while size > _LARGEST and (piece := stream.read(_PIECE)):
        hashed.update(piece)
        size += len(piece)
        if size > _MOST_PASSED:
            yield Skipped(path, f"too large (the limit is {_MOST_PASSED >> 30} GiB)")
            return
    if data.startswith(b"From "):  # as it stood in a mailbox
        data = data.partition(b"\n")[2]
    if not _USUAL & headers_of(data).keys():
        yield Skipped(path, "not an e-mail: it has no header such as From or Subject")
        return
    message = _Message(data[:_LARGEST], hashed.hexdigest(), len(data) > _LARGEST)
    yield from few_reports(_parts(message, "", path, reading or Reading()), path)


def read_mbox(stream: IO[bytes], path: str, reading: Reading | None = None) -> Iterator[Part | Skipped]:
    """Yield the mails of a mailbox, each followed by the files attached to it."""
    yield from few_reports(_read(stream, path, reading or Reading()), path)


def _read(stream: IO[bytes], path: str, reading: Reading) -> Iterator[Part | Skipped]:
    wanted = reading.wanted
    try:
        if wanted and wanted.offset >= 0:
            yield from _where_it_was(stream, path, reading, wanted)
            stream.seek(0)
        seen: set[bytes] = set()
        for number, message in enumerate(_messages(stream), 1):
            record = _id_of(message, seen) or str(number)
            yield from _parts(message, record, path, reading)
    except UnreadableError as error:
        yield Skipped(path, str(error))


def _where_it_was(stream: IO[bytes], path: str, reading: Reading, wanted: Wanted) -> Iterator[Part]:
    """Yield what is wanted if it is where it was."""
    stream.seek(wanted.offset)
    record = wanted.record.partition("#")[0]
    with suppress(UnreadableError):
        for message in islice(_messages(stream, wanted.line, wanted.offset), 1):
            if _id_of(message, set()) in (record, "") or record.isdecimal():
                for item in _parts(message, record, path, reading):
                    if isinstance(item, Part) and (item.record, item.sha256) == (wanted.record, wanted.sha256):
                        yield item


def _id_of(message: _Message, seen: set[bytes]) -> str:
    """Return the id of a message, empty if it has none that is fit for a name, or one that has been seen."""
    found = _ID.search(headers_of(message.data).get("message-id", ""))
    name = (found[1] or found[2]) if found else ""
    key = blake2b(name.encode("utf-8", "replace"), digest_size=16).digest()
    if key in seen or not name.isprintable() or len(name) > _LONGEST_ID or name.isdecimal():
        return ""
    seen.add(key)
    return name


def _messages(stream: IO[bytes], line: int = 1, offset: int = 0) -> Iterator[_Message]:
    """Yield the messages from where the stream stands, which is `line` and `offset` of the file.

    Raises:
        UnreadableError: there is none.
    """
    pieces: list[bytes] = []
    begin = (line, offset)
    size = blanks = 0
    hashed: Any = None  # the type of sha256() has no public name
    starts_line = is_after_blank = True
    while piece := stream.readline(_PIECE):
        is_blank = starts_line and not piece.strip(b"\r\n")
        if starts_line and is_after_blank and (_SEPARATOR.match(piece) or (not hashed and piece.startswith(b"From "))):
            if hashed:
                yield _Message(b"".join(pieces), hashed.hexdigest(), size > _LARGEST, *begin)
            begin, pieces, size, blanks, hashed = (line, offset), [], 0, 0, sha256()
        elif hashed is None:
            if not is_blank:
                raise UnreadableError("not a mailbox: it does not begin with a line such as: From jane@example.org ...")
        else:
            # Without empty lines at the end: there is one between two messages, and often none after the last.
            if is_blank:
                blanks += 1
            else:
                hashed.update(b"\n" * blanks + piece.rstrip(b"\r\n") + b"\n")
                blanks = 0
            size += len(piece)
            if size > _MOST_PASSED:
                raise UnreadableError(f"a message of more than {_MOST_PASSED >> 30} GiB; what follows is not read")
            if size <= _LARGEST:
                pieces.append(piece[1:] if starts_line and _ESCAPED.match(piece) else piece)
        is_after_blank = is_blank
        starts_line = piece.endswith(b"\n")
        line += starts_line
        offset += len(piece)
    if hashed:
        yield _Message(b"".join(pieces), hashed.hexdigest(), size > _LARGEST, *begin)


def _parts(message: _Message, record: str, path: str, reading: Reading) -> Iterator[Part | Skipped]:
    """Yield a message and the files attached to it, those in it being named after it."""
    place = f"{path}#{record}" if record else path
    if reading.is_check:
        yield Part(record, Extracted(""), message.sha256, message.line, message.offset)
        if reading.wanted and not reading.wanted.record.startswith(f"{record}#" if record else ""):
            return
    mail = parse_mail(message.data)
    if not reading.is_check:
        content = _content(mail)
        reason = length_reason(content.text)
        if content.text.strip() and not reason:
            yield Part(record, content, message.sha256, message.line, message.offset)
        elif reason or not mail.files:
            yield Skipped(place, reason or "no text")
    if mail.is_cut:
        yield Skipped(place, "a mail of very many parts, or of parts in each other; not all of them are read")
    if message.is_cut:
        yield Skipped(place, f"larger than {_LARGEST >> 20} MiB; its end and the files attached to it are not read")
        return
    yield from _attachments(mail, message, record, path, reading)


def _attachments(mail: Mail, message: _Message, record: str, path: str, reading: Reading) -> Iterator[Part | Skipped]:
    seen: set[str] = set()
    for name, data in mail.files:
        if not is_read(name):
            continue
        stem, dot, extension = name.rpartition(".")
        numbers = (f"{stem} ({n}){dot}{extension}" for n in range(2, len(mail.files) + 2))
        unique = name if name not in seen else next(other for other in numbers if other not in seen)
        seen.add(unique)
        inner = f"{record}#{unique}" if record else unique
        if not reading.wants(inner):
            continue
        try:
            within = reading.in_mail()
        except UnreadableError as error:
            yield Skipped(f"{path}#{inner}", str(error))
            continue
        for item in read_member(BytesIO(data), name, inner, path, within):
            yield replace(item, line=message.line, offset=message.offset) if isinstance(item, Part) else item


def _content(mail: Mail) -> Extracted:
    headers = mail.headers
    title = decoded_header(headers.get("subject", ""))
    metadata = _sender(headers.get("from") or headers.get("sender", ""))
    metadata["date"] = _date(headers.get("date", ""))
    metadata |= {name: decoded_header(headers.get(name, "")) for name in ("to", "cc")}
    return Extracted(text_of(mail) or title, title, {key: value for key, value in metadata.items() if value})


def _sender(value: str) -> dict[str, str]:
    """Return the name of a sender, or the address if there is none."""
    whole = decoded_header(value)
    try:
        name, address = (getaddresses([value]) or [("", "")])[0]
    except Exception:  # whatever a broken header does to it, the header itself is there
        name, address = "", ""
    author = decoded_header(name) or one_line(address) or whole
    return {"author": author, "from": whole if whole != author else ""}


def _date(value: str) -> str:
    try:
        return parsedate_to_datetime(value).isoformat()
    except Exception:  # as above
        return dated(one_line(value))
