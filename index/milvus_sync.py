"""Sync: bring an index in Milvus in step with its sources, at a cost in proportion to what changed.

Of a batch of documents first the passages and texts are written, which nobody uses yet; then, one by one, the rows of
the documents, each of which from then on shows the new content in place of the old; then the old passages are removed;
then the files are known to be read. Wherever it is killed, the next sync goes on from there, and counts afresh what was
not counted. One sync at a time: another is told so, but two that begin in the same moment are not kept apart.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pincite.index import chunker
from pincite.index.batch import prepare
from pincite.index.chunker import Chunking
from pincite.index.contents import FileRow
from pincite.index.embedder import Embedder, load_embedder, unrelated_cosine
from pincite.index.errors import IndexBusyError, IndexFormatError, IndexNotFoundError, SourceError
from pincite.index.manifest import Fingerprint, Source
from pincite.index.milvus_rows import Manifest, document_row, file_of, file_row, key_of, passage_row, text_rows
from pincite.index.milvus_store import Address, MilvusStore, Row, one_of
from pincite.index.milvus_terms import bucket_of, pack_counts, sparse_vector, term_number, unpack_counts
from pincite.index.passage import LINE_END, Document
from pincite.index.paths import stored_path
from pincite.index.reports import Progress, SyncReport
from pincite.index.segment_columns import NewDocument, indexed_text
from pincite.index.sources import Skipped, SourceFile, read_documents
from pincite.index.store import check_chunker, check_model
from pincite.index.survey import NO_STAMP, let_clock_tick, overlapping, take_survey, under, updated_sources
from pincite.index.terms import analyze

__all__ = ["sync"]

_BATCH = 1_024  # passages that are embedded and written together
_NAMES = 200  # documents that an expression names
_KEPT_SKIPS = 100
_BUSY_SECONDS = 120.0
"""A sync that has said nothing for so long is taken for dead; it speaks with each batch."""


def sync(
    path: str,
    address: Address,
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
    """Build or update the index at `address` and return what was done; arguments as for `pincite.index.build.sync`.

    Another model or chunking, and `rebuild`, begin with an empty collection. Of a known source, a file or folder in it
    may be named: the whole source is then synced.

    Raises:
        PinciteError: as there, or Milvus fails.
    """
    started = time.monotonic()
    store = MilvusStore(address)
    root = address.root
    try:
        manifest = Manifest.read(store)
    except IndexFormatError:
        if not rebuild:
            raise
        manifest = Manifest()
    known = manifest.sources if manifest else ()
    if not sources and (manifest is None or (rebuild and not known)):
        raise IndexNotFoundError(f"No index in {path}. Build one: pincite index --index {path} SOURCE")
    named = []
    for given in [os.fspath(one) for one in sources]:
        source = Source(stored_path(given, root), tuple(exclude or ()))
        holder = next((one for one in known if exclude is None and under(source.path, [one])), None)
        if not holder and not os.path.lexists(os.path.join(root, source.path)):
            raise SourceError(f"No such file or folder: {given}. Name a file, a folder or a .jsonl file.")
        named.append(holder or source)
    run = _Run(path, store, root, manifest or Manifest(), embedder, model, chunking, progress)
    run.begin(rebuild=rebuild, is_new=manifest is None)
    try:
        dropped = [Source(stored_path(os.fspath(one), root)) for one in remove]
        report = run.run(named, dropped, exclude, everything=rebuild or not (named or dropped))
    finally:
        run.end()
    return replace(report, seconds=time.monotonic() - started)


@dataclass(slots=True)
class _Batch:
    """What is written together.

    Attributes:
        documents: new ones; `passages`: how many these have.
        old: ids of the documents that they replace, and of those that are gone; `gone`: keys of the latter.
        files: what is newly known of files; `lost`: paths of those that are no more.
    """

    documents: list[NewDocument] = field(default_factory=list)
    passages: int = 0
    old: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    files: list[FileRow] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


class _Run:
    """One sync at work."""

    def __init__(
        self,
        path: str,
        store: MilvusStore,
        root: str,
        manifest: Manifest,
        embedder: Embedder | None,
        model: str | None,
        chunking: Chunking | None,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.path, self.store, self.root, self.manifest = path, store, root, manifest
        self.model = model or (manifest.fingerprint.model if manifest.fingerprint else None)
        self.embedder = load_embedder(model) if model and not embedder else embedder
        self.chunking, self.progress = chunking, progress
        self.name = secrets.token_hex(8)
        self.batch = _Batch()
        self.df: Counter[int] = Counter()
        self.counts = {"added": 0, "changed": 0, "removed": 0}
        self.skipped: list[Skipped] = []
        self.taken: set[str] = set()
        self.before = manifest.documents
        self.embedded = self.bytes_read = self.bytes_total = self.found = self.done = 0

    def begin(self, *, rebuild: bool, is_new: bool) -> None:
        """Take the index, and make it, make it afresh, or count it, if need be."""
        other, spoke = self.manifest.writer
        if other and not self.store.is_lite and time.time() - spoke < _BUSY_SECONDS:
            raise IndexBusyError(f"Another process is writing the index {self.path}. Try again in a minute or two.")
        made_by = self.manifest.fingerprint
        if made_by and not rebuild:
            is_other_model = self.embedder is not None and self.embedder.fingerprint != made_by.embedder
            rebuild = is_other_model or bool(self.chunking and asdict(self.chunking) != made_by.chunking)
        if rebuild:
            self.embedder = self.embedder or load_embedder(self.model)  # before anything is gone
            self.store.drop()
            self.manifest = Manifest(generation=self.manifest.generation, sources=self.manifest.sources)
        check_chunker(self.path, self.manifest.fingerprint)
        if is_new or rebuild:
            self.store.create()
            self._say()
        elif not self.manifest.is_counted:
            self._count_afresh()

    def run(
        self, named: Sequence[Source], dropped: Sequence[Source], exclude: Sequence[str] | None, *, everything: bool
    ) -> SyncReport:
        """Read what is new and forget what is gone, of all sources, or of those that are touched."""
        known = {row.path: row for row in (file_of(text) for text in self._data('kind == "file"'))}
        old, self.before = self.manifest.sources, self.manifest.documents
        sources = updated_sources(old, named, dropped, exclude)
        survey = take_survey(self.root, sources if everything else overlapping(sources, [*named, *dropped]), known)
        if sources != old:
            self.manifest = replace(self.manifest, sources=sources)
            self._say()
        self.skipped += survey.skipped
        if survey.stale.count:
            let_clock_tick(survey.stale.newest_ns)
            self.bytes_total = survey.stale.size
            for file in survey.stale.files():
                self._read(file, file.path in known)
        orphaned = [source for source in dropped if not under(source.path, sources)]
        for path in list(survey.vanished(known, orphaned, sources)):
            for head in self._heads(path):
                self._retire(path, head["record"], head["id"])
            self.batch.lost.append(path)
        self._flush()
        for source in named:
            if source not in old and not any(under(path, [source]) for path in (*self.taken, *known)):
                self.manifest = replace(self.manifest, sources=old)
                raise SourceError(f"Nothing to read in {source.path}. Name a file or folder with articles.")
        return SyncReport(
            added=self.counts["added"],
            changed=self.counts["changed"],
            removed=self.counts["removed"],
            unchanged=self.before - self.counts["changed"] - self.counts["removed"],
            skipped=tuple(self.skipped),
            passages=self.manifest.passages,
            embedded=self.embedded,
            seconds=0.0,
            generation=self.manifest.generation,
        )

    def end(self) -> None:
        """Write the counts, and let go of the index; whatever fails here, the next sync counts afresh."""
        if self.manifest.writer[0] != self.name:
            return
        with suppress(Exception):
            rows = self.store.get(self.store.sources, sorted(set(map(bucket_of, self.df))), ["data"])
            counts = unpack_counts(row["data"] for row in rows)
            counts.update(self.df)  # adds; what is removed is below zero
            self._put_counts(counts)
            self.manifest = replace(self.manifest, writer=("", 0.0), is_counted=True)
            self._put([self.manifest.row])
            self.store.settle()

    # --- files and documents ----------------------------------------------------------------------------------------

    def _read(self, file: SourceFile, is_known: bool) -> None:
        """Read a file, and put into the batch what of it is new."""
        old = {head["record"]: head for head in self._heads(file.path)} if is_known else {}
        read_before, skipped = self.bytes_read, list[Skipped]()
        for item in read_documents(file):
            if isinstance(item, Skipped):
                skipped.append(item)
                continue
            head = old.pop(item.record, None)
            if head is None or head["sha256"] != item.sha256:
                self._take(item, file.path, head["id"] if head else "")
            self.bytes_read = read_before + min(item.offset, file.stamp.size)
        self.skipped += skipped
        # What is known of a file that could only now not be read stays as it is until it can be.
        could_read = not any(item.passes for item in skipped)
        for record, head in old.items() if could_read else ():
            self._retire(file.path, record, head["id"])
        stamp = file.stamp if could_read else NO_STAMP
        self.batch.files.append(FileRow(file.path, stamp, skipped=tuple(skipped[:_KEPT_SKIPS])))
        self.bytes_read = read_before + file.stamp.size
        self._advance(0)

    def _take(self, document: Document, file: str, old_id: str) -> None:
        self.counts["changed" if old_id else "added"] += 1
        self.taken.add(file)
        if old_id and old_id != document.id:
            self.batch.old.append(old_id)
        prepared = prepare(document, file, self._embedder(), self._chunking())
        self.batch.documents.append(prepared)
        self.batch.passages += len(prepared.passages)
        self.found += len(prepared.passages)
        if self.batch.passages >= _BATCH:
            self._flush()

    def _retire(self, file: str, record: str, document_id: str) -> None:
        self.counts["removed"] += 1
        self.batch.old.append(document_id)
        self.batch.gone.append(key_of(file, record))
        if len(self.batch.gone) >= _NAMES:
            self._flush()

    def _flush(self) -> None:
        """Write the batch, in the order that the module's docstring gives."""
        batch, self.batch = self.batch, _Batch()
        if batch == _Batch():
            return
        self._say()
        fields = ["data", "dense", "sparse"]
        old = [row for some in _named(batch.old) for row in self.store.rows(self.store.passages, some, fields)]
        if batch.documents:
            self._put_passages(batch.documents, {json.loads(row["data"])[-1]: row["dense"] for row in old})
            self._put(row for item in batch.documents for row in text_rows(item))
            self._put(map(document_row, batch.documents))
        for some in _named([f"doc:{key}" for key in batch.gone], "key"):
            self.store.delete(self.store.sources, some)
        for row in old:
            self._count(row, -1)
        self._remove(batch.old)
        self.manifest = replace(self.manifest, documents=self.before + self.counts["added"] - self.counts["removed"])
        self._put(map(file_row, batch.files))
        for some in _named([f"file:{key_of(path)}" for path in batch.lost], "key"):
            self.store.delete(self.store.sources, some)

    def _remove(self, ids: Sequence[str]) -> None:
        for some in _named(ids):
            self.store.delete(self.store.passages, some)
            self.store.delete(self.store.sources, f'{some} and kind == "text"')

    def _put_passages(self, documents: Sequence[NewDocument], known: dict[str, list[float]]) -> None:
        """Write passages; those of texts that are known have their vectors, the others are embedded."""
        pairs = [(item, number) for item in documents for number in range(len(item.passages))]
        texts = {item.keys[n].hex(): indexed_text(item.lead, item.passages[n].text) for item, n in pairs}
        new = [key for key in texts if key not in known]
        self._advance(len(pairs) - len(new))
        vectors: dict[str, Sequence[float] | NDArray[np.float32]] = dict(known)
        if pairs and self.manifest.fingerprint is None:
            self._fix_model()
        if new:
            fresh = self._embedder().embed_passages([texts[key] for key in new], progress=self._advance)
            vectors |= zip(new, fresh.astype(np.float16).astype(np.float32), strict=True)  # as in a segment
            self.embedded += len(new)
        terms = {key: Counter(map(term_number, analyze(text))) for key, text in texts.items()}
        if terms and not self.manifest.average:
            average = sum(counts.total() for counts in terms.values()) / len(terms)
            self.manifest = replace(self.manifest, average=average)
            self._say()
        rows = []
        for item in documents:
            ends = [match.end() for match in LINE_END.finditer(item.document.text)]
            for number, key in enumerate(map(bytes.hex, item.keys)):
                row = passage_row(item, number, ends, terms[key].total())
                row |= {"dense": vectors[key], "sparse": sparse_vector(terms[key], self.manifest.average)}
                self._count(row, 1)
                rows.append(row)
        self.store.put(self.store.passages, rows)

    def _fix_model(self) -> None:
        embedder = self._embedder()
        made_by = Fingerprint(
            model=embedder.name,
            embedder=embedder.fingerprint,
            dim=embedder.dim,
            chunker=chunker.VERSION,
            chunking=asdict(self._chunking()),
            unrelated=unrelated_cosine(embedder),
        )
        self.store.create_passages(embedder.dim)
        self.manifest = replace(self.manifest, fingerprint=made_by)

    # --- counts and small things ------------------------------------------------------------------------------------

    def _count(self, row: Row, sign: int) -> None:
        """Count a passage in, or out with -1."""
        for number in row["sparse"]:
            self.df[int(number)] += sign
        said, length = self.manifest, json.loads(row["data"])[5]
        self.manifest = replace(said, passages=said.passages + sign, terms=said.terms + sign * length)

    def _count_afresh(self) -> None:
        """Count all passages, and remove those that a killed sync left behind."""
        live = {row["document"] for row in self.store.rows(self.store.sources, 'kind == "doc"', ["document"])}
        self.manifest = replace(self.manifest, documents=len(live), passages=0, terms=0)
        texts = self.store.rows(self.store.sources, 'kind == "text"', ["document"])
        dead = {row["document"] for row in texts} - live
        for row in self.store.rows(self.store.passages, "id >= 0", ["document", "data", "sparse"]):
            if row["document"] in live:
                self._count(row, 1)
            else:
                dead.add(row["document"])
        self._say()
        self._remove(sorted(dead))
        self.store.delete(self.store.sources, 'kind == "df"')

    def _put_counts(self, counts: Counter[int]) -> None:
        buckets: dict[str, dict[int, int]] = {}
        for number, count in counts.items():
            buckets.setdefault(bucket_of(number), {})[number] = count
        self._put({"key": key, "kind": "df", "data": pack_counts(some)} for key, some in buckets.items())

    def _embedder(self) -> Embedder:
        self.embedder = self.embedder or load_embedder(self.model)
        check_model(self.path, self.manifest.fingerprint, self.embedder)
        return self.embedder

    def _chunking(self) -> Chunking:
        made_by = self.manifest.fingerprint
        known = Chunking(**made_by.chunking) if made_by else None
        self.chunking = self.chunking or known or Chunking.for_window(self._embedder().max_tokens)
        return self.chunking

    def _advance(self, passages: int) -> None:
        self.done += passages
        if self.progress:
            self.progress(Progress(self.bytes_read, self.bytes_total, self.found, self.done))

    def _say(self) -> None:
        """Write the manifest, as that of a sync at work; the first time it begins a new generation."""
        said = self.manifest
        generation = said.generation + (said.writer[0] != self.name)
        self.manifest = replace(said, generation=generation, writer=(self.name, time.time()), is_counted=False)
        self._put([self.manifest.row])

    def _put(self, rows: Iterable[Row]) -> None:
        self.store.put(self.store.sources, rows)

    def _data(self, where: str) -> Iterator[str]:
        return (row["data"] for row in self.store.rows(self.store.sources, where, ["data"]))

    def _heads(self, path: str) -> list[dict[str, str]]:
        where = f'{one_of("file", [key_of(path)])} and kind == "doc"'
        return [json.loads(text) for text in self._data(where)]


def _named(names: Sequence[str], name: str = "document") -> Iterator[str]:
    """Yield expressions that together are for all of some names."""
    for first in range(0, len(names), _NAMES):
        yield one_of(name, names[first : first + _NAMES])
