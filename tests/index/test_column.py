"""What is read from a segment is what was written, however it is read, or an error."""

from __future__ import annotations

import gc
import os
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pincite.index import column
from pincite.index.column import Column
from pincite.index.errors import IndexFormatError
from pincite.index.segment import Segment, pack_strings, row_checksums, write_segment

NUMBERS = np.random.default_rng(0).integers(0, 1 << 32, 50_000).astype(np.uint32)
PAIRS = np.random.default_rng(1).standard_normal((3_000, 7)).astype(np.float16)


class StoredSegment(Segment):
    """A segment that knows the checksum of its directory, as the manifest does."""

    checksum: int


def on_disk(path: Path, arrays: Mapping[str, NDArray[Any]]) -> StoredSegment:
    """Write a segment and return it, open."""
    size, checksum = write_segment(str(path), arrays.items())
    segment = StoredSegment(str(path), size, checksum)
    segment.checksum = checksum
    return segment


@pytest.fixture(params=["mapped", "read"])
def segment(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoredSegment:
    monkeypatch.setattr(column, "_LARGE", 1 if request.param == "read" else 1 << 30)
    arrays: dict[str, NDArray[Any]] = pack_strings("names", ["a", "", "\udce9", "ö"])
    arrays |= {"numbers": NUMBERS, "pairs": PAIRS, "pairs_crc": row_checksums(PAIRS), "few": NUMBERS[:9]}
    return on_disk(tmp_path / "seg", arrays | {"none": PAIRS[:0]})


@pytest.mark.parametrize(("first", "last"), [(0, 50_000), (0, 1), (4_095, 4_097), (17_000, 17_000), (49_999, 50_000)])
def test_parts_are_what_was_written(segment: Segment, first: int, last: int) -> None:
    stored = segment.column("numbers")
    assert np.array_equal(stored.read(first, last), NUMBERS[first:last])
    assert np.array_equal(stored.part(first, last), NUMBERS[first:last])
    assert np.array_equal(segment.array("numbers"), NUMBERS)


def test_rows_are_what_was_written_in_the_order_asked_for(segment: Segment) -> None:
    rows = np.random.default_rng(2).integers(0, len(PAIRS), 500)
    for checksums in (None, segment.column("pairs_crc")):
        assert np.array_equal(segment.column("pairs").take(rows, checksums), PAIRS[rows])
    assert np.array_equal(segment.column("pairs").read(2_000, 2_100), PAIRS[2_000:2_100])
    assert segment.column("pairs").take(rows[:0]).shape == (0, 7)
    assert segment.column("none").whole().shape == (0, 7)
    assert segment.strings("names") == ["a", "", "\udce9", "ö"]
    assert [segment.text("names", row) for row in range(4)] == segment.strings("names")
    assert segment.strings("names", 1, 3) == ["", "\udce9"]


def test_memory_given_back_is_read_again(segment: Segment) -> None:
    stored = segment.column("numbers")
    assert stored.whole().sum() == NUMBERS.sum()
    stored.release()
    assert np.array_equal(stored.whole(), NUMBERS)


def test_an_array_in_memory_is_read_like_one_in_a_file() -> None:
    held = Column(PAIRS)
    assert np.array_equal(held.read(5, 9), PAIRS[5:9]) and np.array_equal(held.part(5, 9), PAIRS[5:9])
    assert np.array_equal(held.take(np.array([7, 3])), PAIRS[[7, 3]])
    assert held.whole() is not None and len(held) == len(PAIRS)
    held.check()
    held.release()


@dataclass(frozen=True)
class Way:
    """A way to read, and the rows that it does not read."""

    read: Callable[[Segment], object]
    untouched: range


# A block has 16,384 bytes: 4,096 numbers.
WAYS = {
    "part": Way(lambda segment: segment.part("numbers", 9_000, 9_001), range(12_288, 50_000)),
    "read": Way(lambda segment: segment.column("numbers").read(9_000, 9_001), range(12_288, 50_000)),
    "array": Way(lambda segment: segment.array("numbers"), range(0)),
    "check": Way(lambda segment: segment.check("numbers"), range(0)),
}


@pytest.mark.parametrize("way", WAYS)
def test_damage_is_found_where_it_is_read_and_only_there(segment: StoredSegment, way: str) -> None:
    intact = Path(segment.path).read_bytes()
    start = intact.index(NUMBERS.tobytes())
    read, untouched = WAYS[way].read, WAYS[way].untouched
    for row in (9_000, 8_192, 12_287, 12_288, 30_000, 49_999):
        flipped = bytearray(intact)
        flipped[start + 4 * row + 3] ^= 0x80
        Path(segment.path).write_bytes(flipped)
        damaged = Segment(segment.path, len(intact), segment.checksum)
        if row in untouched:
            read(damaged)
        else:
            with pytest.raises(IndexFormatError, match="numbers is damaged"):
                read(damaged)


def test_a_damaged_row_is_found_by_its_own_checksum(segment: StoredSegment) -> None:
    data = bytearray(Path(segment.path).read_bytes())
    data[data.index(PAIRS[100].tobytes())] ^= 1
    Path(segment.path).write_bytes(data)
    damaged = Segment(segment.path, len(data), segment.checksum)
    with pytest.raises(IndexFormatError, match="pairs is damaged"):
        damaged.column("pairs").take(np.array([5, 100]), damaged.column("pairs_crc"))


def test_a_damaged_table_of_checksums_is_an_error(segment: StoredSegment) -> None:
    data = bytearray(Path(segment.path).read_bytes())
    # 50,000 numbers end on a boundary of 64 bytes, so their table is right behind them; this is of the sixth block.
    data[data.index(NUMBERS.tobytes()) + NUMBERS.nbytes + 22] ^= 1
    Path(segment.path).write_bytes(data)
    damaged = Segment(segment.path, len(data), segment.checksum)
    with pytest.raises(IndexFormatError, match="numbers is damaged"):
        damaged.part("numbers", 0, 1)
    damaged.part("few", 0, 1)


def test_a_file_cut_short_while_it_is_open_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column, "_LARGE", 1)
    segment = on_disk(tmp_path / "seg", {"pairs": PAIRS, "numbers": NUMBERS})
    numbers, pairs = segment.column("numbers"), segment.column("pairs")
    os.truncate(segment.path, 1_000)
    with pytest.raises(IndexFormatError):
        numbers.read(0, 10)
    with pytest.raises(IndexFormatError):
        pairs.take(np.array([2_999]))


def test_stray_bytes_between_the_arrays_are_found(segment: StoredSegment) -> None:
    intact = Path(segment.path).read_bytes()
    segment.check_padding()
    end = intact.index(NUMBERS.tobytes()) + NUMBERS.nbytes
    few = intact.index(NUMBERS[:9].tobytes(), end)
    for place in (end + 4 * 13, few + 4 * 9, len(intact) - 1):  # the table of the numbers has 13 entries
        data = bytearray(intact)
        data[place] ^= 1
        Path(segment.path).write_bytes(data)
        with pytest.raises(IndexFormatError, match="stray"):
            Segment(segment.path, len(data), segment.checksum).check_padding()


def test_threads_read_what_one_thread_reads(segment: Segment) -> None:
    stored = segment.column("numbers")

    def read(first: int) -> int:
        stored.release()
        return int(stored.part(first, first + 5_000).sum()) + int(stored.read(first, first + 5_000).sum())

    firsts = list(range(0, 45_000, 997)) * 4
    with ThreadPoolExecutor(8) as pool:
        sums = list(pool.map(read, firsts))
    assert sums == [2 * int(NUMBERS[first : first + 5_000].sum()) for first in firsts]


def test_a_file_stays_open_for_whoever_reads_from_it_and_no_longer(tmp_path: Path) -> None:
    def opened() -> int:
        gc.collect()
        return sum(os.path.realpath(f"/proc/self/fd/{name}") == str(tmp_path / "seg") for name in descriptors())

    def descriptors() -> list[str]:
        return os.listdir("/proc/self/fd")

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("the system does not list a process's open files")
    stored = on_disk(tmp_path / "seg", {"pairs": PAIRS}).column("pairs")
    assert opened() > 0
    assert np.array_equal(stored.take(np.array([1])), PAIRS[[1]])
    del stored
    assert opened() == 0


def test_bytes_with_a_checksum_of_their_own_are_checked_against_it(segment: Segment) -> None:
    few = NUMBERS[:9].tobytes()
    assert segment.checked_bytes("few", 4, 30, zlib.crc32(few[4:30])) == few[4:30]
    for start, end in ((5, 30), (4, 31), (4, 1 << 30)):
        with pytest.raises(IndexFormatError, match="few is damaged"):
            segment.checked_bytes("few", start, end, zlib.crc32(few[4:30]))
