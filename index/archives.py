"""A .zip, .gz or .tar file -> the documents in it, streamed: `archive.zip#inner/report.pdf`, `mail.mbox.gz#3`.

Members are read like files of a folder: those of a kind that pincite knows, hidden ones left out. No name in an archive
is trusted, nothing is written to the disk, and what only its reading would show to be harmful is counted while it is
unpacked.
"""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from typing import IO

from pincite.index.extracted import Part, UnreadableError
from pincite.index.formats import EXTENSIONS, extension_of
from pincite.index.members import (
    ExhaustedError,
    Reading,
    Unpacked,
    few_reports,
    is_read,
    read_member,
    read_up_to,
    safe_name,
)
from pincite.index.tarball import Entry, tar_entries
from pincite.index.titles import one_line
from pincite.index.walk import Skipped
from pincite.index.zipped import ZIP_ERRORS

__all__ = ["read_gz", "read_tar", "read_zip"]

_BUFFER = 1 << 18
_LARGEST_INNER = 64 << 20  # bytes of a zip archive in another: it has to be read from its end
_LONGEST_END = 1 << 17  # bytes; the end of a zip archive, with a comment, has half as many
_LARGEST_LIST = 16 << 20  # bytes of the list of a zip archive's members: zipfile takes some ten times as much for it
_PACKED = 1 << 16
_GZIP = b"\x1f\x8b"
_WITH_HEADER = 31  # tells zlib that gzip's header and checksum are around the data


@dataclass(frozen=True, slots=True)
class _Member:
    """A file in an archive: its name there, what opens it, and the byte of the archive at which it begins."""

    name: str
    open: Callable[[], IO[bytes]]
    offset: int


class _Counted:
    """A stream that is read from its beginning to its end, and how far that has come."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.position = 0

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        data = self._stream.read(size)
        self.position += len(data)
        return data


class _Sparing(io.RawIOBase):
    """A seekable stream for zipfile, which would otherwise read a list of members of any size at once."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that it can be read from any place."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place and return it."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._stream.tell()

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes; raises `UnreadableError` for more than a list of members may have."""
        if size > _LARGEST_LIST:
            raise UnreadableError(f"its list of files is larger than {_LARGEST_LIST >> 20} MiB, or damaged")
        return self._stream.read(size if size >= 0 else _LONGEST_END)


def read_zip(stream: IO[bytes], path: str, reading: Reading | None = None) -> Iterator[Part | Skipped]:
    """Yield the documents in a zip archive."""
    yield from _read(_zip_members, stream, path, reading or Reading())


def read_tar(stream: IO[bytes], path: str, reading: Reading | None = None) -> Iterator[Part | Skipped]:
    """Yield the documents in a tar archive, gzip-compressed or not."""
    yield from _read(_tar_members, stream, path, reading or Reading())


def read_gz(stream: IO[bytes], path: str, reading: Reading | None = None) -> Iterator[Part | Skipped]:
    """Yield the documents of the file that was gzip-compressed, under the path of the compressed one.

    What it is goes by its name without `.gz`; where that says nothing, there is nothing to yield.
    """
    name = path[: -len(".gz")] if path.lower().endswith(".gz") else path
    if extension_of(name) not in EXTENSIONS:
        return
    reading = reading or Reading()
    is_outermost = not reading.archives
    packed = _Counted(stream)
    try:
        unpacked = _ungzipped(packed, reading)
        for item in read_member(unpacked, name, "", path, reading.in_archive()):
            yield replace(item, offset=packed.position) if isinstance(item, Part) else item
    except ExhaustedError as error:
        if not is_outermost:
            raise
        yield Skipped(path, str(error))
    except UnreadableError as error:
        yield Skipped(path, str(error))


def _read(
    members_of: Callable[[IO[bytes], Reading], Iterator[_Member]], stream: IO[bytes], path: str, reading: Reading
) -> Iterator[Part | Skipped]:
    is_outermost = not reading.archives
    is_empty = True
    try:
        inner = reading.in_archive()
        for item in few_reports(_read_members(members_of(stream, inner), path, inner), path):
            is_empty = False
            yield item
    except ExhaustedError as error:
        if not is_outermost:
            raise
        yield Skipped(path, str(error))
    except UnreadableError as error:
        yield Skipped(path, str(error))
    else:
        if is_empty and reading.wanted is None:
            yield Skipped(path, "nothing in it is of a kind that pincite reads")


def _read_members(members: Iterator[_Member], path: str, reading: Reading) -> Iterator[Part | Skipped]:
    seen: set[bytes] = set()
    for member in members:
        reading.budget.take_member()
        if extension_of(member.name) not in EXTENSIONS:
            continue
        try:
            name = safe_name(member.name)
            if not (is_read(name) and reading.wants(name)):
                continue
            key = blake2b(name.encode("utf-8", "replace"), digest_size=16).digest()
            if key in seen:
                raise UnreadableError("another file in the archive has the same name")
            seen.add(key)
            stream = member.open()
        except UnreadableError as error:
            yield Skipped(f"{path}#{one_line(member.name)}", str(error))
            continue
        for item in read_member(stream, name, name, path, reading):
            yield replace(item, offset=member.offset) if isinstance(item, Part) else item


def _zip_members(stream: IO[bytes], reading: Reading) -> Iterator[_Member]:
    if not stream.seekable():
        data = read_up_to(stream, _LARGEST_INNER + 1)
        if len(data) > _LARGEST_INNER:
            raise UnreadableError(f"too large for an archive in another (the limit is {_LARGEST_INNER >> 20} MiB)")
        stream = io.BytesIO(data)
    try:
        archive = zipfile.ZipFile(_Sparing(stream))
    except UnreadableError:
        raise
    except ZIP_ERRORS as error:
        raise UnreadableError("damaged or cut short, or not a zip archive") from error
    # Of two members with one name, the later one has replaced the other.
    for name, info in {_zip_name(info): info for info in archive.infolist() if not info.is_dir()}.items():
        yield _Member(name, partial(_open_zipped, archive, info, reading), info.header_offset)


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return the name of a member; UTF-8 without the flag that says so, as some programs write it, is taken as such."""
    if not info.flag_bits & 0x800:
        try:
            return info.filename.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    return info.filename


def _open_zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo, reading: Reading) -> IO[bytes]:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise UnreadableError("a link, not a file" if kind == stat.S_IFLNK else "not a file")
    if info.flag_bits & 1:
        raise UnreadableError("encrypted with a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnreadableError(f"compressed in a way that pincite does not read (method {info.compress_type} of zip)")
    try:
        member = archive.open(info)
    except ZIP_ERRORS as error:
        raise UnreadableError("damaged or cut short") from error
    unpacked = Unpacked(member.read, lambda: info.compress_size, ZIP_ERRORS, reading.budget)
    return io.BufferedReader(unpacked, _BUFFER)


def _tar_members(stream: IO[bytes], reading: Reading) -> Iterator[_Member]:
    take = reading.budget.take
    if _begins(stream, _GZIP):
        stream, take = _ungzipped(_Counted(stream), reading), lambda size: None  # counted when it is unpacked
    for entry in tar_entries(stream, take):
        yield _Member(entry.name, partial(_open_entry, entry), entry.offset)


def _open_entry(entry: Entry) -> IO[bytes]:
    if entry.problem:
        raise UnreadableError(entry.problem)
    return io.BufferedReader(entry.content, _BUFFER)


def _begins(stream: IO[bytes], signature: bytes) -> bool:
    """Return whether a stream begins with some bytes; it stays where it is."""
    if stream.seekable():
        start = stream.read(len(signature))
        stream.seek(0)
        return start == signature
    return isinstance(stream, io.BufferedReader) and stream.peek(len(signature)).startswith(signature)


def _ungzipped(packed: _Counted, reading: Reading) -> IO[bytes]:
    gunzip = _Gunzip(packed, reading)
    return io.BufferedReader(
        Unpacked(gunzip.read, lambda: packed.position, (zlib.error, EOFError), reading.budget), _BUFFER
    )


class _Gunzip:
    """What a gzip-compressed stream unpacks to, piece by piece; whatever its headers hold is left to zlib."""

    def __init__(self, packed: _Counted, reading: Reading) -> None:
        self._packed = packed
        self._budget = reading.budget
        self._inflate = zlib.decompressobj(_WITH_HEADER)
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most `size`; raises `EOFError` or `zlib.error` for damaged ones."""
        while data := self._rest or self._packed.read(_PACKED):
            if self._inflate.eof:  # more of them may follow each other, padded with zeros
                data = data.lstrip(b"\0")
                if data and not _GZIP.startswith(data[:2]):
                    return b""
                self._rest = data
                if not data:
                    continue
                self._budget.take_member()
                self._inflate = zlib.decompressobj(_WITH_HEADER)
            unpacked = self._inflate.decompress(data, size)
            self._rest = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            if unpacked:
                return unpacked
        if not self._inflate.eof:
            raise EOFError
        return b""
