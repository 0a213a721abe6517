"""An address -> the two collections in Milvus that hold an index, and how rows get in and out of them.

    NAME           a row a passage: its vector, the weights of its terms, its words, and the document that it is of
    NAME_sources   a row under a key: the manifest, a file, a document, a piece of a document's text, counts of terms

milvus-lite runs in this process and listens at a socket that only this user can reach.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pincite.index.errors import IndexBusyError, IndexFormatError, PinciteError

__all__ = ["Address", "MilvusStore", "Row", "one_of", "parse_address", "stop_lite"]

Row = dict[str, Any]  # values of fields, of the types that they have in the collection

_LITE_COLLECTION = "pincite"
_SECONDS = 60.0
_LONGEST = 65_535  # bytes of a VARCHAR
_ROWS, _SIZE = 1_000, 1 << 22
"""Rows of a message from or to Milvus, and characters of their `data`: some MB, where 64 MB is the most."""
_MOST_FOUND = 16_384  # Milvus gives no more
_REST = {"file": "", "document": "", "none": [1.0, 0.0]}


@dataclass(frozen=True, slots=True)
class Address:
    """Where an index in Milvus is: `uri` and `collection` of a server, or the folder `path` of a milvus-lite."""

    uri: str
    collection: str = _LITE_COLLECTION
    path: str = ""

    @property
    def root(self) -> str:
        """The folder that stored paths start from: that of a milvus-lite, as with an index in a folder."""
        return os.path.dirname(os.path.abspath(self.path)) if self.path else os.path.abspath(os.sep)


def parse_address(location: str) -> Address | None:
    """Return the address that `location` is, None if it is the folder of an index.

    Raises:
        PinciteError: it is meant to be an address, and is none.

    >>> parse_address("milvus://localhost/articles")
    Address(uri='http://localhost:19530', collection='articles', path='')
    >>> parse_address("notes.db"), parse_address(".pincite")
    (Address(uri='', collection='pincite', path='notes.db'), None)
    """
    if location.startswith(("milvus://", "milvus+https://")):
        parts = urlsplit(location)
        collection = parts.path.strip("/")
        try:
            host, port = parts.hostname, parts.port or 19530
        except ValueError:
            host, port = None, 0
        if not host or parts.username or parts.query or not re.fullmatch(r"[A-Za-z_]\w{0,200}", collection, re.ASCII):
            raise PinciteError(
                "Cannot read that address. Write it like milvus://HOST:19530/COLLECTION; a token goes into "
                "PINCITE_MILVUS_TOKEN."
            )
        host = f"[{host}]" if ":" in host else host
        return Address(f"{'https' if parts.scheme == 'milvus+https' else 'http'}://{host}:{port}", collection)
    path = location.removeprefix("milvus:")
    if path == location and (not path.endswith(".db") or os.path.exists(os.path.join(path, "FORMAT"))):
        return None
    if not path:
        raise PinciteError("milvus: needs the name of a milvus-lite database, such as milvus:notes.db")
    return Address("", path=path)


class MilvusStore:
    """The two collections of an index; may be used from several threads, for writing from one.

    Attributes:
        passages, sources: names of the collections.
        name: what messages call the index; `uri`: where Milvus is.
        is_lite: whether that is a milvus-lite.

    Raises:
        PinciteError: from all methods: Milvus is not there, does not answer, or refuses.
    """

    def __init__(self, address: Address) -> None:
        self.passages, self.sources = address.collection, f"{address.collection}_sources"
        self.name = address.path or f"{address.uri}/{address.collection}"
        self.is_lite = bool(address.path)
        self._pymilvus = _pymilvus(self.is_lite)
        self.uri = _lite_uri(address.path) if self.is_lite else address.uri
        token = "" if self.is_lite else os.environ.get("PINCITE_MILVUS_TOKEN", "")
        self._client = self._call(self._pymilvus.MilvusClient, uri=self.uri, token=token)

    def exists(self) -> bool:
        """Return whether there is an index; it can be read from then on."""
        passages, sources = self._has(self.passages), self._has(self.sources)
        if passages and not sources:
            raise PinciteError(f"The collection {self.passages} is not pincite's. Name another one.")
        for name in [self.passages] * passages + [self.sources] * sources:
            self._call(self._client.load_collection, name)
        return sources

    def create(self) -> None:
        """Make the collection for all but passages."""
        types = self._pymilvus.DataType
        schema = self._client.create_schema(auto_id=False)
        schema.add_field("key", types.VARCHAR, max_length=80, is_primary=True)
        for field in ("kind", "file", "document"):
            schema.add_field(field, types.VARCHAR, max_length=32)
        schema.add_field("data", types.VARCHAR, max_length=_LONGEST)
        schema.add_field("none", types.FLOAT_VECTOR, dim=2)  # no collection without a vector
        scalar = ("INVERTED", "")
        self._create(self.sources, schema, {"none": ("FLAT", "IP"), "file": scalar, "document": scalar})

    def create_passages(self, dim: int) -> None:
        """Make the collection for passages with vectors of `dim` columns."""
        types = self._pymilvus.DataType
        schema = self._client.create_schema(auto_id=False)
        schema.add_field("id", types.INT64, is_primary=True)
        for field in ("document", "source"):
            schema.add_field(field, types.VARCHAR, max_length=32)
        for field in ("text", "data"):
            schema.add_field(field, types.VARCHAR, max_length=_LONGEST)
        schema.add_field("dense", types.FLOAT_VECTOR, dim=dim)
        schema.add_field("sparse", types.SPARSE_FLOAT_VECTOR)
        dense = "FLAT" if self.is_lite else "AUTOINDEX"
        indexes = {"dense": (dense, "IP"), "sparse": ("SPARSE_INVERTED_INDEX", "IP"), "document": ("INVERTED", "")}
        self._create(self.passages, schema, indexes)

    def _create(self, name: str, schema: Any, indexes: dict[str, tuple[str, str]]) -> None:
        if self._has(name):  # a sync was killed when it had just begun
            return
        params = self._client.prepare_index_params()
        for field, (kind, metric) in indexes.items():
            params.add_index(field, index_type=kind, **({"metric_type": metric} if metric else {}))
        self._call(self._client.create_collection, name, schema=schema, consistency_level="Strong")
        self._call(self._client.create_index, name, params, sync=False)  # waiting takes half a second for each
        self._call(self._client.load_collection, name)

    def drop(self) -> None:
        """Remove both collections, passages first."""
        for name in (self.passages, self.sources):
            self._call(self._client.drop_collection, name)

    def _has(self, name: str) -> bool:
        return bool(self._call(self._client.has_collection, name))

    def search(self, field: str, query: Any, k: int, where: str, fields: Sequence[str]) -> list[Row]:
        """Return the `k` passages whose inner product of `field` with `query` is greatest, best first."""
        found = self._call(
            self._client.search,
            self.passages,
            data=[query],
            filter=where,
            limit=min(k, _MOST_FOUND),
            output_fields=list(fields),
            anns_field=field,
        )
        return [hit["entity"] for hit in found[0]]

    def put(self, name: str, rows: Iterable[Row]) -> None:
        """Insert rows into a collection, in place of those with the same keys."""
        waiting: list[Row] = []
        size = 0
        for row in rows:
            waiting.append(row if name == self.passages else _REST | row)
            size += len(row["data"])
            if len(waiting) >= _ROWS or size > _SIZE:
                self._call(self._client.upsert, name, waiting)
                waiting, size = [], 0
        if waiting:
            self._call(self._client.upsert, name, waiting)

    def get(self, name: str, keys: Sequence[Any], fields: Sequence[str]) -> list[Row]:
        """Return the rows with some keys, those that are there, in no particular order."""
        some = [keys[first : first + _ROWS] for first in range(0, len(keys), _ROWS)]
        return [row for few in some for row in self._call(self._client.get, name, list(few), list(fields))]

    def rows(self, name: str, where: str, fields: Sequence[str]) -> Iterator[Row]:
        """Yield the rows for which an expression holds."""
        if name == self.passages and not self._has(name):
            return
        pages = self._call(self._client.query_iterator, name, _ROWS, filter=where, output_fields=list(fields))
        try:
            while page := self._call(pages.next):
                yield from page
        finally:
            pages.close()

    def delete(self, name: str, where: str) -> None:
        """Remove the rows for which an expression holds."""
        if name != self.passages or self._has(name):
            self._call(self._client.delete, name, filter=where)

    def settle(self) -> None:
        """Have milvus-lite write files from which it opens sooner; a server does so when it sees fit."""
        for name in (self.passages, self.sources) if self.is_lite else ():
            if self._has(name):
                self._call(self._client.flush, name)

    def _call(self, work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Return what a function of pymilvus returns, which has no types."""
        import grpc

        limit = {"timeout": _SECONDS} if work.__name__ != "next" else {}
        try:
            return work(*arguments, **limit, **options)
        except (self._pymilvus.MilvusException, grpc.RpcError) as error:
            message = " ".join((getattr(error, "message", "") or str(error)).split())
            raise PinciteError(f"Milvus at {self.name} failed: {message[:300]}") from error


def one_of(field: str, values: Iterable[str | int]) -> str:
    """Return the expression that `field` is one of some hexadecimal names or numbers."""
    return f"{field} in {json.dumps(list(values))}"


def _pymilvus(is_lite: bool) -> Any:
    """Import pymilvus, which would otherwise read a `.env` file and log to stderr."""
    os.environ.setdefault("PYTHON_DOTENV_DISABLED", "1")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        import pymilvus

        if is_lite:
            import milvus_lite  # noqa: F401
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in {"pymilvus", "milvus_lite"}:
            raise
        raise PinciteError(f'An index in Milvus needs {package}: pip install "pincite[milvus]"') from error
    for name in ("pymilvus", "grpc._server"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # what goes wrong is raised as well
    return pymilvus


_lock = threading.Lock()
_running: dict[str, tuple[str, Any, Any]] = {}
"""The milvus-lites of this process: folder -> socket, server and database. A folder can be opened only once."""


def _lite_uri(path: str) -> str:
    from milvus_lite.adapter.grpc.server import start_server_in_thread

    folder = os.path.abspath(path)
    if os.path.isfile(folder):
        raise IndexFormatError(f"{path} is a file, and no database of milvus-lite 3. Choose another name.")
    with _lock:
        if folder not in _running:
            if not _running:
                atexit.register(stop_lite)
            # Its own way opens a port of this machine, without a password; nobody else can enter this folder.
            private = tempfile.mkdtemp(prefix="pincite-")
            try:
                server, database, _ = start_server_in_thread(folder, host=f"unix:{private}/milvus", port=0)
            except Exception as error:
                shutil.rmtree(private, ignore_errors=True)
                if "lock" in f"{type(error).__name__} {error}".lower():
                    raise IndexBusyError(
                        f"Another process has {path} open; milvus-lite serves one at a time."
                    ) from error
                raise PinciteError(f"milvus-lite cannot open {path}: {' '.join(str(error).split())[:300]}") from error
            _running[folder] = private, server, database
        return f"unix:{_running[folder][0]}/milvus:0"


def stop_lite() -> None:
    """Stop the milvus-lites of this process; an open index that is in one cannot be used any more."""
    with _lock:
        while _running:
            private, server, database = _running.popitem()[1]
            server.stop(0).wait(2.0)
            database.close()
            shutil.rmtree(private, ignore_errors=True)
