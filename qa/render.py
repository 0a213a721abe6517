"""Answer, hits and reports -> terminal text; nothing here reads or decides.

Text comes with escape codes for colour and links only where `Style.colour` says so; control characters of the sources
never reach a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path

from pincite.index import Document, IndexStats, Passage, Problem, Skipped, SyncReport
from pincite.index.dates import iso_date
from pincite.index.overview import Overview
from pincite.qa.answers import Answer, independent
from pincite.qa.citations import Citation, line_and_column
from pincite.qa.links import file_of
from pincite.qa.retriever import Hit

__all__ = [
    "Style",
    "answer_text",
    "hits_text",
    "report_text",
    "source_text",
    "stats_text",
]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_SHOWN_SKIPS = 10
_SHOWN_COPIES = 3
_SHOWN_NAMES = 3


@dataclass(frozen=True, slots=True)
class Style:
    """How to write: with escape codes or without."""

    colour: bool = False

    def paint(self, text: str, code: str) -> str:
        """Return `text` in a colour, given as an SGR code."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text

    def place(self, path: str, line: int, column: int | None = None) -> str:
        """Return `path:line:column`, as a link to the file where the terminal shows links (OSC 8)."""
        text = f"{printable(path)}:{line}" + (f":{column}" if column else "")
        if not self.colour:
            return text
        uri = Path(file_of(path)).absolute().as_uri()
        return f"\x1b]8;;{uri}\x1b\\{self.paint(text, '36')}\x1b]8;;\x1b\\"


def printable(text: str) -> str:
    r"""Return `text` on one line, without control characters.

    >>> printable("a\tb\n\x1b[31mc")
    'a b \ufffd[31mc'
    """
    flat = " ".join(text.split())
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", flat.encode("utf-8", "replace").decode())


def answer_text(answer: Answer, style: Style, *, all_answers: bool = False) -> str:
    """Return what `pincite ask` prints on stdout for an answer that was found."""
    blocks = [_one_answer(answer.text or "", answer.confidence, answer.citations, style)]
    if answer.disagreeing and not all_answers:
        others = "; ".join(f"{printable(one.text)} ({printable(one.citations[0].path)})" for one in answer.disagreeing)
        blocks.append(style.paint(f"Other sources say otherwise: {others}", "33"))
    if all_answers:
        blocks += [_one_answer(item.text, item.confidence, item.citations, style) for item in answer.alternatives]
    return "\n\n".join(blocks)


def _one_answer(text: str, confidence: float, citations: Sequence[Citation], style: Style) -> str:
    sources = len(independent(citations))
    agreed = f", {sources} sources agree" if sources > 1 else ""
    lines = [style.paint(printable(text), "1"), style.paint(f"confidence {confidence:.2f}{agreed}", "2")]
    for number, citation in enumerate(citations, 1):
        place = style.place(citation.path, citation.line, citation.column)
        source = style.paint(byline(citation.title, citation.author, citation.date), "2")
        lines += ["", f"[{number}] {place}{within(citation.unit, citation.mark)}  {source}"]
        if citation.sentence != citation.quote:
            lines.append(f"    {_marked(citation, style)}")
        if citation.problem:
            lines.append(style.paint(f"    not verified: {citation.problem}", "33"))
        lines += _also_in([_place_of(copy, style) for copy in citation.also])
    return "\n".join(lines)


def _place_of(copy: Citation, style: Style) -> str:
    """Return where a copy of a cited sentence is, and why it is not verified."""
    problem = style.paint(f" (not verified: {printable(copy.problem)})", "33") if copy.problem else ""
    return f"{style.place(copy.path, copy.line, copy.column)}{within(copy.unit, copy.mark)}{problem}"


def _also_in(places: Sequence[str]) -> list[str]:
    """Return a line for each of the first copies, and one for all others."""
    left = len(places) - _SHOWN_COPIES
    more = [f"    and in {count(left, 'more file')}"] if left > 0 else []
    return [f"    also in {place}" for place in places[:_SHOWN_COPIES]] + more


def within(unit: str, mark: str) -> str:
    """Return in which page, cell or the like something is, or at what time, to stand behind its line."""
    if not mark:
        return ""
    named = mark if mark.casefold().startswith(unit) else f"{'at' if unit == 'time' else unit} {mark}"
    return f", {printable(named)}"


def byline(title: str, author: str, date: str) -> str:
    """Return what a document is called, who wrote it and when.

    >>> byline("Harbour board named", "Jane Roe", "2021-05-17T10:30:00Z")
    'Harbour board named, by Jane Roe, 2021-05-17'
    """
    return printable(", ".join(filter(None, [title, author and f"by {author}", iso_date(date) or date])))


def _marked(citation: Citation, style: Style) -> str:
    before, quote, after = sentence_parts(citation)
    marked = style.paint(quote, "1;32") if style.colour else f"«{quote}»"
    return f"{before}{marked}{after}"


def sentence_parts(citation: Citation) -> tuple[str, str, str]:
    """Return what stands in the sentence before the quote, the quote, and what stands after it, each printable."""
    start = citation.span.start - citation.sentence_span.start
    end = citation.span.end - citation.sentence_span.start
    before, quote, after = citation.sentence[:start], citation.sentence[start:end], citation.sentence[end:]
    left = " " if before[-1:].isspace() else ""
    right = " " if after[:1].isspace() else ""
    return printable(before) + left, printable(quote), right + printable(after)


def hits_text(hits: Sequence[Hit], style: Style) -> str:
    """Return what `pincite search` prints on stdout."""
    blocks = []
    for rank, hit in enumerate(hits, 1):
        found_by = ", ".join(
            f"{side} {place}"
            for side, place in (("dense", hit.dense_rank), ("words", hit.sparse_rank))
            if place is not None
        )
        note = style.paint(f"{hit.score:.3f}  ({found_by})", "2")
        place = style.place(hit.path, hit.line) + within(hit.unit, hit.mark)
        source = byline(hit.title, hit.metadata.get("author", ""), hit.metadata.get("date", ""))
        head = f"{rank:>2}. {place}  {source}  {note}"
        copies = {copy.path: copy for copy in reversed(hit.also)}  # the best passage of each
        places = [style.place(copy.path, copy.line) + within(copy.unit, copy.mark) for copy in copies.values()]
        blocks.append("\n".join([head, f"    {printable(hit.passage.text)}", *_also_in(places[::-1])]))
    return "\n\n".join(blocks)


def report_text(report: SyncReport, folder: str) -> str:
    """Return the summary of `pincite index`."""
    lines = [f"skipped {printable(item.path)}: {item.reason}" for item in report.skipped[:_SHOWN_SKIPS]]
    if len(report.skipped) > _SHOWN_SKIPS:
        lines.append(f"skipped {len(report.skipped) - _SHOWN_SKIPS:,} more; --json lists them all")
    if report.set_aside:
        lines.append(f"what was damaged is kept in {report.set_aside}")
    skipped = f", {len(report.skipped):,} skipped" if report.skipped else ""
    lines.append(
        f"{report.added:,} added, {report.changed:,} changed, {report.removed:,} removed, "
        f"{report.unchanged:,} unchanged{skipped}: {count(report.passages, 'passage')} in {folder} "
        f"({count(report.embedded, 'passage')} embedded, {report.seconds:.1f} s)"
    )
    return "\n".join(lines)


def size_text(stats: IndexStats) -> str:
    """Return how large an index is, in segments and on the disk.

    >>> size_text(IndexStats(1, 2, 3, 1, 2_500_000, "", ()))
    '1 segment, 2.5 MB'
    """
    return f"{count(stats.segments, 'segment')}, {stats.bytes / 1e6:.1f} MB"


def stats_text(stats: IndexStats, folder: str, changes: Mapping[str, int], held: Overview) -> str:
    """Return what `pincite status` prints."""
    formats = ", ".join(f"{number:,} {name or 'unknown'}" for name, number in held.formats.items())
    pending = ", ".join(f"{number:,} {kind}" for kind, number in changes.items() if number)
    rows = [
        ("index", f"{folder}  (generation {stats.generation}, {stats.bytes / 1e6:.1f} MB)"),
        ("model", stats.model or "none yet"),
        *(("source", _source_line(source.path, source.exclude)) for source in stats.sources),
        ("documents", f"{stats.documents:,}" + (f"  ({formats})" if formats else "")),
        ("passages", f"{stats.passages:,}"),
        *zip(chain(["skipped"], repeat("")), _skipped_lines(held.skipped), strict=False),
        ("since then", f"{pending} (update: pincite index)" if pending else "no source has changed"),
    ]
    return "\n".join(f"{name:<11}{value}" for name, value in rows)


def _skipped_lines(skipped: Sequence[Skipped]) -> list[str]:
    """Return a line for each reason for which something was skipped, with a few of the names."""
    paths: dict[str, list[str]] = {}
    for item in skipped:
        paths.setdefault(item.reason, []).append(printable(item.path))
    groups = sorted(paths.items(), key=lambda group: -len(group[1]))
    lines = []
    for reason, named in groups[:_SHOWN_SKIPS]:
        more = f" and {len(named) - _SHOWN_NAMES:,} more" if len(named) > _SHOWN_NAMES else ""
        lines.append(f"{len(named):,}: {printable(reason)}: {', '.join(named[:_SHOWN_NAMES])}{more}")
    if len(groups) > _SHOWN_SKIPS:
        rest = sum(len(named) for _, named in groups[_SHOWN_SKIPS:])
        lines.append(f"{rest:,} for other reasons; --json lists them all")
    return lines


def _source_line(path: str, exclude: Sequence[str]) -> str:
    return printable(path) + (f"  (without {', '.join(exclude)})" if exclude else "")


def problem_text(problem: Problem) -> str:
    """Return a line of `pincite verify`."""
    return problem.reason if problem.damage else f"{printable(problem.path)}: {problem.reason}"


def source_text(
    document: Document, passages: Sequence[Passage], line: int | None, style: Style, around: int = 2
) -> str:
    """Return the lines of a document, numbered, with a mark where each passage begins.

    With a `line`, only the passages on that line are shown, and `around` lines before and after them.
    """
    lines = document.text.splitlines() if "\r" in document.text else document.text.split("\n")
    starts: dict[int, list[int]] = {}
    shown = range(1, len(lines) + 1)
    spread: list[int] = []
    for number, passage in enumerate(passages, 1):
        first = line_and_column(document.text, passage.span.start)[0]
        last = line_and_column(document.text, max(passage.span.start, passage.span.end - 1))[0]
        starts.setdefault(first, []).append(number)
        if line is not None and first <= line <= last:
            spread += [first, last]
    if line is not None:
        low, high = (min(spread), max(spread)) if spread else (line, line)
        shown = range(max(1, low - around), min(len(lines), high + around) + 1)
    width = len(str(len(lines)))
    rows = [style.paint(f"{printable(document.path)}  {printable(document.title)}".rstrip(), "1")]
    for number in shown:
        mark = "¶" + ",".join(map(str, starts[number])) if number in starts else ""
        text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", lines[number - 1].rstrip("\r"))
        body = style.paint(text, "1") if number == line else text
        rows.append(f"{style.paint(f'{number:>{width}}', '36')} {mark:<4} {body}".rstrip())
    return "\n".join(rows)


def count(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> count(1, "passage"), count(1200, "passage")
    ('1 passage', '1,200 passages')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
