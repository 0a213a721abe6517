"""One immutable segment file: named arrays, each with its checksum, mapped into memory when opened.

    magic | length and crc32 of the directory | directory (JSON: dtype, shape, offset, crc32) | arrays, 64-byte aligned

An array is checked against its crc32 the first time that it is asked for; `texts` and `vectors`, which are large and
read a few rows at a time, carry a crc32 a row instead. The crc32 of the head is kept in the manifest, so a damaged or
swapped file never passes. A file made by something else cannot harm: nothing in it is executed or unpickled.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pincite.index import disk
from pincite.index.errors import IndexFormatError

__all__ = ["Segment", "pack_strings", "row_checksums", "unpack_string", "write_segment"]

Array = NDArray[Any]  # Any: a segment holds arrays of several dtypes, named in its directory

_MAGIC = b"pincite\x01"
_HEAD = struct.Struct("<8sII")
_ALIGN = 64
_DTYPES = {"uint8", "uint16", "uint32", "uint64", "int64", "float16", "float32"}


def write_segment(path: str, arrays: Mapping[str, Array]) -> tuple[int, int]:
    """Write `arrays` to a new file, synced to the disk; return its size in bytes and the crc32 of its head."""
    directory: dict[str, tuple[str, list[int], int, int]] = {}
    data: list[memoryview] = []
    offset = 0
    for name, array in arrays.items():
        block = np.ascontiguousarray(array)
        view = block.reshape(-1).view(np.uint8).data if block.size else memoryview(b"")
        directory[name] = (block.dtype.name, list(array.shape), offset, zlib.crc32(view))
        data.append(view)
        offset += _padded(len(view))
    listing = json.dumps(directory, separators=(",", ":")).encode()
    head = _HEAD.pack(_MAGIC, len(listing), zlib.crc32(listing)) + listing
    head += bytes(_padded(len(head)) - len(head))

    def blocks() -> Iterator[bytes | memoryview]:
        yield head
        for view in data:
            yield view
            yield bytes(_padded(len(view)) - len(view))

    return disk.write_file(path, blocks()), zlib.crc32(head)


class Segment:
    """An open segment file; safe to read from several threads.

    Args:
        path: the file.
        size: its size in bytes, from the manifest.
        checksum: crc32 of its head, from the manifest.

    Raises:
        FileNotFoundError: it is not there (a merge may have removed it; read the manifest again).
        IndexFormatError: it is not what was written.
    """

    def __init__(self, path: str, size: int, checksum: int) -> None:
        self.path = path
        self._checked: set[str] = set()
        self._lock = threading.Lock()
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size != size:
                raise self.damage("its size is not the recorded one")
            try:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError as error:
                raise self.damage("it is empty") from error
        self._directory, self._base = self._read_head(checksum)

    def _read_head(self, checksum: int) -> tuple[dict[str, tuple[str, list[int], int, int]], int]:
        if len(self._map) < _HEAD.size:
            raise self.damage("it is too short")
        magic, length, crc = _HEAD.unpack_from(self._map)
        base = _padded(_HEAD.size + length)
        if magic != _MAGIC or base > len(self._map) or zlib.crc32(self._map[:base]) != checksum:
            raise self.damage("its head does not match the manifest")
        listing = self._map[_HEAD.size : _HEAD.size + length]
        if zlib.crc32(listing) != crc:
            raise self.damage("its directory is damaged")
        directory = json.loads(listing)
        for name, (dtype, shape, offset, _) in directory.items():
            end = base + offset + np.dtype(dtype).itemsize * int(np.prod(shape, dtype=np.int64))
            if dtype not in _DTYPES or end > len(self._map):
                raise self.damage(f"{name} lies outside the file")
        return directory, base

    def __contains__(self, name: str) -> bool:
        return name in self._directory

    def names(self) -> Sequence[str]:
        """Return the names of the arrays, in the order in which they lie in the file."""
        return list(self._directory)

    def rows(self, name: str) -> int:
        """Return the number of rows of an array, without reading it."""
        return int(self._directory[name][1][0])

    def array(self, name: str) -> Array:
        """Return an array, read-only, checked against its checksum when it is first asked for."""
        array = self.unchecked(name)
        if name not in self._checked:
            self.check(name)
            with self._lock:
                self._checked.add(name)
        return array

    def unchecked(self, name: str) -> Array:
        """Return an array without reading all of it; the caller checks each row that it uses."""
        if name not in self._directory:
            raise self.damage(f"it has no {name}")
        dtype, shape, offset, _ = self._directory[name]
        count = int(np.prod(shape, dtype=np.int64))
        return np.frombuffer(self._map, dtype, count, self._base + offset).reshape(shape)

    def check(self, name: str) -> None:
        """Raise `IndexFormatError` if an array is not what was written."""
        array = self.unchecked(name)
        view = array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")
        if zlib.crc32(view) != self._directory[name][3]:
            raise self.damage(f"{name} is damaged")

    def check_padding(self) -> None:
        """Raise `IndexFormatError` if there is anything but zeros between the arrays."""
        end = self._base
        for name in self._directory:
            start = self._base + self._directory[name][2]
            if any(self._map[end:start]):
                raise self.damage("there are stray bytes between its arrays")
            end = start + self.unchecked(name).nbytes
        if any(self._map[end:]):
            raise self.damage("there are stray bytes at its end")

    def text(self, name: str, row: int) -> str:
        """Return row `row` of a column made by `pack_strings`."""
        return unpack_string(self.array(name), self.array(f"{name}_at"), row)

    def strings(self, name: str) -> list[str]:
        """Return all rows of a column made by `pack_strings`."""
        data, at = self.array(name).tobytes(), self.array(f"{name}_at").tolist()
        return [str(data[start:end], "utf-8", "surrogateescape") for start, end in pairwise(at)]

    def checked_bytes(self, name: str, start: int, end: int, crc: int) -> bytes:
        """Return the bytes `start:end` of a large array of bytes, checked against the crc32 of just those."""
        data = self.unchecked(name)[start:end].tobytes()
        if zlib.crc32(data) != crc:
            raise self.damage(f"{name} is damaged")
        return data

    def damage(self, what: str) -> IndexFormatError:
        """Return the error to raise where this segment is not what was written."""
        folder = os.path.dirname(self.path)
        return IndexFormatError(
            f"The index {folder} is damaged: in {os.path.basename(self.path)}, {what}. "
            f"Rebuild it: pincite index --rebuild"
        )


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


def unpack_string(data: Array, at: Array, row: int) -> str:
    """Return row `row` of a column made by `pack_strings`."""
    return str(data[at[row] : at[row + 1]].tobytes(), "utf-8", "surrogateescape")


def row_checksums(rows: Array) -> Array:
    """Return the crc32 of each row of a 2-d array, as uint32."""
    rows = np.ascontiguousarray(rows)
    return np.fromiter((zlib.crc32(row) for row in rows), np.uint32, len(rows))


def _padded(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN
