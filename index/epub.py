"""EPUB bytes -> the text of its chapters in reading order, each named as in the table of contents.

An own reader over zipfile and lxml, since ebooklib, the usual one, is under the AGPL.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from pincite.index.dates import iso_date
from pincite.index.epub_chapters import NOTES, Chapter, read_chapter
from pincite.index.epub_contents import Entry, navigation_entries, ncx_entries, resolved
from pincite.index.extracted import Extracted, Mark, UnreadableError
from pincite.index.titles import one_line
from pincite.index.zipped import Package

__all__ = ["read_epub"]

_KIND = "an EPUB book"
_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_LARGEST_CHAPTER = 32 << 20  # bytes
_MOST_EVENTS = 4_000_000  # tags and pieces of text in all; so many take 8 s
_MOST_TEXT = 32_000_000  # characters, as for plain text
_MOST_PROBLEMS = 5  # that are told
_SHORT = 500  # characters; a cover or list of contents that has more, and hardly links, is neither
_APART = ("cover", "toc")
_OBFUSCATIONS = frozenset({"http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"})  # of fonts only
_OPF = "{http://www.idpf.org/2007/opf}"


@dataclass(frozen=True, slots=True)
class _Item:
    """A file of the book, as its manifest declares it."""

    path: str
    kind: str
    properties: Sequence[str]

    @property
    def is_text(self) -> bool:
        return "html" in self.kind or "oeb1" in self.kind


def read_epub(data: bytes) -> Extracted:
    """Return the content of a book in EPUB 2 or 3, without its cover and table of contents.

    Marks are its chapters, as its table of contents names them, else by their first heading: "Part one / Chapter 2".
    "[1]" in the text refers to a note.

    Raises:
        UnreadableError: it is no such book, or protected, damaged or made to harm.
    """
    package = Package(data, _KIND)
    opf = _opf_path(package)
    root = package.tree(opf)
    items = {item.get("id", ""): _item(opf, item) for item in root.iter("{*}item")}
    spine = [items[name] for ref in root.iter("{*}itemref") if (name := ref.get("idref", "")) in items]
    paths = dict.fromkeys(item.path for item in spine if item.is_text and "nav" not in item.properties)
    _refuse_protected(package, paths)
    title, metadata = _metadata(root)
    labels: dict[str, dict[str, str]] = {}
    for entry in _entries(package, root, items, title):
        labels.setdefault(entry.path, {})[entry.anchor] = entry.label
    guides = root.iter("{*}reference")
    apart = {resolved(opf, guide.get("href", "").partition("#")[0]) for guide in guides if guide.get("type") in _APART}
    return _read(package, list(paths), labels, apart, Extracted("", title, metadata))


def _opf_path(package: Package) -> str:
    for file in package.tree(_CONTAINER).iter("{*}rootfile"):
        if path := file.get("full-path"):
            return resolved("", path)
    raise UnreadableError(f"not {_KIND}, or damaged: its {_CONTAINER} names no book")


def _item(opf: str, item: Any) -> _Item:  # an lxml element
    kind = item.get("media-type", "")
    properties = tuple(item.get("properties", "").split())
    return _Item(resolved(opf, item.get("href", "")), kind, properties)


def _refuse_protected(package: Package, paths: Collection[str]) -> None:
    """Raise UnreadableError if any of `paths` is encrypted."""
    if _ENCRYPTION not in package:
        return
    for data in package.tree(_ENCRYPTION).iter("{*}EncryptedData"):
        methods = {method.get("Algorithm") for method in data.iter("{*}EncryptionMethod")}
        if methods <= _OBFUSCATIONS:
            continue
        for reference in data.iter("{*}CipherReference"):
            if resolved("", reference.get("URI", "")) in paths:
                raise UnreadableError("protected by DRM: its chapters are encrypted")


def _entries(package: Package, root: Any, items: Mapping[str, _Item], title: str) -> list[Entry]:
    """Return the table of contents; none if there is none that can be read."""
    navigation = [item.path for item in items.values() if "nav" in item.properties]
    toc = {spine.get("toc") for spine in root.iter("{*}spine")}
    ncx = [item.path for name, item in items.items() if name in toc or item.kind == "application/x-dtbncx+xml"]
    for paths, read in ((navigation, navigation_entries), (ncx, ncx_entries)):
        with suppress(UnreadableError):
            if paths and (entries := read(package, paths[0], title)):
                return entries
    return []


def _read(
    package: Package,
    paths: Sequence[str],
    labels: Mapping[str, Mapping[str, str]],
    apart: Collection[str],
    about: Extracted,
) -> Extracted:
    """Return `about` with the text of the files `paths`, and marks by the `labels` of the anchors in each."""
    pieces: list[str] = []
    marks: list[Mark] = []
    problems: list[str] = []
    events = length = 0
    label = ""
    for path in paths:
        try:
            chapter = read_chapter(package.read(path, _LARGEST_CHAPTER), labels.get(path, {}))
        except UnreadableError as error:
            problems.append(f"{one_line(path)} in it is not read: {error}")
            continue
        events += chapter.events
        if events > _MOST_EVENTS:
            raise UnreadableError(f"more than {_MOST_EVENTS:,} tags and pieces of text")
        sections = [(name, blocks.text()) for name, blocks in chapter.sections]
        size = sum(len(text) for _, text in sections)
        if path in apart and (size < _SHORT or chapter.linked > size / 2):
            continue
        for name, text in sections:
            label = _label(name, chapter, labels.get(path, {})) or label
            if not text:
                continue
            length += 2 if pieces else 0
            if label and (not marks or marks[-1].label != label):
                marks.append(Mark(length, label))
            pieces.append(text)
            length += len(text)
            if length > _MOST_TEXT:
                raise UnreadableError(f"more than {_MOST_TEXT:,} characters")
    if problems and not pieces:
        raise UnreadableError(problems[0])
    if len(problems) > _MOST_PROBLEMS:
        problems[_MOST_PROBLEMS:] = [f"{len(problems) - _MOST_PROBLEMS:,} more files in it are not read"]
    return replace(
        about, text="\n\n".join(pieces), unit="chapter" if marks else "", marks=tuple(marks), notes=tuple(problems)
    )


def _label(name: str, chapter: Chapter, labels: Mapping[str, str]) -> str:
    """Return the name of what begins at an anchor of a file, or at its beginning, where `name` is empty."""
    if name and name != NOTES:
        return labels[name]
    if not labels:
        return chapter.first_heading
    first = next(iter(labels))
    found = {anchor for anchor, _ in chapter.sections}
    return labels.get("") or (labels[first] if name or first not in found else "")


def _metadata(root: Any) -> tuple[str, dict[str, str]]:  # an lxml element
    """Return the title and the metadata that a package document gives."""
    given: dict[str, list[tuple[Any, str]]] = {}
    for element in root.iter("{http://purl.org/dc/elements/1.1/}*", "{http://purl.org/dc/elements/1.0/}*"):
        if value := one_line("".join(element.itertext())):
            given.setdefault(element.tag.rpartition("}")[2].lower(), []).append((element, value))
    values = {name: [value for _, value in found] for name, found in given.items()}
    roles = {
        meta.get("refines"): meta.text for meta in root.iter("{*}meta") if meta.get("property") == "role" and meta.text
    }
    makers = [
        (element.get(f"{_OPF}role") or roles.get(f"#{element.get('id')}") or "aut", name)
        for element, name in given.get("creator", [])
    ]
    authors = [name for role, name in makers if role.strip() == "aut"] or [name for _, name in makers]
    # Books from before EPUB 3 say of what a date is; calibre writes the year 101 for none.
    dates = [(element.get(f"{_OPF}event") or "", iso_date(value)) for element, value in given.get("date", [])]
    dates.sort(key=lambda date: ("publication" not in date[0], bool(date[0])))
    addresses = [*values.get("identifier", []), *values.get("source", [])]
    metadata = {
        "author": "; ".join(authors),
        "date": next((date for event, date in dates if date > "0102" and event != "modification"), ""),
        "language": next(iter(values.get("language", [])), ""),
        "subject": "; ".join(values.get("subject", [])),
        "publisher": next(iter(values.get("publisher", [])), ""),
        "url": next((value for value in addresses if value.startswith(("http://", "https://"))), ""),
    }
    title = next(iter(values.get("title", [])), "")
    return title, {key: one_line(value) for key, value in metadata.items() if value}
