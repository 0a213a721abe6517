"""Saved citations -> whether they still hold: each is held against what its source says now.

Only files that the index knows, and that a walk through its sources still finds, are ever opened: what a file of
answers names is looked up in the index first.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal, get_args

from pincite.index import Document, Index
from pincite.index.known import known_documents
from pincite.index.paths import stored_path
from pincite.index.sources import read_documents
from pincite.index.survey import take_survey, under
from pincite.qa.citations import line_and_column
from pincite.qa.render import count, printable
from pincite.qa.saved_answers import Saved

__all__ = ["Checked", "check", "check_json", "check_text"]

Status = Literal["holds", "moved", "gone", "missing", "invalid"]

_NEAR = 32  # characters on each side of a quote that tell one occurrence from another
_TELLING = 32  # characters from which on a quote is taken for itself wherever it stands
_MOST_PLACES = 10_000  # occurrences that are looked at
_MOST_SPLITS = 20
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of a saved citation.

    It "holds" if the source has exactly the quote at the span; it has "moved" if the quote stands elsewhere there now,
    in like words, and is "gone" if it does not; it is "missing" if the source is not there, and "invalid" if it is no
    citation. `line` and `start` are where it stands now, 0 if nowhere; else there is a `reason`.
    """

    saved: Saved
    status: Status
    reason: str = ""
    line: int = 0
    start: int = 0


def check(index: Index, citations: Sequence[Saved]) -> list[Checked]:
    """Return what became of each citation, in order. Each source is read once."""
    root = os.path.dirname(os.path.abspath(index.path))
    splits = {one.path: _splits(one.path, root) for one in citations if not one.problem}
    known = known_documents(index, list({file for split in splits.values() for file, _ in split}))
    wanted: dict[str, dict[str, list[Saved]]] = {}
    for one in citations:
        if found := next((split for split in splits.get(one.path, ()) if split[0] in known), None):
            wanted.setdefault(found[0], {}).setdefault(found[1], []).append(one)
    # Files are taken as a walk through the sources finds them: not where a link leads out of them by now.
    whole = [source for source in index.sources if source.path in wanted]
    parts = [(file, source) for file in wanted for source in index.sources if under(file, [source])]
    parts = [(file, source) for file, source in parts if source not in whole]
    checked: dict[Saved, Checked] = {}
    for file in take_survey(root, whole, {}, parts, read_all=True).stale.files():
        records = wanted.pop(file.path, {})
        for item in read_documents(file) if records else ():
            if isinstance(item, Document):
                checked |= {one: _judged(one, item) for one in records.pop(item.record, ())}
            if not records:
                break
    missing = "no source has it under this name, as seen from here, or it cannot be read"
    return [
        Checked(one, "invalid", one.problem) if one.problem else checked.get(one) or Checked(one, "missing", missing)
        for one in citations
    ]


def _splits(path: str, root: str) -> list[tuple[str, str]]:
    """Return what may be meant by a path, the likeliest first: a stored file, and a record in it."""
    ends = [len(path), *(at for at, character in enumerate(path) if character == "#" and at)]
    return [(stored_path(path[:end], root), path[end + 1 :]) for end in ends[:_MOST_SPLITS]]


def _judged(saved: Saved, document: Document) -> Checked:
    text = document.text
    if saved.quote not in text:
        return Checked(saved, "gone", "the source no longer has it")
    holds = text[saved.start : saved.end] == saved.quote
    start = saved.start if holds else _place(text, saved)
    if start is None:
        return Checked(saved, "gone", "the source has it only among other words")
    line = document.line if document.is_record else line_and_column(text, start)[0]
    return Checked(saved, "holds" if holds else "moved", "", line, start)


def _place(text: str, saved: Saved) -> int | None:
    """Return where a quote stands among its words, then next to some of them, then, if it is long, anywhere."""
    before, after = (r"\s+".join(map(re.escape, side.split())) for side in (saved.before[-_NEAR:], saved.after[:_NEAR]))
    quote = f"({re.escape(saved.quote)})"
    for left, right in ((before, after), (before, ""), ("", after), ("", "")):
        if left or right or len(saved.quote) >= _TELLING or not (before or after):
            pattern = r"\s*".join(filter(None, (left, quote, right)))
            places = (found.start(1) for found in islice(re.finditer(pattern, text), _MOST_PLACES))
            if (best := min(places, key=lambda at: abs(at - saved.start), default=None)) is not None:
                return best
    return None


def check_text(checked: Sequence[Checked]) -> str:
    """Return a line for each citation that does not hold, and a summary."""
    lines = [_line(one) for one in checked if one.status != "holds"]
    counts = Counter("hold" if one.status == "holds" else one.status for one in checked)
    said = ", ".join(f"{number:,} {status}" for status, number in counts.most_common())
    return "\n".join([*lines, f"{count(len(checked), 'citation')}{': ' + said if said else ''}"])


def _line(one: Checked) -> str:
    place, path, quote = map(printable, (one.saved.place, one.saved.path, one.saved.quote))
    said = f"«{quote[:_SHOWN]}{'…' if quote[_SHOWN:] else ''}»" if quote else ""
    reason = f"now on line {one.line}" if one.status == "moved" else one.reason
    return " ".join(filter(None, [f"{place}: {one.status}:", path, said, f"({reason})"]))


def check_json(checked: Sequence[Checked]) -> dict[str, Any]:
    """Return the object that `pincite check --json` prints: the counts, and each citation in order."""
    counts = {status: sum(one.status == status for one in checked) for status in get_args(Status)}
    return {"checked": len(checked), **counts, "citations": [asdict(one) for one in checked]}
