"""PDF bytes -> text with the pages on which it stands, and what the file says of itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress

from pincite.index.dates import iso_date
from pincite.index.extracted import Extracted, UnreadableError
from pincite.index.pdf_lines import title_of
from pincite.index.pdf_process import Pages, read_pages
from pincite.index.pdf_text import text_of
from pincite.index.titles import one_line

__all__ = ["read_pdf"]

_ONLY_IMAGES = "no text; its pages may be scanned, and pincite does not read images"
_MOST_RANGES = 10  # of page numbers in a note
_DATE = re.compile(r"(?:D:)?(\d{4})(\d\d)?(\d\d)?")
_NO_TITLE = re.compile(
    r"(?:untitled|no title|title|document|dokument|slide|layout|presentation|powerpoint[ -]\w+)\W*\d*"
    r"|(?:microsoft |print|https?:).*|.*\.(?:docx?|odt|rtf|tex|dvi|indd|qxd|pdf|ps|wpd|html?|pptx?|xlsx?|txt|pages)\W*"
    r"|\S*[\d_/\\]\S*",
    re.IGNORECASE,
)
_NOBODY = re.compile(r"(?:user|admin|administrator|owner|author|unknown|root|anonymous|default)\W*\d*", re.IGNORECASE)


def read_pdf(data: bytes) -> Extracted:
    """Return the text of a PDF, with a mark for each page that has some.

    Running heads, page numbers, annotations, form fields and attached files are left out.

    Raises:
        UnreadableError: it is encrypted, damaged or no PDF, has no text, or is too much for pdfium.
        MissingExtraError: pypdfium2 is not installed.
    """
    if not data:
        raise UnreadableError("empty")
    pages = read_pages(data)
    text, marks = text_of(pages.lines)
    with_text = {int(mark.label) - 1 for mark in marks}
    notes = tuple(_notes(pages, with_text))
    if not text:
        if pages.unread or pages.missing:
            raise UnreadableError("; ".join(notes))
        raise UnreadableError(_ONLY_IMAGES if pages.drawn else "no text")
    title = _mended(pages.information.get("Title", ""))
    if _NO_TITLE.fullmatch(title):
        title = ""
    return Extracted(text, title or one_line(title_of(pages.lines)), _metadata(pages), "page", marks, notes)


def _metadata(pages: Pages) -> dict[str, str]:
    said = pages.information
    author = _mended(said.get("Author", ""))
    found = {
        "author": "" if _NOBODY.fullmatch(author) else author,
        "date": _date(said.get("CreationDate", "")) or _date(said.get("ModDate", "")),
        "language": _mended(said.get("language", "")),
        "subject": _mended(said.get("Subject", "")),
        "keywords": _mended(said.get("Keywords", "")),
    }
    return {key: value for key, value in found.items() if value}


def _mended(value: str) -> str:
    """Return a value on one line; some programs write UTF-8 where Latin-1 is due."""
    with suppress(UnicodeError):
        value = value.encode("latin-1").decode("utf-8")
    return one_line(value)


def _date(stated: str) -> str:
    """Return the day of a date such as D:20310417093000+02'00', in ISO form; empty if it is none."""
    found = _DATE.match(stated.strip())
    return iso_date("-".join(part for part in found.groups() if part)) if found else ""


def _notes(pages: Pages, with_text: set[int]) -> Iterator[str]:
    """Yield what the user should know of what could not be read."""
    if scanned := sorted(set(pages.drawn) - with_text):
        several = len(scanned) > 1
        yield f"{_pages(scanned)} {'have' if several else 'has'} no text; {'they' if several else 'it'} may be scanned"
    for reason in dict.fromkeys(pages.unread.values()):
        yield f"{_pages([n for n in pages.unread if pages.unread[n] == reason])} cannot be read: {reason}"
    if pages.missing:
        first = max([-1, *pages.lines, *pages.unread]) + 1
        yield f"{_pages(list(range(first, pages.count)))} left out: {pages.missing}" if pages.count else pages.missing


def _pages(numbers: Iterable[int]) -> str:
    """Return "page 3" or "pages 1, 4-7", of 0-based numbers in ascending order.

    >>> _pages([0, 3, 4, 5])
    'pages 1, 4-6'
    """
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number:
            ranges[-1][1] = number + 1
        else:
            ranges.append([number + 1, number + 1])
    named = [f"{first}-{last}" if last > first else str(first) for first, last in ranges]
    if len(named) > _MOST_RANGES:
        named[_MOST_RANGES:] = [f"and {len(ranges) - _MOST_RANGES} more"]
    return f"page{'s' if len(ranges) > 1 or ranges[0][0] < ranges[0][1] else ''} {', '.join(named)}"
