"""Sync: bring an index in step with its sources, at a cost in proportion to what changed.

A file whose stamp (size, times, inode) is the recorded one is not read. Of the others, a document is known again by
the hash of its content, and a passage by the hash of its text wherever it moved to: only new passages are embedded.
Work is committed every `COMMIT_EVERY` passages, each document whole, so an interrupted sync goes on where it stopped;
only a rebuild is one single commit, because half of it would be no use.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pincite.index import chunker, disk
from pincite.index.batch import Batch, prepare, vectors_of
from pincite.index.chunker import Chunking
from pincite.index.contents import (
    FileRow,
    NewDocument,
    SegmentContents,
    encode,
)
from pincite.index.embedder import Embedder, load_embedder, unrelated_cosine
from pincite.index.errors import IndexFormatError, IndexNotFoundError, SourceError
from pincite.index.manifest import (
    Fingerprint,
    Manifest,
    SegmentEntry,
    Source,
    commit,
    create,
    new_segment_path,
    read_manifest,
    remove_if_bare,
    remove_orphans,
    set_aside_if_damaged,
    writer,
)
from pincite.index.passage import Document
from pincite.index.segment import Segment, write_segment
from pincite.index.sources import CHANGED, Skipped, SourceFile, read_documents
from pincite.index.store import Index, check_chunker, check_model, open_segments, stored_path
from pincite.index.survey import (
    NO_STAMP,
    known_files,
    let_clock_tick,
    overlapping,
    take_survey,
    under,
    updated_sources,
)

__all__ = ["COMMIT_EVERY", "Progress", "SyncReport", "sync"]

COMMIT_EVERY = 16_384
"""Passages between two commits: about a minute of embedding on two cores, and 40 MB of memory."""


_KEPT_SKIPS = 100
"""Skipped records that are remembered of a file, to be reported again as long as the file stays as it is."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sync has come: bytes of files read, of those to be read, and passages found in them and done."""

    bytes_read: int
    bytes_total: int
    passages_found: int
    passages_done: int


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a sync did, in documents; `passages` are those of the whole index, `embedded` those of this run."""

    added: int
    changed: int
    removed: int
    unchanged: int
    skipped: tuple[Skipped, ...]
    passages: int
    embedded: int
    seconds: float
    generation: int
    set_aside: str | None = None


def sync(
    path: str | os.PathLike[str],
    sources: Sequence[str | os.PathLike[str]] = (),
    *,
    exclude: Sequence[str] | None = None,
    remove: Sequence[str | os.PathLike[str]] = (),
    model: str | None = None,
    embedder: Embedder | None = None,
    chunking: Chunking | None = None,
    rebuild: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> SyncReport:
    """Build or update the index in the folder `path` and return what was done.

    Args:
        path: the folder of the index; made if it is not there.
        sources: files, folders and `.jsonl` files to add, or to sync if the index knows them already; without any, all
            known sources are synced. Sources that are not named stay as they are.
        exclude: patterns in the manner of `.gitignore` for the named sources; None keeps those they have.
        remove: known sources to drop, with their documents.
        model: a sentence-transformers model, by name or folder; another one than before embeds everything again.
        embedder: an embedder to use instead of loading `model`.
        chunking: how to cut passages; other than before, everything is cut and embedded again.
        rebuild: begin afresh, with the known sources if none are named; a damaged index is set aside.
        progress: called now and then, from this thread.

    Raises:
        SourceError: a named source is missing, or there is nothing to read in it.
        IndexBusyError: another process is writing the index.
        PinciteError: the index cannot be read or written; what was committed is intact.
    """
    started = time.monotonic()
    folder = os.fspath(path)
    root = os.path.dirname(os.path.abspath(folder))
    named = [Source(stored_path(os.fspath(source), root), tuple(exclude or ())) for source in sources]
    given = {source.path: os.fspath(name) for source, name in zip(named, sources, strict=True)}
    for source in named:
        if not os.path.lexists(os.path.join(root, source.path)):
            raise SourceError(f"No such file or folder: {given[source.path]}. Name a file, a folder or a .jsonl file.")
    if not os.path.isdir(folder) and not named:
        raise IndexNotFoundError(f"No index in {folder}. Build one: pincite index SOURCE")
    aside = set_aside_if_damaged(folder, bool(named)) if rebuild else None
    with writer(folder):
        try:
            try:
                manifest = read_manifest(folder)
            except IndexNotFoundError:
                if not named:
                    raise
                manifest = Manifest()
            work = _Sync(folder, root, manifest, model, embedder, chunking, rebuild, progress)
            report = work.run(named, given, exclude, remove)
        except BaseException:
            remove_if_bare(folder)
            raise
    return replace(report, seconds=time.monotonic() - started, set_aside=aside)


class _Sync:
    """The state of one running sync; the caller holds the writer's lock."""

    def __init__(
        self,
        folder: str,
        root: str,
        manifest: Manifest,
        model: str | None,
        embedder: Embedder | None,
        chunking: Chunking | None,
        rebuild: bool,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.folder = folder
        self.root = root
        self.embedder = embedder
        self.model = model or (manifest.fingerprint.model if manifest.fingerprint else None)
        self.manifest = manifest
        self.old = manifest
        self.created = manifest != Manifest()
        self.chunking = chunking
        self.rebuild = rebuild or self._is_other_model(model) or self._is_other_chunking()
        if self.rebuild:
            self.manifest = replace(manifest, segments=(), fingerprint=None)
        check_chunker(folder, self.manifest.fingerprint)
        self.segments = self._open_segments()
        self.progress = progress
        self.batch = Batch()
        self.counts = {"added": 0, "changed": 0, "removed": 0}
        self.skipped: list[Skipped] = []
        self.taken: set[str] = set()
        self.embedded = 0
        self.bytes_read = 0
        self.bytes_total = 0
        self.passages_found = 0
        self.passages_done = 0

    def _open_segments(self) -> list[SegmentContents]:
        try:
            return open_segments(self.folder, self.manifest)
        except FileNotFoundError as error:
            name = os.path.basename(error.filename)
            raise IndexFormatError(
                f"The index {self.folder} is damaged: {name} is missing. Rebuild it: pincite index --rebuild"
            ) from error

    def _is_other_model(self, model: str | None) -> bool:
        fingerprint = self.old.fingerprint
        if fingerprint is None or (model is None and self.embedder is None):
            return False
        if self.embedder is None:
            self.embedder = load_embedder(model)
        return self.embedder.fingerprint != fingerprint.embedder

    def _is_other_chunking(self) -> bool:
        fingerprint = self.old.fingerprint
        return bool(self.chunking and fingerprint and asdict(self.chunking) != fingerprint.chunking)

    def _embedder(self) -> Embedder:
        if self.embedder is None:
            self.embedder = load_embedder(self.model)
        check_model(self.folder, self.manifest.fingerprint, self.embedder)
        return self.embedder

    def run(
        self,
        named: Sequence[Source],
        given: Mapping[str, str],
        exclude: Sequence[str] | None,
        remove: Sequence[str | os.PathLike[str]],
    ) -> SyncReport:
        remove_orphans(self.folder, self.old)
        dropped = [Source(stored_path(os.fspath(path), self.root)) for path in remove]
        sources = updated_sources(self.old.sources, named, dropped, exclude)
        self.manifest = replace(self.manifest, sources=sources)
        everything = self.rebuild or not (named or dropped)
        due = sources if everything else overlapping(sources, [*named, *dropped])
        known = known_files(self.segments)
        survey = take_survey(self.root, due, known)
        self.skipped += survey.skipped
        before = Index(self.folder, self.manifest, self.segments, self.embedder).stats().documents
        if survey.stale:
            let_clock_tick(survey.stale)
            self._read(survey.stale)
        orphaned = [source for source in dropped if not under(source.path, sources)]
        for path in survey.vanished(known, orphaned, sources):
            self._forget(path)
        self._check_not_empty(named, given)
        if self.batch or sources != self.old.sources or self.rebuild:
            self._flush(last=True)
        stats = Index(self.folder, self.manifest, self.segments, self.embedder).stats()
        return SyncReport(
            added=self.counts["added"],
            changed=self.counts["changed"],
            removed=self.counts["removed"],
            unchanged=before - self.counts["changed"] - self.counts["removed"],
            skipped=tuple(self.skipped),
            passages=stats.passages,
            embedded=self.embedded,
            seconds=0.0,
            generation=self.manifest.generation,
        )

    @cached_property
    def live(self) -> dict[str, list[tuple[int, int]]]:
        """The (segment number, document row) of every document before this sync, by the path of its file."""
        live: dict[str, list[tuple[int, int]]] = {}
        index = Index(self.folder, self.manifest, self.segments, self.embedder)
        files = [contents.segment.strings("file_path") for contents in self.segments]
        file_of = [contents.segment.array("document_file").tolist() for contents in self.segments]
        for number, row in index.live_rows():
            live.setdefault(files[number][file_of[number][row]], []).append((number, row))
        return live

    def _read(self, stale: Sequence[SourceFile]) -> None:
        self.bytes_total = sum(file.stamp.size for file in stale)
        for file in stale:
            rows = self.live.get(file.path, [])
            old = {self.segments[number].record_of(row): (number, row) for number, row in rows}
            read_before = self.bytes_read
            skipped: list[Skipped] = []
            for item in read_documents(file):
                if isinstance(item, Skipped):
                    skipped.append(item)
                else:
                    self._take(item, file, old)
                    self.bytes_read = read_before + min(item.offset, file.stamp.size)
                    if self.batch.passages >= COMMIT_EVERY:
                        self._flush()
            self.skipped += skipped
            is_torn = any(item.reason == CHANGED for item in skipped)
            if not is_torn:  # else what is not known better stays until the file can be read in one piece
                for number, gone in old.values():
                    self._retire(number, gone)
                    self.counts["removed"] += 1
                self.batch.files[file.path] = FileRow(file.path, file.stamp, skipped=tuple(skipped[:_KEPT_SKIPS]))
            self.bytes_read = read_before + file.stamp.size
            self._advance(0)

    def _take(self, document: Document, file: SourceFile, old: dict[str, tuple[int, int]]) -> None:
        """Put a document into the batch unless the index has it already."""
        place = old.pop(document.record, None)
        if place:
            number, row = place
            if self.segments[number].sha256(row) == document.sha256:
                return
            self._retire(number, row)
        self.counts["changed" if place else "added"] += 1
        self.taken.add(file.path)
        prepared = prepare(document, file.path, self._embedder(), self._chunking())
        self.batch.files.setdefault(file.path, FileRow(file.path, NO_STAMP))
        self.batch.documents.append(prepared)
        self.batch.passages += len(prepared.passages)
        self.passages_found += len(prepared.passages)

    def _chunking(self) -> Chunking:
        if self.chunking is None:
            fingerprint = self.manifest.fingerprint
            if fingerprint:
                self.chunking = Chunking(**fingerprint.chunking)
            else:
                self.chunking = Chunking.for_window(self._embedder().max_tokens)
        return self.chunking

    def _retire(self, number: int, row: int) -> None:
        self.batch.gone.setdefault(self.segments[number].name, []).append(row)

    def _forget(self, path: str) -> None:
        """Drop a file that is no longer there, and its documents."""
        for number, row in self.live.get(path, []):
            self._retire(number, row)
            self.counts["removed"] += 1
        self.batch.files[path] = FileRow(path, NO_STAMP, is_gone=True)

    def _check_not_empty(self, named: Sequence[Source], given: Mapping[str, str]) -> None:
        """Refuse a new source without anything to read in it: most likely it is not what the user meant."""
        known = {source.path for source in self.old.sources}
        for source in named:
            if source.path in known or any(under(path, [source]) for path in (*self.taken, *self.live)):
                continue
            why = "no .txt, .md, .rst, .html or .jsonl file"
            for item in self.skipped:
                if under(item.path, [source]):
                    why = item.reason if item.path == source.path else f"{item.path}: {item.reason}"
                    break
            raise SourceError(f"Nothing to read in {given[source.path]} ({why}). Name a file or folder with articles.")

    def _flush(self, last: bool = False) -> None:
        """Embed the batch, write it as a segment, and commit it; a rebuild commits only the last time."""
        batch, self.batch = self.batch, Batch()
        if batch:
            vectors = self._vectors(batch.documents)
            columns = encode(list(batch.files.values()), batch.documents, vectors, batch.gone)
            self._create()
            path = new_segment_path(self.folder)
            with disk.explained(self.folder):
                size, checksum = write_segment(path, columns)
            entry = SegmentEntry(os.path.basename(path), size, checksum, len(batch.documents), batch.passages)
            self.manifest = replace(self.manifest, segments=(*self.manifest.segments, entry))
            self.segments.append(SegmentContents(entry.name, Segment(path, size, checksum)))
        if last or not self.rebuild:
            self._create()
            self.manifest = commit(self.folder, self.manifest)
            if last:
                remove_orphans(self.folder, self.manifest)

    def _create(self) -> None:
        if not self.created:
            create(self.folder)
            self.created = True

    def _vectors(self, documents: Sequence[NewDocument]) -> NDArray[np.float16]:
        if not any(item.keys for item in documents):
            dim = self.manifest.fingerprint.dim if self.manifest.fingerprint else 0
            return np.zeros((0, dim), np.float16)
        embedder = self._embedder()
        if self.manifest.fingerprint is None:
            fingerprint = Fingerprint(
                model=embedder.name,
                embedder=embedder.fingerprint,
                dim=embedder.dim,
                chunker=chunker.VERSION,
                chunking=asdict(self._chunking()),
                unrelated=unrelated_cosine(embedder),
            )
            self.manifest = replace(self.manifest, fingerprint=fingerprint)
        vectors, embedded = vectors_of(documents, self.segments, embedder, self._advance)
        self.embedded += embedded
        return vectors

    def _advance(self, passages: int) -> None:
        self.passages_done += passages
        if self.progress:
            self.progress(Progress(self.bytes_read, self.bytes_total, self.passages_found, self.passages_done))
