"""One array in a file -> its rows, checked as they are read.

What is small, or looked into again and again, is mapped into memory and checked when it is first touched. What is large
and read here and there (`read`, `take`) is copied from the file and checked each time: mapped, it would all come to be
counted as memory of the process, and giving the pages back and mapping them anew took longer than reading.
"""

from __future__ import annotations

import mmap
import os
import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pincite.index.errors import IndexFormatError

__all__ = ["Checks", "Column", "OpenFile", "block_checksums", "damaged", "table_size"]

Array = NDArray[Any]  # Any: columns have several dtypes

_BLOCK = 16_384
"""Bytes with a crc32 of their own: 3 us to check, and 1 byte of table for 4,096."""

_LARGE = 1 << 20
"""Bytes; an array below is mapped, and then counts little, however it is read."""


class OpenFile:
    """A file that is open to be read for as long as anything refers to this.

    Attributes:
        path: as given.
        number: its descriptor.
        map: all of it, mapped into memory.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is empty.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.map = mmap.mmap(self.number, 0, access=mmap.ACCESS_READ)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)

    def release(self, start: int, end: int) -> None:
        """Give the memory of a stretch that is mapped back; when it is read again, it comes from the system's cache."""
        if hasattr(mmap, "MADV_DONTNEED"):
            page = start // mmap.PAGESIZE * mmap.PAGESIZE
            self.map.madvise(mmap.MADV_DONTNEED, page, end - page)


class Checks(NamedTuple):
    """By what an array in a file is checked, and where it lies.

    Attributes:
        name: of the array.
        file: where it is; `start`: its first byte there.
        table: crc32 of each of its blocks, little-endian uint32; empty for an array of one block.
        crc: crc32 of the table, or of the array.
    """

    name: str
    file: OpenFile
    start: int
    table: bytes
    crc: int


class Column:
    """An array in a file, or one in memory, which needs no checks; for several threads at once.

    Attributes:
        array: all of it, unchecked.

    Raises:
        IndexFormatError: it is not what was written; from every method that reads, too.
    """

    __slots__ = ("_bytes", "_checked", "_checks", "_row_bytes", "array")

    def __init__(self, array: Array, checks: Checks | None = None) -> None:
        self.array = array
        self._checks = checks
        self._row_bytes = array.nbytes // max(len(array), 1)
        self._bytes = memoryview(checks.file.map if checks else b"")
        self._checked = bytearray(max(len(checks.table) // 4, 1) if checks else 0)
        if checks and checks.table and zlib.crc32(checks.table) != checks.crc:
            raise damaged(checks.file.path, f"{checks.name} is damaged")

    def __len__(self) -> int:
        return len(self.array)

    def whole(self) -> Array:
        """Return all rows."""
        return self.part(0, len(self.array))

    def part(self, first: int, last: int) -> Array:
        """Return the rows `first` to `last` (without it); what was not read before is checked."""
        begin, end = first * self._row_bytes // _BLOCK, -(-last * self._row_bytes // _BLOCK)
        at = self._checked.find(0, begin, end)
        while at >= 0:
            self._check_mapped(at)
            self._checked[at] = 1
            at = self._checked.find(0, at + 1, end)
        return self.array[first:last]

    def read(self, first: int, last: int) -> Array:
        """Return the rows `first` to `last` (without it); of a large array, a copy that was read from the file."""
        checks = self._checks
        if checks is None or self.array.nbytes < _LARGE:
            return self.part(first, last)
        begin = first * self._row_bytes // _BLOCK * _BLOCK
        end = min(-(-last * self._row_bytes // _BLOCK) * _BLOCK, self.array.nbytes)
        data = memoryview(os.pread(checks.file.number, end - begin, checks.start + begin))
        for at in range(begin, end, _BLOCK):
            self._check(at // _BLOCK, data[at - begin : at - begin + _BLOCK])
        rows = np.frombuffer(data[first * self._row_bytes - begin :], self.array.dtype)
        return rows[: (last - first) * (self.array.size // len(self.array))].reshape(-1, *self.array.shape[1:])

    def take(self, rows: NDArray[np.int64], checksums: Column | None = None) -> Array:
        """Return a copy of some rows; those of a large array, each checked if there is a column of their crc32s."""
        checks = self._checks
        if checks is None or self.array.nbytes < _LARGE:
            return np.asarray(self.whole()[rows])
        width, number, read = self._row_bytes, checks.file.number, os.pread
        pieces = [read(number, width, at) for at in (checks.start + rows * width).tolist()]
        data = b"".join(pieces)
        is_sound = len(data) == len(rows) * width
        if checksums is not None:
            is_sound &= list(map(zlib.crc32, pieces)) == checksums.whole()[rows].tolist()
        if not is_sound:
            raise damaged(checks.file.path, f"{checks.name} is damaged")
        return np.frombuffer(data, self.array.dtype).reshape(len(rows), *self.array.shape[1:])

    def release(self) -> None:
        """Give the memory of a large array back after all of it was read."""
        if self._checks and self.array.nbytes >= _LARGE:
            self._checks.file.release(self._checks.start, self._checks.start + self.array.nbytes)

    def check(self) -> None:
        """Check all of it, whether it was before or not."""
        for block in range(len(self._checked)):
            self._check_mapped(block)

    def _check_mapped(self, block: int) -> None:
        assert self._checks
        start = self._checks.start + block * _BLOCK
        end = self._checks.start + min((block + 1) * _BLOCK, self.array.nbytes)
        self._check(block, self._bytes[start:end])

    def _check(self, block: int, data: memoryview) -> None:
        assert self._checks
        name, file, _, table, crc = self._checks
        if table:
            crc = int.from_bytes(table[4 * block : 4 * block + 4], "little")
        if zlib.crc32(data) != crc:
            raise damaged(file.path, f"{name} is damaged")


def block_checksums(data: memoryview) -> bytes:
    """Return the table of the crc32 of each block of an array; it is empty for an array of one block."""
    if not table_size(len(data)):
        return b""
    crcs = [zlib.crc32(data[start : start + _BLOCK]) for start in range(0, len(data), _BLOCK)]
    return np.array(crcs, "<u4").tobytes()


def table_size(size: int) -> int:
    """Return the bytes of the table of checksums of an array of `size` bytes."""
    return 4 * -(-size // _BLOCK) if size > _BLOCK else 0


def damaged(path: str, what: str) -> IndexFormatError:
    """Return the error to raise where the segment in the file `path` is not what was written."""
    folder, name = os.path.split(path)
    return IndexFormatError(f"The index {folder} is damaged: in {name}, {what}. Repair it: pincite repair")
