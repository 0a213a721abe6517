"""Several neighbouring segments -> one, without the documents that are gone from them; and which to merge, and when.

Merging keeps the number of segments small, so that a question stays quick, at a bounded cost for each sync: segments
are merged with others of their size (O'Neil et al. 1996, "The log-structured merge-tree"; Lucene's merge policies do
the same), and none grows beyond `LARGEST`, so that a document is rewritten a few times in its life and no merge takes
more than seconds. Nothing is embedded or cut again: columns are copied, after their checksums were checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pincite.index.contents import FileRow, SegmentContents, path_key
from pincite.index.dense_codes import build_codes
from pincite.index.segment_columns import CODES_FROM, encode_files, encode_gone, encode_keys, offsets_of
from pincite.index.sparse import merge_postings

__all__ = ["LARGEST", "all_runs", "merge_segments", "next_run"]

LARGEST = 150_000
"""Passages of a merged segment at most: some 250 MB, written in seconds."""

_SIZES = (256, 2_048, 16_384, LARGEST // 2)
"""Passages; segments up to one of these are merged with neighbours that are no larger."""

_TOGETHER = 8
"""Neighbours up to one of `_SIZES` that are merged; fewer if they are enough for a full one."""

_NOTHING = np.zeros(0, np.uint8)

_DEAD = 0.3
"""Share of a segment's passages that may be gone before it is written again without them; small ones are anyway."""


def next_run(written: Sequence[int], live: Sequence[int]) -> range | None:
    """Return which neighbouring segments should be merged now, or None.

    Args:
        written: passages in each segment, oldest first.
        live: those of them that are not gone.

    >>> next_run([90_000, 9, 9, 9, 9, 9, 9, 9, 9], [90_000, 9, 9, 9, 9, 9, 9, 9, 9])
    range(1, 9)
    >>> next_run([90_000, 1_000], [50_000, 1_000])
    range(0, 1)
    """
    for size in _SIZES:
        for run in _runs(written, size):
            limited = _limited(run, live)
            # A large segment is not written again for the sake of a few small ones.
            is_worth_it = size == _SIZES[0] or sum(live[run.start : run.stop]) >= size * _TOGETHER // 2
            if (len(run) >= _TOGETHER and is_worth_it) or len(limited) < len(run):
                return limited
    for number, (count, left) in enumerate(zip(written, live, strict=True)):
        if count > _SIZES[0] and left < (1 - _DEAD) * count:
            return range(number, number + 1)
    return None


def all_runs(written: Sequence[int], live: Sequence[int], limit: int = LARGEST) -> list[range]:
    """Return how to merge for as few segments as `limit` passages in each allow, and nothing in them that is gone.

    >>> all_runs([9, 9, 9], [9, 8, 9], limit=20)
    [range(0, 2)]
    """
    runs = []
    first = 0
    while first < len(written):
        run = _limited(range(first, len(written)), live, limit)
        if len(run) > 1 or live[first] < written[first]:
            runs.append(run)
        first = run.stop
    return runs


def _runs(written: Sequence[int], size: int) -> Iterator[range]:
    """Yield the longest runs of neighbours of which none is larger than `size`."""
    first = 0
    for number, count in enumerate([*written, size + 1]):
        if count > size:
            if number > first:
                yield range(first, number)
            first = number + 1


def _limited(run: range, live: Sequence[int], limit: int = LARGEST) -> range:
    """Return the beginning of a run, at least one segment, that has `limit` passages at most."""
    total = 0
    for number in run:
        total += live[number]
        if total > limit and number > run.start:
            return range(run.start, number)
    return run


class _Kept(NamedTuple):
    """Rows of one segment and where they go in the merged one."""

    contents: SegmentContents
    rows: NDArray[np.int64]
    to: NDArray[np.int64]


def merge_segments(
    segments: Sequence[SegmentContents], run: range, live: Sequence[NDArray[np.bool_]]
) -> Iterator[tuple[str, NDArray[Any]]] | None:
    """Return the columns of one segment in place of neighbouring ones, with names; None if nothing is left in them.

    Deletions that they hold of documents in older segments are carried over: without them these would come back.

    Args:
        segments: all of an index, oldest first.
        run: which of them to merge.
        live: for each segment a mask of shape `(documents,)`.

    Raises:
        IndexFormatError: a segment is damaged.
    """
    merged = [segments[number] for number in run]
    masks = [live[number] for number in run]
    files = _files(segments, run, merged, masks)
    gone = _carried(segments[: run.start], merged)
    if not files and not gone:
        return None
    return _columns(files, merged, masks, gone)


def _columns(
    files: Sequence[FileRow],
    merged: Sequence[SegmentContents],
    masks: Sequence[NDArray[np.bool_]],
    gone: Mapping[str, Sequence[int]],
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the columns of the merged segment, each made when it is asked for."""
    kept, file_of = _documents(merged, masks, {row.path: number for number, row in enumerate(files)})
    yield from encode_files(files).items()
    yield "document_file", file_of
    for name in ("document_id", "document_sha256", "document_place", "text_crc"):
        yield name, _gathered(name, kept)
    for name in ("record", "title", "encoding", "metadata", "format", "marks"):
        yield from _gathered_bytes(f"document_{name}", kept)
    yield from _gathered_bytes("text", kept)
    sizes = np.empty(len(file_of), np.int64)
    for contents, rows, to in kept:
        sizes[to] = np.diff(contents.segment.array("document_passages"))[rows]
    starts = offsets_of(sizes)
    yield "document_passages", starts
    passages = list(_passages(kept, starts))
    for name in ("passage_span", "passage_line", "passage_bytes", "passage_crc", "vector_crc"):
        yield name, _gathered(name, passages)
    yield from encode_keys(_gathered("passage_key", passages)).items()
    yield "embedder", next((part.contents.segment.array("embedder") for part in passages if len(part.rows)), _NOTHING)
    vectors = _gathered("vectors", passages)
    yield "vectors", vectors
    if len(vectors) >= CODES_FROM:
        yield "codes", build_codes(vectors)
    del vectors
    yield from _postings(passages).items()
    yield from encode_gone(gone).items()


def _files(
    segments: Sequence[SegmentContents],
    run: range,
    merged: Sequence[SegmentContents],
    masks: Sequence[NDArray[np.bool_]],
) -> list[FileRow]:
    """Return what the merged segment has to know of files, by path: what is newest, and whatever has documents."""
    newest: dict[str, FileRow] = {}
    inhabited: set[str] = set()
    for contents, mask in zip(merged, masks, strict=True):
        rows = list(contents.files())
        newest |= {row.path: row for row in rows}
        inhabited |= {rows[number].path for number in np.unique(contents.segment.array("document_file")[mask]).tolist()}
    for path in [path for path in newest if path not in inhabited]:
        is_known_later = any(contents.file_rows(path) for contents in segments[run.stop :])
        # That a file is gone has to be known only where an older segment says otherwise.
        if is_known_later or (
            newest[path].is_gone and not any(contents.file_rows(path) for contents in segments[: run.start])
        ):
            del newest[path]
    return sorted(newest.values(), key=lambda row: path_key(row.path))


def _carried(older: Sequence[SegmentContents], merged: Sequence[SegmentContents]) -> dict[str, list[int]]:
    """Return the deletions in segments that stay."""
    staying = {contents.name for contents in older}
    gone: dict[str, list[int]] = {}
    for contents in merged:
        for name, row in contents.gone():
            if name in staying:
                gone.setdefault(name, []).append(row)
    return gone


def _documents(
    merged: Sequence[SegmentContents], masks: Sequence[NDArray[np.bool_]], numbers: Mapping[str, int]
) -> tuple[list[_Kept], NDArray[np.uint32]]:
    """Return the live documents, in the order of their files and else as they were written, and the file of each."""
    rows = [np.flatnonzero(mask) for mask in masks]
    files = []
    for contents, alive in zip(merged, rows, strict=True):
        number_of = np.array([numbers.get(path, -1) for path in contents.segment.strings("file_path")], np.int64)
        files.append(number_of[contents.segment.array("document_file")[alive]])
    file_of = np.concatenate(files)
    order = np.argsort(file_of, kind="stable")
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    ends = np.cumsum([len(kept) for kept in rows])[:-1]
    kept = [_Kept(*parts) for parts in zip(merged, rows, np.split(places, ends), strict=True)]
    return kept, file_of[order].astype(np.uint32)


def _passages(kept: Sequence[_Kept], starts: NDArray[np.int64]) -> Iterator[_Kept]:
    """Yield the passages of documents; those of document i go to the rows `starts[i]` to `starts[i + 1]`."""
    for contents, rows, to in kept:
        bounds = contents.segment.array("document_passages")
        sizes = np.diff(bounds)[rows]
        yield _Kept(contents, _ranges(bounds[rows], sizes), _ranges(starts[to], sizes))


def _postings(passages: Sequence[_Kept]) -> dict[str, NDArray[Any]]:
    postings = []
    moved = []
    for contents, rows, to in passages:
        new = np.full(contents.passages, -1, np.int64)
        new[rows] = to
        moved.append(new)
        names = [name for name in contents.segment.names() if name.startswith("bm25_")]
        postings.append({name: contents.segment.array(name) for name in names})
    return merge_postings(postings, moved)


def _ranges(starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers from each start on, as many as its size says, end to end."""
    before = np.cumsum(sizes) - sizes
    numbers: NDArray[np.int64] = np.repeat(starts - before, sizes) + np.arange(int(sizes.sum()))
    return numbers


def _gathered(name: str, kept: Sequence[_Kept]) -> NDArray[Any]:
    """Return the kept rows of a column, in their new order."""
    filled = [part for part in kept if len(part.rows)] or kept[:1]
    first = filled[0].contents.segment.array(name)
    column = np.empty((sum(len(part.rows) for part in kept), *first.shape[1:]), first.dtype)
    for contents, rows, to in filled:
        column[to] = contents.segment.array(name)[rows]
    return column


def _gathered_bytes(name: str, kept: Sequence[_Kept]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the kept rows of a column of strings, as `pack_strings` would."""
    pieces: list[memoryview] = [memoryview(b"")] * sum(len(part.rows) for part in kept)
    for contents, rows, to in kept:
        data, at = contents.segment.array(name).data, contents.segment.array(f"{name}_at")
        for place, start, end in zip(to.tolist(), at[rows].tolist(), at[rows + 1].tolist(), strict=True):
            pieces[place] = data[start:end]
    yield name, np.frombuffer(b"".join(pieces), np.uint8)
    yield f"{name}_at", offsets_of([len(piece) for piece in pieces])
