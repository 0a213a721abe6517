"""Is the index what was written, and are its sources what was indexed? Every checksum, every span, every file.

Damage is a problem of the index and means a rebuild; a stale source only means a sync.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pincite.index.contents import SegmentContents
from pincite.index.errors import IndexFormatError
from pincite.index.evidence import Places, examine
from pincite.index.passage import Document
from pincite.index.segment import row_checksums
from pincite.index.store import Index

__all__ = ["Problem", "check_segment", "verify"]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not as it should be; `damage` tells a broken index from a source that has changed."""

    path: str
    reason: str
    damage: bool


def verify(index: Index) -> Iterator[Problem]:
    """Yield everything that is wrong with an index or out of date in it; costs one reading of index and sources."""
    for contents in index.segments:
        try:
            check_segment(contents)
        except IndexFormatError as error:
            yield Problem(contents.segment.path, str(error), damage=True)
    scanned: dict[str, Places] = {}
    for number, row in index.live_rows():
        contents = index.segments[number]
        try:
            document = index.document_at(number, row)
            _verify_spans(contents, row, document)
        except (IndexFormatError, UnicodeDecodeError, ValueError) as error:
            yield Problem(contents.segment.path, str(error), damage=True)
            continue
        evidence = examine(document, index.location(document), scanned)
        if evidence.problem:
            yield Problem(document.path, evidence.problem, damage=False)
        elif evidence.text != document.text:
            yield Problem(contents.segment.path, f"the text of {document.path} is not that of the file", damage=True)


def check_segment(contents: SegmentContents) -> None:
    """Raise `IndexFormatError` if anything in a segment is not what was written."""
    segment = contents.segment
    for name in segment.names():
        segment.check(name)
    segment.check_padding()
    if (row_checksums(segment.unchecked("vectors")) != segment.array("vector_crc")).any():
        raise segment.damage("a vector is damaged")
    norms = np.linalg.norm(segment.unchecked("vectors").astype(np.float32), axis=1)
    if len(norms) and not np.allclose(norms, 1, atol=0.01):
        raise segment.damage("a vector is not of unit length")


def _verify_spans(contents: SegmentContents, row: int, document: Document) -> None:
    for number in contents.passage_rows(row):
        passage = contents.passage(number)
        if passage.span.of(document.text) != passage.text or passage.document_id != document.id:
            raise contents.segment.damage(f"a passage of {document.path} is not in its text")
