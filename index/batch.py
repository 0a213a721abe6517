"""Documents on their way into a segment: their passages, and the vectors of those, found again or embedded now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pincite.index.chunker import Chunking, chunk, fit_lead
from pincite.index.contents import FileRow, SegmentContents, path_key
from pincite.index.embedder import Embedder
from pincite.index.passage import Document
from pincite.index.segment_columns import NewDocument, indexed_text, passage_key

__all__ = ["LOT", "Batch", "prepare", "vectors_of"]

LOT = 256
"""Passages that are embedded together: a second's work, which is what is lost if it is interrupted."""


@dataclass(slots=True)
class Batch:
    """What the next segment will hold.

    Attributes:
        files: what is newly known of files, by path.
        documents: new documents.
        gone: documents that are replaced or removed: name of their segment -> rows.
        passages: passages of `documents`.
    """

    files: dict[str, FileRow] = field(default_factory=dict)
    documents: list[NewDocument] = field(default_factory=list)
    gone: dict[str, list[int]] = field(default_factory=dict)
    passages: int = 0

    def __bool__(self) -> bool:
        return bool(self.files or self.documents or self.gone)

    def sort(self) -> None:
        """Put files in the order of their paths, and documents in the order of their files."""
        self.files = dict(sorted(self.files.items(), key=lambda item: path_key(item[0])))
        self.documents.sort(key=lambda item: path_key(item.file))


def prepare(document: Document, file: str, embedder: Embedder, chunking: Chunking) -> NewDocument:
    """Return a document cut into passages; `file` is the path of its file."""
    passages = chunk(document, embedder, chunking)
    lead = fit_lead(document, embedder, chunking)
    return NewDocument(document, file, lead, passages, [passage_key(lead, passage.text) for passage in passages])


def vectors_of(
    documents: Sequence[NewDocument],
    segments: Sequence[SegmentContents],
    embedder: Embedder,
    progress: Callable[[int], None],
    keep: Callable[[Sequence[bytes], NDArray[np.float16]], None],
) -> tuple[NDArray[np.float16], int]:
    """Return the vectors of all passages of some documents, and how many had to be embedded.

    A passage that stands in a segment already, wherever and whether live or not, has its vector copied, unless that
    is damaged; one that stands in `documents` several times is embedded once.

    Args:
        documents: their passages, in order, are the rows.
        segments: where to look for known passages.
        embedder: the one that made the vectors of `segments`.
        progress: called with the number of passages done since the last call.
        keep: called with keys and vectors of each lot that more are to follow.
    """
    keys = [key for item in documents for key in item.keys]
    vectors = np.zeros((len(keys), embedder.dim), np.float16)
    wanted = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 16)
    is_new = np.ones(len(keys), np.bool_)
    for contents in segments:
        rows = contents.rows_of_keys(wanted)
        hits = is_new & (rows >= 0)
        if hits.any():
            found, is_sound = contents.vectors(rows[hits])
            places = np.flatnonzero(hits)[is_sound]
            vectors[places] = found[is_sound]
            is_new[places] = False
    first: dict[bytes, int] = {}
    for number in np.flatnonzero(is_new).tolist():
        first.setdefault(keys[number], len(first))
    progress(len(keys) - len(first))
    if first:
        fresh = _embedded(list(first), _texts(documents, first), embedder, progress, keep)
        for number in np.flatnonzero(is_new).tolist():
            vectors[number] = fresh[first[keys[number]]]
    return vectors, len(first)


def _embedded(
    keys: Sequence[bytes],
    texts: Sequence[str],
    embedder: Embedder,
    progress: Callable[[int], None],
    keep: Callable[[Sequence[bytes], NDArray[np.float16]], None],
) -> NDArray[np.float16]:
    """Return the vectors of some texts, embedded in lots of like length, which need the least padding."""
    vectors = np.empty((len(texts), embedder.dim), np.float16)
    order = sorted(range(len(texts)), key=lambda number: -len(texts[number]))
    for start in range(0, len(order), LOT):
        lot = order[start : start + LOT]
        vectors[lot] = embedder.embed_passages([texts[number] for number in lot], progress=progress)
        if start + LOT < len(order):
            keep([keys[number] for number in lot], vectors[lot])
    return vectors


def _texts(documents: Sequence[NewDocument], first: dict[bytes, int]) -> list[str]:
    """Return the indexed text of each key, in the order of their numbers."""
    texts = [""] * len(first)
    for item in documents:
        for passage, key in zip(item.passages, item.keys, strict=True):
            if key in first:
                texts[first[key]] = indexed_text(item.lead, passage.text)
    return texts
