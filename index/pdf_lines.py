"""A line of a page, its characters made sense of, and what the largest lines of a document say: its title."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

__all__ = ["Line", "body_size", "clean_lines", "title_of"]

_LARGER = 1.15  # than the text: titles
_LONGEST_TITLE = 200  # characters
_LONGEST_NORMALIZED = 2_000  # characters; marks without end over one letter take quadratic time
_LETTERS = re.compile(r"[^\W\d_]")
_LEADERS = re.compile(r" ?(?:\. ?){4,}")
_BULLET = re.compile(r"[\x80-\x9f\ue000-\uf8ff●■□▪◦‣⁃∙·](?=\s)")
_TO_CLEAN = re.compile(r"[^ -~\u00a1-\u00ac\u00ae-\u02ff]|(?:\. ?){4}")
_CHARACTERS = (
    dict.fromkeys([*range(32), *range(0x7F, 0xA0), 0xAD, 0x200B, 0x2060, 0xFEFF, 0xFFFE, 0xFFFF])
    | dict.fromkeys(range(0xE000, 0xF900))  # of private use: only the file's own fonts know what they mean
    | dict(zip(range(0xFB00, 0xFB07), ("ff", "fi", "fl", "ffi", "ffl", "st", "st"), strict=True))
    | {code: bytes([code]).decode("cp1252") for code in (0x80, 0x85, *range(0x91, 0x98))}
    | {0x2010: "-", 0x2011: "-"}
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a page, in points; `baseline` grows upwards.

    Attributes:
        pieces: text, left and right of each stretch without wide gaps.
        hyphen: whether a hyphen ends it, which its text leaves out.
        artifact: whether the file says that it is no content.
        turn: its direction in quarter turns; 0 for upright.
    """

    baseline: float
    size: float
    pieces: tuple[tuple[str, float, float], ...]
    hyphen: bool = False
    artifact: bool = False
    turn: int = 0

    @property
    def text(self) -> str:
        """All of it."""
        return " ".join(text for text, _, _ in self.pieces)

    @property
    def left(self) -> float:
        """Where it begins."""
        return self.pieces[0][1]

    @property
    def right(self) -> float:
        """Where it ends."""
        return self.pieces[-1][2]


def clean_lines(lines: list[Line]) -> Iterator[Line]:
    """Yield the lines with characters that mean something, without the lines that are empty then."""
    for line in lines:
        if any(_TO_CLEAN.search(text) for text, _, _ in line.pieces):
            cleaned = [(_clean(text), left, right) for text, left, right in line.pieces]
            pieces = tuple(piece for piece in cleaned if piece[0])
            if not pieces:
                continue
            line = replace(line, pieces=pieces)
        yield line


def _clean(text: str) -> str:
    text = _BULLET.sub("•", text[:2]) + text[2:] if _BULLET.match(text) else text
    text = text.translate(_CHARACTERS)
    if len(text) < _LONGEST_NORMALIZED:
        text = unicodedata.normalize("NFC", text)
    return " ".join(_LEADERS.sub(" ... ", text).split())


def body_size(pages: Mapping[int, list[Line]]) -> float:
    """Return the size of type that most characters have; 0 if there are none."""
    sizes: Counter[float] = Counter()
    for lines in pages.values():
        for line in lines:
            sizes[round(2 * line.size) / 2] += len(line.text)
    return max(sizes, key=lambda size: (sizes[size], size), default=0.0)


def title_of(pages: Mapping[int, list[Line]]) -> str:
    """Return the first lines of the largest type on the first page that has some, if it is larger than the text."""
    first = next((lines for lines in pages.values() if lines), [])
    candidates = [line for line in clean_lines(first) if len(_LETTERS.findall(line.text)) > 2 and not line.turn]
    largest = max((line.size for line in candidates), default=0.0)
    if not candidates or largest < _LARGER * body_size(pages):
        return ""
    place = next(n for n, line in enumerate(candidates) if line.size == largest)
    title = candidates[place].text
    for line, following in pairwise(candidates[place:]):
        distance = line.baseline - following.baseline
        if len(title) > _LONGEST_TITLE or following.size < 0.95 * largest or not 0 < distance < 2 * largest:
            break
        title += ("" if line.hyphen else " ") + following.text
    return title if len(title) <= _LONGEST_TITLE else ""
