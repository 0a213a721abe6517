"""The few changes that pincite makes to a file system, each in one place.

Everything that makes, fills, renames or removes a file of an index goes through these functions, so that the order
of writes and syncs can be read, and every failure between two of them can be tried, in one place.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from pincite.index.errors import PinciteError

__all__ = [
    "explained",
    "fsync",
    "give_second_name",
    "make_folder",
    "open_lock",
    "remove_folder",
    "rename",
    "sync_folder",
    "unlink",
    "write_file",
    "write_note",
]


def write_file(path: str, blocks: Iterable[bytes | memoryview]) -> int:
    """Write a new file, sync it to the disk and return its size in bytes.

    The file must not exist yet. On any error it is removed again, as far as the disk allows: a file whose sync failed
    is never synced a second time, because the kernel may then report success for data that it has dropped.
    """
    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
    try:
        size = 0
        try:
            for block in blocks:
                size += _write(file, block)
            fsync(file)
        finally:
            os.close(file)
    except BaseException:
        unlink(path)
        raise
    return size


def _write(file: int, block: bytes | memoryview) -> int:
    view = memoryview(block).cast("B")
    size = len(view)
    while view:
        view = view[os.write(file, view) :]
    return size


def make_folder(path: str) -> None:
    """Make a folder if it is not there; those above it that are missing are made and synced to the disk."""
    if os.path.isdir(path):
        return
    above = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(above):
        make_folder(above)
        sync_folder(os.path.dirname(above))
    with suppress(FileExistsError):
        os.mkdir(path)


def open_lock(path: str) -> int:
    """Open the file of a lock, made if need be, and return its descriptor."""
    return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)


def write_note(file: int, note: bytes) -> None:
    """Write a few bytes to the beginning of an open file, as far as the disk allows; nothing depends on them."""
    with suppress(OSError):
        os.pwrite(file, note, 0)


def fsync(file: int) -> None:
    """Wait until the data of an open file is on the disk."""
    os.fsync(file)


def rename(old: str, new: str) -> None:
    """Put the file `old` in the place of `new`, atomically."""
    os.replace(old, new)


def give_second_name(old: str, new: str) -> None:
    """Let the file `old` be found under the name `new` as well; a copy of it where the disk knows no second names."""
    try:
        os.link(old, new)
    except OSError:
        with open(old, "rb") as file:
            write_file(new, iter(lambda: file.read(1 << 20), b""))


def sync_folder(path: str) -> None:
    """Wait until the entries of a folder (files made, renamed, removed) are on the disk."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def unlink(path: str) -> None:
    """Remove a file if it is there and may be removed; what stays is removed by a later writer."""
    with suppress(OSError):
        os.unlink(path)


def remove_folder(path: str) -> None:
    """Remove an empty folder."""
    os.rmdir(path)


@contextmanager
def explained(folder: str) -> Iterator[None]:
    """Turn a disk's refusal to write the index in `folder` into one line that says what to do."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise PinciteError(
            f"Cannot write the index {folder}: {error.strerror}. {'Free some space' if full else 'Check the folder'} "
            f"and run again; what was committed is intact."
        ) from error
