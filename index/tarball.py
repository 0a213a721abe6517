"""A tar archive -> its entries, one after the other, without going back.

Headers are read by the standard library. How they follow each other is done here, because tarfile takes damage in the
middle of an archive for its end, and keeps whatever length a header asks for in memory.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING

from pincite.index.extracted import UnreadableError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Entry", "tar_entries"]

_BLOCK = 512
_LONGEST_EXTRA = 1 << 20  # bytes of an entry that belongs to the next one
_LARGEST = 1 << 60
_PIECE = 1 << 18
_CUT = "damaged or cut short in the middle"
_RECORD = re.compile(rb"(\d{1,8}) ([^=\n]{1,1000})=")
_EXTRAS = frozenset(
    [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE]
)
_NO_FILES = {
    tarfile.LNKTYPE: "a link, not a file",
    tarfile.SYMTYPE: "a link, not a file",
    tarfile.CHRTYPE: "a device, not a file",
    tarfile.BLKTYPE: "a device, not a file",
    tarfile.FIFOTYPE: "a named pipe, not a file",
    tarfile.GNUTYPE_SPARSE: "a file with holes, which pincite does not read",
}
_WITHOUT_DATA = frozenset([*_NO_FILES, tarfile.DIRTYPE]) - {tarfile.GNUTYPE_SPARSE}


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in an archive: its name there, the byte at which it begins, and its content, until the next is asked for.

    `problem`: why it has no content; empty if it has.
    """

    name: str
    offset: int
    content: Content
    problem: str = ""


class Content(io.RawIOBase):
    """The bytes of an entry, read from the archive as they are asked for."""

    def __init__(self, stream: IO[bytes], size: int, take: Callable[[int], object]) -> None:
        self._stream = stream
        self._take = take
        self.left = size

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Read the next bytes into `buffer` and return how many; raises `UnreadableError` where some are missing."""
        with memoryview(buffer) as view:
            size = min(len(view), self.left)
            data = self._stream.read(size) if size else b""
            if size and not data:
                raise UnreadableError("the archive is cut short in it")
            view[: len(data)] = data
        self.left -= len(data)
        self._take(len(data))
        return len(data)


def tar_entries(stream: IO[bytes], take: Callable[[int], object]) -> Iterator[Entry]:
    """Yield the files in a tar archive, folders left out.

    Args:
        stream: at its beginning; what is not wanted is passed over by seeking where it can.
        take: called with the number of bytes of contents that are read.

    Raises:
        UnreadableError: it is none, or is damaged; what was yielded before is sound.
    """
    offset = 0
    extra = _Extra()
    while True:
        header = stream.read(_BLOCK)
        if not header and offset:
            return  # the two empty blocks that should be there are not
        try:
            info = tarfile.TarInfo.frombuf(header, "utf-8", "replace")
        except tarfile.HeaderError as error:
            if len(header) == _BLOCK and not header.strip(b"\0"):
                return
            raise UnreadableError(_CUT if offset else "not a tar archive") from error
        is_extra = info.type in _EXTRAS
        length = extra.size if extra.size >= 0 and not is_extra else info.size
        if info.type in _WITHOUT_DATA:
            length = 0
        if not 0 <= length <= _LARGEST:
            raise UnreadableError("damaged: a file of an impossible size")
        begin = offset
        offset += _BLOCK + _pass_maps(stream, header, info.type)
        content = Content(stream, length, take)
        if is_extra:
            extra = _read_extra(content, info.type, extra)
        else:
            if not info.isdir():
                kind = tarfile.GNUTYPE_SPARSE if extra.is_sparse else info.type
                yield Entry(extra.name or info.name, begin, content, _NO_FILES.get(kind, ""))
            extra = _Extra()
        _pass(stream, content.left)
        _pass(stream, -length % _BLOCK)
        offset += length + -length % _BLOCK


@dataclass(frozen=True, slots=True)
class _Extra:
    """What the entries before a file say of it, where its own header has no room: name, and size if not negative."""

    name: str = ""
    size: int = -1
    is_sparse: bool = False


def _read_extra(content: Content, kind: bytes, extra: _Extra) -> _Extra:
    if content.left > _LONGEST_EXTRA:
        raise UnreadableError("damaged: a name or the like of more than a megabyte")
    data = content.read(content.left) or b""
    if kind == tarfile.GNUTYPE_LONGNAME:
        return replace(extra, name=data.partition(b"\0")[0].decode("utf-8", "replace"))
    if kind != tarfile.XHDTYPE and kind != tarfile.SOLARIS_XHDTYPE:
        return extra
    # Records "30 path=a/b\n", each with its own length, end and all.
    at = 0
    while found := _RECORD.match(data, at):
        end = at + int(found[1])
        value = data[found.end() : end].removesuffix(b"\n")
        at = max(end, found.end())
        key = found[2]
        if key in (b"path", b"GNU.sparse.name"):
            extra = replace(extra, name=value.decode("utf-8", "replace"))
        elif key == b"size" and re.fullmatch(rb"\d{1,18}", value):
            extra = replace(extra, size=int(value))
        if key.startswith(b"GNU.sparse."):
            extra = replace(extra, is_sparse=True)
    return extra


def _pass_maps(stream: IO[bytes], header: bytes, kind: bytes) -> int:
    """Pass over the lists of holes after the header of an old sparse file, and return how many bytes they are."""
    passed = 0
    is_followed = kind == tarfile.GNUTYPE_SPARSE and header[482] != 0
    while is_followed:
        block = stream.read(_BLOCK)
        passed += len(block)
        if len(block) < _BLOCK:
            raise UnreadableError(_CUT)
        is_followed = block[504] != 0
    return passed


def _pass(stream: IO[bytes], size: int) -> None:
    """Go on by `size` bytes.

    Raises:
        UnreadableError: there are not so many.
    """
    if size and stream.seekable():
        stream.seek(size - 1, io.SEEK_CUR)
        size = 1
    while size:
        data = stream.read(min(size, _PIECE))
        if not data:
            raise UnreadableError(_CUT)
        size -= len(data)
