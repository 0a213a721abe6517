"""Sources -> the folders to watch, and a change in one of them -> what is to be synced.

These are the folders that a walk enters, each watched on its own: what a walk leaves out, be it hidden, excluded or
behind a link to outside, costs no watch and wakes nobody.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from pincite.index.errors import SourceError
from pincite.index.formats import EXTENSIONS, extension_of
from pincite.index.manifest import Source
from pincite.index.sources import SourceFile
from pincite.index.walk import Folder, excluder, find_files, is_hidden

__all__ = ["Presence", "Scope", "is_empty", "network_disk", "presence", "take_scope"]

_NETWORK = re.compile(r"nfs|cifs|smb|9p$|afs$|ceph|lustre|gluster|drvfs|vboxsf|virtiofs|prl_fs|davfs|fuse\.")
_ODD_NAMES = "some names in it are no UTF-8, and cannot be watched"
_NO_UTF8 = re.compile("[\ud800-\udfff]")

Presence = tuple[int, ...]
"""What is another when a source is another than before: its device, then inodes."""


@dataclass(frozen=True, slots=True)
class _Watched:
    """A watched folder as a part of one source."""

    source: str  # its location
    folder: Folder
    excluded: Callable[[str], bool] | None


@dataclass(slots=True)
class Scope:
    """What is watched, and why some of it is not.

    Attributes:
        root: the folder that holds the index.
        index: the folder of the index, whose own changes are no news.
        folders: the locations to watch, each for itself, without what is below them.
        states: a hash of the paths and stamps of its files for each source that is there, by location.
        unwatchable: why a source is to be looked at now and then instead, by location.
    """

    root: str
    index: str
    folders: dict[str, list[_Watched]] = field(default_factory=dict)
    states: dict[str, bytes] = field(default_factory=dict)
    unwatchable: dict[str, str] = field(default_factory=dict)
    _files: dict[str, str] = field(default_factory=dict)  # the sources of files that are in none of their folders
    _linking: set[str] = field(default_factory=set)  # sources with links that are followed

    def due(self, changes: Iterable[str]) -> tuple[set[str], bool]:
        """Return the files and sources to sync after changes at some locations, and whether to take the scope anew."""
        due: set[str] = set()
        anew = False
        for path in changes:
            parent, _, name = path.rpartition("/")
            if path in self._files:
                due.add(self._files[path])
            if path == self.index:
                continue
            if path in self.folders:  # made, removed or moved as a whole, or its permissions changed
                due |= {watched.source for watched in self.folders[path]}
                anew = True
            if is_hidden(name):
                continue
            for watched in self.folders.get(parent or "/", ()):
                is_link = os.path.islink(path)
                is_folder = not is_link and os.path.isdir(path)
                if watched.excluded and watched.excluded(watched.folder.relative + name + "/" * is_folder):
                    continue
                if is_folder or is_link or watched.source in self._linking:
                    due.add(watched.source)
                    anew = True
                elif extension_of(name) in EXTENSIONS:
                    due.add(os.path.join(self.root, watched.folder.stored + name))
        return due, anew

    def add(self, location: str, exclude: Sequence[str], unwatchable: str = "") -> None:
        """Add a source, at least its state.

        Raises:
            SourceError: it is not there, or cannot be listed.
        """
        entered: dict[str, Folder] = {}

        def enter(folder: Folder) -> None:
            entered[folder.location.rstrip("/") or "/"] = folder

        digest = blake2b(digest_size=16)
        elsewhere: set[str] = set()
        for item in find_files(location, root=self.root, exclude=exclude, entered=enter):
            digest.update(repr(item).encode("utf-8", "surrogatepass"))
            if _NO_UTF8.search(item.path):
                unwatchable = unwatchable or _ODD_NAMES
            if isinstance(item, SourceFile):
                folder, name = os.path.split(item.location)
                if folder not in entered or name != os.path.basename(item.path):
                    elsewhere.add(item.location)
        self.states[location] = digest.digest()
        if unwatchable or any(map(_NO_UTF8.search, [location, *entered])):
            self.unwatchable[location] = unwatchable or _ODD_NAMES
            return
        if elsewhere or any(one.linked for one in entered.values()):
            self._linking.add(location)
        for name in elsewhere if entered else elsewhere | {location}:
            self._files[name] = location
            # By its folder, because a file that is replaced is another one.
            self.folders.setdefault(os.path.dirname(name), [])
        excluded = excluder(exclude)
        for name, one in entered.items():
            if not f"{name}/".startswith(f"{self.index}/"):
                self.folders.setdefault(name, []).append(_Watched(location, one, excluded))


def take_scope(root: str, index: str, sources: Sequence[Source]) -> Scope:
    """Return what to watch for some sources; those that are not there or cannot be listed are left out.

    Args:
        root: the folder that holds the index.
        index: the folder of the index.
        sources: as the index knows them.
    """
    scope = Scope(os.path.abspath(root), os.path.realpath(index))
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        mounts = ""
    for source in sources:
        location = os.path.normpath(os.path.join(scope.root, source.path))
        kind = network_disk(os.path.realpath(location), mounts)
        with suppress(SourceError):  # as the next sync says
            why = f"it is on a network disk ({kind}), which does not tell of changes" if kind else ""
            scope.add(location, source.exclude, why)
    return scope


def network_disk(location: str, mounts: str) -> str:
    """Return the kind of network disk on which a folder is, wholly or in part, or an empty string.

    A disk of a network tells of changes that are made here, but not of those that are made elsewhere.

    Args:
        location: a real path.
        mounts: the content of /proc/self/mountinfo (proc_pid_mountinfo(5)).
    """
    found = ("", "")
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), (left.split(" ") + [""] * 5)[4])
        kind = right.split(" ")[0]
        if point.startswith(location.rstrip("/") + "/") and _NETWORK.match(kind):
            return kind
        if (location + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(found[0]):
            found = (point, kind)
    return found[1] if _NETWORK.match(found[1]) else ""


def presence(location: str) -> Presence | None:
    """Return which file or folder a source is now, or None if it is not there."""
    try:
        status = os.stat(location)
        if stat.S_ISDIR(status.st_mode):
            return status.st_dev, status.st_ino
        folders = [os.stat(os.path.dirname(name)) for name in (location, os.path.realpath(location))]
    except OSError:
        return None
    return status.st_dev, *(folder.st_ino for folder in folders)


def is_empty(location: str) -> bool:
    """Return whether a folder has nothing at all in it."""
    try:
        with os.scandir(location) as entries:
            return next(entries, None) is None
    except OSError:
        return False
