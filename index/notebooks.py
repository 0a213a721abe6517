"""Jupyter notebook bytes -> the text of its cells and of what they printed.

nbformat is not used: all that it does for a reader is to check notebooks against a schema, and those that fail it are
read here as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pincite.index.dates import iso_date
from pincite.index.decoding import binary_reason, decode
from pincite.index.extracted import Extracted, Mark, UnreadableError
from pincite.index.titles import one_line, title_and_metadata

__all__ = ["read_ipynb"]

_MOST_CELLS = 100_000
_MOST_VALUES = 4_000_000  # lists and objects; each takes some 60 bytes, however short it is in the file

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_DATA_LINK = re.compile(r"\bdata:[\w/+.-]+;base64,[A-Za-z0-9+/=]*")
_FENCE = re.compile(r"^[ \t>]*(`{3,})", re.MULTILINE)

_Json = Mapping[str, Any]  # Any: values of parsed JSON


def read_ipynb(data: bytes) -> Extracted:
    """Return the content of a notebook in format 3 or 4: Markdown as it is, code and its output between fences.

    A mark is a cell, counted from 1 in the order of the notebook, whichever number its last run had.

    Raises:
        UnreadableError: it is no notebook.
    """
    notebook = _parsed(data)
    cells = _cells(notebook)
    if cells is None:
        raise UnreadableError("not a Jupyter notebook: it is JSON, but has no cells")
    if len(cells) > _MOST_CELLS:
        raise UnreadableError(f"more than {_MOST_CELLS:,} cells")
    about = notebook.get("metadata")
    about = about if isinstance(about, dict) else {}
    language = _language(about, cells)
    title, metadata = _title_and_metadata(about, cells)
    pieces: list[str] = []
    marks = []
    length = 0
    for number, cell in enumerate(cells, 1):
        for n, text in enumerate(_texts(cell, language)):
            length += 2 if pieces else 0
            if n == 0:
                marks.append(Mark(length, str(number)))
            pieces.append(text)
            length += len(text)
    metadata |= {"language": language} if language else {}
    return Extracted("\n\n".join(pieces), title, metadata, "cell" if marks else "", tuple(marks))


def _parsed(data: bytes) -> _Json:
    text, encoding = decode(data)
    if binary := binary_reason(data, text, encoding):
        raise UnreadableError(binary)
    if text.count("[") + text.count("{") > _MOST_VALUES:
        raise UnreadableError(f"more than {_MOST_VALUES:,} lists and objects in it, as no notebook has")
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise UnreadableError(f"not a Jupyter notebook, or damaged: no JSON{where}") from error
    if not isinstance(notebook, dict):
        raise UnreadableError("not a Jupyter notebook: it is JSON, but no object")
    return notebook


def _cells(notebook: _Json) -> list[_Json] | None:
    """Return the cells; those of format 3 are on worksheets, of which all notebooks have one."""
    cells = notebook.get("cells")
    if not isinstance(cells, list):
        sheets = notebook.get("worksheets")
        if not isinstance(sheets, list):
            return None
        lists = [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)]
        cells = [cell for found in lists if isinstance(found, list) for cell in found]
    return [cell if isinstance(cell, dict) else {} for cell in cells]


def _texts(cell: _Json, language: str) -> Iterator[str]:
    """Yield what a cell says: its text, or its code and then each output."""
    source = _source(cell)
    if cell.get("cell_type") in ("markdown", "heading", "html"):
        if source.strip():
            yield source.strip("\n")
    elif cell.get("cell_type") == "code":
        if source.strip():
            yield _fenced(source, language)
        outputs = cell.get("outputs")
        for output in outputs if isinstance(outputs, list) else []:
            text = _printed(output) if isinstance(output, dict) else ""
            if text.strip():
                yield _fenced(text, "")


def _source(cell: _Json) -> str:
    text = _joined(cell.get("source", cell.get("input")))
    if cell.get("cell_type") == "heading":  # of format 3
        levels = [level for level in range(1, 7) if level == cell.get("level")]
        return f"{'#' * (levels or [1])[0]} {' '.join(text.split())}"
    return _DATA_LINK.sub("", text) if "base64," in text else text


def _printed(output: _Json) -> str:
    """Return the text of an output: what was printed, the last value, or the line that says what went wrong."""
    kind = output.get("output_type")
    if kind == "stream":
        name = output.get("name", output.get("stream"))
        return _as_shown(_joined(output.get("text"))) if name != "stderr" else ""
    if kind in ("error", "pyerr"):
        return _as_shown(": ".join(part for key in ("ename", "evalue") if (part := _joined(output.get(key)))))
    values = output.get("data", output)  # format 3 has them beside the kind: "text", "png"
    if not isinstance(values, dict) or any(key.startswith("image/") or key in ("png", "jpeg", "svg") for key in values):
        return ""  # the text beside a picture is the name of its class
    return _as_shown(_joined(values.get("text/plain", values.get("text", values.get("text/markdown")))))


def _as_shown(text: str) -> str:
    """Return what a terminal shows of an output: no colours, and no lines that were written over."""
    lines = _ESCAPES.sub("", text).split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)


def _fenced(text: str, language: str) -> str:
    """Return lines between fences that keep them lines, longer ones than those that the text has."""
    longest = max((len(fence) for fence in _FENCE.findall(text)), default=2)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.strip(chr(10)).rstrip()}\n{fence}"


def _joined(value: Any) -> str:
    """Return a text that is written as one string, or as a list of lines; empty if it is none."""
    if isinstance(value, list):
        value = "".join(part for part in value if isinstance(part, str))
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""  # no lone surrogates


def _language(about: _Json, cells: Sequence[_Json]) -> str:
    """Return the programming language, as the notebook's kernel calls it."""
    for key, name in (("language_info", "name"), ("kernelspec", "language")):
        entry = about.get(key)
        if isinstance(entry, dict) and isinstance(entry.get(name), str):
            return _word(entry[name])
    return next((_word(cell["language"]) for cell in cells if isinstance(cell.get("language"), str)), "")


def _word(name: str) -> str:
    return re.sub(r"[^\w+#.-]", "", one_line(name).lower())[:40]


def _title_and_metadata(about: _Json, cells: Sequence[_Json]) -> tuple[str, dict[str, str]]:
    """Return the title, of its own or from the first heading, and what the notebook says of author and date."""
    title = ""
    metadata: dict[str, str] = {}
    for n, cell in enumerate(cells):
        if cell.get("cell_type") in ("markdown", "heading") or (n == 0 and cell.get("cell_type") == "raw"):
            title, found = title_and_metadata(_source(cell), ".md")
            metadata = metadata or found
            if title:
                break
    authors = about.get("authors")
    if isinstance(authors, list):
        names = [_joined(author.get("name") if isinstance(author, dict) else author) for author in authors]
        metadata["author"] = one_line("; ".join(filter(None, names))) or metadata.get("author", "")
    metadata["date"] = metadata.get("date", "") or iso_date(_joined(about.get("date")))
    title = one_line(_joined(about.get("title"))) or title
    return title, {key: value for key, value in metadata.items() if value}
