"""`author=Roe`, `date>=2021-05`, `path=reports/**` -> conditions on documents, and what each asks of a value.

A condition on a key that a document lacks does not hold, and with `!=` it does: `!=` is the opposite of `=`. With a
date of which only the month or the year is known, `<`, `>`, `=` and so on hold if they do for any day of it.

Wildcards are matched piece by piece, each at the first place where it fits, so that no pattern takes long: those of
.gitignore files turned into regular expressions take years for `*?*?*?*?x` on a long name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from pincite.index.dates import read_date
from pincite.index.errors import QuestionError

__all__ = [
    "OWN_KEYS",
    "Bounds",
    "Condition",
    "bounds",
    "date_bounds",
    "folded",
    "matches",
    "number_bounds",
    "parse_where",
    "parse_wheres",
    "path_pattern",
]

OWN_KEYS = ("path", "title", "format")
"""Keys that every index knows; all others are of the metadata."""

_PARTS = re.compile(r"([^=!<>]+)(!=|<=|>=|==|=|<|>)([^=<>].*)", re.DOTALL)
_NUMBER = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3}){1,9}|\d{1,30})(?:\.\d{1,30})?", re.ASCII)
_LONGEST = 500
_MOST = 50


@dataclass(frozen=True, slots=True)
class Condition:
    """What is asked of a document.

    Attributes:
        key: "path", "title", "format" or a key of the metadata, folded.
        operator: one of `= != < <= > >=`.
        value: as given.
    """

    key: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.key}{self.operator}{self.value}"


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the greatest of what a value may be: of a number the same, of a date its first and last second."""

    low: float
    high: float


def parse_where(text: str) -> Condition:
    """Return the condition that `text` says.

    Raises:
        QuestionError: it says none.

    >>> parse_where("Date >= 2021-05")
    Condition(key='date', operator='>=', value='2021-05')
    """
    parts = _PARTS.fullmatch(text.strip())
    key, operator, value = (folded(parts[1]), parts[2].replace("==", "="), parts[3].strip()) if parts else ("", "", "")
    if not key or not value or "\0" in value:
        raise QuestionError(
            f"Cannot read the condition {_shown(text)}. Write it like author=Roe, 'date>=2021-05', 'path=reports/**' "
            f"or 'title!=*draft*'; 'author=*' is every document that names one."
        )
    if len(text) > _LONGEST:
        raise QuestionError(f"The condition {_shown(text)} is longer than {_LONGEST} characters. Use * for some of it.")
    condition = Condition(key, operator, value)
    if operator not in ("=", "!=") and key in OWN_KEYS:
        raise QuestionError(f"Cannot read the condition {_shown(text)}: with {key} only = and != can be used.")
    if operator not in ("=", "!=") and not any(bounds(condition)):
        raise QuestionError(
            f"Cannot read the condition {_shown(text)}: {operator} needs a number or a date such as 2021, 2021-05 or "
            f"2021-05-17."
        )
    return condition


def parse_wheres(where: str | Sequence[str | Condition]) -> tuple[Condition, ...]:
    """Return conditions that must all hold, each of them once; raises as `parse_where` does."""
    every = [where] if isinstance(where, str) else where
    if len(every) > _MOST:
        raise QuestionError(f"There are {len(every):,} conditions; at most {_MOST} can be used.")
    return tuple(dict.fromkeys(parse_where(one) if isinstance(one, str) else one for one in every))


def bounds(condition: Condition) -> tuple[Bounds | None, Bounds | None]:
    """Return what the value of a condition is as a number and as a date, None for what it is not."""
    return number_bounds(condition.value), date_bounds(condition.value)


def number_bounds(text: str) -> Bounds | None:
    """Return a number, None if `text` is none.

    >>> number_bounds("1,250.5"), number_bounds("2021-05")
    (Bounds(low=1250.5, high=1250.5), None)
    """
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text.replace(",", ""))
    return Bounds(value, value)


def date_bounds(text: str) -> Bounds | None:
    """Return the seconds that a date names, None if `text` is none."""
    period = read_date(text)
    return Bounds(period.first, period.last) if period else None


def folded(text: str) -> str:
    """Return `text` as it is compared: without regard to case, kinds of white space and ways to write an accent.

    >>> folded("  Zo\\u0065\\u0308  ROE ") == folded("zoë roe")
    True
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return " ".join(text.lower().replace("\0", " ").split())


def matches(pattern: str, value: str, *, listed: bool = True) -> bool:
    """Return whether a value is what a pattern says, in which `*` is any text; both are folded.

    Of a value that lists several, parted by commas or semicolons, one need be so, if `listed`.

    >>> matches("jane *", "ann lee; jane roe"), matches("jane", "ann lee; jane roe")
    (True, False)
    """
    pieces = pattern.split("*")
    return any(_is_like(pieces, one) for one in chain([value], _items(value) if listed else ()))


def _items(value: str) -> Sequence[str]:
    return [item.strip() for item in re.split("[,;]", value)] if "," in value or ";" in value else ()


def _is_like(pieces: Sequence[str], value: str) -> bool:
    """Return whether `value` is the pieces in their order, with any text between them."""
    first, *middle = pieces
    if not middle:
        return value == first
    last = middle.pop()
    at, end = len(first), len(value) - len(last)
    if at > end or not value.startswith(first) or not value.endswith(last):
        return False
    for piece in middle:
        at = value.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True


def path_pattern(glob: str, *, anchored: bool = False) -> re.Pattern[str]:
    """Return what fits, from end to end, the paths that `glob` names, and all that is in them if they are folders.

    As in a `.gitignore`: `*` and `?` stay within a name, `**` is any folders, and without a slash, but for one at its
    end, it is a name in any folder. All other characters stand for themselves, brackets too: names have them.

    >>> [bool(path_pattern(glob).fullmatch("reports/2021/may.pdf")) for glob in ("reports/**", "*.pdf", "2021/*")]
    [True, True, False]
    """
    names = [name for name in glob.removeprefix("./").split("/") if name]
    anchored = anchored or "/" in glob.rstrip("/")
    inside = glob.endswith("/")
    while names and names[-1] == "**":
        inside = bool(names.pop())
    if not names:
        return re.compile(".*", re.DOTALL)
    runs: list[list[str]] = [[]] if anchored else [[], []]
    for name in names:
        if name == "**":
            runs.append([])
        else:
            runs[-1].append(_name_pattern(name))
    first, *others = ["/".join(run) for run in runs]
    # Atomic: what fits at the first place possible need not be tried at a later one.
    pieces = ["/?" + first] * bool(first) + [f"(?>(?:[^/]*/)*?{run})" for run in others if run]
    return re.compile("/".join(pieces) + ("/.+" if inside else "(?:/.*)?"), re.DOTALL)


def _name_pattern(glob: str) -> str:
    first, *middle = ("[^/]".join(map(re.escape, piece.split("?"))) for piece in re.split(r"\*+", glob))
    if not middle:
        return first + r"(?=/|\Z)"
    last = middle.pop()
    return first + "".join(f"(?>[^/]*?{piece})" for piece in middle) + rf"[^/]*{last}(?=/|\Z)"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:79]}…")
