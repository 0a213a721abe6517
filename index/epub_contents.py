"""The table of contents of an EPUB, navigation of EPUB 3 or NCX of EPUB 2 -> where each of its entries begins."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import unquote

from pincite.index.titles import one_line
from pincite.index.zipped import Package

__all__ = ["Entry", "navigation_entries", "ncx_entries", "resolved"]

_DEEPEST = 8
_MOST_ENTRIES = 20_000
_OPS_TYPE = "{http://www.idpf.org/2007/ops}type"


@dataclass(frozen=True, slots=True)
class Entry:
    """A place in the book: a member of the archive, an anchor in it or none, and its name, after those above it."""

    path: str
    anchor: str
    label: str


def navigation_entries(package: Package, path: str, title: str) -> list[Entry]:
    """Return the entries of a navigation document; those above them all, such as the `title`, are in no label."""
    for nav in package.tree(path).iter("{*}nav"):
        if "toc" in nav.get(_OPS_TYPE, "").split():
            top = nav.find(".//{*}ol")
            return [] if top is None else list(islice(_in_list(top, path, (), title), _MOST_ENTRIES))
    return []


def _in_list(items: Any, path: str, above: tuple[str, ...], title: str) -> Iterator[Entry]:
    for item in items.findall("{*}li"):
        link = next(item.iter("{*}a", "{*}span"), None)
        name = one_line("".join(link.itertext())) if link is not None else ""
        names = (*above, name) if name and name != title else above
        if link is not None and link.get("href"):
            yield _entry(path, link.get("href"), names or (name,))
        below = item.find("{*}ol")
        if below is not None and len(above) < _DEEPEST:
            yield from _in_list(below, path, names, title)


def ncx_entries(package: Package, path: str, title: str) -> list[Entry]:
    """Return the entries of an NCX; those above them all, such as the `title`, are in no label."""
    top = package.tree(path).find(".//{*}navMap")
    return [] if top is None else list(islice(_in_points(top, path, (), title), _MOST_ENTRIES))


def _in_points(points: Any, path: str, above: tuple[str, ...], title: str) -> Iterator[Entry]:
    for point in points.findall("{*}navPoint"):
        label, content = point.find("{*}navLabel"), point.find("{*}content")
        name = one_line("".join(label.itertext())) if label is not None else ""
        names = (*above, name) if name and name != title else above
        if content is not None and content.get("src"):
            yield _entry(path, content.get("src"), names or (name,))
        if len(above) < _DEEPEST:
            yield from _in_points(point, path, names, title)


def _entry(path: str, target: str, names: tuple[str, ...]) -> Entry:
    file, _, anchor = target.partition("#")
    return Entry(resolved(path, file), unquote(anchor), one_line(" / ".join(names)))


def resolved(base: str, target: str) -> str:
    """Return the member of the archive that `target` in the member `base` names.

    >>> resolved("EPUB/nav.xhtml", "text/ch%201.xhtml")
    'EPUB/text/ch 1.xhtml'
    """
    return posixpath.normpath(posixpath.join("/", posixpath.dirname(base), unquote(target))).lstrip("/")
