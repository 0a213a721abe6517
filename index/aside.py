"""What of an index cannot be used any more -> out of the way, beside it; nothing is deleted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from pincite.index import disk
from pincite.index.errors import IndexFormatError, IndexNotFoundError, PinciteError
from pincite.index.manifest import read_manifest, writer

__all__ = ["forget_aside", "keep_aside", "set_aside_if_damaged"]


def set_aside_if_damaged(folder: str, sources_named: bool) -> str | None:
    """Rename an index whose manifest cannot be read, if it can be built again; return its new place, or None.

    Raises:
        IndexFormatError: no sources are named, and those that it had are lost with the manifest.
    """
    try:
        read_manifest(folder)
    except IndexNotFoundError:
        return None
    except IndexFormatError:
        if not sources_named:
            raise
        with writer(folder):
            aside = _free_name(folder)
            with disk.explained(folder):
                disk.rename(folder, aside)
                disk.sync_folder(os.path.dirname(os.path.abspath(folder)))
            return aside
    return None


def keep_aside(folder: str, names: Sequence[str]) -> str:
    """Give some files of an index, as far as they are there, a second place in a folder of their own; return it."""
    aside = _free_name(folder)
    with disk.explained(folder):
        disk.make_folder(aside)
        for name in names:
            if os.path.lexists(os.path.join(folder, name)):
                disk.give_second_name(os.path.join(folder, name), os.path.join(aside, name))
        disk.sync_folder(aside)
        disk.sync_folder(os.path.dirname(os.path.abspath(folder)))
    return aside


def forget_aside(aside: str) -> None:
    """Remove what `keep_aside` made, where it is not needed after all."""
    with suppress(OSError):
        for name in os.listdir(aside):
            disk.unlink(os.path.join(aside, name))
        disk.remove_folder(aside)


def _free_name(folder: str) -> str:
    for number in range(1, 10_000):
        aside = f"{folder.rstrip(os.sep)}.aside-{number}"
        if not os.path.lexists(aside):
            return aside
    raise PinciteError(f"Too many old indexes beside {folder}. Remove some: {folder}.aside-*")
