"""The data that flows through pincite: Document -> Passage -> Hit -> Answer with Citations.

Every offset is a half-open span in characters of `Document.text` (never bytes, never tokens), so that
`document.text[span.start:span.end]` is the quoted text. Hits, answers and citations live beside the code that
makes them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from pincite.index.extracted import Mark

__all__ = ["LINE_END", "Document", "Passage", "Span", "Vectors", "document_id"]

LINE_END = re.compile(r"\r\n|\r|\n")
"""What ends a line, for editors and so for citations."""

_RECORD_FORMATS = frozenset({"jsonl", "csv", "tsv", "mbox", "eml"})

Vectors = NDArray[np.float32]
"""Shape `(n, dim)`, C-contiguous, rows of unit norm; row i belongs to passage i."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open range of characters of `Document.text`.

    >>> len(Span(3, 7))
    4
    """

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"a span needs 0 <= start <= end, not {self.start}:{self.end}")

    def __len__(self) -> int:
        return self.end - self.start

    def of(self, text: str) -> str:
        """Return the characters of `text` that the span covers."""
        return text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Document:
    """One source text: a file, or one of the documents in a file that holds several.

    Attributes:
        id: 32 hex digits, made from path and content; two builds of the same files agree.
        path: the source as a user would open it; one of several documents in a file adds `#` and its record.
        title: the title found in the content; empty if the content has none.
        text: for plain-text formats the file's decoded text, untouched but for a leading byte-order mark;
            for other formats the extracted text.
        sha256: 64 hex digits, of the bytes of the file, of the line of a `.jsonl` record, of the part.
        record: its name in a file that holds several: an `_id`, a row, a path; empty for a whole file.
        line: 1-based line of the file on which the text begins; 1 but for records.
        offset: byte of the file at which the record begins; 0 but for records.
        encoding: how the file's bytes become `text`; empty if the text was extracted.
        metadata: what else the source says of itself, such as author or date.
        format: of what kind the source is, as formats.py names them; empty if that is not known.
        unit: what `marks` count, such as "page" or "time"; empty if there are none.
        marks: where its pages, times or the like begin in the text, ascending.
    """

    id: str
    path: str
    title: str
    text: str = field(repr=False)
    sha256: str
    record: str = ""
    line: int = 1
    offset: int = 0
    encoding: str = "utf-8"
    metadata: Mapping[str, str] = field(default_factory=dict)
    format: str = ""
    unit: str = ""
    marks: tuple[Mark, ...] = field(default=(), repr=False)

    @property
    def is_record(self) -> bool:
        """Whether it is a record on a line of its file: its own lines are none that anybody could look up."""
        return bool(self.record) and self.format in _RECORD_FORMATS


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of whole sentences of one document: what is embedded, indexed and found.

    `text` is exactly `document.text[span.start:span.end]`.
    """

    document_id: str
    span: Span
    text: str


def document_id(path: str, sha256: str) -> str:
    """Return the 32 hex digits that name the content `sha256` at `path`.

    >>> document_id("a.txt", "00") == document_id("b.txt", "00")
    False
    """
    return blake2b(f"{path}\0{sha256}".encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
