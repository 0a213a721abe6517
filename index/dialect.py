"""The first lines of a table -> how its cells are separated, and where its header is.

Both are told by what makes most rows alike: the separator that cuts them into equally many cells, and a first row that
reads like names.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

__all__ = ["LONGEST_ROW", "Dialect", "dialect_of", "header_of", "is_number", "reader"]

LONGEST_ROW = 8 << 20
"""Bytes; a longer row is skipped. Novels have a million."""

_LONGEST_NAME = 200  # characters of a column's
_LEAST_ALIKE = 0.6  # share of rows with the same number of cells, else it is no table
_MOST_SHORT = 0.1  # share of rows with too few cells, else whoever wrote it leaves out empty ones at the end
_NUMBER = re.compile(r"[+-]?[$€£]?\s?\d[\d.,' \u00a0]{0,40}(?:e[+-]?\d+)?\s?%?$", re.IGNORECASE)
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[T ].{0,30})?$")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a table is written: its separator, whether cells may be in quotation marks, and how many there are a row.

    `is_loose`: empty cells at the end of a row may be left out.
    """

    delimiter: str
    is_quoted: bool
    width: int
    is_loose: bool


def reader(lines: Iterable[str], delimiter: str, is_quoted: bool, is_strict: bool = False) -> Iterable[list[str]]:
    """Return what cuts lines into rows of cells; raises `csv.Error` for one that it cannot.

    With `is_strict` that is one, too, in which quotation marks do not enclose whole cells.
    """
    if csv.field_size_limit() < LONGEST_ROW:
        csv.field_size_limit(LONGEST_ROW)  # 128 KiB otherwise, for the whole process; articles are longer
    if is_quoted:
        return csv.reader(lines, delimiter=delimiter, strict=is_strict)
    return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)


def dialect_of(lines: Sequence[str], delimiters: str, is_whole: bool) -> Dialect | None:
    """Return how a table is written, or None if it is none.

    Args:
        lines: its first lines, with their ends.
        delimiters: those that it may have, the likeliest first.
        is_whole: whether these are all.
    """
    found = []
    most_split = 0.0
    for place, delimiter in enumerate(delimiters):
        for is_quoted in (True, False):
            rows, is_sound = _rows(lines, delimiter, is_quoted, is_whole)
            if not rows:
                continue
            widths = Counter(map(len, rows))
            width, alike = max(widths.items(), key=lambda item: (item[1], item[0]))
            if is_quoted:
                most_split = max(most_split, 1 - widths[1] / len(rows))
            share = alike / len(rows)
            # "Bergen, Norway": a comma in a text has a space after it, one between cells hardly ever.
            loose = sum(cell.startswith(" ") for row in rows for cell in row[1:]) / sum(map(len, rows))
            shorter = sum(number for cells, number in widths.items() if cells < width) / len(rows)
            if share >= _LEAST_ALIKE:
                rank = (width > 1, round(share, 2), -round(loose, 1), is_sound, is_quoted, -place)
                found.append((rank, Dialect(delimiter, is_quoted, width, shorter > _MOST_SHORT)))
    best = max(found, key=lambda item: item[0])[1] if found else None
    return best if best is None or best.width > 1 or most_split <= 1 - _LEAST_ALIKE else None


def _rows(lines: Sequence[str], delimiter: str, is_quoted: bool, is_whole: bool) -> tuple[list[list[str]], bool]:
    """Return the rows that are not empty, the last only if it is whole, and whether all quotation marks are sound."""
    rows: list[list[str]] = []
    is_sound = True
    at_end = False

    def feed() -> Iterator[str]:
        nonlocal at_end
        yield from lines
        at_end = True

    for is_strict in (True, False) if is_quoted else (False,):
        rows.clear()
        try:
            rows.extend(reader(feed(), delimiter, is_quoted, is_strict))
            break
        except csv.Error:
            is_sound = is_sound and at_end and not is_whole
    if not is_whole and len(rows) > 1:
        rows.pop()
    return [row for row in rows if any(cell.strip() for cell in row)], is_sound


def header_of(rows: Sequence[Sequence[str]], width: int) -> tuple[int, bool]:
    """Return how many rows stand above the table, and whether its first row holds the names of the columns.

    Args:
        rows: the first rows of the file.
        width: cells of most of them.
    """
    least = 2 if width > 1 else 1  # a single cell may be a title above the table, or a note
    full = (n for n, row in enumerate(rows) if len(row) == width and sum(bool(cell.strip()) for cell in row) >= least)
    above = next(full, 0)
    table = [row for row in rows[above:] if len(row) == width]
    return above, bool(table) and len(rows[above]) == width and _is_header(table[0], table[1:])


def _is_header(first: Sequence[str], others: Sequence[Sequence[str]]) -> bool:
    """Return whether the cells of a row are names: short, different, no values, and not what stands below them."""
    names = [cell.strip() for cell in first]
    filled = [name for name in names if name]
    if not filled or len(filled) < len(names) - 1 or len({name.lower() for name in filled}) < len(filled):
        return False
    if any(len(name) > _LONGEST_NAME or "\n" in name for name in filled):
        return False
    numbers = [name for name in filled if is_number(name) or _DATE.match(name)]
    if numbers:
        is_years = all(re.fullmatch(r"(?:1[5-9]|20)\d\d", name) for name in numbers) and numbers == sorted(numbers)
        return is_years and 1 < len(numbers) < len(filled)
    if len(names) == 1 and not others:
        return False
    return not any(name and name == row[n].strip() for row in others for n, name in enumerate(names))


def is_number(cell: str) -> bool:
    """Return whether a cell holds an amount and nothing else.

    >>> is_number("1,200.50 %"), is_number("Pier 7")
    (True, False)
    """
    return _NUMBER.match(cell.strip()[:100]) is not None
