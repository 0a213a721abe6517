"""DOCX bytes -> text, with headings as places to cite, footnotes and endnotes after it.

Read with lxml and zipfile, not python-docx: that has neither footnotes nor text boxes, passes over inserted text and
content controls, does not open the strict form of the format, and makes trees of all parts at once, which nothing
bounds.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from pincite.index.dates import iso_date
from pincite.index.extracted import Extracted, Mark, UnreadableError
from pincite.index.titles import one_line
from pincite.index.word_body import Block, Body
from pincite.index.word_styles import attribute, styles_of
from pincite.index.zipped import Package, parser_options

__all__ = ["read_docx"]

_KIND = "a Word document"
_PROPERTIES = {"creator": "author", "subject": "subject", "language": "language", "keywords": "keywords"}
_NOTES = {"footnote": "decimal", "endnote": "lowerRoman"}  # how they are numbered if the document does not say
_EMBEDDED = "a part of it that is embedded as another file is not read"


def read_docx(data: bytes) -> Extracted:
    """Return the content of a Word document (.docx, .docm).

    Inserted text that nobody has accepted yet is part of it, deleted text and comments are not. A list item or table
    row is a line, cells are separated by " | ". "[1]" in the text refers to the note that begins so, after the text.

    Raises:
        UnreadableError: it is no Word document, or encrypted, damaged or made to harm.
    """
    package = Package(data, _KIND)
    root = _related(package, "")
    main = root.get("officeDocument", "word/document.xml")
    parts = _related(package, main)
    styles = styles_of(_tree(package, parts.get("styles", "")))
    formats = _note_formats(_tree(package, parts.get("settings", "")))
    roman = [kind for kind, default in _NOTES.items() if formats.get(kind, default) == "lowerRoman"]
    body = _parsed(package, main, Body(styles, roman=roman))
    if not body.is_document:
        raise UnreadableError(f"not {_KIND}, though an office document: its main part is {one_line(main)}")
    problems = [_EMBEDDED] if body.has_embedded else []
    notes = {}
    for kind in dict.fromkeys(kind for kind, _ in body.references):
        try:
            notes[kind] = _parsed(package, parts.get(f"{kind}s", f"word/{kind}s.xml"), Body(styles)).notes
        except UnreadableError as error:
            problems.append(f"its {kind}s are not read: {error}")
    text, marks = _joined([*_labelled(body.blocks), *_labelled_notes(body.references, notes)])
    title, metadata = _properties(_tree(package, root.get("core-properties", "")), body.blocks)
    return Extracted(text, title, metadata, "section" if marks else "", marks, tuple(problems))


def _related(package: Package, part: str) -> dict[str, str]:
    """Return the parts that `part` is related to, by the last word of the kind of relation, first ones first."""
    folder, _, name = part.rpartition("/")
    relations = f"{folder}/_rels/{name}.rels" if folder else f"_rels/{name}.rels"
    found: dict[str, str] = {}
    for relation in _tree(package, relations).iter("{*}Relationship"):
        kind, target = relation.get("Type", "").rpartition("/")[2], relation.get("Target", "")
        if target:
            found.setdefault(kind, posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/"))
    return found


def _tree(package: Package, part: str) -> Any:  # an lxml element
    """Return the root of a part that a document can do without, or an empty one if it cannot be read."""
    from lxml import etree  # type: ignore[import-untyped, unused-ignore]  # has no type information of its own

    try:
        return package.tree(part)
    except UnreadableError:
        return etree.Element("none")


def _parsed(package: Package, part: str, body: Body) -> Body:
    """Return `body`, filled by a part."""
    from lxml import etree

    try:
        etree.fromstring(package.read(part), etree.XMLParser(target=body, **parser_options()))
    except (etree.LxmlError, ValueError, LookupError) as error:
        if isinstance(error, UnreadableError):
            raise
        raise UnreadableError(f"damaged: {one_line(part)} in it is not well-formed XML") from error
    return body


def _note_formats(settings: Any) -> dict[str, str]:  # an lxml element
    """Return how footnotes and endnotes are numbered, as far as the document says it."""
    found = {}
    for kind in _NOTES:
        for element in settings.iter(f"{{*}}{kind}Pr"):
            for child in element.iter("{*}numFmt"):
                found[kind] = attribute(child.attrib, "val")
    return found


def _labelled(blocks: list[Block]) -> Iterator[tuple[Block, str]]:
    """Yield each block, with the name of the section that begins with it if it is a heading."""
    for block in blocks:
        yield block, one_line(block.text) if block.level else ""


def _labelled_notes(
    references: Mapping[tuple[str, str], str], notes: Mapping[str, Mapping[str, list[Block]]]
) -> Iterator[tuple[Block, str]]:
    """Yield the blocks of the notes in the order in which the text refers to them, the first of each with its name."""
    for (kind, name), number in references.items():
        for n, block in enumerate(notes.get(kind, {}).get(name, [])):
            if n:
                yield block, ""
            else:
                yield Block(f"[{number}] {block.text}" if number else block.text), f"{kind} {number}".rstrip()


def _joined(blocks: list[tuple[Block, str]]) -> tuple[str, tuple[Mark, ...]]:
    pieces: list[str] = []
    marks = []
    length = 0
    for block, label in blocks:
        gap = "" if not pieces else "\n" if block.joined else "\n\n"
        length += len(gap)
        if label:
            marks.append(Mark(length, label))
        pieces += [gap, block.text]
        length += len(block.text)
    return "".join(pieces), tuple(marks)


def _properties(root: Any, blocks: list[Block]) -> tuple[str, dict[str, str]]:
    """Return the title and the metadata, from the document's properties or from what stands above its text.

    A date that the author wrote there counts for more than the time at which the file was made.
    """
    values: dict[str, str] = {}
    for element in root.iter("{*}*"):
        values.setdefault(element.tag.rpartition("}")[2], one_line(element.text or ""))
    styled = {block.style: one_line(block.text) for block in reversed(blocks)}
    heading = next((one_line(block.text) for block in blocks if block.level == 1), "")
    metadata = {key: values.get(name, "") for name, key in _PROPERTIES.items()}
    dates = (styled.get("date", ""), values.get("created", ""), values.get("modified", ""))
    metadata["date"] = next(filter(None, map(iso_date, dates)), "")
    title = values.get("title") or styled.get("title") or heading
    return title, {key: value for key, value in metadata.items() if value}
