"""A file in an archive or in a mail -> its documents, as if it lay on the disk, within limits that all of it shares.

What is packed small may be large without end, and archives may hold archives. So whatever is unpacked goes through
`Unpacked`, which counts, and nothing is ever written to the disk.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import IO, TYPE_CHECKING

from pincite.index.extracted import Extracted, MissingExtraError, Part, UnreadableError
from pincite.index.formats import EXTENSIONS, extension_of, format_of
from pincite.index.sources import read_content
from pincite.index.walk import Skipped, is_hidden

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "Budget",
    "ExhaustedError",
    "Reading",
    "Unpacked",
    "Wanted",
    "few_reports",
    "is_read",
    "read_member",
    "read_up_to",
    "rejoined",
    "safe_name",
]

MOST_UNPACKED = 4 << 30
"""Bytes that are unpacked of one file, archives in it included."""

MOST_MEMBERS = 100_000
"""Files in an archive and in the archives in it."""

MOST_ARCHIVES = 2
"""Archives in each other."""

MOST_MAILS = 4
"""Mails in each other, as they are forwarded."""

_MOST_RATIO = 200  # prose is packed to a third, the most repetitive of tables to a fiftieth, zeros to a thousandth
_HARMLESS = 8 << 20  # bytes that may be unpacked of a member whatever its ratio
_MOST_REPORTED = 1_000
_LONGEST_NAME = 1_000
_PIECE = 1 << 16


class ExhaustedError(UnreadableError):
    """There is more in a file than is unpacked of one; nothing more of it is read."""


@dataclass(slots=True)
class Budget:
    """What may still be unpacked of a file: bytes, and members of it."""

    left: int = field(default_factory=lambda: MOST_UNPACKED)
    members: int = field(default_factory=lambda: MOST_MEMBERS)

    def take(self, size: int) -> None:
        """Count `size` bytes; raises `ExhaustedError` when there were too many."""
        self.left -= size
        if self.left < 0:
            raise ExhaustedError(f"it unpacks to more than {MOST_UNPACKED >> 30} GiB; what follows is not read")

    def take_member(self) -> None:
        """Count a member; raises `ExhaustedError` when there were too many."""
        self.members -= 1
        if self.members < 0:
            raise ExhaustedError(f"more than {MOST_MEMBERS:,} files in it; what follows is not read")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The one document that is looked for in a file of many; `offset` is where it was, -1 if that is not known."""

    record: str
    sha256: str
    line: int = 1
    offset: int = -1


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file of many documents is read.

    Attributes:
        wanted: the one document that is looked for. What cannot be it may be left out, and what is likeliest to be it
            may come first and once more in its place.
        is_check: only hashes count, so that nothing needs to be extracted: a part's text may be empty.
        archives, mails: how many of them this file is in.
        budget: what may still be unpacked.
    """

    wanted: Wanted | None = None
    is_check: bool = False
    archives: int = 0
    mails: int = 0
    budget: Budget = field(default_factory=Budget)

    def wants(self, record: str) -> bool:
        """Return whether the part `record`, or what is in it, is looked for."""
        return self.wanted is None or self.wanted.record == record or self.wanted.record.startswith(f"{record}#")

    def within(self, record: str) -> Reading:
        """Return how what is in the part `record` is read."""
        wanted = self.wanted
        if wanted is not None:
            inner = wanted.record.removeprefix(f"{record}#") if record else wanted.record
            wanted = Wanted("" if wanted.record == record else inner, wanted.sha256)
        return replace(self, wanted=wanted)

    def in_archive(self) -> Reading:
        """Return how the members of this archive are read; raises `UnreadableError` if they are not."""
        if self.archives >= MOST_ARCHIVES:
            raise UnreadableError(f"an archive in {MOST_ARCHIVES} others; so deep none is opened")
        return replace(self, archives=self.archives + 1)

    def in_mail(self) -> Reading:
        """Return how the attachments of this mail are read; raises `UnreadableError` if they are not."""
        if self.mails >= MOST_MAILS:
            raise UnreadableError(f"a mail in {MOST_MAILS} others; so deep none is opened")
        return replace(self, mails=self.mails + 1)


class Unpacked(io.RawIOBase):
    """What comes out of a packed stream, counted.

    Args:
        read: returns the next bytes, so many at most; empty at the end.
        packed: returns how many packed bytes these are from.
        errors: what `read` raises for damaged data.
        budget: what may be unpacked.
    """

    def __init__(
        self,
        read: Callable[[int], bytes],
        packed: Callable[[], int],
        errors: tuple[type[Exception], ...],
        budget: Budget,
    ) -> None:
        self._read = read
        self._packed = packed
        self._errors = errors
        self._budget = budget
        self._size = 0

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Read the next bytes into `buffer` and return how many.

        Raises:
            UnreadableError: they are damaged, or were packed to harm.
        """
        with memoryview(buffer) as view:
            try:
                data = self._read(min(len(view), _PIECE))
            except self._errors as error:
                raise UnreadableError("damaged or cut short") from error
            view[: len(data)] = data
        self._size += len(data)
        if self._size > _HARMLESS and self._size > _MOST_RATIO * max(1, self._packed()):
            raise UnreadableError(f"it unpacks to more than {_MOST_RATIO} times its size, which only harmful files do")
        self._budget.take(len(data))
        return len(data)


def read_member(stream: IO[bytes], name: str, record: str, path: str, reading: Reading) -> Iterator[Part | Skipped]:
    """Yield the documents in a file that is part of the file `path`.

    Args:
        stream: the content of the member, at its beginning.
        name: what it is called; its extension says how it is read.
        record: how its documents are named; of a file with several, what their names begin with.
        path, reading: of the file that it is in.

    Raises:
        ExhaustedError: there is too much in it.
    """
    kind = format_of(name)
    place = _joined(path, record)
    try:
        if kind.holds_many:
            for item in kind.parts_reader()(stream, place, reading.within(record)):
                if isinstance(item, Part):
                    item = replace(item, record=_joined(record, item.record), format=item.format or kind.name, offset=0)
                yield item
            return
        data = read_up_to(stream, kind.largest + 1)
        if len(data) > kind.largest:
            raise UnreadableError(f"too large (the limit is {kind.largest >> 20} MiB)")
        is_extracted = not (reading.is_check and kind.module)
        content = read_content(name, kind, data)[0] if is_extracted else Extracted("")
        yield Part(record, content, sha256(data).hexdigest(), format=kind.name)
    except ExhaustedError:
        raise
    except UnreadableError as error:
        yield Skipped(place, str(error), passes=isinstance(error, MissingExtraError))


def read_up_to(stream: IO[bytes], size: int) -> bytes:
    """Return the next `size` bytes, or all there are if fewer; memory is taken only for what is there."""
    pieces = []
    while size > 0 and (piece := stream.read(min(size, _PIECE))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def rejoined(head: bytes, stream: IO[bytes]) -> IO[bytes]:
    """Return a stream from which `head` has been read at its beginning, as if it had not been."""
    if stream.seekable():
        stream.seek(0)
        return stream
    return io.BufferedReader(_Rejoined(head, stream), _PIECE)


class _Rejoined(io.RawIOBase):
    def __init__(self, head: bytes, stream: IO[bytes]) -> None:
        self._head = head
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        with memoryview(buffer) as view:
            data = self._head[: len(view)] or self._stream.read(len(view))
            self._head = self._head[len(data) :]
            view[: len(data)] = data
        return len(data)


def is_read(name: str) -> bool:
    """Return whether a member of a (safe) name is of a kind that is read, and not hidden."""
    return extension_of(name) in EXTENSIONS and not any(
        is_hidden(part) or part == "__MACOSX" for part in name.split("/")
    )


def safe_name(name: str) -> str:
    r"""Return the name of a member, '/'-separated and without anything that leads out of its archive.

    Raises:
        UnreadableError: if it leads out.

    >>> safe_name("./notes\\tides.txt")
    'notes/tides.txt'
    """
    name = name[: _LONGEST_NAME + 1].replace("\\", "/")
    if len(name) > _LONGEST_NAME:
        raise UnreadableError(f"its name is longer than {_LONGEST_NAME:,} characters")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        raise UnreadableError("its name is an absolute path")
    if ".." in parts:
        raise UnreadableError("its name leads out of the archive")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in "/".join(parts))


def few_reports(items: Iterator[Part | Skipped], path: str) -> Iterator[Part | Skipped]:
    """Yield `items`, of the reports among them only the first and the last, which may say why it is the last."""
    reports = 0
    last: Skipped | None = None
    for item in items:
        if isinstance(item, Skipped):
            reports += 1
            if reports > _MOST_REPORTED:
                last = item
                continue
        yield item
    if reports > _MOST_REPORTED + 1:
        yield Skipped(path, f"{reports - _MOST_REPORTED - 1:,} more like these")
    if last:
        yield last


def _joined(path: str, record: str) -> str:
    return f"{path}#{record}" if path and record else path or record
