"""What readers take out of files: text, the places that the format counts by (pages, times, cells), and metadata."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Extracted", "Mark", "MissingExtraError", "Part", "UnreadableError", "mark_at"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A page, time, cell or the like that begins at a character of the text; `label` as a reader would look it up."""

    start: int
    label: str


@dataclass(frozen=True, slots=True)
class Extracted:
    """The words of a document.

    Attributes:
        text: paragraphs are separated by an empty line, list items and table rows by a line end.
        title: its title; empty if it names none.
        metadata: what else it says of itself. "author", "date" (ISO 8601, as precise as known), "url", "language" and
            "subject" are called so in every format.
        unit: what the marks count: "page", "time", "cell", "chapter"; empty if there are none.
        marks: ascending by `start`.
        notes: what of it could not be read, each as a line for the user.
    """

    text: str
    title: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    unit: str = ""
    marks: tuple[Mark, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """One of the documents in a file that holds several.

    Attributes:
        record: its name in the file.
        extracted: its content.
        sha256: 64 hex digits, of its bytes.
        line: 1-based line of the file on which it begins.
        offset: byte of the file at which it begins.
        format: of what it is, as `Document.format`; empty for that of the file.
    """

    record: str
    extracted: Extracted
    sha256: str
    line: int = 1
    offset: int = 0
    format: str = ""


class UnreadableError(ValueError):
    """A file that cannot be read; the message is one line and says why, in plain words."""


class MissingExtraError(UnreadableError):
    """A file that could be read if a package were installed.

    >>> str(MissingExtraError("pypdfium2", "pdf"))
    'reading it needs pypdfium2: pip install "pincite[pdf]"'
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f'reading it needs {package}: pip install "pincite[{extra}]"')


def mark_at(marks: Sequence[Mark], offset: int) -> Mark | None:
    """Return the mark in which a character lies, or None if it lies before the first.

    >>> mark_at((Mark(0, "1"), Mark(40, "2")), 39)
    Mark(start=0, label='1')
    """
    place = bisect_right(marks, offset, key=lambda mark: mark.start)
    return marks[place - 1] if place else None
