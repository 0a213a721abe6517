"""An open index: one generation of documents, passages and vectors, to be searched and read.

An `Index` never changes: it shows the generation that was newest when it was opened, whatever is committed
meanwhile, and may be used from several threads. `refresh` returns the newest one. Rows number the passages of all
segments, one segment after the other; they hold for one generation only, and stay inside the library.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pincite.index import chunker
from pincite.index.chunker import Chunking
from pincite.index.contents import Place, SegmentContents
from pincite.index.dense import EXACT_ROWS, DenseIndex
from pincite.index.embedder import Embedder, load_embedder
from pincite.index.errors import IndexFormatError, ModelMismatchError
from pincite.index.manifest import Fingerprint, Manifest, damage, read_manifest
from pincite.index.passage import Document, Passage
from pincite.index.paths import shown_path, stored_path
from pincite.index.reports import IndexStats
from pincite.index.segment import Segment
from pincite.index.sparse import SparseIndex

if TYPE_CHECKING:
    from pincite.index.catalogue import Catalogue
    from pincite.index.filters import Condition
    from pincite.index.reports import Progress, SyncReport

__all__ = ["Index", "check_chunker", "check_model", "open_segments"]

_OPEN_TRIES = 20  # a merge may remove a segment between the reading of the manifest and the opening of its files


class Index:
    """One generation of an index; open it with `Index.open` or `Index.sync`.

    Attributes:
        path: the folder of the index, as given.
        generation: grows by one with each commit.
        sources: what the index keeps in step with.
        fingerprint: the model and chunking it was built with; None while it has never held a passage.
        report: what `sync` did; None for an index that was only opened.
        live_documents: for each segment a mask of shape `(documents,)`: those that are not replaced or removed.
    """

    def __init__(
        self, path: str, manifest: Manifest, segments: Sequence[SegmentContents], embedder: Embedder | None
    ) -> None:
        self.path = path
        self.generation = manifest.generation
        self.sources = manifest.sources
        self.fingerprint = manifest.fingerprint
        self.manifest = manifest
        self.segments = tuple(segments)
        self.report: SyncReport | None = None
        self._root = os.path.dirname(os.path.abspath(path))
        self._shown_from = "" if os.path.isabs(path) else os.getcwd()
        self._embedder = embedder
        self._lock = threading.Lock()
        self.live_documents = _live_documents(self.segments)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, embedder: Embedder | None = None) -> Index:
        """Return the newest generation of the index in the folder `path`.

        Args:
            path: the folder of the index.
            embedder: what embeds questions; by default the model that the index was built with, loaded when needed.

        Raises:
            IndexNotFoundError: there is no index.
            IndexFormatError: it is damaged or of another version.
        """
        folder = os.fspath(path)
        for attempt in range(_OPEN_TRIES):
            manifest = read_manifest(folder)
            check_chunker(folder, manifest.fingerprint)
            try:
                return cls(folder, manifest, open_segments(folder, manifest), embedder)
            except FileNotFoundError as error:
                if attempt == _OPEN_TRIES - 1:
                    name = os.path.basename(error.filename)
                    raise damage(folder, f"{name} is missing") from error
        raise AssertionError("unreachable")

    @classmethod
    def sync(
        cls,
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
    ) -> Index:
        """Build or update the index in the folder `path` and return it; see `pincite.index.build.sync`."""
        from pincite.index.build import sync

        report = sync(
            path,
            sources,
            exclude=exclude,
            remove=remove,
            model=model,
            embedder=embedder,
            chunking=chunking,
            rebuild=rebuild,
            progress=progress,
        )
        index = cls.open(path, embedder=embedder)
        index.report = report
        return index

    @classmethod
    def compact(cls, path: str | os.PathLike[str]) -> Index:
        """Rewrite the index in the folder `path` without what is gone from it, in few segments, and return it.

        Raises:
            IndexBusyError: another process is writing the index.
            IndexFormatError: it is damaged.
        """
        from pincite.index.writer import compact

        compact(os.fspath(path))
        return cls.open(path)

    def refresh(self) -> Index:
        """Return the newest generation: this object if it still is the newest."""
        if read_manifest(self.path) == self.manifest:
            return self
        index = Index.open(self.path)
        same_model = index.fingerprint == self.fingerprint
        index._embedder = self._embedder if same_model else None
        return index

    @property
    def embedder(self) -> Embedder:
        """The embedder of the index, loaded when it is first asked for.

        Raises:
            ModelNotFoundError: the model cannot be loaded.
            ModelMismatchError: it is not the one that the index was built with.
        """
        with self._lock:
            if self._embedder is None:
                self._embedder = load_embedder(self.fingerprint.model if self.fingerprint else None)
        check_model(self.path, self.fingerprint, self._embedder)
        return self._embedder

    def stats(self) -> IndexStats:
        """Return the counts of this generation."""
        return IndexStats(
            generation=self.generation,
            documents=sum(int(live.sum()) for live in self.live_documents),
            passages=self._live_passage_count,
            segments=len(self.segments),
            bytes=sum(entry.size for entry in self.manifest.segments),
            model=self.fingerprint.model if self.fingerprint else "",
            sources=self.sources,
        )

    def keys(self) -> list[str]:
        """Return what conditions can ask about: path, title, format, then the keys of metadata, most used first."""
        return self._catalogue.keys()

    def rows_where(self, conditions: Iterable[Condition]) -> NDArray[np.bool_]:
        """Return which rows are passages of documents for which all conditions hold; shape `(rows,)`.

        Costs a look at what all documents say of themselves the first time that a key is asked for (0.2 s for 100,000),
        then some milliseconds, and less where the same was asked before. A condition on a key that no document has
        holds for none.
        """
        return self._catalogue.rows_where(conditions)

    def search_dense(
        self, vector: NDArray[np.float32], k: int, within: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return rows and cosines of the `k` passages nearest to a unit vector of shape `(dim,)`, best first.

        With `within`, of the rows that it is true for, as `rows_where` says; so for `search_sparse`.
        """
        return self._dense.search(vector, k, within)

    def search_sparse(
        self, query: str, k: int, within: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return rows and BM25 scores of the `k` best passages for the words of `query`, best first."""
        return self._sparse.search(query, k, within)

    def cosine(self, vector: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the cosine of a unit vector with each of some passages."""
        return self._dense.scores(vector, rows)

    def bm25(self, query: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the BM25 score of each of some passages for the words of `query`."""
        return self._sparse.scores(query, rows)

    def idf(self, terms: Sequence[str]) -> NDArray[np.float32]:
        """Return the inverse document frequency of each of some terms, as `terms.analyze` makes them, over passages."""
        return self._sparse.idf(terms)

    def passages(self, rows: Sequence[int] | NDArray[np.int64]) -> list[Passage]:
        """Return the passages in some rows, in that order."""
        return [self.segments[number].passage(row) for number, row in map(self._place, rows)]

    def place_of(self, row: int) -> Place:
        """Return where the passage in a row stands; its document is not read."""
        number, local = self._place(row)
        place = self.segments[number].place(local)
        return replace(place, path=self.shown(place.path))

    def document(self, document_id: str) -> Document:
        """Return the document with an id.

        Raises:
            KeyError: there is none in this generation.
        """
        number, row = self._find(document_id)
        return self._as_opened(self.segments[number].document(row))

    def passages_of(self, document_id: str) -> list[Passage]:
        """Return the passages of a document, in order; raises as `document` does."""
        number, row = self._find(document_id)
        contents = self.segments[number]
        return [contents.passage(passage) for passage in contents.passage_rows(row)]

    def _find(self, document_id: str) -> tuple[int, int]:
        wanted = np.frombuffer(bytes.fromhex(document_id), np.uint8)
        for number, (contents, live) in enumerate(zip(self.segments, self.live_documents, strict=True)):
            rows = np.flatnonzero((contents.segment.array("document_id") == wanted).all(axis=1) & live)
            if len(rows):
                return number, int(rows[0])
        raise KeyError(document_id)

    def documents(self) -> Iterator[Document]:
        """Yield every document, in no particular order."""
        for number, row in self.live_rows():
            yield self.document_at(number, row)

    def document_at(self, number: int, row: int) -> Document:
        """Return the document in a row of a segment, as `live_rows` names them."""
        return self._as_opened(self.segments[number].document(row))

    def live_rows(self) -> Iterator[tuple[int, int]]:
        """Yield (segment number, document row) for every document of this generation."""
        for number, live in enumerate(self.live_documents):
            for row in np.flatnonzero(live).tolist():
                yield number, row

    def documents_of(self, path: str) -> list[Document]:
        """Return the documents of a file, or the record `file#id`, named as from the current folder."""
        found = self._documents_of_file(path, None)
        if not found and "#" in path:
            file, _, record = path.partition("#")
            found = self._documents_of_file(file, record)
        return sorted(found, key=lambda document: document.line)

    def _documents_of_file(self, path: str, record: str | None) -> list[Document]:
        stored = stored_path(path, self._root)
        found = []
        for number, (contents, live) in enumerate(zip(self.segments, self.live_documents, strict=True)):
            for file in contents.file_rows(stored):
                for row in contents.document_rows(file):
                    if live[row] and (record is None or contents.record_of(row) == record):
                        found.append(self.document_at(number, row))
        return found

    def shown(self, path: str) -> str:
        """Return a stored path as a user would open it from the folder in which the index was opened."""
        return shown_path(self._root, self._shown_from, path)

    def location(self, document: Document) -> str:
        """Return the absolute path of the file that holds a document."""
        path = document.path.removesuffix(f"#{document.record}") if document.record else document.path
        return os.path.normpath(os.path.join(self._shown_from, path))

    def _as_opened(self, document: Document) -> Document:
        return replace(document, path=self.shown(document.path))

    def _place(self, row: int | np.int64) -> tuple[int, int]:
        number = int(np.searchsorted(self._first_rows, row, side="right")) - 1
        return number, int(row) - int(self._first_rows[number])

    @cached_property
    def _first_rows(self) -> NDArray[np.int64]:
        return np.cumsum([0] + [contents.passages for contents in self.segments])[:-1]

    @cached_property
    def _live_passages(self) -> list[NDArray[np.bool_] | None]:
        masks: list[NDArray[np.bool_] | None] = []
        for contents, live in zip(self.segments, self.live_documents, strict=True):
            sizes = np.diff(contents.segment.array("document_passages"))
            masks.append(None if live.all() else np.repeat(live, sizes))
        return masks

    @cached_property
    def _live_passage_count(self) -> int:
        masks = zip(self.segments, self._live_passages, strict=True)
        return sum(contents.passages if mask is None else int(mask.sum()) for contents, mask in masks)

    @cached_property
    def _catalogue(self) -> Catalogue:
        from pincite.index.catalogue import Catalogue

        return Catalogue(self.segments, self.live_documents, partial(shown_path, self._root, self._shown_from))

    @cached_property
    def _dense(self) -> DenseIndex:
        exact = self._live_passage_count <= EXACT_ROWS
        filled = [number for number, contents in enumerate(self.segments) if contents.passages]
        segments = [self.segments[number].segment for number in filled]
        codes = [segment.column("codes") if not exact and "codes" in segment else None for segment in segments]
        vectors = [segment.column("vectors") for segment in segments]
        checksums = [segment.column("vector_crc") for segment in segments]
        live = [self._live_passages[number] for number in filled]
        return DenseIndex(vectors, codes, live, checksums=checksums, exact_rows=EXACT_ROWS)

    @cached_property
    def _sparse(self) -> SparseIndex:
        return SparseIndex([contents.segment for contents in self.segments], self._live_passages)


def open_segments(folder: str, manifest: Manifest) -> list[SegmentContents]:
    """Open the segments of a manifest, oldest first."""
    return [
        SegmentContents(entry.name, Segment(os.path.join(folder, entry.name), entry.size, entry.checksum))
        for entry in manifest.segments
    ]


def _live_documents(segments: Sequence[SegmentContents]) -> list[NDArray[np.bool_]]:
    live = [np.ones(contents.documents, np.bool_) for contents in segments]
    numbers = {contents.name: number for number, contents in enumerate(segments)}
    for contents in segments:
        for name, row in contents.gone():
            if name in numbers:
                live[numbers[name]][row] = False
    return live


def check_model(folder: str, fingerprint: Fingerprint | None, embedder: Embedder) -> None:
    """Raise `ModelMismatchError` unless `embedder` is what the index in `folder` was built with."""
    if fingerprint and embedder.fingerprint != fingerprint.embedder:
        other = "its weights have changed since" if embedder.name == fingerprint.model else f"not with {embedder.name}"
        raise ModelMismatchError(
            f"The index {folder} was built with {fingerprint.model}, {other}. "
            f"Build it again with this model: pincite index --model {embedder.name}"
        )


def check_chunker(folder: str, fingerprint: Fingerprint | None) -> None:
    """Raise `IndexFormatError` unless the passages of the index in `folder` were made as they are made here."""
    if fingerprint and fingerprint.chunker != chunker.VERSION:
        raise IndexFormatError(
            f"The passages of the index {folder} were made by another version of pincite "
            f"(chunker {fingerprint.chunker}, here {chunker.VERSION}). Rebuild it: pincite index --rebuild"
        )
