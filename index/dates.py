"""A date as a source writes it -> the seconds that it names, and its ISO form.

A date names all the time that it may mean: "2021-05" a month, "3/5/2021", which is in March or in May, all days from
the one reading to the other. Time zones are left out: a date is the one that the author saw on the calendar.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

__all__ = ["Period", "iso_date", "read_date"]

_LONGEST = 100
_DAY = 86_400
_NAMES = [
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
]
_MONTHS = {name[:3]: n for n, name in enumerate(_NAMES, 1)}

_TIME = r"(?:[t ]\s*(\d\d):(\d\d)(?::(\d\d)(?:[.,]\d+)?)?\s*(?:z|utc|gmt|[+-]\d\d(?::?\d\d)?)?)?"
_ISO = re.compile(rf"(\d{{4}})(?:([-/.])(\d\d?)(?:\2(\d\d?){_TIME})?)?", re.ASCII)
_COMPACT = re.compile(r"((?:19|20)\d\d)(\d\d)(\d\d)", re.ASCII)
_WEEKDAY = r"(?:[a-z]{3,9}\.?,?\s+)?"
_MONTH = rf"({'|'.join(_NAMES)}|sept|{'|'.join(_MONTHS)})\.?"
_REST = r"(?:[\s,;(].*)?"
_DAY_MONTH = re.compile(rf"{_WEEKDAY}(?:(\d\d?)(?:st|nd|rd|th|\.)?\s+)?{_MONTH},?\s+(\d{{4}}){_REST}", re.ASCII)
_MONTH_DAY = re.compile(rf"{_WEEKDAY}{_MONTH}\s+(\d\d?)(?:st|nd|rd|th)?,?\s+(\d{{4}}){_REST}", re.ASCII)
_NUMBERS = re.compile(rf"{_WEEKDAY}(\d\d?)([./-])(\d\d?)\2(\d{{4}}){_REST}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Period:
    """What a date names: its first and last second, counted from the year 0, and its ISO form up to the day."""

    first: int
    last: int
    iso: str


def read_date(text: str) -> Period | None:
    """Return what a date names, None if `text` is none.

    Understood are ISO 8601 from the year to the second, and days and months as written in English and in numbers.

    >>> may = read_date("2021-05")
    >>> day = read_date("Monday, May 17th, 2021")
    >>> day.iso, may.first <= day.first <= day.last <= may.last
    ('2021-05-17', True)
    """
    text = text[:_LONGEST].strip().lower()
    try:
        return _iso(text) or _in_words(text) or _in_numbers(text)
    except ValueError:  # the 31st of June
        return None


def iso_date(text: str) -> str:
    """Return a date in ISO form, at most up to the day, and empty if it is none that is understood.

    >>> iso_date("17 May 2021"), iso_date("2021-05-17T10:30:00Z"), iso_date("3/5/2021"), iso_date("last week")
    ('2021-05-17', '2021-05-17', '2021', '')
    """
    period = read_date(text)
    return period.iso if period else ""


def _iso(text: str) -> Period | None:
    if compact := _COMPACT.fullmatch(text):
        text = "-".join(compact.groups())
    found = _ISO.fullmatch(text)
    if not found:
        return None
    year, _, month, day, *time = found.groups()
    if 0 in (int(month or 1), int(day or 1)):
        raise ValueError(text)
    period = _period(int(year), int(month or 0), int(day or 0))
    if time[0] is None:
        return period
    hour, minute, second = (int(part or 0) for part in time)
    if hour > 24 or minute > 59 or second > 60:
        raise ValueError(text)
    start = period.first + min(3600 * hour + 60 * minute + second, _DAY - 1)
    return Period(start, start if time[2] else min(start + 59, period.last), period.iso)


def _in_words(text: str) -> Period | None:
    if found := _DAY_MONTH.fullmatch(text):
        return _period(int(found[3]), _MONTHS[found[2][:3]], int(found[1] or 0))
    if found := _MONTH_DAY.fullmatch(text):
        return _period(int(found[3]), _MONTHS[found[1][:3]], int(found[2]))
    return None


def _in_numbers(text: str) -> Period | None:
    """Return the period of 17.5.2021 or 5/17/2021; a dot says that the day comes first, other marks say nothing."""
    found = _NUMBERS.fullmatch(text)
    if not found:
        return None
    one, other, year = int(found[1]), int(found[3]), int(found[4])
    if found[2] == "." or one > 12 or one == other:
        return _period(year, other, one)
    if other > 12:
        return _period(year, one, other)
    readings = sorted([_period(year, other, one), _period(year, one, other)], key=lambda period: period.first)
    return Period(readings[0].first, readings[1].last, f"{year:04}")


def _period(year: int, month: int, day: int) -> Period:
    """Return a day, a month (`day` is 0) or a year (both are); raises ValueError if there is none such."""
    first = date(year, month or 1, day or 1)
    if day:
        after = first.toordinal() + 1
    elif month < 12 and month:
        after = date(year, month + 1, 1).toordinal()
    else:
        after = date(year, 12, 31).toordinal() + 1
    iso = first.isoformat()[: 10 if day else 7 if month else 4]
    return Period(first.toordinal() * _DAY, after * _DAY - 1, iso)
