"""What sources call author, date and the like -> one name for each, and dates as ISO 8601."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from pincite.index.dates import iso_date

__all__ = ["dated", "standard_key", "standardized"]

_KEYS = {
    "author": "author authors by byline writer creator",
    "date": "date published publication_date published_at published_on publish_date pub_date pubdate date_published "
    "publish_time created created_at date_created timestamp datetime year",
    "url": "url link href source_url permalink canonical canonical_url web_url article_url",
    "language": "language lang locale",
    "subject": "subject topic category section",
}
_STANDARD = {name: key for key, names in _KEYS.items() for name in names.split()}
_RANK = {name: rank for names in _KEYS.values() for rank, name in enumerate(names.split())}


def standard_key(name: str) -> str:
    """Return what a piece of metadata of this name is called in every format; empty if there is no such name for it.

    >>> standard_key("Published At"), standard_key("colour")
    ('date', '')
    """
    return _STANDARD.get(_plain(name), "")


def standardized(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return `metadata` with the standard keys that it has under other names too, and its date as ISO 8601.

    >>> standardized({"authors": "Jo", "date": "4 May 2020"})
    {'authors': 'Jo', 'date': '2020-05-04', 'author': 'Jo'}
    """
    found = dict(metadata)
    for name in sorted(metadata, key=lambda name: _RANK.get(_plain(name), 0)):
        key = standard_key(name)
        if key:
            found.setdefault(key, metadata[name])
    if "date" in found:
        found["date"] = dated(found["date"])
    return found


def dated(text: str) -> str:
    """Return a date as ISO 8601, as precise as `text` has it, or `text` as it is if it is no date.

    >>> dated("March 4, 2021"), dated("2021-03-04T10:15:00Z"), dated("last week")
    ('2021-03-04', '2021-03-04T10:15:00Z', 'last week')
    """
    iso = iso_date(text)
    return iso if iso and not re.match(r"\d{4}-\d\d-\d\d[T ]\d", text) else text


@lru_cache(maxsize=1024)  # tables have the same names in every row
def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "_", name[:40].lower()).strip("_")
