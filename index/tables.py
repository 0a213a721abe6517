"""A .csv or .tsv file -> one document a row, streamed: `file.csv#<id>`, or `file.csv#<number of the row>`.

A row is numbered as spreadsheets do it, the header being the first. Where a column holds articles, its cell is the
text; otherwise the text is "Column: value; Column: value.", so that a cell can be quoted: with a line for each cell,
the reader took cells for headings and found one of four answers. A row is known again by the hash of what was made of
it, since its cells say nothing without their header.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b, sha256
from itertools import islice
from typing import IO

from pincite.index.decoding import binary_reason, encoding_of, length_reason
from pincite.index.dialect import LONGEST_ROW, Dialect, dialect_of, header_of
from pincite.index.extracted import Extracted, Part, UnreadableError
from pincite.index.layout import Layout, content_of, layout_of
from pincite.index.lines import lines_of
from pincite.index.members import Reading, Wanted, few_reports, read_up_to, rejoined
from pincite.index.rows import Line, Row, decoded, recut, rows_of
from pincite.index.walk import Skipped

__all__ = ["read_csv", "read_tsv"]

_SAMPLE = 128 * 1024
"""Bytes from the beginning by which encoding, dialect, header and columns are told."""

_MOST_COLUMNS = 1_000
_LONGEST_ID = 250  # characters
_PIECE = 1 << 16
_NO_TABLE = {"<": "HTML or XML, not a table", "{": "JSON, not a table", "[{": "JSON, not a table"}


@dataclass(frozen=True, slots=True)
class _Table:
    """How a table is read: the text of its lines, what separates its cells, and what its columns are for.

    `above`: rows before the first one of data.
    """

    encoding: str
    is_wide: bool
    dialect: Dialect
    above: int
    layout: Layout


def read_csv(stream: IO[bytes], path: str, reading: Reading | None = None) -> Iterator[Part | Skipped]:
    """Yield the rows of a table with commas, semicolons, tabs or bars between its cells."""
    yield from few_reports(_read(stream, path, reading or Reading(), ",;\t|"), path)


def read_tsv(stream: IO[bytes], path: str, reading: Reading | None = None) -> Iterator[Part | Skipped]:
    """Yield the rows of a table with tabs between its cells, or with what else `read_csv` knows if there are none."""
    yield from few_reports(_read(stream, path, reading or Reading(), "\t,;|"), path)


def _read(stream: IO[bytes], path: str, reading: Reading, delimiters: str) -> Iterator[Part | Skipped]:
    try:
        sample = read_up_to(stream, _SAMPLE)
        is_whole = len(sample) < _SAMPLE
        table = _table_of(sample, path, delimiters, is_whole)
        wanted = reading.wanted
        if wanted and wanted.offset >= 0 and not table.is_wide:
            yield from _where_it_was(stream, table, wanted)
        stream = rejoined(sample, stream)
        if table.is_wide:
            lines = recut(iter(lambda: stream.read(_PIECE), b""), table.encoding)
        else:
            lines = decoded(lines_of(stream, LONGEST_ROW), table.encoding)
        is_empty = True
        for item in _parts(table, lines, path):
            is_empty = False
            yield item
        if is_empty and not wanted:
            yield Skipped(path, "a table without rows")
    except UnreadableError as error:
        yield Skipped(path, str(error))


def _where_it_was(stream: IO[bytes], table: _Table, wanted: Wanted) -> Iterator[Part]:
    """Yield what is wanted if it is where it was."""
    stream.seek(wanted.offset)
    with suppress(UnreadableError):
        for row in islice(rows_of(decoded(lines_of(stream, LONGEST_ROW), table.encoding), table.dialect), 1):
            content = _content(table, row)
            if isinstance(content, Extracted) and _digest(content) == wanted.sha256:
                yield Part(wanted.record, content, wanted.sha256, wanted.line, wanted.offset)


def _table_of(sample: bytes, path: str, delimiters: str, is_whole: bool) -> _Table:
    """Return how a table is read.

    Raises:
        UnreadableError: it is none.
    """
    sound, encoding = sample, encoding_of(sample)
    is_wide = encoding.startswith(("utf-16", "utf-32"))
    if not (is_whole or is_wide):  # a character that is cut in two would speak for another encoding
        sound = sample[: sample.rfind(b"\n") + 1] or sample
        encoding = encoding_of(sound)
    is_wide = is_wide or (b"\n" not in sample and b"\r" in sample)
    text = sound.decode(encoding, "replace")
    if binary := binary_reason(sound, text, encoding):
        raise UnreadableError(binary)
    if not text.strip():
        raise UnreadableError("no text")
    for beginning, why in _NO_TABLE.items():
        if text.lstrip().replace(" ", "")[: len(beginning)] == beginning:
            raise UnreadableError(why)
    lines = [line for line, _ in recut([sound], encoding) if line is not None]
    declared = lines[0].strip().lower() if lines else ""
    if declared[:4] == "sep=" and len(declared) == 5:  # as Excel writes it
        delimiters = declared[4]
    dialect = dialect_of(lines[declared[:4] == "sep=" :], delimiters, is_whole)
    if dialect is None:
        raise UnreadableError("not a table: its lines have different numbers of cells")
    if dialect.width > _MOST_COLUMNS:
        raise UnreadableError(f"a table with {dialect.width:,} columns; the limit is {_MOST_COLUMNS:,}")
    rows = [row.cells for row in rows_of(((line, 0) for line in lines), dialect)]
    above, has_header = header_of(rows, dialect.width)
    header = rows[above] if has_header else [""] * dialect.width
    above += has_header
    full = [row for row in rows[above:] if len(row) == dialect.width]
    stem = path.rpartition("/")[2].rpartition("#")[2].rpartition(".")[0]
    return _Table(encoding, is_wide, dialect, above, layout_of(header, full, stem))


def _parts(table: _Table, lines: Iterable[Line], path: str) -> Iterator[Part | Skipped]:
    seen: set[bytes] = set()
    for row in rows_of(iter(lines), table.dialect):
        if row.number <= table.above and not row.problem:
            is_lost = row.number < table.above and any(cell.strip() for cell in row.cells)
            if is_lost and not "".join(row.cells).lower().startswith("sep="):
                yield Skipped(f"{path}:{row.line}", "it stands above the table")
            continue
        content = _content(table, row)
        if isinstance(content, str):
            yield Skipped(f"{path}:{row.line}", content)
        elif content is not None:
            record = _record(table.layout, row, seen)
            yield Part(record, content, _digest(content), line=row.line, offset=row.offset)


def _content(table: _Table, row: Row) -> Extracted | str | None:
    """Return the document that a row makes, or why it makes none, or None if it is empty."""
    if row.problem:
        return row.problem
    cells, width = list(row.cells), table.dialect.width
    while len(cells) > width and not cells[-1].strip():
        cells.pop()
    if not any(cell.strip() for cell in cells):
        return None
    if len(cells) > width or (len(cells) < width and not table.dialect.is_loose):
        return f"{len(cells):,} cells; the table has {width:,} columns"
    content = content_of(table.layout, cells + [""] * (width - len(cells)))
    return (content and length_reason(content.text)) or content


def _record(layout: Layout, row: Row, seen: set[bytes]) -> str:
    """Return the name of a row: its id, or its number where there is none, or both where its id has been seen."""
    if layout.id < 0:
        return str(row.number)
    name = row.cells[layout.id].strip() if layout.id < len(row.cells) else ""
    key = blake2b(name.encode("utf-8", "replace"), digest_size=16).digest()
    if key in seen or not 0 < len(name) <= _LONGEST_ID or not name.isprintable():
        return f"{name[:_LONGEST_ID] if name.isprintable() else ''}~{row.number}"
    seen.add(key)
    return name


def _digest(content: Extracted) -> str:
    """Return the hash of all that was made of a row."""
    marks = [mark.label for mark in content.marks]
    made = json.dumps([content.title, content.text, dict(content.metadata), marks])
    return sha256(made.encode()).hexdigest()
