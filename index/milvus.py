"""An index in Milvus, to be searched and read: what `Index` is for a folder, with weaker promises.

A passage is found only while the row of its document names the very content that it was cut from, so that a document
is seen as it was before a sync or as it is after it, never half of each, and no passage of what is gone. Two documents
may be of two generations while a sync is at work, and the counts behind BM25 are those of the last whole one. Scores
are those of the embedded index, to rounding; Milvus only finds the candidates.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from pincite.index.contents import FileRow, Place
from pincite.index.embedder import Embedder, load_embedder
from pincite.index.errors import IndexBusyError, IndexNotFoundError, QuestionError
from pincite.index.extracted import Mark
from pincite.index.filters import Condition
from pincite.index.milvus_rows import Manifest, file_of, key_of
from pincite.index.milvus_store import Address, MilvusStore, Row, one_of
from pincite.index.milvus_terms import Terms, bm25, bucket_of, idf, term_number, unpack_counts
from pincite.index.passage import Document, Passage, Span
from pincite.index.paths import shown_path, stored_path
from pincite.index.reports import IndexStats
from pincite.index.store import check_chunker, check_model
from pincite.index.terms import analyze

if TYPE_CHECKING:
    from pincite.index.catalogue import Catalogue
    from pincite.index.contents import SegmentContents

__all__ = ["MilvusIndex", "Within"]

_FIELDS = ("id", "document", "source", "text", "data", "dense", "sparse")
_KEPT_ROWS, _KEPT_TERMS = 8_192, 16_384
_MOST_NAMED = 50_000
"""Documents that a search can be limited to, or kept from: 2 MB of an expression."""


@dataclass(frozen=True, slots=True)
class Within:
    """The passages of some documents: an expression for Milvus, empty for all; `count` of documents."""

    expression: str
    count: int

    def any(self) -> bool:
        """Return whether there are any."""
        return self.count > 0


@dataclass(frozen=True, slots=True)
class _Found:
    """A passage as it is in Milvus."""

    passage: Passage
    source: str
    line: int
    unit: str
    mark: str
    vector: NDArray[np.float32] = field(repr=False)
    terms: Terms = field(repr=False)


class MilvusIndex:
    """An index in Milvus; `open_index` opens it. May be used from several threads.

    Args:
        path: its name, as given; `address`: what that means.
        embedder: what embeds questions; by default the model that the index was built with, loaded when needed.

    Raises:
        PinciteError: there is no index, or it cannot be opened.
    """

    def __init__(self, path: str, address: Address, embedder: Embedder | None = None) -> None:
        self.path = path
        if address.path and not os.path.exists(address.path):  # milvus-lite would make one
            raise IndexNotFoundError(f"No index in {path}. Build one: pincite index --index {path} SOURCE")
        self.store = MilvusStore(address)
        manifest = Manifest.read(self.store)
        if manifest is None:
            raise IndexNotFoundError(f"No index in {path}. Build one: pincite index --index {path} SOURCE")
        check_chunker(path, manifest.fingerprint)
        self.manifest = manifest
        self.generation, self.sources, self.fingerprint = manifest.generation, manifest.sources, manifest.fingerprint
        self.root = address.root
        self._shown_from = "" if address.path and os.path.isabs(address.path) else os.getcwd()
        self._data_folder = address.path
        self._embedder = embedder
        self._lock = threading.Lock()
        self._rows: dict[int, _Found] = {}
        self._heads: dict[str, dict[str, Any]] = {}
        self._df: dict[int, int] = {}

    @property
    def embedder(self) -> Embedder:
        """The embedder that it was built with, loaded when it is first asked for; raises as that of `Index`."""
        with self._lock:
            if self._embedder is None:
                self._embedder = load_embedder(self.fingerprint.model if self.fingerprint else None)
        check_model(self.path, self.fingerprint, self._embedder)
        return self._embedder

    def stats(self) -> IndexStats:
        """Return the counts as of when it was opened; bytes are known of a milvus-lite only."""
        files = (os.path.join(at, name) for at, _, names in os.walk(self._data_folder) for name in names)
        said = self.manifest
        return IndexStats(
            generation=said.generation,
            documents=said.documents,
            passages=said.passages,
            segments=0,
            bytes=sum(os.path.getsize(file) for file in files if os.path.exists(file)) if self._data_folder else 0,
            model=self.fingerprint.model if self.fingerprint else "",
            sources=self.sources,
        )

    # --- search -----------------------------------------------------------------------------------------------------

    def search_dense(
        self, vector: NDArray[np.float32], k: int, within: Within | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return rows and cosines of the `k` passages nearest to a unit vector of shape `(dim,)`, best first."""
        rows = self._search("dense", vector.tolist(), k, within)
        return _best_first(rows, self.cosine(vector, rows))

    def search_sparse(
        self, query: str, k: int, within: Within | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return rows and BM25 scores of the `k` best passages for the words of `query`, best first."""
        asked = Counter(analyze(query))
        weights = self.idf(list(asked)).tolist()
        pairs = zip(asked.items(), weights, strict=True)
        sparse = {term_number(term): weight * count for (term, count), weight in pairs if weight > 0}
        rows = self._search("sparse", sparse, k, within) if sparse else np.empty(0, np.int64)
        return _best_first(rows, self.bm25(query, rows))

    def _search(self, name: str, query: Any, k: int, within: Within | None) -> NDArray[np.int64]:
        if k < 1 or self.fingerprint is None or (within is not None and not within.any()):
            return np.empty(0, np.int64)
        found = self.store.search(name, query, k, within.expression if within else "", _FIELDS)
        return np.array([row for row in self._keep(found) if row is not None], np.int64)

    def cosine(self, vector: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the cosine of a unit vector with each of some passages."""
        found = self._found(rows)
        return np.array([one.vector @ vector for one in found], np.float32)

    def bm25(self, query: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the BM25 score of each of some passages for the words of `query`."""
        found = [one.terms for one in self._found(rows)]
        df, said = self._frequencies(analyze(query)), self.manifest
        return bm25(query, df, said.passages, found, said.average, said.terms / max(said.passages, 1))

    def idf(self, terms: Sequence[str]) -> NDArray[np.float32]:
        """Return the inverse document frequency of each of some terms, as `terms.analyze` makes them."""
        df = self._frequencies(terms)
        return np.array([idf(df[term_number(term)], self.manifest.passages) for term in terms], np.float32)

    def _frequencies(self, terms: Sequence[str]) -> dict[int, int]:
        """Return in how many passages each of some terms is, by number; others may be among them."""
        known = self._df if len(self._df) < _KEPT_TERMS else {}
        unknown = {term_number(term) for term in terms} - known.keys()
        if unknown:
            rows = self.store.get(self.store.sources, sorted(set(map(bucket_of, unknown))), ["data"])
            said = unpack_counts(row["data"] for row in rows)
            known = self._df = known | {number: said[number] for number in unknown}
        return known

    def _keep(self, rows: Iterable[Row]) -> list[int | None]:
        """Remember passages, and return their rows: None for those whose documents are not what they were cut from."""
        rows = list(rows)
        keys = [f"doc:{key}" for key in {row["source"] for row in rows}]
        found = self.store.get(self.store.sources, keys, ["key", "data"])
        heads = {row["key"].removeprefix("doc:"): json.loads(row["data"]) for row in found}
        with self._lock:
            if len(self._rows) > _KEPT_ROWS:
                self._rows, self._heads = {}, {}
            self._heads = self._heads | heads
            kept: list[int | None] = []
            for row in rows:
                is_live = row["source"] in heads and heads[row["source"]]["id"] == row["document"]
                if is_live and row["id"] not in self._rows:
                    self._rows[row["id"]] = self._as_found(row)
                kept.append(row["id"] if is_live else None)
        return kept

    def _as_found(self, row: Row) -> _Found:
        start, end, line, unit, mark, length, is_whole = json.loads(row["data"])[:7]
        text = row["text"] if is_whole else self.document(row["document"]).text[start:end]
        return _Found(
            Passage(row["document"], Span(start, end), text),
            row["source"],
            line,
            unit,
            mark,
            np.asarray(row["dense"], np.float32),
            Terms(row["sparse"], length),
        )

    def _found(self, rows: Sequence[int] | NDArray[np.int64]) -> list[_Found]:
        wanted = [int(row) for row in rows]
        known = self._rows
        missing = [row for row in wanted if row not in known]
        if missing:
            self._keep(self.store.get(self.store.passages, missing, _FIELDS))
            known = known | self._rows
        try:
            return [known[row] for row in wanted]
        except KeyError as error:
            raise self._changed() from error

    def _changed(self) -> IndexBusyError:
        return IndexBusyError(f"The index {self.path} changed while it was read. Ask again.")

    # --- fetch ------------------------------------------------------------------------------------------------------

    def passages(self, rows: Sequence[int] | NDArray[np.int64]) -> list[Passage]:
        """Return the passages in some rows, in that order."""
        return [one.passage for one in self._found(rows)]

    def place_of(self, row: int) -> Place:
        """Return where the passage in a row stands."""
        one = self._found([row])[0]
        head = self._heads.get(one.source)
        if head is None:
            raise self._changed()
        path = self.shown(head["path"] + (f"#{head['record']}" if head["record"] else ""))
        return Place(path, head["title"], one.line, head["format"], one.unit, one.mark, head["metadata"])

    def document(self, document_id: str) -> Document:
        """Return the document with an id; raises `KeyError` if there is none."""
        bytes.fromhex(document_id)
        rows = list(self.store.rows(self.store.sources, one_of("document", [document_id]), ["kind", "key", "data"]))
        heads = [json.loads(row["data"]) for row in rows if row["kind"] == "doc"]
        if not heads:
            raise KeyError(document_id)
        head = heads[0]
        pieces = {int(row["key"].rpartition(":")[2]): row["data"] for row in rows if row["kind"] == "text"}
        count = head.pop("pieces")
        if not pieces.keys() >= set(range(count)):
            raise self._changed()
        text, unit, marks = json.loads("".join(pieces[number] for number in range(count)))
        head["path"] = self.shown(head["path"] + (f"#{head['record']}" if head["record"] else ""))
        return Document(**head, text=text, unit=unit, marks=tuple(Mark(*mark) for mark in marks))

    def passages_of(self, document_id: str) -> list[Passage]:
        """Return the passages of a document, in order; raises as `document` does."""
        self.document(document_id)
        rows = self.store.rows(self.store.passages, one_of("document", [document_id]), _FIELDS)
        return sorted((self._as_found(row).passage for row in rows), key=lambda passage: passage.span)

    def documents_of(self, path: str) -> list[Document]:
        """Return the documents of a file, or the record `file#id`, named as from the current folder."""
        found = self._documents_of_file(path, None)
        if not found and "#" in path:
            file, _, record = path.partition("#")
            found = self._documents_of_file(file, record)
        return sorted(found, key=lambda document: document.line)

    def _documents_of_file(self, path: str, record: str | None) -> list[Document]:
        where = one_of("file", [key_of(stored_path(path, self.root))])
        rows = list(self.store.rows(self.store.sources, f'{where} and kind == "doc"', ["document", "data"]))
        ids = [row["document"] for row in rows if record in (None, json.loads(row["data"])["record"])]
        return [self.document(name) for name in ids]

    def shown(self, path: str) -> str:
        """Return a stored path as a user would open it from the folder in which the index was opened."""
        return shown_path(self.root, self._shown_from, path)

    def location(self, document: Document) -> str:
        """Return the absolute path of the file that holds a document."""
        path = document.path.removesuffix(f"#{document.record}") if document.record else document.path
        return os.path.normpath(os.path.join(self._shown_from, path))

    # --- conditions and what is known of files ------------------------------------------------------------------------

    def keys(self) -> list[str]:
        """Return what conditions can ask about: path, title, format, then the keys of metadata, most used first."""
        return self._catalogue.keys()

    def rows_where(self, conditions: Iterable[Condition]) -> Within:
        """Return which passages are of documents for which all conditions hold; reads all documents' metadata once.

        Raises:
            QuestionError: so many documents fit, and so many do not, that neither can be told to Milvus.
        """
        fitting = self._catalogue.rows_where(conditions)
        count = int(fitting.sum())
        ids = np.array([head["id"] for head in self.heads], np.str_)
        if count <= len(ids) - count:
            names, word = ids[fitting], ""
        else:
            names, word = ids[~fitting], "not "
        if len(names) > _MOST_NAMED:
            raise QuestionError(
                f"{count:,} of {len(ids):,} documents fit; Milvus is asked about {_MOST_NAMED:,} at most. Narrow it."
            )
        return Within(f"document {word}in {json.dumps(names.tolist())}" if len(names) else "", count)

    @cached_property
    def heads(self) -> list[dict[str, Any]]:
        """What documents say of themselves, without their texts, as of when it was first asked for."""
        return [json.loads(row["data"]) for row in self.store.rows(self.store.sources, 'kind == "doc"', ["data"])]

    @cached_property
    def _catalogue(self) -> Catalogue:
        from pincite.index.catalogue import Catalogue

        # A catalogue asks segments for columns; these are those that it asks for, with one passage a document.
        columns = cast("SegmentContents", _Columns(self.heads))
        return Catalogue(
            [columns], [np.ones(len(self.heads), np.bool_)], partial(shown_path, self.root, self._shown_from)
        )

    def known_files(self) -> dict[str, FileRow]:
        """Return what is last known of each file, by path."""
        rows = self.store.rows(self.store.sources, 'kind == "file"', ["data"])
        return {row.path: row for row in (file_of(one["data"]) for one in rows)}


class _Columns:
    """The columns of documents, as `SegmentContents` and its segment have them."""

    def __init__(self, heads: Sequence[dict[str, Any]]) -> None:
        self.segment = self
        self.documents = self.passages = len(heads)
        self._heads = heads

    def strings(self, name: str) -> list[str]:
        if name == "document_metadata":
            return [json.dumps(head["metadata"]) if head["metadata"] else "" for head in self._heads]
        field = name.removeprefix("document_").removeprefix("file_")
        return [head[field] for head in self._heads]

    def array(self, name: str) -> NDArray[np.int64]:
        return np.arange(self.documents + (name == "document_passages"))


def _best_first(rows: NDArray[np.int64], scores: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    order = np.lexsort((rows, -scores))
    return rows[order], scores[order]
