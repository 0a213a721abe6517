"""What an index holds, how far a sync has come, and what it did: numbers to be shown."""

from __future__ import annotations

from dataclasses import dataclass

from pincite.index.manifest import Source
from pincite.index.sources import Skipped

__all__ = ["IndexStats", "Progress", "SyncReport"]


@dataclass(frozen=True, slots=True)
class IndexStats:
    """Counts of an index; `bytes` is its size on disk, `sources` are as stored."""

    generation: int
    documents: int
    passages: int
    segments: int
    bytes: int
    model: str
    sources: tuple[Source, ...]


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
