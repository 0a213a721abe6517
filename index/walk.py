"""Sources -> the files to read: folders walked in a fixed order, what cannot be read reported with its reason.

A link is followed only to what lies inside its source and is not found there under its own name, so that nothing
outside the given sources is read, no text is indexed twice, and a web of links costs no more than its targets.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from pincite.index.errors import SourceError
from pincite.index.formats import EXTENSIONS, extension_of
from pincite.index.opening import kind_of, reason_for

__all__ = [
    "Folder",
    "Skipped",
    "SourceFile",
    "Stamp",
    "excluder",
    "find_files",
    "find_in",
    "is_hidden",
    "reason_for",
]

_VERSION_CONTROL = frozenset({"CVS", "_darcs"})  # .git, .hg, .svn, .bzr and .jj are hidden anyway


@dataclass(frozen=True, slots=True)
class Stamp:
    """What changes when a file changes, as far as the file system tells without reading it."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to read.

    Attributes:
        path: the name stored in the index: '/'-separated, relative to the root if under it, otherwise absolute.
        location: the absolute path to open, without any links in it; what a link leads to, if `path` is one.
        stamp: the state in which the file was found.
    """

    path: str
    location: str
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Skipped:
    """A path that was not read, or `path:line` for a record, and why; `passes` if it may be read another time."""

    path: str
    reason: str
    passes: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that a walk enters; every path ends with '/', or is empty.

    Attributes:
        location: where it is, an absolute path without any links in it.
        stored: what the stored paths of its files begin with.
        relative: its path from the source folder on, for the exclude patterns.
        linked: whether it was reached through a link, so that others may lead here too.
    """

    location: str
    stored: str
    relative: str
    linked: bool


def find_files(
    source: str, *, root: str, exclude: Sequence[str] = (), entered: Callable[[Folder], object] | None = None
) -> Iterator[SourceFile | Skipped]:
    """Return the files of `source`, one after the other, sorted by path.

    Hidden files and folders (leading dot) below `source` and folders of version control are left out.

    Args:
        source: a file or a folder; if relative, then to the current folder.
        root: the folder to which stored paths are relative.
        exclude: patterns in the syntax of `.gitignore`, relative to the source folder (to the folder of a file).
        entered: called with each folder before its files are found.

    Raises:
        SourceError: at the call, if `source` is missing, is no file or folder or cannot be listed, or if a
            pattern of `exclude` is none.
    """
    excluded = excluder(exclude)
    try:
        if not source:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        location = os.path.abspath(source)
        status = os.stat(location)
        if stat.S_ISDIR(status.st_mode):
            return _walk(location, _listing(location), os.path.abspath(root), excluded, entered or (lambda _: None))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _source_error(source, error) from error
    path = _stored(location, os.path.abspath(root))
    if not stat.S_ISREG(status.st_mode):
        raise SourceError(f"Cannot read {_printable(source)}: {kind_of(status.st_mode)}. Name a file or a folder.")
    if excluded is not None and excluded(os.path.basename(location)):
        return iter([Skipped(path, "left out by an exclude pattern")])
    return iter([SourceFile(path, os.path.realpath(location), _stamp(status))])


def find_in(source: str, path: str, *, root: str, exclude: Sequence[str] = ()) -> Iterator[SourceFile | Skipped]:
    """Yield what `find_files` would of the folder `source` for `path` and what is below it.

    For a file this costs a look at that file only. There is nothing to yield if nothing is there any more.

    Args:
        source: a folder.
        path: the stored path of a file or folder in it.
        root, exclude: as for `find_files`.
    """
    root = os.path.abspath(root)
    location = os.path.join(root, path)
    excluded = excluder(exclude)
    parts = os.path.relpath(location, os.path.abspath(source)).split(os.sep)
    for n, part in enumerate(parts, 1):
        inner = "/".join(parts[:n])
        if is_hidden(part):
            return
        try:
            status = os.lstat(os.path.join(source, inner))
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            yield Skipped(path, reason_for(error))
            return
        if stat.S_ISLNK(status.st_mode) or (n == len(parts) and stat.S_ISDIR(status.st_mode)):
            # Which links are followed depends on all others.
            for item in find_files(source, root=root, exclude=exclude):
                if item.path == path or item.path.startswith(f"{path}/"):
                    yield item
            return
        if excluded is not None and excluded(inner + "/" * stat.S_ISDIR(status.st_mode)):
            return
    if not stat.S_ISREG(status.st_mode):
        yield Skipped(path, kind_of(status.st_mode))
    elif extension_of(path) in EXTENSIONS:
        yield SourceFile(path, os.path.join(os.path.realpath(source), *parts), _stamp(status))


@dataclass(frozen=True, slots=True)
class _Level:
    """A folder in the middle of being walked; `named` is its location as the source was given, links and all."""

    folder: Folder
    named: str
    entries: Iterator[os.DirEntry[str]]


def _walk(
    top: str,
    listing: Iterator[os.DirEntry[str]],
    root: str,
    excluded: Callable[[str], bool] | None,
    entered: Callable[[Folder], object],
) -> Iterator[SourceFile | Skipped]:
    """Yield what is below the folder `top`.

    The stack is explicit: paths of 4,095 bytes allow 2,000 folders in each other, twice Python's recursion limit.
    """
    real_top = os.path.realpath(top)
    links = _Links(real_top, excluded)
    first = Folder(_with_slash(real_top), _with_slash(_stored(top, root)), "", False)
    entered(first)
    stack = [_Level(first, _with_slash(top), listing)]
    while stack:
        folder, named = stack[-1].folder, stack[-1].named
        for entry in stack[-1].entries:
            name = entry.name
            if is_hidden(name):
                continue
            stored = folder.stored + name
            location = folder.location + name
            linked = folder.linked
            try:
                is_folder = entry.is_dir(follow_symlinks=False)
                if excluded is not None and excluded(folder.relative + name + "/" * is_folder):
                    continue
                if entry.is_symlink():
                    followed = links.follow(location, stored)
                    if isinstance(followed, Skipped):
                        yield followed
                    if not isinstance(followed, str):
                        continue
                    location, linked = followed, True
                    status = os.stat(location)
                    is_folder = stat.S_ISDIR(status.st_mode)
                    if is_folder and excluded is not None and excluded(folder.relative + name + "/"):
                        continue
                if not is_folder:
                    if extension_of(name) not in EXTENSIONS and entry.is_file():
                        continue
                    if not entry.is_symlink():
                        status = entry.stat(follow_symlinks=False)
                    if not stat.S_ISREG(status.st_mode):
                        yield Skipped(stored, kind_of(status.st_mode))
                    elif not linked or links.first_visit(status):
                        yield SourceFile(stored, location, _stamp(status))
                    continue
                if linked and not links.first_visit(os.stat(location)):
                    continue
                inner = _listing(location)
            except OSError as error:
                yield Skipped(stored, reason_for(error))
                continue
            inner_stored = stored if linked else _stored(named + name, root)
            inner_folder = Folder(location + "/", _with_slash(inner_stored), folder.relative + name + "/", linked)
            entered(inner_folder)
            stack.append(_Level(inner_folder, f"{named}{name}/", inner))
            break
        else:
            stack.pop()


class _Links:
    """Decides which links inside one source folder are followed."""

    def __init__(self, top: str, excluded: Callable[[str], bool] | None) -> None:
        self._top = top
        self._excluded = excluded
        self._visited: set[tuple[int, int]] = set()

    def first_visit(self, status: os.stat_result) -> bool:
        """Return whether this file or folder, reached through a link, has not been reached through one before."""
        identity = (status.st_dev, status.st_ino)
        if identity in self._visited:
            return False
        self._visited.add(identity)
        return True

    def follow(self, link: str, stored: str) -> str | Skipped | None:
        """Return the path that `link` leads to, or why it is not followed, or None if nobody needs to know."""
        try:
            target = os.path.realpath(link, strict=True)
            status = os.stat(target)
        except FileNotFoundError:
            return Skipped(stored, "a link to nothing")
        is_folder = stat.S_ISDIR(status.st_mode)
        if stat.S_ISREG(status.st_mode) and extension_of(stored) not in EXTENSIONS:
            return None
        if not _with_slash(target).startswith(_with_slash(self._top)):
            return Skipped(stored, "a link to outside of the source folder")
        if is_folder and _with_slash(os.path.realpath(os.path.dirname(link))).startswith(_with_slash(target)):
            return Skipped(stored, "a link to a folder that it is in")
        inside = target[len(_with_slash(self._top)) :]
        parts = inside.split(os.sep)
        if ".pincite" in parts or self._is_excluded(parts, is_folder):
            return None
        hidden = any(part.startswith(".") or part in _VERSION_CONTROL for part in parts)
        if not hidden and (is_folder or extension_of(inside) in EXTENSIONS):
            return Skipped(stored, f"a link to {_printable(inside)}, which is read there")
        if (status.st_dev, status.st_ino) in self._visited:
            return Skipped(stored, f"a link to {_printable(inside)}, to which another link leads")
        return target

    def _is_excluded(self, parts: list[str], is_folder: bool) -> bool:
        if self._excluded is None:
            return False
        folders = ["/".join(parts[:n]) + "/" for n in range(1, len(parts) + is_folder)]
        return any(self._excluded(name) for name in [*folders, "/".join(parts) + "/" * is_folder])


def _listing(folder: str) -> Iterator[os.DirEntry[str]]:
    """Return the entries of `folder` in an order that makes all paths of a walk sorted."""
    with os.scandir(folder) as entries:
        return iter(sorted(entries, key=_sort_key))


def _sort_key(entry: os.DirEntry[str]) -> str:
    return entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name


def excluder(patterns: Sequence[str]) -> Callable[[str], bool] | None:
    """Return what says whether a path, relative to its source and of a folder with '/' at its end, is excluded.

    Raises:
        SourceError: if one of `patterns` is none.
    """
    if not patterns:
        return None
    import pathspec

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of `re`, about a pattern such as [[]
            spec = pathspec.GitIgnoreSpec.from_lines(patterns)
    except (ValueError, TypeError, re.error) as error:
        shown = ", ".join(_printable(pattern) for pattern in patterns)
        raise SourceError(f"Cannot use the exclude pattern {shown}: write it as in a .gitignore file.") from error
    # Names that are no UTF-8 hold lone surrogates, which some of pathspec's back ends refuse.
    return lambda name: spec.match_file(name.encode("utf-8", "replace").decode("utf-8"))


def _source_error(source: str, error: OSError | ValueError) -> SourceError:
    name = _printable(source)
    if isinstance(error, ValueError) or error.errno in (errno.ENOENT, errno.ENOTDIR):
        return SourceError(f"No such file or folder: {name}. Check the name, or drop it: pincite index --remove {name}")
    return SourceError(f"Cannot read {name}: {reason_for(error)}. Make it readable, or name another source.")


def _stored(location: str, root: str) -> str:
    """Return the name under which `location` is stored; empty for the root itself."""
    if location == root:
        return ""
    prefix = root if root.endswith(os.sep) else root + os.sep
    name = location[len(prefix) :] if location.startswith(prefix) else location
    return name if os.sep == "/" else name.replace(os.sep, "/")


def _with_slash(path: str) -> str:
    return path if not path or path.endswith("/") else path + "/"


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is never found in a source."""
    return name.startswith(".") or name in _VERSION_CONTROL


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _printable(name: str) -> str:
    """Return `name` on one line, whatever is in it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name)
