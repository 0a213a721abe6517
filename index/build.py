"""Sync: bring an index in step with its sources, at a cost in proportion to what changed.

A file whose stamp (size, times, inode) is the recorded one is not read. Of the others, a document is known again by
the hash of its content, and a passage by the hash of its text wherever it moved to: only new passages are embedded.
Work is committed every `COMMIT_EVERY` passages, each document whole, so an interrupted sync goes on where it stopped.
Only a rebuild is one single commit, because half of it would be no use. What an interrupted sync has embedded and not
committed is found again by the next.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from pincite.index import chunker
from pincite.index.aside import set_aside_if_damaged
from pincite.index.batch import Batch, prepare, vectors_of
from pincite.index.chunker import Chunking
from pincite.index.contents import FileRow, SegmentContents
from pincite.index.embedder import Embedder, load_embedder, unrelated_cosine
from pincite.index.errors import IndexNotFoundError, SourceError
from pincite.index.known import NO_PLACES, KnownDocuments, known_documents, known_files, known_under
from pincite.index.manifest import (
    Fingerprint,
    Manifest,
    Source,
    orphans,
    read_manifest,
    remove_if_bare,
    writer,
)
from pincite.index.passage import Document
from pincite.index.paths import stored_path
from pincite.index.reports import Progress, SyncReport
from pincite.index.segment_columns import NewDocument, encode
from pincite.index.sources import Skipped, SourceFile, find_in, read_documents
from pincite.index.store import Index, check_chunker, check_model
from pincite.index.survey import (
    NO_STAMP,
    let_clock_tick,
    overlapping,
    take_survey,
    under,
    updated_sources,
)
from pincite.index.writer import Writer

__all__ = ["COMMIT_EVERY", "SyncRun", "sync"]

COMMIT_EVERY = 1_024
"""Passages between two commits, which is what an interrupted sync has to read again; vectors are kept more often."""

_FILES = 10_000
"""Files whose known documents are looked up together."""

_KEPT_SKIPS = 100
"""Skipped records that are remembered of a file, to be reported again as long as the file stays as it is."""


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
            known sources are synced. Sources that are not named stay as they are. Of a known source, a file or folder
            in it may be named, even if it is gone now: nothing else of the source is then looked at.
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
    if not os.path.isdir(folder):
        if not named:
            raise IndexNotFoundError(f"No index in {folder}. Build one: pincite index SOURCE")
        _check_present(root, named, given)
    aside = set_aside_if_damaged(folder, bool(named)) if rebuild else None
    with writer(folder):
        try:
            try:
                manifest = read_manifest(folder)
            except IndexNotFoundError:
                if not named:
                    raise
                manifest = Manifest()
            run = SyncRun(
                folder, manifest, model=model, embedder=embedder, chunking=chunking, rebuild=rebuild, progress=progress
            )
            report = run.run(named, given, exclude, remove)
        except BaseException as error:
            if isinstance(error, Exception) or not orphans(folder, Manifest()):
                remove_if_bare(folder)
            raise
    return replace(report, seconds=time.monotonic() - started, set_aside=aside)


def _check_present(root: str, named: Iterable[Source], given: Mapping[str, str]) -> None:
    for source in named:
        if not os.path.lexists(os.path.join(root, source.path)):
            raise SourceError(f"No such file or folder: {given[source.path]}. Name a file, a folder or a .jsonl file.")


class SyncRun:
    """One sync at work; the caller holds the writer's lock.

    Args:
        folder: of the index.
        manifest: its newest generation.
        model, embedder, chunking, rebuild, progress: as for `sync`.
        lost: segments of `manifest` that are damaged. What they held is read from the sources again, and so is
            everything else, because what they said of it is lost too; no passage is embedded that is still there.
        donors: segments that are not to be part of the index, but may have vectors to give.
    """

    def __init__(
        self,
        folder: str,
        manifest: Manifest,
        *,
        model: str | None = None,
        embedder: Embedder | None = None,
        chunking: Chunking | None = None,
        rebuild: bool = False,
        lost: Sequence[str] = (),
        donors: Sequence[SegmentContents] = (),
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.folder = folder
        self.root = os.path.dirname(os.path.abspath(folder))
        self.embedder = embedder
        self.model = model or (manifest.fingerprint.model if manifest.fingerprint else None)
        self.old = manifest
        self.chunking = chunking
        self.rebuild = rebuild or self._is_other_model(model) or self._is_other_chunking()
        self.lost, self.donors = lost, donors
        kept = replace(manifest, segments=tuple(entry for entry in manifest.segments if entry.name not in lost))
        if self.rebuild:
            kept = replace(manifest, segments=(), fingerprint=None)
        check_chunker(folder, kept.fingerprint)
        self.writer = Writer(folder, kept, is_new=manifest == Manifest())
        self.before = Index(folder, kept, self.writer.segments, embedder)
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
        check_model(self.folder, self.writer.manifest.fingerprint, self.embedder)
        return self.embedder

    def run(
        self,
        named: Sequence[Source] = (),
        given: Mapping[str, str] | None = None,
        exclude: Sequence[str] | None = None,
        remove: Sequence[str | os.PathLike[str]] = (),
    ) -> SyncReport:
        """Sync and return what was done.

        Args:
            named: the sources to sync, files and folders in known sources among them; `given`: how the user named them.
            exclude, remove: as for `sync`.
        """
        self.donors = [*self.donors, *self.writer.take_orphans(self.old)]
        dropped = [Source(stored_path(os.fspath(path), self.root)) for path in remove]
        parts = [] if self.rebuild or self.lost else self._parts(named, exclude)
        whole = [source for source in named if source.path not in {path for path, _ in parts}]
        _check_present(self.root, whole, given or {})
        sources = updated_sources(self.old.sources, whole, dropped, exclude)
        self.writer.manifest = replace(self.writer.manifest, sources=sources)
        everything = self.rebuild or bool(self.lost) or not (named or dropped)
        due = sources if everything else overlapping(sources, [*whole, *dropped])
        if due or dropped:
            known = known_files(self.before.segments)
        else:
            known = {path: row for part, _ in parts for path, row in known_under(self.before.segments, part).items()}
        survey = take_survey(self.root, due, known, parts, read_all=bool(self.lost))
        self.skipped += survey.skipped
        if survey.stale.count:
            let_clock_tick(survey.stale.newest_ns)
            self.bytes_total = survey.stale.size
            stale = survey.stale.files()
            while files := list(islice(stale, _FILES)):
                self._read(files)
        orphaned = [source for source in dropped if not under(source.path, sources)]
        self._forget(list(survey.vanished(known, orphaned, sources)))
        if self.lost:
            self._forget([path for path, row in known.items() if not (row.is_gone or under(path, sources))])
        self._check_not_empty(whole, given or {})
        if self.batch or sources != self.old.sources or self.is_one_commit:
            self._flush(last=True)
        self.writer.merge()
        self.writer.drop_orphans()
        before = self.before.stats().documents
        manifest = self.writer.manifest
        stats = Index(self.folder, manifest, self.writer.segments, self.embedder).stats()
        return SyncReport(
            added=self.counts["added"],
            changed=self.counts["changed"],
            removed=self.counts["removed"],
            unchanged=before - self.counts["changed"] - self.counts["removed"],
            skipped=tuple(self.skipped),
            passages=stats.passages,
            embedded=self.embedded,
            seconds=0.0,
            generation=manifest.generation,
        )

    @property
    def is_one_commit(self) -> bool:
        """Whether all is committed at once, because half of it would be no use."""
        return self.rebuild or bool(self.lost)

    def _parts(self, named: Sequence[Source], exclude: Sequence[str] | None) -> list[tuple[str, Source]]:
        """Return those of the named files and folders that known sources hold, each with its source."""
        known = {source.path for source in self.old.sources}
        parts = []
        for source in named if exclude is None else ():
            holder = next((one for one in self.old.sources if under(source.path, [one])), None)
            if holder is None or source.path in known:
                continue
            location = os.path.join(self.root, holder.path)
            if os.path.lexists(os.path.join(self.root, source.path)):
                is_part = any(True for _ in find_in(location, source.path, root=self.root, exclude=holder.exclude))
            else:
                is_part = any(not row.is_gone for row in known_under(self.before.segments, source.path).values())
            if is_part:
                parts.append((source.path, holder))
        return parts

    def _read(self, stale: Sequence[SourceFile]) -> None:
        places = known_documents(self.before, [file.path for file in stale])
        for file in stale:
            old = KnownDocuments(self.before, *places.get(file.path, NO_PLACES))
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
            reported = tuple(skipped[:_KEPT_SKIPS])
            # What is known of a file that could only now not be read stays as it is until it can be.
            if not any(item.passes for item in skipped):
                for number, gone in old.rest():
                    self._retire(number, gone)
                    self.counts["removed"] += 1
                self.batch.files[file.path] = FileRow(file.path, file.stamp, skipped=reported)
            elif file.path not in places and self._known_skips(file.path) != reported:
                self.batch.files[file.path] = FileRow(file.path, NO_STAMP, skipped=reported)
            self.bytes_read = read_before + file.stamp.size
            self._advance(0)

    def _known_skips(self, path: str) -> tuple[Skipped, ...]:
        """Return what is known of a file that was not read of it."""
        rows = known_under(self.before.segments, path)
        return rows[path].skipped if path in rows else ()

    def _take(self, document: Document, file: SourceFile, old: KnownDocuments) -> None:
        """Put a document into the batch unless the index has it already."""
        place = old.take(document.record)
        if place:
            number, row = place
            if self.before.segments[number].sha256(row) == document.sha256:
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
            fingerprint = self.writer.manifest.fingerprint
            if fingerprint:
                self.chunking = Chunking(**fingerprint.chunking)
            else:
                self.chunking = Chunking.for_window(self._embedder().max_tokens)
        return self.chunking

    def _retire(self, number: int, row: int) -> None:
        self.batch.gone.setdefault(self.before.segments[number].name, []).append(row)

    def _forget(self, paths: Sequence[str]) -> None:
        """Drop files that are no longer there, and their documents."""
        places = known_documents(self.before, paths)
        for path in paths:
            for number, row in KnownDocuments(self.before, *places.get(path, NO_PLACES)).rest():
                self._retire(number, row)
                self.counts["removed"] += 1
            self.batch.files[path] = FileRow(path, NO_STAMP, is_gone=True)

    def _check_not_empty(self, named: Sequence[Source], given: Mapping[str, str]) -> None:
        """Refuse a new source without anything to read in it: most likely it is not what the user meant."""
        known = {source.path for source in self.old.sources}
        for source in named:
            if source.path in known or any(under(path, [source]) for path in self.taken):
                continue
            if known_documents(self.before, list(known_under(self.before.segments, source.path))):
                continue
            why = "no file of a kind that pincite reads"
            for item in self.skipped:
                is_part = item.path.startswith((f"{source.path}#", f"{source.path}:"))
                if is_part or under(item.path, [source]):
                    why = item.reason if item.path == source.path else f"{item.path}: {item.reason}"
                    break
            raise SourceError(f"Nothing to read in {given[source.path]} ({why}). Name a file or folder with articles.")

    def _flush(self, last: bool = False) -> None:
        """Embed the batch, write it as a segment, and commit it, unless all is to be one commit."""
        batch, self.batch = self.batch, Batch()
        if batch:
            batch.sort()
            vectors = self._vectors(batch.documents)
            fingerprint = self.writer.manifest.fingerprint
            made_by = fingerprint.embedder if fingerprint else ""
            columns = encode(list(batch.files.values()), batch.documents, vectors, batch.gone, made_by)
            self.writer.add(columns.items())
        if last or not self.is_one_commit:
            self.writer.commit()
        if not last:
            # What was there before must stay where it is: it may yet be replaced.
            self.writer.merge(first=len(self.before.segments), is_committed=not self.is_one_commit)

    def _vectors(self, documents: Sequence[NewDocument]) -> NDArray[np.float16]:
        if not any(item.keys for item in documents):
            known = self.writer.manifest.fingerprint
            return np.zeros((0, known.dim if known else 0), np.float16)
        embedder = self._embedder()
        if self.writer.manifest.fingerprint is None:
            fingerprint = Fingerprint(
                model=embedder.name,
                embedder=embedder.fingerprint,
                dim=embedder.dim,
                chunker=chunker.VERSION,
                chunking=asdict(self._chunking()),
                unrelated=unrelated_cosine(embedder),
            )
            self.writer.manifest = replace(self.writer.manifest, fingerprint=fingerprint)
        donors = [contents for contents in self.donors if contents.embedder == embedder.fingerprint]
        segments = [*self.writer.segments, *donors]
        keep = partial(self.writer.write_ahead, embedder=embedder.fingerprint)
        vectors, embedded = vectors_of(documents, segments, embedder, self._advance, keep)
        self.embedded += embedded
        return vectors

    def _advance(self, passages: int) -> None:
        self.passages_done += passages
        if self.progress:
            self.progress(Progress(self.bytes_read, self.bytes_total, self.passages_found, self.passages_done))
