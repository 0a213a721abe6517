"""Span -> Citation: file, line, column, exact quote, and whether the file still says so.

Lines and columns are 1-based; a line ends at LF, CR LF or CR, and a column counts characters, as editors do. In
formats from which the text is extracted (HTML) they count in the extracted text, as `pincite show` prints it; a record
of a `.jsonl` file has the line of the record, and the column at which the quote begins if it stands there unescaped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from pincite.index import Document, Evidence, Span
from pincite.index.extracted import mark_at
from pincite.index.passage import LINE_END

__all__ = ["Citation", "cite", "line_and_column"]


@dataclass(frozen=True, slots=True)
class Citation:
    """Where an answer stands, word for word: `document.text[span.start:span.end] == quote`.

    Attributes:
        path: the file, as a user would open it; `title`: its title, or its name.
        span: characters of the quote in the document's text; `sentence_span`: of the sentence around it.
        line, column, end_line: where the quote begins and ends, 1-based.
        quote: the exact text; `sentence`: the sentence around it.
        score: confidence in this citation, in [0, 1].
        verified: the file is there, unchanged since it was indexed, and has the quote at the span.
        problem: why it is not verified; empty if it is.
        page: 1-based page, for formats that have pages.
        unit, mark: in which page, cell, or at which time the quote begins, where its format has such: "page", "12".
        format: of what kind the source is.
        author, date, url: as the source gives them; empty if it does not.
        also: the other files in which the same sentence stands, each cited and checked as this one.
    """

    path: str
    title: str
    span: Span
    line: int
    column: int
    end_line: int
    quote: str
    sentence: str
    sentence_span: Span
    score: float
    verified: bool
    problem: str = ""
    page: int | None = None
    unit: str = ""
    mark: str = ""
    format: str = ""
    author: str = ""
    date: str = ""
    url: str = ""
    also: tuple[Citation, ...] = ()


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    r"""Return the 1-based line and column of a character.

    >>> line_and_column("one\r\ntwo", 5)
    (2, 1)
    """
    line, begin = 1, 0
    for match in LINE_END.finditer(text, 0, min(offset + 1, len(text))):
        if match.end() > offset:
            break
        line, begin = line + 1, match.end()
    return line, offset - begin + 1


def cite(document: Document, span: Span, sentence_span: Span, score: float, evidence: Evidence) -> Citation:
    """Return the citation of a span of a document, checked against what its file says now."""
    quote = span.of(document.text)
    line, column = line_and_column(document.text, span.start)
    end_line = line_and_column(document.text, max(span.start, span.end - 1))[0]
    if document.is_record:
        line = end_line = evidence.line
        column = evidence.raw.find(json.dumps(quote, ensure_ascii=False)[1:-1]) + 1 or 1
    problem = evidence.problem
    if not problem and span.of(evidence.text) != quote:
        problem = "the file does not have the quote at this place"
    mark = mark_at(document.marks, span.start)
    label = mark.label if mark else ""
    return Citation(
        path=document.path,
        title=document.title or document.path.rpartition("/")[2],
        span=span,
        line=line,
        column=column,
        end_line=end_line,
        quote=quote,
        sentence=sentence_span.of(document.text),
        sentence_span=sentence_span,
        score=score,
        verified=not problem,
        problem=problem,
        page=int(label) if document.unit == "page" and label.isdecimal() else None,
        unit=document.unit if mark else "",
        mark=label,
        format=document.format,
        author=document.metadata.get("author", ""),
        date=document.metadata.get("date", ""),
        url=document.metadata.get("url", ""),
    )
