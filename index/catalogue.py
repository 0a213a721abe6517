"""What documents say of themselves -> which passages are of documents that fit some conditions.

A key's values are read from all documents when it is first asked for, and kept packed: each distinct value once, as it
is compared, and a number for each document. 100,000 documents take 0.2 s to read and a few MB; after that a condition
costs a search through a few MB of text, and one that was asked for a while ago nothing.
"""

from __future__ import annotations

import json
import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pincite.index.contents import SegmentContents
from pincite.index.filters import OWN_KEYS, Bounds, Condition, bounds, folded, matches, path_pattern
from pincite.index.value_column import Mask, ValueColumn

__all__ = ["Catalogue"]

_MOST_COLUMNS = 16
_MOST_MASKS = 64
_MOST_NAMES = 10_000
_AT_ONCE = 1_000  # documents whose metadata is parsed together, which takes 4/5 of the time
_USUAL = ("author", "date")
"""Keys that are read along with the first one that is asked for: most questions with conditions have one of them."""

_RECORD, _STORED, _SHOWN = "\0record", "\0stored", "\0shown"  # no key of metadata has a NUL in it
_KEPT = {"title": "document_title", "format": "document_format", _RECORD: "document_record"}
"""Columns of segments that hold the values of a key."""


class Catalogue:
    """What the documents of one generation say of themselves; for several threads at once.

    Args:
        segments: of the generation.
        live: for each segment a mask of shape `(documents,)`: those that are not replaced or removed.
        shown: a stored path -> the one that a user sees.
    """

    def __init__(self, segments: Sequence[SegmentContents], live: Sequence[Mask], shown: Callable[[str], str]) -> None:
        self._segments = segments
        self._live = live
        self._shown = shown
        self._documents = sum(contents.documents for contents in segments)
        self._lock = threading.Lock()
        self._columns: dict[str, ValueColumn] = {}
        self._masks: dict[frozenset[Condition], NDArray[np.uint8]] = {}
        self._names: Counter[str] | None = None

    def keys(self) -> list[str]:
        """Return the keys that conditions can name: first those of all documents, then those that most have."""
        with self._lock:
            names = self._read_metadata(set()) if self._names is None else self._names
            _drop_oldest(self._columns, _MOST_COLUMNS)
        return [*OWN_KEYS, *(name for name, _ in names.most_common() if name not in OWN_KEYS)]

    def rows_where(self, conditions: Iterable[Condition]) -> Mask:
        """Return which passages are of documents for which all conditions hold; shape `(passages of all segments,)`.

        A condition on a key that no document has holds for none, also with `!=`.
        """
        wanted = frozenset(conditions)
        with self._lock:
            packed = self._masks.pop(wanted, None)
            if packed is None:
                packed = np.packbits(self._passages(self._documents_where(wanted)))
            self._masks[wanted] = packed
            _drop_oldest(self._masks, _MOST_MASKS)
            _drop_oldest(self._columns, _MOST_COLUMNS)
        count = sum(contents.passages for contents in self._segments)
        return np.unpackbits(packed, count=count).view(np.bool_)

    def _passages(self, documents: Mask) -> Mask:
        sizes = [np.diff(contents.segment.array("document_passages")) for contents in self._segments]
        return np.repeat(documents, np.concatenate([np.empty(0, np.int64), *sizes]))

    def _documents_where(self, conditions: Iterable[Condition]) -> Mask:
        fitting = np.concatenate([np.empty(0, np.bool_), *self._live])
        metadata = {condition.key for condition in conditions}.difference(OWN_KEYS, self._columns)
        if any(not self._is_unknown(key) for key in metadata):
            self._read_metadata(metadata)
        for condition in conditions:
            holds = self._in_path(condition.value) if condition.key == "path" else self._holds(condition)
            if holds is None:
                return np.zeros(self._documents, np.bool_)
            fitting &= ~holds if condition.operator == "!=" else holds
        return fitting

    def _holds(self, condition: Condition) -> Mask | None:
        """Return of which documents a condition holds, `!=` taken for `=`; None if no document has its key."""
        column = self._column(condition.key)
        if column is None:
            return None
        is_own = condition.key in OWN_KEYS
        meant = np.zeros(column.count, np.bool_)
        if condition.operator in ("=", "!="):
            pattern = folded(condition.value)
            longest = max(pattern.split("*"), key=len)
            meant |= column.that_are(lambda value: matches(pattern, value, listed=not is_own), longest)
        if not is_own:
            as_number, as_date = bounds(condition)
            if as_number:
                meant |= _within(condition.operator, column.as_numbers, as_number)
            if as_date:
                # Two that are numbers are compared as such: 20210517 may be no date, and 1998 no year.
                is_date = np.isnan(column.as_numbers[0]) if as_number else np.True_
                meant |= _within(condition.operator, column.as_dates, as_date) & is_date
        return column.of_documents(meant)

    def _in_path(self, glob: str) -> Mask:
        """Return the documents of the files that `glob` names, and the records that it names behind a `#`."""
        found = self._in_files(glob)
        files, mark, records = glob.partition("#")
        if mark:
            column = self._column(_RECORD)
            if column is not None:
                found |= self._in_files(files) & column.of_documents(_paths_like(column, records, anchored=True))
        return found

    def _in_files(self, glob: str) -> Mask:
        stored, shown = self._paths()
        meant = _paths_like(stored, glob)
        if shown is not stored:
            meant |= _paths_like(shown, glob)
        return stored.of_documents(meant)

    def _column(self, key: str) -> ValueColumn | None:
        """Return the column of a key, None if no document has it; `_read_metadata` has read that of metadata."""
        column = self._columns.pop(key, None)
        if column is None and key in _KEPT:
            values = _Values(self._documents)
            for document, value in self._texts(_KEPT[key]):
                values.add(document, value)
            column = values.column(_as_path if key == _RECORD else folded)
        if column is None or not column.count:
            return None
        self._columns[key] = column
        return column

    def _is_unknown(self, key: str) -> bool:
        """Return whether no document has a key, as far as that is known: nobody shall keep this busy with rubbish."""
        names = self._names
        return names is not None and len(names) < _MOST_NAMES and key not in names

    def _read_metadata(self, keys: set[str]) -> Counter[str]:
        """Make the columns of some keys and of the usual ones, and return how many documents have each key."""
        due = {key: _Values(self._documents) for key in keys.union(_USUAL).difference(self._columns)}
        names: Counter[str] = Counter()
        folds: dict[str, str] = {}
        texts = self._texts("document_metadata")
        while some := list(islice(texts, _AT_ONCE)):
            every = json.loads(f"[{','.join(text for _, text in some)}]")
            for name, count in Counter(chain.from_iterable(every)).items():
                fold = folds.get(name) or folded(name)
                if len(folds) < _MOST_NAMES:
                    folds[name] = fold
                if fold in names or len(names) < _MOST_NAMES:
                    names[fold] += count
                if fold in due:
                    for (document, _), said in zip(some, every, strict=True):
                        due[fold].add(document, said.get(name, ""))
        self._names = names
        self._columns |= {key: values.column(folded) for key, values in due.items() if values.known}
        return names

    def _texts(self, name: str) -> Iterator[tuple[int, str]]:
        """Yield document number and text of a column of strings, for each live document that has one."""
        start = 0
        for contents, live in zip(self._segments, self._live, strict=True):
            texts = contents.segment.strings(name) if contents.documents else []
            for row in np.flatnonzero(live).tolist():
                if texts[row]:
                    yield start + row, texts[row]
            start += contents.documents

    def _paths(self) -> tuple[ValueColumn, ValueColumn]:
        """Return the columns of the paths of files, as stored and as shown; they are one if these are the same."""
        if not {_STORED, _SHOWN} <= self._columns.keys():
            paths: list[str] = []
            numbers = [np.empty(0, np.int32)]
            for contents in self._segments:
                numbers.append((contents.segment.array("document_file") + len(paths)).astype(np.int32))
                paths += contents.segment.strings("file_path")
            stored = ValueColumn(np.concatenate(numbers), [_as_path(path) for path in paths])
            shown = _in_shown_folders(paths, self._shown)
            is_same = shown == paths
            self._columns[_STORED] = stored
            self._columns[_SHOWN] = stored if is_same else ValueColumn(stored.numbers, list(map(_as_path, shown)))
        return self._columns[_STORED], self._columns[_SHOWN]


class _Values:
    """The values of one key while they are read."""

    def __init__(self, documents: int) -> None:
        self.numbers = np.full(documents, -1, np.int32)
        self.known: dict[str, int] = {}

    def add(self, document: int, value: str) -> None:
        if value and not value.isspace():
            self.numbers[document] = self.known.setdefault(value, len(self.known))

    def column(self, form: Callable[[str], str]) -> ValueColumn:
        return ValueColumn(self.numbers, [form(value) for value in self.known])


def _in_shown_folders(paths: Sequence[str], shown: Callable[[str], str]) -> list[str]:
    """Return each path as it is shown, asked for once a folder."""
    parted = [path.rpartition("/") for path in paths]
    folders = {folder + slash: shown(f"{folder}{slash}x")[:-1] for folder, slash in {part[:2] for part in parted}}
    return [folders[folder + slash] + name for folder, slash, name in parted]


def _paths_like(column: ValueColumn, glob: str, *, anchored: bool = False) -> Mask:
    glob = _as_path(glob).removeprefix("./")
    pattern = path_pattern(glob, anchored=anchored)
    longest = max(re.split(r"[*?/]", glob), key=len)
    return column.that_are(lambda path: pattern.fullmatch(path) is not None, longest)


def _as_path(path: str) -> str:
    return path if path.isascii() else unicodedata.normalize("NFC", path)


def _within(operator: str, found: NDArray[np.float64], asked: Bounds) -> Mask:
    """Return which of the values with these bounds compare so with what is asked, whatever in their bounds they are."""
    low, high = found
    if operator == "<":
        return np.asarray(high < asked.low)
    if operator == "<=":
        return np.asarray(high <= asked.high)
    if operator == ">":
        return np.asarray(low > asked.high)
    if operator == ">=":
        return np.asarray(low >= asked.low)
    return np.asarray((asked.low <= low) & (high <= asked.high))


def _drop_oldest(kept: dict[Any, Any], most: int) -> None:
    while len(kept) > most:
        del kept[next(iter(kept))]
