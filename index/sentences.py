"""Text -> sentences, as spans that never cross a paragraph, heading, list item, table row or line of code.

Punctuation is judged by nupunkt (MIT, pure Python, maintained). Of 64 tricky cases it had 45 right, as pysbd 0.3.4
had, and blingfire 0.1.8 had 44; it reads 2.3 to 5.6 MB/s of news (blingfire 1.8 to 3.1, pysbd 0.06), imports in
30 to 40 ms (90; 15), weighs 0.15 MB (42; 0.07), and its spans covered all of 1,529 articles (blingfire left
zero-width characters out in 4 of 1,000). The others had no release after 2021. Mended here: upper-case wire
text, footnote marks, CJK and other full stops, titles, and layout: 58 of the same 64, at 2.3 to 4.0 MB/s.

A line end is a boundary only where the author chose it: the next word would have fitted on the line. So a
hard-wrapped paragraph stays whole and a headline does not run into the text below it.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pincite.index.passage import Span

__all__ = ["Opening", "Outline", "outline", "split_sentences"]


class Opening(IntEnum):
    """What begins with a sentence; a passage rather begins where the value is higher."""

    NOTHING = 0
    LINE = 1
    PARAGRAPH = 2
    HEADING = 3


@dataclass(frozen=True, slots=True)
class Outline:
    """The sentences of a text with its layout, as arrays of one entry a sentence.

    Attributes:
        starts: shape `(n,)`, first character of each sentence; ascending.
        ends: shape `(n,)`, one past the last character; `ends[i] <= starts[i + 1]`, white space between them.
        openings: shape `(n,)`, the `Opening` of each sentence.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    openings: NDArray[np.uint8]


def split_sentences(text: str) -> list[Span]:
    """Return the sentences of `text` in order, without the white space around them.

    Every other character is in exactly one sentence. No sentence is longer than 8,000 characters.

    >>> [span.of("Dr. Lee left\\nat 3 p.m. Why?") for span in split_sentences("Dr. Lee left\\nat 3 p.m. Why?")]
    ['Dr. Lee left\\nat 3 p.m.', 'Why?']
    """
    sentences = outline(text)
    return [Span(start, end) for start, end in zip(sentences.starts.tolist(), sentences.ends.tolist(), strict=True)]


def outline(text: str) -> Outline:
    """Return the sentences of `text` and what begins with each; time is linear in `len(text)`."""
    starts, ends, openings = array("q"), array("q"), array("B")
    for start, end, opening in _blocks(text):
        block = text[start:end]
        offsets = [0] if opening is Opening.HEADING and end - start <= _WINDOW else _offsets(block)
        for i, offset in enumerate(offsets):
            after = offsets[i + 1] if i + 1 < len(offsets) else len(block)
            starts.append(start + offset)
            ends.append(start + _skip_space_back(block, after))
            openings.append(Opening.NOTHING if i else opening)
    return Outline(np.array(starts, np.int64), np.array(ends, np.int64), np.array(openings, np.uint8))


# --- layout -----------------------------------------------------------------------------------------------------

_LINE_ENDS = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s+")  # what str.splitlines() knows
_FENCE = re.compile(r"^[ \t>]*```", re.MULTILINE)
_HEADING = re.compile(r"#{1,6}\s+\S")
_RULE = re.compile(r"""([=\-~^"'#*+_:.<>`])\1{2,}""")
_GRID = re.compile(r"[+|:=\-\s]{3,}")
# "12." and "(b)" count, "A." does not: a wrapped line may begin with an initial.
_ITEM = re.compile(r"(?:[-*+•‣◦▪●·]|\(?\d{1,3}[.)]|[a-z]\)|\((?:[a-z]|[ivx]{1,5})\))\s+\S")
_WORD = re.compile(r"[^\W_]")
_BULLETS = "-–—*+•‣◦▪●·|"  # no heading begins so; "— Jane Doe" is a byline
_CLOSERS = "\"'”’»›)]}*_」』）】"
# A line that ends so goes on below, however much room it left.
_GOES_ON = frozenset(",-–—&/([{")
_TITLE_WORDS = 12
_TITLE_CHARACTERS = 100
# Nobody wraps prose narrower or wider than this, so such lines were ended on purpose.
_NARROW, _WIDE = 40, 120


def _blocks(text: str) -> Iterator[tuple[int, int, Opening]]:
    """Yield (start, end, what begins) of each stretch of `text` that no sentence may leave."""
    fences = len(_FENCE.findall(text)) if "```" in text else 0
    in_code = False
    for start, end in _paragraphs(text):
        lines = _lines(text, start, end)
        if fences and (in_code or "```" in text[start:end]):
            prose: list[tuple[int, str]] = []
            for line_start, line in lines:
                fence = _FENCE.match(line) is not None and fences > 0
                if not (fence and (in_code or fences > 1)) and not in_code:
                    prose.append((line_start, line))
                    continue
                yield from _prose_blocks(prose)
                prose = []
                if fence:
                    fences -= 1
                    in_code = not in_code
                yield line_start, line_start + len(line), Opening.LINE
            yield from _prose_blocks(prose)
        elif len(lines) == 1 and not _HEADING.match(lines[0][1]):
            yield start, end, Opening.HEADING if _is_title(lines[0][1]) else Opening.PARAGRAPH
        else:
            yield from _prose_blocks(lines)


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    """Yield the stretches between blank lines, without white space around them."""
    start = _skip_space(text, 0)
    for space in _LINE_ENDS.finditer(text, start):
        if space.end() == len(text) or _has_blank_line(space.group()):
            yield start, _skip_space_back(text, space.start())
            start = space.end()
    if start < len(text):
        yield start, _skip_space_back(text, len(text))


def _has_blank_line(space: str) -> bool:
    return space.count("\n") > 1 or len((space + ".").splitlines()) > 2


def _lines(text: str, start: int, end: int) -> list[tuple[int, str]]:
    """Return (start, content without white space around it) of each line."""
    lines = []
    for line in text[start:end].splitlines(keepends=True):
        body = line.strip()
        if body:
            lines.append((start + len(line) - len(line.lstrip()), body))
        start += len(line)
    return lines


def _prose_blocks(lines: list[tuple[int, str]]) -> Iterator[tuple[int, int, Opening]]:
    """Yield the blocks of one paragraph's lines."""
    width = max((len(line) for _, line in lines), default=0)
    first, last, opening = -1, -1, Opening.PARAGRAPH  # lines of the open block; -1: none is open
    i = 0

    def closed(opening: Opening) -> tuple[int, int, Opening]:
        return lines[first][0], lines[last][0] + len(lines[last][1]), opening

    while i < len(lines):
        line = lines[i][1]
        if _RULE.fullmatch(line):
            if first == last >= 0 and _is_title(lines[first][1]) and not _ITEM.match(lines[first][1]):
                last = i
                yield closed(Opening.HEADING)
                first = last = -1
                opening = Opening.PARAGRAPH
                i += 1
                continue
            if i + 2 < len(lines) and lines[i + 2][1] == line and not _RULE.fullmatch(lines[i + 1][1]):
                if first >= 0:
                    yield closed(opening)
                first, last = i, i + 2
                yield closed(Opening.HEADING)
                first = last = -1
                opening = Opening.PARAGRAPH
                i += 3
                continue
        hashes = _HEADING.match(line) is not None  # of a numbered list in wiki text, if a sentence follows them
        heading = hashes and len(line) <= _TITLE_CHARACTERS and line[-1] not in ".;,"
        alone = hashes or line.startswith("|") or line.count("\t") > 1 or _GRID.fullmatch(line) is not None
        begins = alone or _ITEM.match(line) is not None
        if first >= 0 and (begins or _ended_on_purpose(lines[last][1], line, width)):
            title = opening is Opening.PARAGRAPH and first == last and _is_title(lines[first][1])
            yield closed(Opening.HEADING if title else opening)
            first = -1
            opening = Opening.PARAGRAPH if title else Opening.LINE
        if first < 0:
            first = i
        last = i
        if alone:
            yield closed(Opening.HEADING if heading else opening)
            first = last = -1
            opening = Opening.PARAGRAPH if heading else Opening.LINE
        i += 1
    if first >= 0:
        title = opening is Opening.PARAGRAPH and first == last and _is_title(lines[first][1])
        yield closed(Opening.HEADING if title else opening)


def _ended_on_purpose(line: str, following: str, width: int) -> bool:
    """Return whether `line` was ended although the next word had room, as no wrapping editor does."""
    if line[-1] in _GOES_ON or following.lstrip("\"'“‘«([*_")[:1].islower():
        return False
    if max(len(line), len(following)) > _WIDE:
        return True
    word = following.split(None, 1)[0]
    return len(line) + 1 + len(word) <= 0.8 * max(width, _NARROW)


def _is_title(line: str) -> bool:
    """Return whether a line that stands alone reads as a heading, or as a question above its answer."""
    if len(line) > _TITLE_CHARACTERS or line[:1].islower() or len(line.split()) > _TITLE_WORDS:
        return False
    if line[0] in _BULLETS or _ENDED.search(line) or _WIDE_STOP.search(line):
        return False
    return line.rstrip(_CLOSERS)[-1:] not in tuple(".!;,…") and _WORD.search(line) is not None


# --- punctuation ------------------------------------------------------------------------------------------------

# nupunkt sees this much at once: its worst inputs cost time in the square of the length, and a sentence must end.
_WINDOW = 8_000
_ENDED = re.compile(r"[.!?…](?:\[[^\n\[\]]{1,12}\]|[^\w\s]){0,20}+\s")
# Full stops of scripts that need no space after them; a quotation may go on: 「行く。」と言った
_WIDE_STOP = re.compile(r"(?<![。｡！？।॥؟۔։።။៕])[。｡！？।॥؟۔։።။៕]++(?:[」』”’）】]++(?![とっ、，])|(?![」』”’）】]))")
_FOOTNOTES = re.compile(r"(?<=[.!?\"”])(?:\[[^\n\[\]]{1,12}\])+(?=\s)")
_LOOSE_STOP = re.compile(r"(?<=\w) \.(?=\s)(?!\s+\.)")
_LONG_RUN = re.compile(r"\S{200,}")
# Abbreviations after which nupunkt ends a sentence, but which need the word or number behind them.
_BEFORE_NAME = re.compile(r"\b(?:lt|adm|maj|cmdr|amb|supt|msgr|sgt|mme|mlle|sra?|srta|reps|sens|drs)\.\s+$", re.I)
_BEFORE_NUMBER = re.compile(r"\b(?:pg|pp?|nos?|eqs?|figs?|vols?|ch|secs?|arts?)\.\s+$", re.I)


@cache
def _splitter() -> Callable[[str], list[tuple[int, int]]]:
    from nupunkt import load  # 30 ms, and the model 5 ms: not before they are needed

    spans: Callable[[str], list[tuple[int, int]]] = load("default").spans
    return spans


def _offsets(block: str) -> list[int]:
    """Return where the sentences of one block begin, the first at 0; white space surrounds no block."""
    found = {0, *_after_wide_stops(block)}
    if len(block) > _WINDOW or _ENDED.search(block):
        found.update(_after_stops(block))
    offsets: list[int] = []
    words = True
    ordered = sorted(found)
    for i, offset in enumerate(ordered):
        end = ordered[i + 1] if i + 1 < len(ordered) else len(block)
        has_words = _WORD.search(block, offset, end) is not None
        # A closing quote or "* * *" is no sentence of its own.
        if not offsets or (words and has_words) or end - offsets[-1] > _WINDOW:
            offsets.append(offset)
            words = has_words
        else:
            words = words or has_words
    return offsets


def _after_wide_stops(block: str) -> Iterator[int]:
    for stop in _WIDE_STOP.finditer(block):
        offset = _skip_space(block, stop.end())
        if offset < len(block):
            yield offset


def _after_stops(block: str) -> Iterator[int]:
    split = _splitter()
    masked = _masked(block)
    position = 0
    while position < len(block):
        end = min(position + _WINDOW, len(block))
        if end < len(block):
            space = max(masked.rfind(" ", position, end), masked.rfind("\n", position, end))
            end = space if space > position else end
        offsets = [position + start for start, _ in split(masked[position:end])]
        last = position
        for offset in offsets:
            if offset > position and _is_boundary(block, masked, offset):
                yield offset
                last = offset
        # The last sentence of a window is judged again with what follows it, unless it fills the window.
        position = last if last > position and end < len(block) else _skip_space(block, end)
        if position < len(block):
            yield position


def _is_boundary(block: str, masked: str, offset: int) -> bool:
    """Return whether a sentence may begin at `offset`, where nupunkt would begin one."""
    before, first = masked[max(0, offset - 20) : offset], block[offset]
    if not before[-1].isspace() or first in "”’»)]}" or _BEFORE_NAME.search(before):
        return False
    if first.isdigit():
        return _BEFORE_NUMBER.search(before) is None
    return not (first.islower() and before.rstrip().rstrip(_CLOSERS + " ")[-1:] in ("!", "?"))


def _masked(block: str) -> str:
    """Return `block` as nupunkt reads it best; every character keeps its place."""
    if block.isupper() and len(block.lower()) == len(block):
        block = block.lower()  # else each word after "U.S." looks like the first of a sentence
    if " ." in block:
        block = _LOOSE_STOP.sub(". ", block)
    if "[" in block:
        block = _FOOTNOTES.sub(lambda match: " " * len(match.group()), block)
    if len(block) >= 200:
        block = _LONG_RUN.sub(lambda match: "x" * len(match.group()), block)
    return block


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _skip_space_back(text: str, position: int) -> int:
    while position > 0 and text[position - 1].isspace():
        position -= 1
    return position
