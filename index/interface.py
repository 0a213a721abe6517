"""What questions are asked of: what an index must be able to do so that passages are found, read and cited.

`Index`, in a folder, is one; `MilvusIndex`, a collection in Milvus, is another. Rows number passages in a way of the
index's own; they hold for one open index, and stay inside the library.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pincite.index.contents import Place
from pincite.index.embedder import Embedder
from pincite.index.filters import Condition
from pincite.index.manifest import Fingerprint, Source
from pincite.index.passage import Document, Passage
from pincite.index.reports import IndexStats

__all__ = ["SearchIndex", "Within"]

Within: TypeAlias = (
    Any  # each index has its own: a mask of rows, an expression; `bool(within.any())` is all to ask of it
)
"""Which passages may be found, as `rows_where` returns it for the searches of the same index."""


class SearchIndex(Protocol):
    """An open index.

    Attributes:
        path: where it is, as given.
        generation: grows with each sync.
        sources: what it is kept in step with.
        fingerprint: the model and chunking it was built with; None while it has never held a passage.
    """

    path: str
    generation: int
    sources: tuple[Source, ...]
    fingerprint: Fingerprint | None

    @property
    def embedder(self) -> Embedder:
        """The embedder that it was built with."""
        ...

    def stats(self) -> IndexStats:
        """Return its counts."""
        ...

    def keys(self) -> list[str]:
        """Return what conditions can ask about: path, title, format, then the keys of metadata, most used first."""
        ...

    def rows_where(self, conditions: Iterable[Condition]) -> Within:
        """Return which passages are of documents for which all conditions hold."""
        ...

    def search_dense(
        self, vector: NDArray[np.float32], k: int, within: Within | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return rows and cosines of the `k` passages nearest to a unit vector of shape `(dim,)`, best first."""
        ...

    def search_sparse(
        self, query: str, k: int, within: Within | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return rows and BM25 scores of the `k` best passages for the words of `query`, best first."""
        ...

    def cosine(self, vector: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the cosine of a unit vector with each of some passages."""
        ...

    def bm25(self, query: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the BM25 score of each of some passages for the words of `query`; below the sum of their idf."""
        ...

    def idf(self, terms: Sequence[str]) -> NDArray[np.float32]:
        """Return the inverse document frequency, over passages, of each of some terms that `analyze` made."""
        ...

    def passages(self, rows: Sequence[int] | NDArray[np.int64]) -> list[Passage]:
        """Return the passages in some rows, in that order."""
        ...

    def place_of(self, row: int) -> Place:
        """Return where the passage in a row stands."""
        ...

    def document(self, document_id: str) -> Document:
        """Return the document with an id; raises `KeyError` if there is none."""
        ...

    def passages_of(self, document_id: str) -> list[Passage]:
        """Return the passages of a document, in order; raises as `document` does."""
        ...

    def documents_of(self, path: str) -> list[Document]:
        """Return the documents of a file, or the record `file#id`, named as from the current folder."""
        ...

    def shown(self, path: str) -> str:
        """Return a stored path as a user would open it from the folder in which the index was opened."""
        ...

    def location(self, document: Document) -> str:
        """Return the absolute path of the file that holds a document."""
        ...
