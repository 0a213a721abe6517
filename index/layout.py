"""The columns of a table -> what each is for, and the cells of a row -> a document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pincite.index.dialect import is_number
from pincite.index.extracted import Extracted, Mark
from pincite.index.metadata import standardized
from pincite.index.titles import one_line

__all__ = ["Layout", "content_of", "layout_of"]

_IDS = ("_id", "id")
_TITLES = ("title", "headline", "heading", "subject", "name", "label")
_TEXTS = frozenset(
    {"text", "body", "content", "contents", "article", "abstract", "full_text", "fulltext", "transcript"}
)
_LEAST_WORDS = 6  # on average, in a column that is called like one of texts
_MANY_WORDS = 25  # on average, in one that holds texts whatever it is called
_MOST_METADATA = 32
_LONGEST_SENTENCE = 400  # characters
_ENDS = (".", "!", "?", ";", ":")


@dataclass(frozen=True, slots=True)
class Layout:
    """What the columns of a table are for, by their numbers from 0.

    Attributes:
        names: of the columns; empty where they have none.
        id: the column whose cells name the rows, -1 if there is none.
        title: the column of titles, -1 if there is none.
        texts: the columns that hold articles; if there are none, all cells make up the text.
        table: the name of the table.
    """

    names: tuple[str, ...]
    id: int
    title: int
    texts: tuple[int, ...]
    table: str


def layout_of(header: Sequence[str], rows: Sequence[Sequence[str]], table: str) -> Layout:
    """Return what the columns of a table are for.

    Args:
        header: their names, or as many empty strings.
        rows: the first rows below the header, each with as many cells.
        table: the name of the table.
    """
    names = tuple(one_line(name) for name in header)
    lowered = [name.lower().replace(" ", "_") for name in names]
    texts = tuple(n for n, name in enumerate(lowered) if _holds_texts(name, [row[n] for row in rows]))
    named = (lowered.index(name) for name in _IDS if name in lowered)
    ids = (n for n in named if _is_unique([row[n].strip() for row in rows]))
    titles = (lowered.index(name) for name in _TITLES if name in lowered and lowered.index(name) not in texts)
    return Layout(names, next(ids, -1), next(titles, -1), texts, table)


def content_of(layout: Layout, cells: Sequence[str]) -> Extracted | None:
    """Return the document that a row makes, or None if all of its cells are empty."""
    values = [cell.strip().replace("\r\n", "\n") for cell in cells]
    texts = any(values[n] for n in layout.texts)
    rest = [n for n, value in enumerate(values) if value and n not in layout.texts]
    if not texts and not rest:
        return None
    text, marks = _articles(layout, values) if texts else _cells(layout, values)
    metadata: dict[str, str] = {}
    for n in rest:
        key = layout.names[n].lower()
        if n != layout.title and key and len(metadata) < _MOST_METADATA:
            metadata.setdefault(key, one_line(values[n]))
    if layout.title >= 0:
        title = values[layout.title]
    else:
        title = "" if texts else values[0] if values[0] and not is_number(values[0]) else layout.table
    return Extracted(text, one_line(title), standardized(metadata), "column" if marks else "", marks)


def _articles(layout: Layout, values: Sequence[str]) -> tuple[str, tuple[Mark, ...]]:
    """Return the articles in a row, one below the other, and the columns they are from."""
    text, marks = "", []
    for n in layout.texts:
        if values[n]:
            text += "\n\n" if text else ""
            marks.append(Mark(len(text), layout.names[n]))
            text += values[n]
    return text, tuple(mark for mark in marks if mark.label)


def _cells(layout: Layout, values: Sequence[str]) -> tuple[str, tuple[Mark, ...]]:
    """Return the cells of a row that are not empty, in sentences of some length, and the columns they are from."""
    pieces: list[str] = []
    marks = []
    length = begin = 0
    filled = [n for n, value in enumerate(values) if value]
    for n in filled:
        name = layout.names[n]
        piece = f"{name}: {values[n]}" if name else values[n]
        if len(filled) > 1 and not piece.endswith(_ENDS):
            piece += "." if n == filled[-1] else ";"
        if pieces:
            is_long = length + len(piece) - begin > _LONGEST_SENTENCE
            pieces.append("\n" if is_long else " ")
            length += 1
            begin = length if is_long else begin
        if name:
            marks.append(Mark(length, name))
        pieces.append(piece)
        length += len(piece)
    return "".join(pieces), tuple(marks)


def _holds_texts(name: str, cells: Sequence[str]) -> bool:
    """Return whether the cells of a column are articles."""
    filled = [cell for cell in cells if cell.strip()]
    if not filled:
        return name in _TEXTS and not cells
    # Where words are not separated, as in Chinese, one has about two characters.
    words = [max(len(cell.split()), sum(c > "\u2e7f" for c in cell) // 2) for cell in filled]
    return sum(words) >= len(words) * (_LEAST_WORDS if name in _TEXTS else _MANY_WORDS)


def _is_unique(cells: Sequence[str]) -> bool:
    return bool(cells) and all(cells) and len(set(cells)) == len(cells)
