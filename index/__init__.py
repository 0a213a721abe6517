"""Sources -> passages -> vectors on disk; knows nothing of questions."""

from pincite.index.chunker import Chunking
from pincite.index.embedder import Embedder, load_embedder
from pincite.index.errors import (
    IndexBusyError,
    IndexFormatError,
    IndexNotFoundError,
    ModelMismatchError,
    ModelNotFoundError,
    PinciteError,
    QuestionError,
    SourceError,
)
from pincite.index.evidence import Evidence, examine
from pincite.index.manifest import Source
from pincite.index.passage import Document, Passage, Span, Vectors
from pincite.index.paths import find_index
from pincite.index.repair import repair
from pincite.index.reports import IndexStats, Progress, SyncReport
from pincite.index.sources import Skipped
from pincite.index.store import Index
from pincite.index.verify import Problem, verify

__all__ = [
    "Chunking",
    "Document",
    "Embedder",
    "Evidence",
    "Index",
    "IndexBusyError",
    "IndexFormatError",
    "IndexNotFoundError",
    "IndexStats",
    "ModelMismatchError",
    "ModelNotFoundError",
    "Passage",
    "PinciteError",
    "Problem",
    "Progress",
    "QuestionError",
    "Skipped",
    "Source",
    "SourceError",
    "Span",
    "SyncReport",
    "Vectors",
    "examine",
    "find_index",
    "load_embedder",
    "repair",
    "verify",
]
