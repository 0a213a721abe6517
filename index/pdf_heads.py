"""Lines of pages -> the same without running heads, running feet and page numbers.

Tagged files say what they are. In others, lines at the edge of a page are running ones if a page close by has the same
line in the same place, or if they count the pages. Even and odd pages may differ, and heads change with the chapter.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from pincite.index.pdf_lines import Line, body_size

__all__ = ["without_running_lines"]

_DEEPEST = 4  # lines at an edge
_NEAR = 2  # pages: those of the other side of the leaf have the same head
_SAME_PLACE = 3.0  # points
_LARGEST = 1.15  # of the size of the text; slides may have the same title, in large type, twice
_LONGEST = 150  # characters
_MOST_ARTIFACTS = 0.3  # of all characters; some files call everything so
_NUMBER = re.compile(r"\d+")
_AT_ENDS = re.compile(r"^\W*(?:page|p\.|seite|pagina|página)?\s*(\d{1,4})\b|\b(\d{1,4})\W*$", re.IGNORECASE)
_ONLY_ROMAN = re.compile(r"\W*([ivxlc]{1,7})\W*", re.IGNORECASE)
_LETTER = re.compile(r"[^\W\d_]")
_ROMAN = {"i": 1, "v": 5, "x": 10, "l": 50, "c": 100}


def without_running_lines(pages: Mapping[int, list[Line]]) -> dict[int, list[Line]]:
    """Return the pages, the lines that are left in the same order."""
    drop_artifacts = _share_of_artifacts(pages) <= _MOST_ARTIFACTS
    kept = {
        number: [line for line in lines if not (line.artifact and drop_artifacts)] for number, lines in pages.items()
    }
    size = body_size(kept)
    edges = {number: _edges(lines) for number, lines in kept.items()}
    counted = _counted(edges)
    for number, lines in kept.items():
        running: set[int] = set()
        for place, edge in enumerate(edges[number]):
            for line in edge:
                if line.size > _LARGEST * size or len(line.text) > _LONGEST:
                    break
                counts = counted is not None and number + counted in _numbers(line)
                if not (counts or any(_is_same(line, other, by) for other, by in _near(edges, number, place))):
                    break
                running.add(id(line))
        kept[number] = [line for line in lines if id(line) not in running]
    return kept


def _share_of_artifacts(pages: Mapping[int, list[Line]]) -> float:
    lines = [line for found in pages.values() for line in found]
    return sum(len(line.text) for line in lines if line.artifact) / max(1, sum(len(line.text) for line in lines))


def _edges(lines: list[Line]) -> tuple[list[Line], list[Line]]:
    """Return the lines at the top and at the bottom of a page, the outermost first."""
    ordered = sorted((line for line in lines if not line.turn), key=lambda line: -line.baseline)
    top = min(_DEEPEST, (len(ordered) + 1) // 2)
    bottom = min(_DEEPEST, len(ordered) - top)
    return ordered[:top], ordered[::-1][:bottom]


def _near(edges: Mapping[int, tuple[list[Line], list[Line]]], number: int, place: int) -> Iterator[tuple[Line, int]]:
    """Yield the lines at the same edge of pages close by, and how many pages further on that is."""
    for by in range(-_NEAR, _NEAR + 1):
        if by and number + by in edges:
            for line in edges[number + by][place]:
                yield line, by


def _is_same(line: Line, other: Line, by: int) -> bool:
    """Return whether a line is at the place of one `by` pages further on, and the same but for its numbers."""
    if abs(line.baseline - other.baseline) > _SAME_PLACE or len(other.text) > _LONGEST:
        return False
    if _LETTER.search(line.text) and not _ONLY_ROMAN.fullmatch(line.text):
        return _key(line) == _key(other)
    one, another = _value(line), _value(other)
    return one is not None and another is not None and another - one == by


def _key(line: Line) -> str:
    """Return what a running line has in common with those of other pages."""
    return _NUMBER.sub("#", " ".join(line.text.lower().split()))


def _value(line: Line) -> int | None:
    """Return the number of a line that is nothing but a number, be it a Roman one."""
    found = _NUMBER.findall(line.text)
    if len(found) == 1 and len(found[0]) < 5 and not _LETTER.search(line.text):
        return int(found[0])
    roman = _ONLY_ROMAN.fullmatch(line.text)
    if not roman:
        return None
    digits = [_ROMAN[letter] for letter in roman[1].lower()]
    return sum(-one if one < following else one for one, following in zip(digits, [*digits[1:], 0], strict=True))


def _numbers(line: Line) -> list[int]:
    """Return the numbers that a line begins and ends with."""
    return [int(one or other) for one, other in _AT_ENDS.findall(line.text)] if len(line.text) <= _LONGEST else []


def _counted(edges: Mapping[int, tuple[list[Line], list[Line]]]) -> int | None:
    """Return by how much printed page numbers exceed 0-based ones; None if most pages have none."""
    if len(edges) == 1:
        return 1 if any(line.text == "1" for found in edges.values() for edge in found for line in edge[:1]) else None
    differences: Counter[int] = Counter()
    for number, found in edges.items():
        differences.update({value - number for edge in found for line in edge[:2] for value in _numbers(line)})
    difference, pages = max(differences.items(), key=lambda item: item[1], default=(0, 0))
    return difference if pages >= max(2, len(edges) / 2) else None
