"""Lines of pages -> text in paragraphs, and where each page begins in it.

The lines come in the order of the file, which is nearly always that of reading: down one column, and on at the top of
the next. A sentence that the end of a column or page interrupts, or footnotes there, is put together again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pincite.index.extracted import Mark
from pincite.index.pdf_blocks import Block, blocks_of, columns_of, continues, has_stopped, same_size
from pincite.index.pdf_heads import without_running_lines
from pincite.index.pdf_lines import Line, body_size, clean_lines

__all__ = ["text_of"]

_FOOTNOTE = 0.93  # of the size of the text
_FLOATS = 6  # paragraphs at the head of a column that a sentence may go on behind
_FULL = 0.8  # of the width of a paragraph: a line so long was not ended on purpose
_NARROW = 10  # sizes of type: no column of text is narrower
_NEAR = 12  # lines that tell how wide a paragraph is
_HYPHENATED = 0.015  # share of lines that end in hyphens: a text with fewer has them for compounds only
_LONGEST_WORD = 100  # characters

_LAST_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*$")
_FIRST_WORD = re.compile(r"[^\W\d_]+")
_WORDS = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_WIDE = re.compile("[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]")


def text_of(pages: Mapping[int, list[Line]]) -> tuple[str, tuple[Mark, ...]]:
    """Return the text of pages, and a mark for each that has some, labelled with its 1-based number.

    Args:
        pages: the lines of each, by its 0-based number, ascending.
    """
    cleaned = {number: list(clean_lines(lines)) for number, lines in pages.items()}
    kept = without_running_lines(cleaned)
    if not any(kept.values()):  # all pages are the same
        kept = cleaned
    size = body_size(kept)
    flow: list[Block] = []
    for number, lines in kept.items():
        for column in columns_of(lines):
            _append(flow, blocks_of(column, number), size)
    return _written(flow, _Hyphens(kept))


def _append(flow: list[Block], blocks: list[Block], size: float) -> None:
    """Append the blocks of a column; if a paragraph goes on in it, footnotes come before the whole of that."""
    end = len(blocks)
    while end > 1 and blocks[end - 1].size < _FOOTNOTE * size:
        end -= 1
    notes = blocks[end:]
    del blocks[end:]
    if flow:
        for n, block in enumerate(blocks[: 1 + _FLOATS]):
            if _goes_on(flow[-1], block, directly=n == 0):
                flow[-1].lines += block.lines
                flow[-1].pages += block.pages
                del blocks[n]
                break
        if blocks and blocks[0].kind == flow[-1].kind != "text":
            blocks[0].gap = "\n"
    if notes and blocks and blocks[-1].kind != "row" and not has_stopped(blocks[-1].lines[-1].text):
        blocks[-1:-1] = notes
    else:
        blocks += notes
    flow += blocks


def _goes_on(block: Block, following: Block, directly: bool) -> bool:
    """Return whether a paragraph goes on in another column; `directly`: there is nothing between them."""
    last, line = block.lines[-1], following.lines[0]
    if block.kind == "row" or following.kind != "text" or not same_size(last, line) or has_stopped(last.text):
        return False
    widest = max(other.right - other.left for other in block.lines[-_NEAR:])
    is_full = last.right - last.left > _FULL * widest > _NARROW * line.size
    return is_full and (directly or continues(line.text))


class _Hyphens:
    """Which hyphens at line ends belong to their words; told by the other words of the document."""

    def __init__(self, pages: Mapping[int, list[Line]]) -> None:
        lines = [line for found in pages.values() for line in found]
        self._words: set[str] = set()
        hyphen = False
        for line in lines:
            words = _WORDS.findall(line.text.lower())
            self._words.update(words[hyphen : -1 if line.hyphen else None])  # not the parts of parted words
            hyphen = line.hyphen
        full = sum(len(line.text) > 20 for line in lines)
        self._hyphenates = sum(line.hyphen for line in lines) > _HYPHENATED * full

    def between(self, line: Line, following: str) -> str:
        """Return what stands between a line and the text that goes on behind it."""
        text = line.text[-_LONGEST_WORD:]
        if not line.hyphen:
            wide = _WIDE.match(text[-1]) and _WIDE.match(following[0])
            return "" if wide or (text[-1] in "-—/" and text[-2:-1].isalnum()) else " "
        before, after = _LAST_WORD.search(text), _FIRST_WORD.match(following[:_LONGEST_WORD])
        if not before or not after:
            return "-" if text[-1].isalnum() else "- "
        one, other = before[0], after[0]
        if other[0].isupper() and not one.isupper():
            return "-"
        if (one + other).lower() in self._words:
            return ""
        if f"{one}-{other}".lower() in self._words:
            return "-"
        are_words = one.lower() in self._words and other.lower() in self._words
        return "-" if are_words and not self._hyphenates else ""


def _written(flow: list[Block], hyphens: _Hyphens) -> tuple[str, tuple[Mark, ...]]:
    """Return the text of the blocks, and where the pages begin."""
    pieces: list[str] = []
    starts: dict[int, int] = {}
    length = 0
    for block in flow:
        last: Line | None = None
        for line, page in zip(block.lines, block.pages, strict=True):
            text = " | ".join(piece for piece, _, _ in line.pieces) if block.kind == "row" else line.text
            between = hyphens.between(last, text) if last else block.gap if pieces else ""
            starts.setdefault(page, length + len(between))
            pieces += (between, text)
            length += len(between) + len(text)
            last = line
        if last and last.hyphen:
            pieces.append("-")
            length += 1
    return "".join(pieces), tuple(Mark(start, str(page + 1)) for page, start in starts.items())
