"""A chapter of an EPUB, in XHTML -> its text, cut where the table of contents points to.

Every block of a chapter is text, unlike those of a web page: there are no menus in a book. Cells of tables hold
paragraphs in most books, so a row is put together from its cells when it ends.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from pincite.index.decoding import binary_reason
from pincite.index.extracted import UnreadableError
from pincite.index.titles import one_line
from pincite.index.webpages import _CELLS, _NEVER_TEXT, _PARAGRAPHS, _VERBATIM, _Blocks, _Scan

__all__ = ["NOTES", "Chapter", "read_chapter"]

NOTES = "\0notes"
"""Stands in for the anchor of the notes at a chapter's end, to which no table of contents points."""

_UNREAD = _NEVER_TEXT | {"rt", "rp"}  # readings above Japanese words would tear them apart
_HEADINGS = frozenset({"h1", "h2", "h3"})
_KINDS = ("epub:type", "role", "class")
_NOTE_SECTIONS = frozenset({"footnotes", "endnotes", "rearnotes", "doc-endnotes"})
_NOTE_LINKS = frozenset({"noteref", "doc-noteref", "footnote-ref"})
_BACK_LINKS = frozenset({"backlink", "doc-backlink", "footnote-back"})
_DEEPEST_ROW = 10  # rows in rows that are put together; the text of each is copied so often
_LONGEST_CELL = 1000  # characters; a table with longer ones is there for the layout
_XML_ENCODING = re.compile(rb"\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)


@dataclass(slots=True)
class _Row:
    around: _Blocks
    cells: list[_Blocks] = field(default_factory=list)


class Chapter(_Scan):
    """Target of an event parser for one file of a book.

    Attributes:
        sections: what stands before the first anchor, then each anchor with the text from there on.
        first_heading: the first heading of the upper three levels.
        linked: characters in links.
    """

    def __init__(self, anchors: Collection[str]) -> None:
        super().__init__(_UNREAD)
        self.sections: list[tuple[str, _Blocks]] = [("", self.blocks)]
        self.first_heading = ""
        self.linked = 0
        self._wanted = set(anchors)
        self._waiting = ""  # an anchor in the midst of a paragraph, which is not torn apart
        self._midway = False
        self._left_out = self._verbatim = 0  # open elements that are no text, or whose white space counts
        self._heading = ""  # tag of the heading that is read
        self._rows: list[_Row] = []
        self._deeper_rows = 0
        self._link = ""  # of the link that is open: "note", "back", "inner" or "outer"

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Open an element."""
        self._left_out += tag in self.unread
        self._verbatim += tag in _VERBATIM
        if tag in _CELLS and self._rows:
            self.blocks = _Blocks()
            self._rows[-1].cells.append(self.blocks)
        super().start(tag, attributes)
        if tag == "tr" and len(self._rows) < _DEEPEST_ROW:
            self._rows.append(_Row(self.blocks))
        elif tag == "tr":
            self._deeper_rows += 1
        self._at_boundary(tag)
        kinds = {word for name in _KINDS if name in attributes for word in attributes[name][:1000].split()}
        if kinds & _NOTE_SECTIONS and tag in _PARAGRAPHS:
            self._waiting = NOTES
        for name in ("id", "name"):
            anchor = attributes.get(name, "")
            if anchor in self._wanted:
                self._wanted.discard(anchor)
                self._waiting = anchor
        if not self._midway:
            self._cut()
        if tag in _HEADINGS and not self.first_heading:
            self._heading = tag
        if tag == "a" and (target := attributes.get("href")):
            inner = "inner" if "#" in target else "outer"
            self._link = "note" if kinds & _NOTE_LINKS else "back" if kinds & _BACK_LINKS else inner

    def end(self, tag: str) -> None:
        """Close an element."""
        if tag == "tr" and self._deeper_rows:
            self._deeper_rows -= 1
        elif tag == "tr" and self._rows:
            self._close_row(self._rows.pop())
        super().end(tag)
        self._left_out -= tag in self.unread
        self._verbatim -= tag in _VERBATIM
        self._at_boundary(tag)
        if tag == self._heading:
            self._heading = ""
        if tag == "a":
            self._link = ""

    def data(self, data: str) -> None:
        """Take a piece of text."""
        self._count()
        if self._left_out or self._link == "back":
            return
        words = data.strip(" []()\t\r\n")
        note = bool(words) and (self._link == "note" or (self._link == "inner" and bool(self._within.get("sup"))))
        self.blocks.add(f"[{words}]" if note else data, bool(self._verbatim))
        if note and not self._midway:  # the number of a note before its text
            self.blocks.separate(" ")
        self._midway = self._midway or not data.isspace()
        if self._link:
            self.linked += len(words)
        if self._heading and len(self.first_heading) < 500:
            self.first_heading = one_line(f"{self.first_heading} {data}")

    def _at_boundary(self, tag: str) -> None:
        if tag in _PARAGRAPHS:
            self._midway = False
            self._cut()

    def _cut(self) -> None:
        if self._waiting and not self._rows:
            self.blocks = _Blocks()
            self.sections.append((self._waiting, self.blocks))
            self._waiting = ""

    def _close_row(self, row: _Row) -> None:
        self.blocks = row.around
        cells = [text for cell in row.cells if (text := cell.text())]
        alone = len(cells) == 1 and "\n\n" in cells[0]
        apart = alone or any(len(text) > _LONGEST_CELL for text in cells)
        for n, text in enumerate(cells):
            if apart:
                self.blocks.separate("\n\n")
                self.blocks.add(text, verbatim=True)
            else:
                self.blocks.separate(" | " if n else "\n")
                self.blocks.add(text, verbatim=False)


def read_chapter(data: bytes, anchors: Collection[str]) -> Chapter:
    """Return a chapter, cut at those of `anchors` that it has.

    Raises:
        UnreadableError: it is no text, or has more tags than any chapter that somebody wrote.
    """
    from lxml import etree  # type: ignore[import-untyped, unused-ignore]  # has no type information of its own

    markup = _markup(data)
    chapter = Chapter(anchors)
    # An HTML parser, since books are full of XHTML that is not quite XML.
    parser = etree.HTMLParser(target=chapter, encoding="utf-8", huge_tree=True)
    with suppress(etree.LxmlError):  # nothing in it, or broken beyond libxml2: what was read up to there counts
        etree.fromstring(markup.encode("utf-8", "replace"), parser)
    return chapter


def _markup(data: bytes) -> str:
    """Return the characters of a file; books are in Unicode, but for some old ones."""
    declared = _XML_ENCODING.match(data)
    names = ["utf-8-sig", declared[1].decode("ascii") if declared else "cp1252"]
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        names = ["utf-16"]
    text, encoding = data.decode("utf-8", "replace"), "utf-8"
    for name in names:
        with suppress(LookupError, ValueError):
            text, encoding = data.decode(name), name
            break
    if binary := binary_reason(data, text, encoding):
        raise UnreadableError(binary)
    return text.replace("\0", "")
