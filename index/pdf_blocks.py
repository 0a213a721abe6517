"""Lines of a column -> its paragraphs, list items and table rows.

Where a paragraph ends is told by gaps, indents, the size of type, and lines that were ended although the next word
had room on them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from pincite.index.pdf_lines import Line

__all__ = ["Block", "blocks_of", "columns_of", "continues", "has_stopped", "same_size"]

_SAME_SIZE = 1.08
_WITHIN = 1.25  # of sizes in a paragraph: a line may be all in the smaller type of code
_GAP = 1.3  # of the usual distance of lines: more parts paragraphs
_APART = {"text": 0.0, "item": 2.5, "row": 1.8}  # as much parts the items of a list, and the rows of a table
_INDENT = 0.8  # of the size of type
_HIGHER = 0.5  # of the size of type: a line so much above the last one begins a column
_NEIGHBOURS = 6  # lines that tell how wide a column is
_CELLS = 30  # of a row that are compared

_ITEM = re.compile(r"(?:[-*+•‣◦▪●·–]|o|\(?\d{1,3}[.)]|[a-zA-Z]\)|\((?:[a-z]|[ivx]{1,5})\)|\[\d{1,3}\])\s+\S")
_BULLETS = "-*+•‣◦▪●·–"
_STOPPED = re.compile(r"[.!?:…。！？][\"'”’»)\]\d]*$")
_OPENING = "\"'“‘«(["
_LEADER = re.compile(r" \.\.\. (?:\d{1,5}|[ivxlc]{1,7})$")


@dataclass(slots=True)
class Block:
    """Lines that are one paragraph, list item or table row.

    Attributes:
        lines: in the order of reading.
        pages: 0-based number of the page of each line.
        gap: what separates it from the block before: an empty line or a line end.
        kind: "text", "item" or "row".
    """

    lines: list[Line]
    pages: list[int]
    gap: str
    kind: str

    @property
    def size(self) -> float:
        """Size of its type."""
        return self.lines[0].size


def columns_of(lines: list[Line]) -> Iterator[list[Line]]:
    """Yield the lines of a page column by column; those that run in another direction than most come last."""
    turns: Counter[int] = Counter()
    for line in lines:
        turns[line.turn] += len(line.text)
    for turn, _ in turns.most_common():
        column: list[Line] = []
        for line in lines:
            if line.turn != turn:
                continue
            if column and line.baseline > column[-1].baseline + _HIGHER * line.size:
                yield column
                column = []
            column.append(line)
        yield column


def blocks_of(lines: list[Line], page: int) -> list[Block]:
    """Return the paragraphs, items and rows of a column on a page."""
    column = _Column(lines)
    blocks: list[Block] = []
    for n, line in enumerate(lines):
        kind = "row" if n in column.rows else "item" if _ITEM.match(line.text) else "text"
        gap = column.gap_before(n, blocks[-1], kind) if n else "\n\n"
        if gap:
            blocks.append(Block([line], [page], gap, kind))
        else:
            blocks[-1].lines.append(line)
            blocks[-1].pages.append(page)
    return blocks


def same_size(one: Line, other: Line, most: float = _SAME_SIZE) -> bool:
    """Return whether two lines are of the same size of type."""
    return max(one.size, other.size) <= most * min(one.size, other.size)


def continues(text: str) -> bool:
    """Return whether a text begins like the middle of a sentence."""
    return text.lstrip(_OPENING)[:1].islower()


def has_stopped(text: str) -> bool:
    """Return whether a text ends like a sentence, perhaps with the number of a footnote."""
    return _STOPPED.search(text[-40:]) is not None


class _Column:
    """Lines below each other, and what is usual among them."""

    def __init__(self, lines: list[Line]) -> None:
        self.lines = lines
        self.rows = _rows(lines)
        self._widest = max(line.right - line.left for line in lines)
        distances: dict[float, Counter[float]] = {}
        for last, line in pairwise(lines):
            distance = last.baseline - line.baseline
            if same_size(last, line) and 0.8 * line.size < distance < 3 * line.size:
                distances.setdefault(_rounded(line.size), Counter())[_rounded(distance)] += 1
        # Of distances that are as frequent, the smallest.
        self._distances = {size: min((-n, distance) for distance, n in d.items())[1] for size, d in distances.items()}

    def gap_before(self, n: int, block: Block, kind: str) -> str:
        """Return what separates a line from the block before it; nothing if it belongs to that."""
        last, line, first = self.lines[n - 1], self.lines[n], block.lines[0]
        distance = last.baseline - line.baseline
        usual = self._distances.get(_rounded(line.size), 1.2 * line.size)
        flows = continues(line.text) and not has_stopped(last.text)
        if distance > max(_GAP * usual, usual + 1.5) or not same_size(last, line, _WITHIN if flows else _SAME_SIZE):
            return "\n" if kind == block.kind and distance < _APART[kind] * usual else "\n\n"
        if "row" in (kind, block.kind):
            return "\n"
        short = self._ended_on_purpose(n - 1)
        margin = _INDENT * line.size
        indent = line.left - (first.left if len(block.lines) == 1 else last.left)
        if kind == "item":
            outside = block.kind == "item" and line.left < first.left + margin / 2
            if outside or short or has_stopped(last.text) or line.text[0] in _BULLETS:
                return "\n"
        if block.kind == "item":
            return "\n\n" if short and line.left < first.left + margin / 2 else ""
        if abs(line.left + line.right - last.left - last.right) < 3 and abs(indent) > 1:  # centred
            return "" if last.right - last.left > self._widest / 2 or continues(line.text) else "\n"
        if indent > margin and not last.hyphen:
            return "\n\n"
        if short and not continues(line.text):
            return "\n\n" if len(block.lines) > 1 or has_stopped(last.text) else "\n"
        return ""

    def _ended_on_purpose(self, n: int) -> bool:
        """Return whether the first word of the next line would have fitted on a line."""
        line, following = self.lines[n], self.lines[n + 1]
        if line.hyphen:
            return False
        near = self.lines[max(0, n - _NEIGHBOURS) : n + _NEIGHBOURS]
        edge = max(
            other.right for other in near if same_size(line, other) and abs(other.left - line.left) <= 3 * line.size
        )
        word = following.text.split(" ", 1)[0]
        width = (following.right - following.left) / max(1, len(following.text))
        return edge - line.right > 1.2 * width * (len(word) + 1) + 0.3 * line.size


def _rows(lines: list[Line]) -> set[int]:
    """Return which lines are rows of tables: with wide gaps, in line with the row above or below, or with dots."""
    rows = {n for n, line in enumerate(lines) if _LEADER.search(line.text[-40:])}
    for n, (line, following) in enumerate(pairwise(lines)):
        edges = [edge for _, left, right in line.pieces[1:_CELLS] for edge in (left, right)]
        if any(
            min(abs(left - edge), abs(right - edge)) < 2
            for _, left, right in following.pieces[1:_CELLS]
            for edge in edges
        ):
            rows |= {n, n + 1}
    return rows


def _rounded(length: float) -> float:
    return round(2 * length) / 2
