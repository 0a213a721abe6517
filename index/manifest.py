"""The commit point of an index: which segments are the index, swapped by one atomic rename.

    FORMAT           written and synced first; says that the folder is an index, and of which version
    manifest.json    generation, sources, fingerprint, segments, and a checksum of itself
    seg-<random>     segments (segment.py)
    LOCK             held by the one writer

A commit writes its segments under new names, syncs them, writes and syncs the new manifest beside the old one, syncs
the folder, renames, and syncs the folder again. Until the rename the old state holds, after it the new one; this is
how Lucene commits. Readers take no lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace

from pincite.index import disk
from pincite.index.errors import IndexBusyError, IndexFormatError, IndexNotFoundError, PinciteError

__all__ = [
    "FORMAT",
    "Fingerprint",
    "Manifest",
    "SegmentEntry",
    "Source",
    "commit",
    "create",
    "damage",
    "mend_format",
    "new_segment_path",
    "orphans",
    "read_manifest",
    "remove_if_bare",
    "remove_orphans",
    "writer",
]

FORMAT = 3
_FORMAT_LINE = b"pincite index %d\n"
_MANIFEST = "manifest.json"
_LOCK_TRIES = 20


@dataclass(frozen=True, slots=True)
class Source:
    """A file or folder that the index keeps in step with.

    `path` is relative to the folder that holds the index if it lies in there, absolute otherwise.
    """

    path: str
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What must be the same when passages are added and when questions are asked.

    Attributes:
        model: the name or folder with which the embedder was loaded.
        embedder: digest of its weights and settings.
        dim: columns of its vectors.
        chunker: version of the chunking algorithm.
        chunking: its settings.
        unrelated: mean cosine of texts that have nothing to do with each other; MiniLM has 0.03, some models 0.7.
    """

    model: str
    embedder: str
    dim: int
    chunker: int
    chunking: Mapping[str, int]
    unrelated: float


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """What the manifest knows of a segment: size in bytes, crc32 of its head, counts as written."""

    name: str
    size: int
    checksum: int
    documents: int
    passages: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """One generation of an index. `fingerprint` is None until the first segment is written."""

    generation: int = 0
    sources: tuple[Source, ...] = ()
    fingerprint: Fingerprint | None = None
    segments: tuple[SegmentEntry, ...] = ()


def read_manifest(folder: str) -> Manifest:
    """Return the newest generation of the index in `folder`.

    Raises:
        IndexNotFoundError: there is no index.
        IndexFormatError: there is one, but it is damaged or of another version.
    """
    try:
        version = _read(os.path.join(folder, "FORMAT"))
        data = _read(os.path.join(folder, _MANIFEST))
    except OSError as error:
        raise PinciteError(f"Cannot read the index {folder}: {error.strerror}. Check its permissions.") from error
    if version is None and data is None:
        raise IndexNotFoundError(f"No index in {folder}. Build one: pincite index SOURCE")
    if version is not None and (other := _other_version(version)) not in (None, FORMAT):
        raise IndexFormatError(
            f"The index {folder} has format {other}, this pincite reads format {FORMAT}. "
            f"Rebuild it: pincite index --rebuild SOURCE"
        )
    if data is None:
        if version == _FORMAT_LINE % FORMAT and not any(name.startswith("seg-") for name in os.listdir(folder)):
            raise IndexNotFoundError(
                f"No index in {folder} yet, only the beginning of one. Build it: pincite index SOURCE"
            )
        raise damage(folder, f"{_MANIFEST} is missing", sources_lost=True)
    manifest = _parse(folder, data)
    if version != _FORMAT_LINE % FORMAT:
        raise damage(folder, "FORMAT is missing" if version is None else "FORMAT is not what was written")
    return manifest


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def mend_format(folder: str) -> bool:
    """Write FORMAT anew if it is not what was written although the manifest is; return whether that was so.

    The caller holds the lock.
    """
    version, data = (_read(os.path.join(folder, name)) for name in ("FORMAT", _MANIFEST))
    is_damaged = version is None or (version != _FORMAT_LINE % FORMAT and _other_version(version) is None)
    if data is None or not is_damaged:
        return False
    try:
        _parse(folder, data)
    except IndexFormatError:
        return False
    with disk.explained(folder):
        _write_format(folder)
        disk.sync_folder(folder)
    return True


def _other_version(line: bytes) -> int | None:
    words = line.split()
    is_version = len(words) == 3 and words[:2] == [b"pincite", b"index"] and words[2].isdigit() and len(words[2]) < 6
    return int(words[2]) if is_version else None


def _parse(folder: str, data: bytes) -> Manifest:
    try:
        body = json.loads(data)
        checksum = body.pop("checksum")
        fingerprint = body["fingerprint"]
        manifest = Manifest(
            generation=body["generation"],
            sources=tuple(Source(item["path"], tuple(item["exclude"])) for item in body["sources"]),
            fingerprint=Fingerprint(**fingerprint) if fingerprint else None,
            segments=tuple(SegmentEntry(**item) for item in body["segments"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise damage(folder, f"{_MANIFEST} cannot be read", sources_lost=True) from error
    if checksum != _checksum(manifest):
        raise damage(folder, f"{_MANIFEST} does not match its checksum", sources_lost=True)
    return manifest


def damage(folder: str, what: str, *, sources_lost: bool = False) -> IndexFormatError:
    """Return the error to raise where an index is not what was written; its sources are in the manifest only."""
    remedy = "Its sources are lost with it; name them: pincite repair SOURCE"
    return IndexFormatError(
        f"The index {folder} is damaged: {what}. {remedy if sources_lost else 'Repair it: pincite repair'}"
    )


def _checksum(manifest: Manifest) -> int:
    return zlib.crc32(json.dumps(asdict(manifest), sort_keys=True).encode())


def create(folder: str) -> Manifest:
    """Make `folder` an index without documents and return its manifest; the caller holds the lock."""
    with disk.explained(folder):
        if not os.path.exists(os.path.join(folder, "FORMAT")):
            _write_format(folder)
        disk.sync_folder(os.path.dirname(os.path.abspath(folder)))
        return _swap(folder, Manifest())


def _write_format(folder: str) -> None:
    path = os.path.join(folder, "FORMAT")
    temporary = f"{path}.{secrets.token_hex(4)}.tmp"
    disk.write_file(temporary, [_FORMAT_LINE % FORMAT])
    disk.rename(temporary, path)


def commit(folder: str, manifest: Manifest) -> Manifest:
    """Make `manifest`, whose segments are written and synced, the newest generation; return it as committed.

    The caller holds the lock. If this raises, the old generation holds, unless the very last sync failed: then either
    may hold after a power cut, and both are whole.
    """
    with disk.explained(folder):
        return _swap(folder, replace(manifest, generation=manifest.generation + 1))


def _swap(folder: str, manifest: Manifest) -> Manifest:
    body = asdict(manifest) | {"checksum": _checksum(manifest)}
    path = os.path.join(folder, _MANIFEST)
    temporary = f"{path}.{secrets.token_hex(4)}.tmp"
    disk.write_file(temporary, [json.dumps(body, indent=1, sort_keys=True).encode()])
    try:
        disk.sync_folder(folder)  # the names of the segments are on the disk before anything refers to them
        disk.rename(temporary, path)
    except BaseException:
        disk.unlink(temporary)
        raise
    disk.sync_folder(folder)
    return manifest


@contextmanager
def writer(folder: str) -> Iterator[None]:
    """Hold the writer's lock of the index in `folder`, made if need be.

    Raises:
        IndexBusyError: another process holds it.
    """
    file = _lock(folder)
    try:
        disk.write_note(file, b"%-20d\n" % os.getpid())
        with disk.explained(folder):
            # A writer may have died between its rename and the sync after it: what it left is read now and built upon.
            disk.sync_folder(folder)
        yield
    finally:
        os.close(file)


def _lock(folder: str) -> int:
    """Return the open and locked file of the writer's lock."""
    path = os.path.join(folder, "LOCK")
    for attempt in range(_LOCK_TRIES):
        with disk.explained(folder):
            disk.make_folder(folder)
            try:
                file = disk.open_lock(path)
            except FileNotFoundError:
                if attempt < _LOCK_TRIES - 1:
                    continue  # the folder was removed in between
                raise
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_same_file(file, path):
                    return file
            except BlockingIOError:
                number = os.pread(file, 32, 0).decode("ascii", "replace").strip()
                os.close(file)
                raise _busy(folder, f"written by {f'process {number}' if number else 'another process'}") from None
            os.close(file)
    raise _busy(folder, "removed by another process")


def _busy(folder: str, how: str) -> IndexBusyError:
    return IndexBusyError(f"The index {folder} is being {how}. Try again when it is done.")


def _is_same_file(file: int, path: str) -> bool:
    """Return whether an open file still has its name: who removes or renames an index takes its LOCK away."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def new_segment_path(folder: str) -> str:
    """Return a path for a new segment."""
    return os.path.join(folder, f"seg-{secrets.token_hex(8)}")


def orphans(folder: str, manifest: Manifest) -> list[str]:
    """Return the names of the segments that interrupted writers left behind."""
    known = {entry.name for entry in manifest.segments}
    return [name for name in os.listdir(folder) if name.startswith("seg-") and name not in known]


def remove_orphans(folder: str, manifest: Manifest, kept: Collection[str] = ()) -> None:
    """Remove what interrupted writers left behind but for the segments `kept`; the caller holds the lock."""
    keep = {entry.name for entry in manifest.segments} | set(kept)
    for name in os.listdir(folder):
        if name not in keep and (name.startswith("seg-") or name.endswith(".tmp")):
            disk.unlink(os.path.join(folder, name))


def remove_if_bare(folder: str) -> None:
    """Leave nothing behind where the very first sync failed; the caller holds the lock."""
    try:
        has_commits = read_manifest(folder).generation > 0
    except IndexNotFoundError:
        has_commits = False
    except PinciteError:
        has_commits = True  # damaged, and not ours to remove
    if has_commits:
        return
    # One step after the other, because segments or FORMAT without a manifest, or one without FORMAT, would be damage.
    with suppress(OSError):
        names = os.listdir(folder)
        for step in ([name for name in names if name.startswith("seg-") or name.endswith(".tmp")], [_MANIFEST]):
            for name in step:
                disk.unlink(os.path.join(folder, name))
            disk.sync_folder(folder)
        for name in ("FORMAT", "LOCK"):
            disk.unlink(os.path.join(folder, name))
        disk.remove_folder(folder)
