"""Many read while one writes: each answer is from one generation, and nobody waits for anybody."""

from __future__ import annotations

import errno
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pincite.index import Index, IndexBusyError, PinciteError, SourceError, disk, manifest, merge
from tests.conftest import HashingEmbedder
from tests.index.children import Children, mount_privately
from tests.index.faults import SimulatedDisk, image_of

ARTICLES = 5
LAST = 8

_READ_ONLY, _BIND, _REMOUNT = 0x1, 0x1000, 0x20


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    with Children(__name__) as started:
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder of articles with an index of generation 0 of them, of which more will be written."""
    write_generation(tmp_path, 0)
    return tmp_path


def write_generation(folder: Path, number: int) -> None:
    """Let every article carry the number of the generation, and sync; each generation is one commit."""
    for article in range(ARTICLES):
        (folder / f"{article}.txt").write_text(f"Article {article}, generation <{number}>." + " More." * (number % 9))
    Index.sync(folder / ".pincite", [folder], embedder=HashingEmbedder())


def generation_of(index: Index) -> int:
    """Return the generation that each document and each passage of an index carries; it must be the same one."""
    vector = HashingEmbedder().embed_query("article")
    documents = list(index.documents())
    texts = [document.text for document in documents]
    for rows in (index.search_dense(vector, 100)[0], index.search_sparse("article generation", 100)[0]):
        assert len(rows) == ARTICLES
        texts += [passage.text for passage in index.passages(rows)]
        assert {index.place_of(row).path for row in rows} == {document.path for document in documents}
    found = {int(number) for text in texts for number in re.findall("<([0-9]+)>", text)}
    assert len(documents) == ARTICLES and len(texts) == 3 * ARTICLES and len(found) == 1, found
    return found.pop()


def read_until_the_last(folder: str) -> list[int]:
    """Read, in three threads, all generations that there are until the last; return how many each thread has seen."""
    shared = [Index.open(Path(folder, ".pincite"), embedder=HashingEmbedder())]

    def read(renew: Callable[[], Index]) -> int:
        seen: list[int] = []
        while not seen or seen[-1] < LAST:
            index = renew()
            seen.append(generation_of(index))
            assert generation_of(index) == seen[-1]
        assert seen == sorted(seen)
        return len(set(seen))

    def refreshed() -> Index:
        shared[0] = shared[0].refresh()
        return shared[0]

    def reopened() -> Index:
        return Index.open(Path(folder, ".pincite"), embedder=HashingEmbedder())

    with ThreadPoolExecutor() as threads:
        return list(threads.map(read, (reopened, refreshed, refreshed)))


def write_until_the_last(folder: str) -> int:
    """Commit all generations, with a merge after every few; return how many merges there were."""
    merge._TOGETHER = 3
    merges = 0
    for number in range(1, LAST + 1):
        before = len(Index.open(Path(folder, ".pincite")).segments)
        write_generation(Path(folder), number)
        merges += len(Index.open(Path(folder, ".pincite")).segments) <= before
    Index.compact(Path(folder, ".pincite"))
    return merges


def test_each_answer_is_from_one_generation_while_another_process_writes(children: Children, folder: Path) -> None:
    readers = [children.start(read_until_the_last, str(folder)) for _ in range(2)]
    assert children.call(write_until_the_last, str(folder)) > 2
    for reader in readers:
        assert min(children.result(reader)) >= 1
    assert generation_of(Index.open(folder / ".pincite")) == LAST


def test_each_answer_is_from_one_generation_while_another_thread_writes(folder: Path) -> None:
    with ThreadPoolExecutor() as threads:
        reading = threads.submit(read_until_the_last, str(folder))
        for number in range(1, LAST + 1):
            write_generation(folder, number)
        assert min(reading.result()) >= 1


def test_reader_keeps_its_generation_through_merges_and_refresh_gives_the_newest(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "_TOGETHER", 3)
    old = Index.open(folder / ".pincite", embedder=HashingEmbedder())
    touched = Index.open(folder / ".pincite", embedder=HashingEmbedder())
    assert generation_of(touched) == 0
    for number in range(1, LAST + 1):
        write_generation(folder, number)
    compacted = Index.compact(folder / ".pincite")
    names = {path.name for path in (folder / ".pincite").iterdir()}
    assert not names & {entry.name for entry in old.manifest.segments}
    assert generation_of(old) == generation_of(touched) == 0
    assert generation_of(old.refresh()) == LAST
    assert old.refresh().generation == compacted.generation
    assert compacted.refresh() is compacted


def hold_the_lock(index: str, held: str, released: str) -> None:
    with manifest.writer(index):
        Path(held).touch()
        while not Path(released).exists():
            time.sleep(0.01)


def test_second_writer_is_refused_at_once_and_told_who_writes(
    children: Children, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    signs = tmp_path_factory.mktemp("signs")
    holder = children.start(hold_the_lock, str(folder / ".pincite"), str(signs / "held"), str(signs / "released"))
    while not (signs / "held").exists():
        time.sleep(0.01)
    try:
        with pytest.raises(IndexBusyError, match=r"is being written by process [0-9]+\. Try again") as refusal:
            Index.sync(folder / ".pincite", embedder=HashingEmbedder())
        with pytest.raises(IndexBusyError):
            Index.compact(folder / ".pincite")
        process = int(re.findall("process ([0-9]+)", str(refusal.value))[0])
        os.kill(process, 0)
        assert process != os.getpid()
        assert generation_of(Index.open(folder / ".pincite")) == 0
    finally:
        (signs / "released").touch()
        children.result(holder)
    write_generation(folder, 1)


def test_second_writer_in_the_same_process_is_refused(folder: Path) -> None:
    with (
        manifest.writer(str(folder / ".pincite")),
        pytest.raises(IndexBusyError, match=f"process {os.getpid()}\\."),
    ):
        Index.sync(folder / ".pincite", embedder=HashingEmbedder())


def test_lock_that_was_removed_in_between_is_not_mistaken_for_the_lock(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    open_lock = disk.open_lock

    def removed_after_it_is_opened(path: str) -> int:
        opened.append(open_lock(path))
        if len(opened) == 1:
            os.unlink(path)
        return opened[-1]

    monkeypatch.setattr(disk, "open_lock", removed_after_it_is_opened)
    files = os.listdir("/dev/fd")
    with manifest.writer(str(folder / ".pincite")):
        monkeypatch.undo()
        with pytest.raises(IndexBusyError), manifest.writer(str(folder / ".pincite")):
            pass
    assert len(opened) == 2
    assert os.listdir("/dev/fd") == files


def test_folder_that_was_removed_in_between_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []
    open_lock = disk.open_lock

    def removed_before_it_is_opened(path: str) -> int:
        tries.append(path)
        if len(tries) == 1:
            os.rmdir(tmp_path / ".pincite")
        return open_lock(path)

    monkeypatch.setattr(disk, "open_lock", removed_before_it_is_opened)
    with manifest.writer(str(tmp_path / ".pincite")):
        assert (tmp_path / ".pincite" / "LOCK").exists()
    assert len(tries) == 2


def test_first_syncs_that_fail_side_by_side_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    start = threading.Barrier(4)

    def fail() -> bool:
        start.wait()
        with pytest.raises((IndexBusyError, SourceError)):
            Index.sync(tmp_path / ".pincite", [tmp_path / "empty"], embedder=HashingEmbedder())
        return True

    with ThreadPoolExecutor() as threads:
        assert all(job.result() for job in [threads.submit(fail) for _ in range(4)])
    assert not (tmp_path / ".pincite").exists()


def ask_as_nobody(folder: str) -> list[object]:
    """Return what a process without rights to write finds, and what it is told when it tries to write."""
    generation_of(Index.open(Path(folder, ".pincite")))  # imports what it needs, where nobody may not be able to read
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    return _asked(Path(folder))


def ask_on_a_read_only_mount(folder: str) -> list[object]:
    try:
        mount_privately(folder, folder, flags=_BIND)
        mount_privately(folder, folder, flags=_BIND | _REMOUNT | _READ_ONLY)
    except OSError:
        return []
    return _asked(Path(folder))


def _asked(folder: Path) -> list[object]:
    try:
        (folder / ".pincite" / "new").touch()
    except OSError as error:
        reason = errno.errorcode[error.errno or 0]
    else:
        return ["it may write"]
    found = generation_of(Index.open(folder / ".pincite").refresh())
    try:
        Index.sync(folder / ".pincite", embedder=HashingEmbedder())
    except PinciteError as error:
        return [reason, found, str(error)]
    return [reason, found, ""]


def test_index_in_a_read_only_folder_answers(children: Children) -> None:
    with tempfile.TemporaryDirectory() as name:  # every folder above it may be entered by everybody
        folder = Path(name)
        write_generation(folder, 0)
        folder.chmod(0o755)
        (folder / ".pincite").chmod(0o555)
        (folder / ".pincite" / "LOCK").chmod(0o444)
        try:
            reason, found, error = children.call(ask_as_nobody, name)
        finally:
            (folder / ".pincite").chmod(0o755)
    assert (reason, found) == ("EACCES", 0)
    assert error.startswith(f"Cannot write the index {name}/.pincite: Permission denied.")


def test_index_on_a_read_only_mount_answers(children: Children, folder: Path) -> None:
    answer = children.call(ask_on_a_read_only_mount, str(folder))
    if not answer:
        pytest.skip("nothing may be mounted here")
    reason, found, error = answer
    assert (reason, found) == ("EROFS", 0)
    assert error.startswith(f"Cannot write the index {folder}/.pincite: Read-only file system.")


def test_reading_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulated = SimulatedDisk(folder)
    before = {path: path.stat().st_mtime_ns for path in [folder / ".pincite", *(folder / ".pincite").iterdir()]}
    monkeypatch.setattr(disk, "os", simulated)
    assert generation_of(Index.open(folder / ".pincite").refresh()) == 0
    assert simulated.operations == []
    assert simulated.image() == image_of(folder)
    assert before == {path: path.stat().st_mtime_ns for path in before}
