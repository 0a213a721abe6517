"""Paths as an index stores them and as a user names them, and where the nearest index is."""

from __future__ import annotations

import os

from pincite.index.errors import IndexNotFoundError

__all__ = ["DEFAULT_FOLDER", "find_index", "shown_path", "stored_path"]

DEFAULT_FOLDER = ".pincite"


def stored_path(path: str, root: str) -> str:
    """Return a path as the index stores it: relative to the folder `root` that holds the index, if it lies in there."""
    location = os.path.abspath(path)
    inside = os.path.relpath(location, root)
    return location if inside == ".." or inside.startswith(f"..{os.sep}") else inside


def shown_path(root: str, start: str, path: str) -> str:
    """Return a stored path as it is named from the folder `start`; absolute if that is empty.

    What follows a "#" may be the id of a record, in which nothing is normalised.
    """
    if os.path.isabs(path) or not start:
        return os.path.join(root, path)
    head, mark, record = path.partition("#")
    return os.path.relpath(os.path.join(root, head + mark), start) + record


def find_index(start: str = ".") -> str:
    """Return the folder of the index for `start`: the nearest `.pincite` in it or above it, relative to `start`.

    Raises:
        IndexNotFoundError: there is none.
    """
    folder = os.path.abspath(start)
    while True:
        candidate = os.path.join(folder, DEFAULT_FOLDER)
        if os.path.isdir(candidate):
            return os.path.relpath(candidate, start)
        parent = os.path.dirname(folder)
        if parent == folder:
            raise IndexNotFoundError(f"No index in {start} or above it. Build one: pincite index SOURCE")
        folder = parent
