"""Text -> its title, and what it says of its author and date.

Only the beginning is looked at, and only for what authors write on purpose: front matter, a first heading, a
headline on a line of its own. A guess that is no title would be quoted above every answer.
"""

from __future__ import annotations

import re

from pincite.index.metadata import dated, standardized

__all__ = ["one_line", "title_and_metadata"]

_HEAD = 16 * 1024  # characters, as all lengths here
_LONGEST_LINE = 1000  # the patterns below take quadratic time on the worst of lines
_LONGEST_HEADLINE = 120
_LONGEST_VALUE = 500
_MOST_KEYS = 32

_KEY = re.compile(r"([A-Za-z][\w .-]{0,40}?)\s*:(?:\s+(.*))?$")
_FIELD = re.compile(r":([A-Za-z][\w -]{0,40}):\s+(.+)")
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_ATX = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$")
_INLINE = re.compile(r"!?\[([^\]\n]*)\](?:\([^()\n]*\)|\[[^\]\n]*\])|[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}")
_UNDERLINE = re.compile(r"([!-/:-@\[-`{-~])\1{2,}$")
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DATE = re.compile(
    rf"(?:\w+,?\s+)?(?:\d{{4}}-\d\d?-\d\d?|\d\d?[./]\d\d?[./]\d{{2,4}}|\d{{1,2}}\.?\s+{_MONTH},?\s+\d{{4}}"
    rf"|{_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?,?\s+\d{{4}})\b.{{0,30}}$",
    re.IGNORECASE,
)
_BYLINE = re.compile(r"by[ :]\s*(\S.{1,80})$", re.IGNORECASE)


def title_and_metadata(text: str, extension: str) -> tuple[str, dict[str, str]]:
    r"""Return the title of `text`, or an empty string, and what else its head says.

    Args:
        text: the whole text of a document.
        extension: `.md` and `.markdown`, `.rst`; anything else is plain text.

    >>> title_and_metadata("Harbour board named\nBy Jane Roe\n\nThe board ...", ".txt")
    ('Harbour board named', {'author': 'Jane Roe'})
    """
    lines = [line[:_LONGEST_LINE] for line in text[:_HEAD].splitlines()]
    if extension in (".md", ".markdown"):
        metadata, rest = _front_matter(lines)
        return metadata.pop("title", "") or _markdown_title(rest), standardized(metadata)
    if extension == ".rst":
        return _rst_title(lines), standardized(_fields(lines))
    return _headline(lines)


def one_line(value: str) -> str:
    """Return `value` on one line, fit for a terminal, and not longer than a title or a name can sensibly be.

    >>> one_line(" The\\n  Harbour ")
    'The Harbour'
    """
    if len(value) <= _LONGEST_VALUE and value.isprintable() and "  " not in value:
        return value.strip(" ")
    joined = " ".join(value[: 4 * _LONGEST_VALUE].split())
    return "".join(c for c in joined if c.isprintable())[:_LONGEST_VALUE]


def _front_matter(lines: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the scalars of a YAML block at the beginning, lists joined by commas, and the lines after it.

    What is nested deeper is left out, and nothing that looks wrong is an error: this is not YAML, but as much of it
    as articles use.
    """
    if not lines or lines[0].rstrip() != "---":
        return {}, lines
    end = next((n for n, line in enumerate(lines) if n and line.rstrip() in ("---", "...")), None)
    if end is None:
        return {}, lines
    values: dict[str, list[str]] = {}
    key = ""
    for line in lines[1:end]:
        stripped = line.strip()
        found = _KEY.match(line)
        if found and len(values) < _MOST_KEYS:
            key = found[1].strip().lower()
            values[key] = [_unquoted(found[2])] if found[2] and found[2].strip() not in ("|", ">", "|-", ">-") else []
        elif found or not stripped or stripped.startswith("#"):
            key = key if not found else ""
        elif key and stripped.startswith("- "):
            values[key].append(_unquoted(stripped[2:]) + ",")
        elif key and line[0] in " \t" and not _KEY.match(stripped):
            values[key].append(stripped)
    joined = {key: one_line(" ".join(parts)).rstrip(",") for key, parts in values.items()}
    return {key: value for key, value in joined.items() if value}, lines[end + 1 :]


def _unquoted(value: str) -> str:
    """Return a YAML scalar without its quotes or its comment; a list in brackets as its items."""
    value = value.strip()
    for quote in ('"', "'"):
        end = value.find(quote, 1)
        if value.startswith(quote) and end > 0 and value[end + 1 :].strip()[:1] in ("", "#"):
            return value[1:end]
    value = re.split(r"\s#", value, maxsplit=1)[0].rstrip()
    if value.startswith("[") and value.endswith("]"):
        return ", ".join(_unquoted(item) for item in value[1:-1].split(",") if item.strip())
    return value if value not in ("null", "~") else ""


def _markdown_title(lines: list[str]) -> str:
    """Return the first heading of the first level, else the first heading of any."""
    first, fence = "", ""
    for n, line in enumerate(lines):
        opening = _FENCE.match(line)
        if opening and not fence:
            fence = opening[1]
        elif opening and opening[1].startswith(fence) and line.strip() == opening[1]:
            fence = ""
        elif not fence:
            heading = _ATX.match(line)
            level, title = (len(heading[1]), heading[2]) if heading else (0, "")
            if n and not level and re.fullmatch(r" {0,3}(=+|-{3,})[ \t]*", line) and _is_prose(lines[n - 1]):
                level, title = (1 if "=" in line else 2), lines[n - 1]
            title = one_line(_INLINE.sub(lambda found: found[1] or "", title))
            if level == 1 and title:
                return title
            first = first or title
    return first


def _is_prose(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith(("#", ">", "-", "*", "|", "`"))


def _rst_title(lines: list[str]) -> str:
    """Return the first line that is underlined, and perhaps overlined, with one punctuation mark."""
    for n in range(1, len(lines)):
        title, line = lines[n - 1].strip(), lines[n].rstrip()
        if _UNDERLINE.match(line) and title and not _UNDERLINE.match(title) and len(line) >= min(len(title), 4):
            overlined = n > 1 and lines[n - 2].rstrip() == line
            if overlined or n == 1 or not lines[n - 2].strip() or lines[n - 2].startswith(".. "):
                return one_line(title)
    return ""


def _fields(lines: list[str]) -> dict[str, str]:
    found = [match for line in lines[:60] if (match := _FIELD.match(line))]
    return {match[1].lower(): one_line(match[2]) for match in found[:_MOST_KEYS]}


def _headline(lines: list[str]) -> tuple[str, dict[str, str]]:
    """Return the first line if it stands alone like a headline, with the byline and date under it."""
    filled = [n for n, line in enumerate(lines) if line.strip()][:4]
    if not filled:
        return "", {}
    title = one_line(lines[filled[0]])
    metadata: dict[str, str] = {}
    for n in filled[1:]:
        line = one_line(lines[n])
        if byline := _BYLINE.match(line):
            metadata.setdefault("author", byline[1])
        elif _DATE.match(line) and len(line) <= 60:
            metadata.setdefault("date", dated(line))
        else:
            break
    alone = filled[0] + 1 >= len(lines) or not lines[filled[0] + 1].strip()
    # "..." and "?" end headlines too; a full stop ends a sentence, unless it is the end of an abbreviation.
    sentence = title.endswith((".", ";", ",", ":")) and not title.endswith("...")
    if sentence and re.search(r"\b(?:[A-Z]\.){2,}$|\b(?:Inc|Ltd|Co|Corp|Jr|Sr)\.$", title):
        sentence = False
    is_title = bool(title) and len(title) <= _LONGEST_HEADLINE and not sentence and (alone or bool(metadata))
    has_body = len(filled) > 1
    return (title if is_title and has_body else ""), (metadata if is_title else {})
