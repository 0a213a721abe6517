"""Lines of a table -> rows of cells, each with the place at which it begins.

A quotation mark that is never closed makes one cell of all that follows. Such a row is given up, and reading goes on at
its second line.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from pincite.index.decoding import decode
from pincite.index.dialect import LONGEST_ROW, Dialect, reader
from pincite.index.passage import LINE_END

__all__ = ["Line", "Row", "decoded", "recut", "rows_of"]

_MOST_BROKEN = 10  # rows with an open quotation mark; each may cost another reading of `LONGEST_ROW` bytes
_END = re.compile(r"\r\n|\r(?!\Z)|\n")  # a carriage return at the end may be followed by a line feed

Line = tuple[str | None, int]
"""A line with its end, None if it is too long, and its bytes in the file."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Attributes:
        number: 1-based, lines without anything counted.
        line, offset: 1-based line and byte of the file at which it begins.
        cells: its cells.
        problem: why it could not be read; empty if it could.
    """

    number: int
    line: int
    offset: int
    cells: Sequence[str]
    problem: str = ""


class _TooLongError(ValueError):
    """A row is longer than `LONGEST_ROW`."""


def decoded(lines: Iterable[tuple[bytes | None, int]], encoding: str) -> Iterator[Line]:
    """Yield lines as text; one that the encoding of the file does not fit is decoded by itself."""
    is_first = encoding == "utf-8-sig"
    for raw, size in lines:
        if raw is None:
            yield None, size
            continue
        if is_first:
            raw, is_first = raw.removeprefix(codecs.BOM_UTF8), False
        try:
            text = raw.decode("utf-8" if encoding == "utf-8-sig" else encoding)
        except UnicodeDecodeError:
            text = decode(raw)[0]
        yield text, size


def recut(pieces: Iterable[bytes], encoding: str) -> Iterator[Line]:
    """Yield the lines of a file in which not every byte of a line feed ends one, as in UTF-16, or none does.

    Where they begin in the file is not known.
    """
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    rest, is_long = "", False
    for piece in chain(pieces, (b"",)):
        rest += decoder.decode(piece, not piece)
        start = 0
        for found in (_END if piece else LINE_END).finditer(rest):
            yield (None if is_long else rest[start : found.end()]), 0
            start, is_long = found.end(), False
        rest = rest[start:]
        if len(rest) > LONGEST_ROW:
            rest, is_long = rest[-1:], True
    if rest or is_long:
        yield (None if is_long else rest), 0


def rows_of(lines: Iterator[Line], dialect: Dialect) -> Iterator[Row]:
    """Yield the rows in some lines, those that could not be read with their problem."""
    waiting: deque[Line] = deque()
    taken: list[Line] = []

    def feed() -> Iterator[str]:
        size = 0
        while (line := waiting.popleft() if waiting else next(lines, None)) is not None:
            size = len(line[0] or "") + (size if taken else 0)
            taken.append(line)
            if line[0] is None or size > LONGEST_ROW:
                raise _TooLongError
            yield line[0]

    def begin() -> Iterator[list[str]]:
        return iter(reader(feed(), dialect.delimiter, dialect.is_quoted, is_strict=True))

    rows = begin()
    number, at, offset, broken = 0, 1, 0, 0
    while True:
        number += 1
        taken.clear()
        cells: Sequence[str] = ()
        problem = ""
        try:
            cells = next(rows)
        except StopIteration:
            return
        except (_TooLongError, csv.Error):
            rows = begin()
            if len(taken) > 1:
                problem = "a quotation mark is not closed"
                broken += 1
                waiting.extendleft(reversed(taken[1:]))
                del taken[1:]
            else:
                cells = _leniently(taken[0][0], dialect)
                problem = "" if cells else f"longer than {LONGEST_ROW >> 20} MiB, or not a row"
        if broken > _MOST_BROKEN:
            yield Row(number, at, offset, (), f"{problem}, and in others before; what follows is not read")
            return
        yield Row(number, at, offset, cells, problem)
        at += len(taken)
        offset += sum(size for _, size in taken)


def _leniently(line: str | None, dialect: Dialect) -> Sequence[str]:
    """Return the cells of a line with a quotation mark out of its place; none if there are none."""
    try:
        return next(iter(reader([line or ""], dialect.delimiter, dialect.is_quoted)), ())
    except csv.Error:
        return ()
