"""HTML bytes -> title, main text and metadata, without menus, adverts and footers.

trafilatura finds the main text. Where it finds none or loses most of it, or where a page is too large or too deeply
nested for it, the text of all blocks is taken instead; a page that has text never gives nothing.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from pincite.index.decoding import binary_reason, decode
from pincite.index.extracted import Extracted, UnreadableError
from pincite.index.titles import one_line

__all__ = ["read_html"]

_MOST_TAGS = 30_000  # opening ones; trafilatura takes 0.1 ms each, so 3 s for what only a book on one page has
_LONGEST_MARKUP = 4_000_000  # characters
_MOST_EVENTS = 4_000_000  # tags and pieces of text; so many take 7 s and 200 MB
_DEEPEST = 250  # libxml2 drops what is nested deeper than 256 from its trees, but still reports it as events
_LEAST_PROSE = 0.5  # share of a page's long lines that its main text holds, else it has been cut: of the manual of
_LONG_LINE = 80  # IDLE, one page of many sections, trafilatura keeps 42 %

_XML_DECLARATION = re.compile(r"<\?xml[^>]{0,500}\?>")
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9_:.-]{2,40})", re.IGNORECASE)

# fmt: off
_PARAGRAPHS = frozenset({
    "address", "article", "aside", "blockquote", "body", "center", "code", "dd", "details", "dialog", "dir", "div",
    "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "head",
    "header", "hr", "list", "main", "menu", "nav", "ol", "p", "pre", "quote", "section", "summary", "table", "ul",
})
_NEVER_TEXT = frozenset({
    "script", "style", "noscript", "template", "svg", "math", "iframe", "object", "select", "button", "head", "del",
})
# fmt: on
_LINES = frozenset({"br", "item", "lb", "li", "row", "tr", "option"})
_CELLS = frozenset({"cell", "td", "th"})
_GAPS = ("", " ", " | ", "\n", "\n\n")  # the next one wins over those before it
_VERBATIM = frozenset({"pre", "textarea", "xmp"})
_NOT_MAIN = frozenset({"nav", "footer", "aside", "form"})
_DATES = ("article:published_time", "date", "dc.date", "dcterms.date", "datepublished", "pubdate")


def read_html(data: bytes) -> Extracted:
    """Return the content of an HTML page, whatever it declares itself to be; `text` is empty if there is none.

    Raises:
        UnreadableError: it is no text, or has more tags than any page that somebody wrote.
    """
    # lxml is told the encoding and so gets neither a wrong charset, nor a NUL, at which some versions stop.
    markup = _decoded(data).replace("\0", "").lstrip()
    declaration = _XML_DECLARATION.match(markup)
    if declaration:
        markup = markup[declaration.end() :]
    scan = _scan(markup, _NEVER_TEXT | _NOT_MAIN)
    title, metadata, text = scan.title or scan.heading, dict(scan.metadata), ""
    if scan.tags <= _MOST_TAGS and scan.deepest <= _DEEPEST and len(markup) <= _LONGEST_MARKUP:
        main = _main_content(markup)
        if main is not None:
            title = one_line(main.title or "") or title
            metadata |= {key: one_line(value) for key in ("author", "date") if (value := getattr(main, key))}
            text = _tree_text(main.body) if main.body is not None else ""
    plain = scan.blocks.text()
    if _prose(text) < _LEAST_PROSE * _prose(plain):
        text = plain
    # An unclosed <nav> holds the whole rest of its page: if leaving it out leaves nothing, it stays.
    text = text or plain or _scan(markup, _NEVER_TEXT).blocks.text()
    return Extracted(text, title, {key: value for key, value in metadata.items() if value})


def _prose(text: str) -> int:
    """Return how many characters are in lines that are too long for menus and headings."""
    return sum(len(line) for line in text.split("\n") if len(line) >= _LONG_LINE)


def _decoded(data: bytes) -> str:
    """Return the markup; a declared encoding counts if it is neither Unicode, which shows itself, nor wrong."""
    text, encoding = decode(data)
    if binary := binary_reason(data, text, encoding):
        raise UnreadableError(binary)
    declared = _XML_ENCODING.match(data) or _META_CHARSET.search(data[:4096])
    if declared and encoding not in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        try:
            name = declared[1].decode("ascii").lower()
            # As in browsers: pages that say Latin-1 mean the Windows code page that extends it.
            return data.decode("cp1252" if name in ("iso-8859-1", "latin1", "ascii", "us-ascii") else name)
        except (LookupError, ValueError):
            pass
    return text


class _Blocks:
    """Text put together from the pieces between tags, white space as a browser would show it."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._gap = ""  # of `_GAPS`: what separates the next piece from those before it

    def separate(self, gap: str) -> None:
        """Ask for a separator; the widest of those asked for in a row is taken."""
        if _GAPS.index(gap) > _GAPS.index(self._gap):
            self._gap = gap

    def add(self, data: str, verbatim: bool) -> None:
        """Add a piece of text."""
        if not data or data.isspace():
            if data:
                self.separate(" ")
            return
        if not verbatim and data[0].isspace():
            self.separate(" ")
        if self._pieces:
            self._pieces.append(self._gap)
        self._pieces.append(data.strip("\r\n") if verbatim else " ".join(data.split()))
        self._gap = " " if not verbatim and data[-1].isspace() else ""

    def text(self) -> str:
        """Return what was added."""
        return "".join(self._pieces)


def _gap_of(tag: str) -> str:
    if tag in _PARAGRAPHS:
        return "\n\n"
    return "\n" if tag in _LINES else " | " if tag in _CELLS else ""


@dataclass(slots=True)
class _Scan:
    """Target of an event parser, which needs no tree and so bears any depth of nesting."""

    unread: frozenset[str]
    blocks: _Blocks = field(default_factory=_Blocks)
    title: str = ""
    heading: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    tags: int = 0
    events: int = 0
    deepest: int = 0
    _open: list[str] = field(default_factory=list)
    _within: dict[str, int] = field(default_factory=dict)

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Open an element."""
        self.tags += 1
        self._count()
        self._open.append(tag)
        self._within[tag] = self._within.get(tag, 0) + 1
        self.deepest = max(self.deepest, len(self._open))
        self.blocks.separate(_gap_of(tag))
        if tag == "meta":
            name = (attributes.get("name") or attributes.get("property") or attributes.get("itemprop") or "").lower()
            key = "date" if name in _DATES else name if name in ("author", "description") else ""
            if key:
                self.metadata.setdefault(key, one_line(attributes.get("content") or ""))
            elif name == "og:url":
                self._take_address(attributes.get("content"))
        elif tag == "link" and (attributes.get("rel") or "").lower() == "canonical":
            self._take_address(attributes.get("href"))

    def _take_address(self, address: str | None) -> None:
        if address and re.match(r"https?://[^\s/]", address, re.IGNORECASE):
            self.metadata.setdefault("url", one_line(address))

    def end(self, tag: str) -> None:
        """Close an element."""
        if self._open:
            self._within[self._open.pop()] -= 1
        self.blocks.separate(_gap_of(tag))

    def data(self, data: str) -> None:
        """Take a piece of text."""
        self._count()
        if self._within.get("title") and not self._within.get("svg") and len(self.title) < 500:
            self.title = one_line(self.title + data)
        elif not any(self._within.get(tag) for tag in self.unread):
            self.blocks.add(data, any(self._within.get(tag) for tag in _VERBATIM))
            if self._within.get("h1") and len(self.heading) < 500:
                self.heading = one_line(f"{self.heading} {data}")

    def _count(self) -> None:
        self.events += 1
        if self.events > _MOST_EVENTS:
            raise UnreadableError(f"more than {_MOST_EVENTS:,} tags and pieces of text")

    def comment(self, text: str) -> None:
        """Leave out a comment."""

    def close(self) -> _Scan:
        """Return itself: what the parser then returns."""
        return self


def _scan(markup: str, unread: frozenset[str]) -> _Scan:
    from lxml import etree  # type: ignore[import-untyped, unused-ignore]  # has no type information of its own

    scan = _Scan(unread)
    parser = etree.HTMLParser(target=scan, encoding="utf-8", huge_tree=True)
    with suppress(etree.LxmlError):  # nothing in it, or broken beyond libxml2: what was read up to there counts
        etree.fromstring(markup.encode("utf-8", "replace"), parser)
    return scan


def _main_content(markup: str) -> Any:  # trafilatura's Document; the package is untyped for us
    """Return what trafilatura finds, or None."""
    import trafilatura

    for name in ("trafilatura", "htmldate", "justext", "courlan"):
        logger = logging.getLogger(name)
        if not logger.handlers:  # without any handler, Python prints warnings to stderr
            logger.addHandler(logging.NullHandler())
    try:
        return trafilatura.bare_extraction(
            markup,
            include_comments=False,
            favor_recall=True,  # without it, half of a page of release notes was lost, and no page was cleaner
            with_metadata=True,
            # Dates that a page states, not those that could be one: those would be cited as facts.
            date_extraction_params={"extensive_search": False, "original_date": True},
        )
    except Exception:  # whatever a hostile page does to it, the page's plain text is there
        return None


def _tree_text(body: Any) -> str:  # an lxml element
    """Return the text of trafilatura's result, a tree of p, head, list, item, table, row, cell, quote, code, lb."""
    blocks = _Blocks()
    for opening, element in _walk(body):
        code = element.tag == "code"
        if not code or "\n" in (element.text or ""):  # otherwise a word or two in a sentence
            blocks.separate(_gap_of(element.tag))
        if opening:
            blocks.add(element.text or "", verbatim=code)
        elif element is not body:
            blocks.add(element.tail or "", verbatim=False)
    return blocks.text()


def _walk(body: Any) -> Iterator[tuple[bool, Any]]:
    """Yield every element twice, at its opening and at its closing."""
    from lxml import etree

    for event, element in etree.iterwalk(body, events=("start", "end")):
        yield event == "start", element
