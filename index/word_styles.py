"""The styles of a Word document -> which of its paragraphs are headings, list items or its title."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Style", "attribute", "heading_level", "styles_of"]

_DEEPEST_INHERITANCE = 10
_HEADING = re.compile(r"heading ([1-9])")


@dataclass(frozen=True, slots=True)
class Style:
    """A paragraph style: its English name in lower case, its heading level (0: none), and whether it makes lists."""

    name: str = ""
    level: int = 0
    listed: bool = False


@dataclass(slots=True)
class _Definition:
    """A style as it is written: what it does not say itself it inherits from the one that it is based on."""

    name: str = ""
    base: str = ""
    level: int | None = None
    listed: bool | None = None


def styles_of(root: Any) -> dict[str, Style]:  # an lxml element
    """Return the styles that a part for styles defines, by their ids, with what they inherit."""
    definitions = {}
    for element in root.iter("{*}style"):
        definitions[attribute(element.attrib, "styleId")] = _definition(element)
    return {name: _resolved(name, definitions) for name in definitions}


def _definition(element: Any) -> _Definition:
    found = _Definition()
    for child in element.iter("{*}name", "{*}basedOn", "{*}outlineLvl", "{*}numId"):
        value = attribute(child.attrib, "val")
        match child.tag.rpartition("}")[2]:
            case "name":
                found.name = value.lower()
                if heading := _HEADING.fullmatch(found.name):
                    found.level = int(heading[1])
            case "basedOn":
                found.base = value
            case "outlineLvl":
                found.level = heading_level(value)
            case _:
                found.listed = value != "0"
    return found


def _resolved(name: str, definitions: Mapping[str, _Definition]) -> Style:
    own = definition = definitions[name]
    level, listed = own.level, own.listed
    for _ in range(_DEEPEST_INHERITANCE):
        level = definition.level if level is None else level
        listed = definition.listed if listed is None else listed
        if definition.base not in definitions:
            break
        definition = definitions[definition.base]
    return Style(own.name, level or 0, bool(listed))


def heading_level(outline: str) -> int:
    """Return the level of a heading by its outline level, which counts from 0; 0 where that is of the text.

    >>> heading_level("0"), heading_level("9")
    (1, 0)
    """
    return int(outline) + 1 if outline in tuple("012345678") else 0


def attribute(attributes: Mapping[str, str], name: str) -> str:
    """Return an attribute by its local name, or an empty string."""
    return next((value for key, value in attributes.items() if key.rpartition("}")[2] == name), "")
