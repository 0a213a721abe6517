"""Saved citations -> whether they still hold: each is held against what its source says now, read again if it changed.

Only files that the index knows, and that a walk through its sources still finds, are ever opened: what a file of
answers names is looked up in the index first.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from pincite.index import Document, Index, SourceError, examine
from pincite.index.known import KnownDocuments, known_documents
from pincite.index.sources import SourceFile, find_files, find_in, read_documents
from pincite.index.store import stored_path
from pincite.index.survey import under
from pincite.qa.citations import line_and_column
from pincite.qa.render import count, printable
from pincite.qa.saved_answers import Saved

__all__ = ["Checked", "check", "check_json", "check_text"]

Status = Literal["holds", "moved", "gone", "missing", "not checkable"]

_CONTEXT = 64  # characters on each side of a quote that tell one occurrence from another
_TELLING = 32  # characters from which on a quote is taken for itself wherever it stands
_MOST_PLACES = 10_000  # occurrences that are looked at
_CANDIDATES = 20  # passages of other documents that are looked at
_LONGEST_QUERY = 1_000
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of a saved citation.

    Attributes:
        saved: the citation.
        status: "holds" if the source has exactly the quote at the span; "moved" if the quote stands elsewhere now, in
            like words; "gone" if it does not; "missing" if the source is not there; "not checkable" if it is none.
        reason: why, where it does not hold.
        path, line, start: where it stands now; if it is gone or missing, where another file has the same words. Empty
            and 0 if nowhere.
    """

    saved: Saved
    status: Status
    reason: str = ""
    path: str = ""
    line: int = 0
    start: int = 0


_Now = tuple[str, int]
"""What a document says now; of a record also its line in its file, 0 for a whole file."""


def check(index: Index, citations: Sequence[Saved]) -> list[Checked]:
    """Return what became of each citation, in order. Each source is read once."""
    files = _files(index, [one.path for one in citations if not one.problem])
    wanted: dict[str, dict[str, list[int]]] = {}
    found: dict[int, Checked] = {}
    for number, one in enumerate(citations):
        if one.problem:
            found[number] = Checked(one, "not checkable", one.problem)
        elif one.path not in files:
            found[number] = Checked(one, "missing", "not in the index under this name, as seen from here")
        else:
            file, record = files[one.path]
            wanted.setdefault(file, {}).setdefault(record, []).append(number)
    for file, records in wanted.items():
        texts = _texts(index, file, set(records))
        for record, numbers in records.items():
            for number in numbers:
                found[number] = _judged(citations[number], texts, record)
    is_lost = {"gone", "missing"}
    checked = (found[number] for number in range(len(citations)))
    return [_elsewhere(index, one) if one.status in is_lost else one for one in checked]


def _files(index: Index, paths: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return by path the stored file and the record in it, for those whose file the index knows."""
    root = _root(index)
    splits: dict[str, list[tuple[str, str]]] = {}
    for path in dict.fromkeys(paths):
        ends = [len(path), *(at for at, character in enumerate(path) if character == "#" and at)]
        splits[path] = [(stored_path(path[:end], root), path[end + 1 :]) for end in ends]
    known = known_documents(index, list({file for split in splits.values() for file, _ in split}))
    there = {path: next((pair for pair in split if pair[0] in known), None) for path, split in splits.items()}
    return {path: pair for path, pair in there.items() if pair}


def _texts(index: Index, file: str, records: set[str]) -> dict[str, _Now] | None:
    """Return what some documents of a stored file say now, by record; None if the file is in no source now."""
    source = _source_file(index, file)
    if source is None:
        return None
    texts: dict[str, _Now] = {}
    scanned: dict[str, dict[str, tuple[int, int]]] = {}
    known = KnownDocuments(index, *known_documents(index, [file])[file])
    for record in records:
        if place := known.take(record):
            document = index.document_at(*place)
            evidence = examine(document, source.location, scanned)
            if not evidence.problem:
                texts[record] = document.text, evidence.line if document.is_record else 0
    if len(texts) < len(records):
        for item in read_documents(source):
            if isinstance(item, Document) and item.record in records and item.record not in texts:
                texts[item.record] = item.text, item.line if item.is_record else 0
    return texts


def _source_file(index: Index, file: str) -> SourceFile | None:
    """Return a stored file as a walk through the sources finds it: not where a link leads out of them by now."""
    root = _root(index)
    for source in index.sources:
        location = os.path.join(root, source.path)
        try:
            if file == source.path:
                items = find_files(location, root=root, exclude=source.exclude)
            elif under(file, [source]):
                items = find_in(location, file, root=root, exclude=source.exclude)
            else:
                continue
            for item in items:
                if isinstance(item, SourceFile) and item.path == file:
                    return item
        except SourceError:
            continue
    return None


def _judged(saved: Saved, texts: dict[str, _Now] | None, record: str) -> Checked:
    if texts is None:
        return Checked(saved, "missing", "the file is no longer there, or in no source any more")
    if record not in texts:
        return Checked(saved, "gone", "it is not in its file any more, or cannot be read any more")
    text, line = texts[record]
    holds = text[saved.start : saved.end] == saved.quote
    start = saved.start if holds else _place(text, saved)
    if start is None:
        reason = "the source has it only among other words" if saved.quote in text else "the source no longer has it"
        return Checked(saved, "gone", reason)
    line = line or line_and_column(text, start)[0]
    return Checked(saved, "holds" if holds else "moved", "", saved.path, line, start)


def _place(text: str, saved: Saved) -> int | None:
    """Return where a quote stands among words like those that stood around it, the likest ones; None if nowhere."""
    before, after = _flat(saved.before)[-_CONTEXT:][::-1], _flat(saved.after)[:_CONTEXT]
    needed = 0 if len(saved.quote) >= _TELLING else (len(before) + len(after)) / 2

    def likeness(at: int) -> int:
        end = at + len(saved.quote)
        left, right = _flat(text[max(0, at - 2 * _CONTEXT) : at])[::-1], _flat(text[end : end + 2 * _CONTEXT])
        return _shared(before, left) + _shared(after, right)

    whole = text.find(saved.before + saved.quote + saved.after)  # there may be more places than are looked at
    found = (match.start() for match in re.finditer(re.escape(saved.quote), text))
    places = [*([whole + len(saved.before)] if whole >= 0 else []), *islice(found, _MOST_PLACES)]
    best = max(places, key=lambda at: (likeness(at), -abs(at - saved.start)), default=None)
    return best if best is not None and likeness(best) >= needed else None


def _shared(one: str, other: str) -> int:
    """Return with how many characters both begin."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _elsewhere(index: Index, checked: Checked) -> Checked:
    """Return where a lost quote stands, word for word in the same sentence, in another document, or else `checked`.

    In a record of the same file, it has moved; rows get other numbers. Another file is told of: it may be a copy, or
    the same file under a new name.
    """
    saved = checked.saved
    whole = saved.before + saved.quote + saved.after
    if index.fingerprint is None or (whole == saved.quote and len(whole) < _TELLING):
        return checked
    rows, _ = index.search_sparse(_flat(whole)[:_LONGEST_QUERY], _CANDIDATES)
    for name in dict.fromkeys(passage.document_id for passage in index.passages(rows)):
        document = index.document(name)
        at, location = document.text.find(whole), index.location(document)
        if at < 0 or (source := _source_file(index, stored_path(location, _root(index)))) is None:
            continue
        evidence = examine(document, source.location)
        if not evidence.problem:
            start = at + len(saved.before)
            line = evidence.line if document.is_record else line_and_column(document.text, start)[0]
            is_same_file = os.path.abspath(saved.path).startswith(f"{location}#")
            status = "moved" if is_same_file else checked.status
            return Checked(saved, status, checked.reason, document.path, line, start)
    return checked


def _root(index: Index) -> str:
    return os.path.dirname(os.path.abspath(index.path))


def _flat(text: str) -> str:
    return " ".join(text.split())


def check_text(checked: Sequence[Checked]) -> str:
    """Return a line for each citation that does not hold, and a summary."""
    lines = [_line(one) for one in checked if one.status != "holds"]
    counts = Counter("hold" if one.status == "holds" else one.status for one in checked)
    said = ", ".join(f"{number:,} {status}" for status, number in counts.most_common())
    return "\n".join([*lines, f"{count(len(checked), 'citation')}{': ' + said if said else ''}"])


def _line(one: Checked) -> str:
    quote, place = printable(one.saved.quote), f"{printable(one.path)}:{one.line}"
    parts = [f"{printable(one.saved.place)}: {one.status}:", printable(one.saved.path)]
    parts += ["->", place] if one.status == "moved" else []
    parts += [f"«{quote[:_SHOWN]}{'…' if quote[_SHOWN:] else ''}»"] if quote else []
    other = f"; the same words are in {place}" if one.path and one.status != "moved" else ""
    parts += [f"({one.reason}{other})"] if one.reason and one.status != "moved" else []
    return " ".join(filter(None, parts))


def check_json(checked: Sequence[Checked]) -> dict[str, Any]:
    """Return the object that `pincite check --json` prints: the counts, and each citation in order."""
    counts = Counter(one.status for one in checked)
    statuses: tuple[Status, ...] = ("holds", "moved", "gone", "missing", "not checkable")
    return {
        "checked": len(checked),
        **{status.replace(" ", "_"): counts[status] for status in statuses},
        "citations": [
            {
                "from": one.saved.place,
                "path": one.saved.path or None,
                "start": one.saved.start,
                "end": one.saved.end,
                "quote": one.saved.quote or None,
                "status": one.status.replace(" ", "_"),
                "reason": one.reason or None,
                "now": {"path": one.path, "line": one.line, "start": one.start} if one.path else None,
            }
            for one in checked
        ],
    }
