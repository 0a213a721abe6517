"""The name of an index -> the index: a folder, or an address in Milvus."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pincite.index.errors import PinciteError
from pincite.index.milvus_store import parse_address
from pincite.index.paths import find_index
from pincite.index.store import Index

if TYPE_CHECKING:
    from pincite.index.embedder import Embedder
    from pincite.index.interface import SearchIndex
    from pincite.index.overview import Overview
    from pincite.index.reports import SyncReport

__all__ = ["changes_and_overview", "index_folder", "open_index", "sync_index"]


def open_index(location: str | os.PathLike[str], *, embedder: Embedder | None = None) -> SearchIndex:
    """Return the index in a folder, at `milvus://HOST:PORT/COLLECTION`, or in a milvus-lite: `PATH.db`, `milvus:PATH`.

    Raises:
        PinciteError: there is none, or it cannot be opened.
    """
    name = os.fspath(location)
    address = parse_address(name)
    if address is None:
        return Index.open(name, embedder=embedder)
    from pincite.index.milvus import MilvusIndex

    return MilvusIndex(name, address, embedder)


def sync_index(location: str | os.PathLike[str], *arguments: Any, **options: Any) -> SyncReport:
    """Build or update the index that `open_index` opens; other arguments as for `pincite.index.build.sync`."""
    name = os.fspath(location)
    address = parse_address(name)
    if address is None:
        from pincite.index.build import sync

        return sync(name, *arguments, **options)
    from pincite.index.milvus_sync import sync as sync_milvus

    return sync_milvus(name, address, *arguments, **options)


def index_folder(location: str | None) -> str:
    """Return the folder of an index, the nearest one if none is named.

    Raises:
        PinciteError: it is in Milvus.
    """
    if location is not None and parse_address(location):
        raise PinciteError(
            f"{location} is an index in Milvus, and this works on one in a folder only. In Milvus there are: "
            f"index, ask, search, show, status."
        )
    return location or find_index()


def changes_and_overview(index: SearchIndex) -> tuple[Mapping[str, int], Overview]:
    """Return what has changed in the sources of an index since its last sync, and what became of its files."""
    if isinstance(index, Index):
        from pincite.index.overview import overview
        from pincite.index.survey import changes_since, look_at_sources

        survey = look_at_sources(index)
        return changes_since(index, survey), overview(index, survey.skipped)
    from pincite.index.milvus import MilvusIndex
    from pincite.index.milvus_status import look

    assert isinstance(index, MilvusIndex)
    return look(index)
