"""A disk that fails when told to, and that knows what it would hold if the power failed now.

`SimulatedDisk` stands in for `os` in `pincite.index.disk`. It makes every change to the real file system, but for the
syncs, numbers them, lets one of them fail, and keeps a model of what of them is certainly on the disk. In the model a
file keeps what it held when it was last synced, and may have any later content, in part or as zeros; the entries of a
folder that were made, renamed or removed since that folder was last synced may each be there or not.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["FAULTS", "Crash", "Image", "Operation", "SimulatedDisk", "image_of", "restore"]

Image = Mapping[str, bytes | None]
"""What a folder holds: path in it -> content of the file, None for a folder."""

FAULTS = ("crash before", "crash after", "torn write", "ENOSPC", "EIO")

_READING = {"O_CLOEXEC", "O_CREAT", "O_DIRECTORY", "O_EXCL", "O_RDONLY", "O_RDWR", "O_TRUNC", "O_WRONLY", "path"}
_EXHAUSTIVE = 4
_SAMPLES = 8


class Crash(BaseException):
    """The process dies here: of what it would do after this, clean-up too, nothing reaches the disk."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One change to the file system: what is done, and the path from the root of the disk."""

    kind: str
    path: str


@dataclass(eq=False, slots=True)
class _File:
    content: bytearray = field(default_factory=bytearray)
    durable: bytes = b""

    def possible(self) -> list[bytes]:
        """Return some of what may be read after a power cut, if the content is not synced."""
        content = bytes(self.content)
        return [self.durable, content[: len(content) // 2], bytes(len(content)), content]


@dataclass(eq=False, slots=True)
class _Folder:
    entries: dict[str, _File | _Folder] = field(default_factory=dict)
    durable: dict[str, _File | _Folder] = field(default_factory=dict)


_Change = Sequence[tuple[_Folder, str, _File | _Folder | None]]
"""What one operation does to folders: entries that are set, or removed (None), all or none of them."""


class SimulatedDisk:
    """The functions of `os` that change files, on everything in the folder `root`.

    Args:
        root: a folder; all that is in it now counts as being on the disk.
        faults: number of an operation -> what happens to it, one of `FAULTS`. After ENOSPC all that needs space fails.
        ignored: operations (what was done before, what is to be done now) that the code is to seem not to contain.
        longest_write: bytes that a single write takes at most.
        before: called before each operation that is not one more write to the same file.

    Attributes:
        operations: what has been done, in order.
        is_dead: whether there was a crash.
    """

    def __init__(
        self,
        root: Path,
        faults: Mapping[int, str] | None = None,
        *,
        ignored: Callable[[Sequence[Operation], Operation], bool] | None = None,
        longest_write: int | None = None,
        before: Callable[[], None] | None = None,
    ) -> None:
        self.root = str(root)
        self.operations: list[Operation] = []
        self.is_dead = False
        self._faults = dict(faults or {})
        self._is_full = False
        self._ignored = ignored
        self._longest_write = longest_write
        self._before = before
        self._tree = _tree_of(image_of(root))
        self._pending: list[_Change] = []
        self._open: dict[int, tuple[str, _File | _Folder]] = {}

    def __getattr__(self, name: str) -> Any:  # Any: constants and modules of `os`
        if name not in _READING:
            raise AssertionError(f"os.{name} is not simulated")
        return getattr(os, name)

    def revive(self) -> None:
        """Let a new process work on the disk, without faults; the power has not failed."""
        self.is_dead = self._is_full = False
        self._faults = {}

    def image(self) -> Image:
        """Return what processes see; this is what the real folder must hold."""
        return _flattened(self._tree, lambda file: bytes(file.content), lambda folder: folder.entries)

    def power_cuts(self, seed: int = 0) -> Iterator[Image]:
        """Yield what the disk may hold if the power fails now, the least first; some of it more than once."""
        changed = [node for node in self._nodes() if isinstance(node, _File) and node.content != node.durable]
        numbers = random.Random(seed)
        for chosen in _subsets(len(self._pending), numbers):
            changes = [self._pending[number] for number in chosen]
            fates: list[list[int]] = [[fate] * len(changed) for fate in range(4 if changed else 1)]
            if len(changed) > 1:
                fates.append([numbers.randrange(4) for _ in changed])
            for fate in fates:
                contents = {id(file): file.possible()[i] for file, i in zip(changed, fate, strict=True)}
                yield self._after_power_cut(changes, contents)

    def _after_power_cut(self, changes: Sequence[_Change], contents: Mapping[int, bytes]) -> Image:
        def entries(folder: _Folder) -> dict[str, _File | _Folder]:
            found = dict(folder.durable)
            for changed, name, node in (item for change in changes for item in change):
                if changed is folder:
                    _set(found, name, node)
            return found

        return _flattened(self._tree, lambda file: contents.get(id(file), file.durable), entries)

    def _nodes(self) -> list[_File | _Folder]:
        """Return every file and folder that processes see or that may be on the disk."""
        found: dict[int, _File | _Folder] = {}
        waiting: list[_File | _Folder] = [self._tree]
        waiting += [node for change in self._pending for _, _, node in change if node]
        while waiting:
            node = waiting.pop()
            if id(node) not in found:
                found[id(node)] = node
                if isinstance(node, _Folder):
                    waiting += [*node.entries.values(), *node.durable.values()]
        return list(found.values())

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        folder, name, shown = self._locate(path)
        node = folder.entries.get(name) if name else folder
        creates = bool(flags & os.O_CREAT) and node is None
        truncates = bool(flags & os.O_TRUNC) and node is not None
        if self.is_dead and (creates or truncates):
            return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        opened = -1

        def act() -> None:
            nonlocal opened, node
            opened = os.open(path, flags, mode)
            if creates:
                node = _File()
                self._change([(folder, name, node)])
            elif truncates and isinstance(node, _File):
                node.content.clear()

        if creates or truncates:
            try:
                self._step("create" if creates else "truncate", shown, act)
            except Crash:
                if opened >= 0:
                    os.close(opened)
                raise
        else:
            act()
        if node is not None:
            self._open[opened] = (shown, node)
        return opened

    def close(self, file: int) -> None:
        self._open.pop(file, None)
        os.close(file)

    def write(self, file: int, data: bytes | memoryview) -> int:
        shown, node = self._opened(file)
        block = bytes(data)[: self._longest_write]

        def act(part: bytes = block) -> None:
            assert os.write(file, part) == len(part)
            node.content.extend(part)

        self._step("write", shown, act, lambda: act(block[: len(block) // 2]))
        return len(block)

    def pwrite(self, file: int, data: bytes, offset: int) -> int:
        shown, node = self._opened(file)

        def act(part: bytes = data) -> None:
            assert os.pwrite(file, part, offset) == len(part)
            node.content[offset : offset + len(part)] = part

        self._step("write", shown, act, lambda: act(data[: len(data) // 2]))
        return len(data)

    def fsync(self, file: int) -> None:
        shown, node = self._open.get(file, ("", self._tree))

        def act() -> None:
            if isinstance(node, _File):
                node.durable = bytes(node.content)
            else:
                self._make_durable(node)

        self._step("sync" if isinstance(node, _File) else "sync folder", shown, act)

    def replace(self, old: str, new: str) -> None:
        folder, name, shown = self._locate(new)
        old_folder, old_name, _ = self._locate(old)

        def act() -> None:
            os.replace(old, new)
            self._change([(old_folder, old_name, None), (folder, name, old_folder.entries[old_name])])

        self._step("rename", shown, act)

    def unlink(self, path: str) -> None:
        self._remove("unlink", path, os.unlink)

    def rmdir(self, path: str) -> None:
        self._remove("rmdir", path, os.rmdir)

    def mkdir(self, path: str) -> None:
        folder, name, shown = self._locate(path)

        def act() -> None:
            os.mkdir(path)
            self._change([(folder, name, _Folder())])

        self._step("mkdir", shown, act)

    def _remove(self, kind: str, path: str, remove: Callable[[str], None]) -> None:
        folder, name, shown = self._locate(path)
        if name not in folder.entries:
            remove(path)  # raises as it should

        def act() -> None:
            remove(path)
            self._change([(folder, name, None)])

        self._step(kind, shown, act)

    def _step(self, kind: str, path: str, act: Callable[[], None], tear: Callable[[], None] | None = None) -> None:
        """Do one operation, or what becomes of it."""
        if self.is_dead:
            return
        operation = Operation(kind, path)
        if self._ignored and self._ignored(self.operations, operation):
            return
        is_next_write = kind == "write" and self.operations[-1:] == [operation]
        if self._before and not is_next_write:
            self._before()
        fault = self._faults.get(len(self.operations))
        self.operations.append(operation)
        if fault is None:
            if self._is_full and kind in ("create", "write", "mkdir"):
                _refuse(errno.ENOSPC)
            act()
            return
        if fault != "crash before":
            if fault == "crash after":
                act()
            elif tear:
                tear()
        if fault in ("ENOSPC", "EIO"):
            self._is_full = fault == "ENOSPC"
            _refuse(getattr(errno, fault))
        self.is_dead = True
        raise Crash

    def _locate(self, path: str) -> tuple[_Folder, str, str]:
        """Return the folder that holds the last part of a path, that part, and the path from the root."""
        shown = os.path.relpath(os.path.abspath(path), self.root)
        assert not shown.startswith(".." + os.sep), f"{path} is not on the simulated disk"
        folder = self._tree
        if shown in (".", ".."):
            return folder, "", "."
        *above, name = shown.split(os.sep)
        for part in above:
            node = folder.entries[part]
            assert isinstance(node, _Folder)
            folder = node
        return folder, name, shown

    def _opened(self, file: int) -> tuple[str, _File]:
        shown, node = self._open.get(file, ("", _File()))
        assert isinstance(node, _File)
        return shown, node

    def _change(self, change: _Change) -> None:
        for folder, name, node in change:
            _set(folder.entries, name, node)
        self._pending.append(change)

    def _make_durable(self, folder: _Folder) -> None:
        for change in self._pending:
            if any(changed is folder for changed, _, _ in change):
                for changed, name, node in change:
                    _set(changed.durable, name, node)
        self._pending = [change for change in self._pending if not any(changed is folder for changed, _, _ in change)]


def image_of(root: Path) -> Image:
    """Return what a real folder holds."""
    image: dict[str, bytes | None] = {}
    for path in root.rglob("*"):
        image[str(path.relative_to(root))] = None if path.is_dir() else path.read_bytes()
    return image


def restore(root: Path, image: Image) -> None:
    """Let a real folder hold just what an image says."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for name, content in sorted(image.items()):
        if content is None:
            (root / name).mkdir()
        else:
            (root / name).write_bytes(content)


def _tree_of(image: Image) -> _Folder:
    tree = _Folder()
    folders = {"": tree}
    for path, content in sorted(image.items()):
        above, _, name = path.rpartition(os.sep)
        node: _File | _Folder = _Folder() if content is None else _File(bytearray(content), content)
        if isinstance(node, _Folder):
            folders[path] = node
        folders[above].entries[name] = folders[above].durable[name] = node
    return tree


def _flattened(
    folder: _Folder,
    content: Callable[[_File], bytes],
    entries: Callable[[_Folder], Mapping[str, _File | _Folder]],
    above: str = "",
) -> dict[str, bytes | None]:
    image: dict[str, bytes | None] = {}
    for name, node in entries(folder).items():
        path = os.path.join(above, name)
        if isinstance(node, _File):
            image[path] = content(node)
        else:
            image[path] = None
            image |= _flattened(node, content, entries, path)
    return image


def _subsets(n: int, numbers: random.Random) -> Iterator[Sequence[int]]:
    """Yield subsets of `range(n)`, ascending: all of them if they are few, otherwise the telling ones and some more."""
    everything = range(n)
    if n <= _EXHAUSTIVE:
        for size in range(n + 1):
            yield from combinations(everything, size)
        return
    yield from (everything[:end] for end in range(n + 1))
    yield from ([number] for number in everything)
    yield from ([number for number in everything if number != lost] for lost in everything)
    for _ in range(_SAMPLES):
        yield [number for number in everything if numbers.random() < 0.5]


def _set(entries: dict[str, _File | _Folder], name: str, node: _File | _Folder | None) -> None:
    if node is None:
        entries.pop(name, None)
    else:
        entries[name] = node


def _refuse(number: int) -> NoReturn:
    raise OSError(number, os.strerror(number))
