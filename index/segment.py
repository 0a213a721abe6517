"""One immutable segment file: named arrays, with their checksums, mapped into memory when opened.

    magic | arrays, 64-byte aligned | directory (JSON: dtype, shape, offset, crc32) | magic, its length and crc32

A small array has one crc32. A larger one has one for each 16 KiB, in a table behind it whose own crc32 is in the
directory, so that a few rows of many millions are checked at the cost of a few: what is read is checked the first time.
The crc32 of directory and end is kept in the manifest, so a damaged or swapped file never passes. A file made by
something else cannot harm: nothing in it is executed or unpickled.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pincite.index import disk
from pincite.index.column import Checks, Column, OpenFile, block_checksums, damaged, table_size
from pincite.index.errors import IndexFormatError

__all__ = ["Segment", "pack_strings", "row_checksums", "write_segment"]

Array = NDArray[Any]  # Any: a segment holds arrays of several dtypes, named in its directory

_MAGIC = b"pincite\x01"
_END = struct.Struct("<8sII")
_ALIGN = 64
_DTYPES = {"uint8", "uint16", "uint32", "uint64", "int64", "float16", "float32"}


def write_segment(path: str, arrays: Iterable[tuple[str, Array]]) -> tuple[int, int]:
    """Write arrays with their names to a new file, synced to the disk; return its size in bytes and its checksum.

    One array is held at a time, if `arrays` makes them when asked.
    """
    directory: dict[str, tuple[str, list[int], int, int]] = {}
    checksum = 0

    def blocks() -> Iterator[bytes | memoryview]:
        nonlocal checksum
        yield _MAGIC.ljust(_ALIGN, b"\0")
        offset = _ALIGN
        for name, array in arrays:
            block = np.ascontiguousarray(array)
            view = block.reshape(-1).view(np.uint8).data if block.size else memoryview(b"")
            table = block_checksums(view)
            directory[name] = (block.dtype.name, list(array.shape), offset, zlib.crc32(table or view))
            for part in (view, memoryview(table)):
                yield part
                yield bytes(_padded(len(part)) - len(part))
                offset += _padded(len(part))
        end = json.dumps(directory, separators=(",", ":")).encode()
        end += _END.pack(_MAGIC, len(end), zlib.crc32(end))
        checksum = zlib.crc32(end)
        yield end

    size = disk.write_file(path, blocks())
    return size, checksum


class Segment:
    """An open segment file; safe to read from several threads.

    Args:
        path: the file.
        size: its size in bytes, from the manifest; None for a segment that no manifest has.
        checksum: crc32 of its directory and end, from the manifest.

    Raises:
        FileNotFoundError: it is not there (a merge may have removed it; read the manifest again).
        IndexFormatError: it is not what was written.
    """

    def __init__(self, path: str, size: int | None = None, checksum: int | None = None) -> None:
        self.path = path
        self._columns: dict[str, Column] = {}
        try:
            self._file = OpenFile(path)
        except ValueError as error:
            raise self.damage("it is empty") from error
        self._map = self._file.map
        if len(self._map) != size and size is not None:
            raise self.damage("its size is not the recorded one")
        self._directory, self._arrays_end = self._read_directory(checksum)

    def _read_directory(self, checksum: int | None) -> tuple[dict[str, tuple[str, list[int], int, int]], int]:
        # Read and not mapped: the first touch of a large file that is mapped takes a millisecond.
        size = len(self._map)
        end = os.pread(self._file.number, _END.size, max(0, size - _END.size))
        if len(end) < _END.size:
            raise self.damage("it is too short")
        magic, length, crc = _END.unpack(end)
        arrays_end = size - _END.size - length
        if magic != _MAGIC or arrays_end < _ALIGN:
            raise self.damage("its end does not match the manifest")
        listing = os.pread(self._file.number, length, arrays_end)
        if zlib.crc32(listing) != crc or (checksum is not None and zlib.crc32(listing + end) != checksum):
            raise self.damage("its directory does not match the manifest")
        directory = json.loads(listing)
        for name, (dtype, shape, offset, _) in directory.items():
            size = np.dtype(dtype).itemsize * math.prod(shape)
            if dtype not in _DTYPES or offset + _padded(size) + table_size(size) > arrays_end:
                raise self.damage(f"{name} lies outside the file")
        return directory, arrays_end

    def __contains__(self, name: str) -> bool:
        return name in self._directory

    def names(self) -> Sequence[str]:
        """Return the names of the arrays, in the order in which they lie in the file."""
        return list(self._directory)

    def rows(self, name: str) -> int:
        """Return the number of rows of an array, without reading it."""
        return int(self._directory[name][1][0])

    def column(self, name: str) -> Column:
        """Return an array to be read in parts."""
        column = self._columns.get(name)
        if column is None:
            if name not in self._directory:
                raise self.damage(f"it has no {name}")
            dtype, shape, offset, crc = self._directory[name]
            count = math.prod(shape)
            array = np.frombuffer(self._map, dtype, count, offset).reshape(shape)
            behind = offset + _padded(array.nbytes)
            table = self._map[behind : behind + table_size(array.nbytes)]
            # Two threads may both make it: then some of it is checked twice.
            column = self._columns[name] = Column(array, Checks(name, self._file, offset, table, crc))
        return column

    def array(self, name: str) -> Array:
        """Return a whole array, read-only, what of it was not read before checked."""
        return self.column(name).whole()

    def part(self, name: str, first: int, last: int) -> Array:
        """Return the rows `first` to `last` (without it) of an array, read-only, checked."""
        return self.column(name).part(first, last)

    def unchecked(self, name: str) -> Array:
        """Return an array without reading it; the caller checks each row that it uses."""
        return self.column(name).array

    def check(self, name: str) -> None:
        """Raise `IndexFormatError` if an array is not what was written; all of it is read."""
        self.column(name).check()

    def check_padding(self) -> None:
        """Raise `IndexFormatError` if there is anything but zeros between the arrays."""
        end = len(_MAGIC)
        for name in self._directory:
            start = self._directory[name][2]
            if any(self._map[end:start]):
                raise self.damage("there are stray bytes between its arrays")
            size = self.unchecked(name).nbytes
            if any(self._map[start + size : start + _padded(size)]):
                raise self.damage("there are stray bytes behind one of its arrays")
            end = start + _padded(size) + table_size(size)
        if self._map[: len(_MAGIC)] != _MAGIC or any(self._map[end : self._arrays_end]):
            raise self.damage("there are stray bytes before its arrays or behind them")

    def text(self, name: str, row: int) -> str:
        """Return row `row` of a column made by `pack_strings`."""
        start, end = self.part(f"{name}_at", row, row + 2).tolist()
        return str(self.part(name, start, end).tobytes(), "utf-8", "surrogateescape")

    def strings(self, name: str, first: int = 0, last: int | None = None) -> list[str]:
        """Return the rows `first` to `last` (without it; None: all) of a column made by `pack_strings`."""
        last = self.rows(f"{name}_at") - 1 if last is None else last
        at = self.part(f"{name}_at", first, last + 1).tolist()
        data = self.part(name, at[0], at[-1]).tobytes()
        return [str(data[start - at[0] : end - at[0]], "utf-8", "surrogateescape") for start, end in pairwise(at)]

    def checked_bytes(self, name: str, start: int, end: int, crc: int) -> bytes:
        """Return the bytes `start:end` of an array of bytes, read from the file, checked against their own crc32."""
        data = os.pread(self._file.number, end - start, self._directory[name][2] + start)
        if len(data) != end - start or zlib.crc32(data) != crc:
            raise self.damage(f"{name} is damaged")
        return data

    def damage(self, what: str) -> IndexFormatError:
        """Return the error to raise where this segment is not what was written."""
        return damaged(self.path, what)


def pack_strings(name: str, strings: Sequence[str]) -> dict[str, Array]:
    """Return the two arrays that hold a column of strings: their UTF-8 bytes, and where each begins.

    >>> packed = pack_strings("title", ["ab", "", "é"])
    >>> packed["title"].tobytes(), packed["title_at"].tolist()
    (b'ab\\xc3\\xa9', [0, 2, 2, 4])
    """
    encoded = [string.encode("utf-8", "surrogateescape") for string in strings]
    at = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(item) for item in encoded], out=at[1:])
    return {name: np.frombuffer(b"".join(encoded), np.uint8), f"{name}_at": at}


def row_checksums(rows: Array) -> Array:
    """Return the crc32 of each row of a 2-d array, as uint32."""
    rows = np.ascontiguousarray(rows)
    return np.fromiter((zlib.crc32(row) for row in rows), np.uint32, len(rows))


def _padded(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN
