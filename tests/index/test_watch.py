"""Watching: what wakes it, what doesn't, and what it survives."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import watchfiles._rust_notify

from pincite.index import Index, IndexNotFoundError, SyncReport, scope
from pincite.index.build import sync
from pincite.index.manifest import Source, writer
from pincite.index.scope import network_disk, take_scope
from pincite.index.watch import Notice, watch
from tests.conftest import HashingEmbedder

PATIENCE = 30.0  # seconds for what happens within one on an idle machine
QUIET = 1.5  # seconds in which nothing should happen


class Watching:
    """A watcher in a thread of its own, what it said, and with which names it synced."""

    def __init__(self, index: Path, wrap: Callable[..., SyncReport] = sync, **options: Any) -> None:
        self.said: SimpleQueue[SyncReport | Notice | BaseException] = SimpleQueue()
        self.named: list[list[str]] = []
        self._wrap = partial(wrap, embedder=HashingEmbedder())
        self._stop = threading.Event()
        settings = {"debounce": 0.2, "poll": 0.2} | options
        self._iterator = watch(index, stop=self._stop, sync=self._sync, **settings)
        self._thread = threading.Thread(target=self._run)

    def _sync(self, folder: str, names: Sequence[str]) -> SyncReport:
        self.named.append(list(names))
        return self._wrap(folder, names)

    def _run(self) -> None:
        try:
            for item in self._iterator:
                self.said.put(item)
        except BaseException as error:  # raised again in the test
            self.said.put(error)

    def __enter__(self) -> Watching:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def next(self) -> SyncReport | Notice:
        item = self.said.get(timeout=PATIENCE)
        if isinstance(item, BaseException):
            raise item
        return item

    def report(self) -> SyncReport:
        item = self.next()
        assert isinstance(item, SyncReport), item
        return item

    def notice(self) -> str:
        item = self.next()
        assert isinstance(item, Notice), item
        return item.message

    def until(self, holds: Callable[[SyncReport], bool]) -> SyncReport:
        while True:
            item = self.next()
            if isinstance(item, SyncReport) and holds(item):
                return item

    def is_quiet(self) -> bool:
        try:
            item = self.said.get(timeout=QUIET)
        except Empty:
            return True
        raise AssertionError(f"{item}, synced {self.named[-1]}")


@pytest.fixture
def index(articles: Path, embedder: HashingEmbedder) -> Path:
    """The index of a folder of articles, beside it."""
    folder = articles.parent / ".pincite"
    sync(folder, [articles], embedder=embedder)
    return folder


def texts(index: Path) -> dict[str, str]:
    return {document.path.removeprefix(f"{index.parent}/"): document.text for document in Index.open(index).documents()}


def test_it_syncs_at_once_and_again_after_a_change_only_what_changed(index: Path, articles: Path) -> None:
    (articles / "new.txt").write_text("News of the day, written while nobody watched.\n")
    with Watching(index) as watching:
        assert watching.report().added == 1
        (articles / "train.txt").write_text("The train to Bern leaves at one.\n")
        assert watching.report().changed == 1
        (articles / "new.txt").unlink()
        assert watching.report().removed == 1
        (articles / "more.md").write_text("# More\n\nMore news of the day.\n")
        assert watching.report().added == 1
    assert watching.named == [[], [f"{articles}/train.txt"], [f"{articles}/new.txt"], [f"{articles}/more.md"]]
    assert texts(index)["articles/train.txt"] == "The train to Bern leaves at one.\n"


def test_without_an_index_it_does_not_begin(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFoundError):
        next(watch(tmp_path / ".pincite"))


def test_what_watches_is_loaded_only_to_watch() -> None:
    program = "import sys, pincite.index.watch, pincite.qa.cli\nprint('watchfiles' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


PAUSE = 0.15  # seconds between the steps of a slow editor


def _rename_over(path: Path) -> None:
    (path.parent / f"{path.name}.tmp").write_text("Saved over it.\n")
    time.sleep(PAUSE)
    (path.parent / f"{path.name}.tmp").rename(path)


def _back_up_and_write(path: Path) -> None:  # as vim does
    path.rename(f"{path}~")
    time.sleep(PAUSE)
    path.write_text("Saved over it.\n")
    os.unlink(f"{path}~")


def _write_in_place(path: Path) -> None:
    (path.parent / f".{path.name}.swp").write_text("swap")
    path.write_text("Saved")
    time.sleep(PAUSE)
    with path.open("a") as file:
        file.write(" over it.\n")


@pytest.mark.slow
@pytest.mark.parametrize("save", [_rename_over, _back_up_and_write, _write_in_place])
def test_each_way_of_saving_is_one_change_and_never_a_removal(
    index: Path, articles: Path, save: Callable[[Path], None]
) -> None:
    with Watching(index, debounce=1.0) as watching:
        watching.report()
        save(articles / "board.txt")
        report = watching.report()
        assert (report.added, report.changed, report.removed) == (0, 1, 0)
        assert watching.is_quiet()
    assert texts(index)["articles/board.txt"] == "Saved over it.\n"


def test_a_burst_of_changes_is_a_sync_or_a_few(index: Path, articles: Path) -> None:
    with Watching(index, debounce=0.5) as watching:
        watching.report()
        for n in range(500):
            (articles / f"{n}.txt").write_text(f"Article number {n}.\n")
        watching.until(lambda report: report.added + report.unchanged == 503)
    assert len(watching.named) <= 8
    assert [] in watching.named[1:]


@pytest.mark.slow
def test_a_file_that_comes_and_goes_is_nothing_to_speak_of(index: Path, articles: Path) -> None:
    with Watching(index, debounce=1.0) as watching:
        watching.report()
        (articles / "a.md").write_text("Not yet whole.\n")
        time.sleep(PAUSE)
        (articles / "a.md").unlink()
        (articles / "train.txt").write_text("The train to Bern leaves at one.\n")
        report = watching.report()
        assert (report.added, report.changed, report.removed, report.unchanged) == (0, 1, 0, 2)
        assert watching.is_quiet()
    assert [source.path for source in Index.open(index).sources] == ["articles"]


@pytest.mark.slow
def test_a_folder_that_is_made_moved_or_removed_is_followed(index: Path, articles: Path, tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/one.txt").write_text("The first article in a folder.\n")
    with Watching(index) as watching:
        watching.report()
        (tmp_path / "a").rename(articles / "a")
        assert watching.report().added == 1
        (articles / "a/b/two.txt").write_text("The second article in a folder.\n")
        assert watching.until(lambda report: report.added == 1)
        (articles / "a/b").rename(articles / "a/c")
        watching.until(lambda report: report.added == report.removed == 2)
        (articles / "a/c/two.txt").write_text("Another second article in a folder.\n")
        watching.until(lambda report: report.changed == 1)
        shutil.rmtree(articles / "a")
        watching.until(lambda report: report.unchanged == 3)
    assert len(texts(index)) == 3


@pytest.mark.slow
def test_what_is_no_article_wakes_nobody(articles: Path, embedder: HashingEmbedder) -> None:
    (articles / "drafts").mkdir()
    (articles / ".git").mkdir()
    (articles / "idx").mkdir()
    index = articles / "idx" / "index"
    sync(index, [articles], exclude=["drafts/", "*.rst"], embedder=embedder)
    with Watching(index) as watching:
        watching.report()
        for name in ("a.png", "drafts/a.txt", "a.rst", ".hidden.txt", ".git/a.txt", "a.txt~", ".a.txt.swp"):
            (articles / name).write_text("Nothing to read.\n")
        (index / "a.txt").write_text("Nothing to read.\n")
        index.chmod(0o700)
        assert watching.is_quiet()
        (articles / "board.txt").write_text("Everything to read.\n")
        watching.report()
        assert watching.is_quiet()  # not even by its own commit
    assert len(watching.named) == 2


@pytest.mark.slow
def test_a_single_file_is_watched_by_its_folder_and_nothing_else_there(tmp_path: Path) -> None:
    file = tmp_path / "notes" / "a.txt"
    file.parent.mkdir()
    file.write_text("One.\n")
    index = tmp_path / ".pincite"
    sync(index, [file], embedder=HashingEmbedder())
    with Watching(index) as watching:
        watching.report()
        (file.parent / "b.txt").write_text("Two.\n")
        (file.parent / "sub").mkdir()
        assert watching.is_quiet()
        _rename_over(file)
        assert watching.report().changed == 1
        _rename_over(file)
        file.write_text("Once more.\n")
        assert watching.report().changed == 1
    assert texts(index) == {"notes/a.txt": "Once more.\n"}


@pytest.mark.slow
def test_a_source_that_vanishes_keeps_its_documents_and_is_read_when_it_is_back(
    index: Path, articles: Path, tmp_path: Path
) -> None:
    with Watching(index) as watching:
        watching.report()
        articles.rename(tmp_path / "away")
        report = watching.until(lambda report: bool(report.skipped))
        assert "its documents are kept" in report.skipped[0].reason
        assert len(texts(index)) == 3
        (tmp_path / "away/train.txt").write_text("The train to Bern does not leave.\n")
        (tmp_path / "away").rename(articles)
        assert watching.notice() == "articles is there again."
        assert watching.report().changed == 1
        (articles / "board.txt").write_text("The watch goes on in the folder that is back.\n")
        assert watching.until(lambda report: report.changed == 1)
    assert len(texts(index)) == 3


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another disk than that of `tmp_path`."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs /dev/shm")
    with TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.mark.slow
def test_an_empty_folder_in_the_place_of_an_unmounted_disk_keeps_its_documents(
    articles: Path, tmp_path: Path, other_disk: Path
) -> None:
    (other_disk / "d.txt").write_text("An article on a disk.\n")
    (tmp_path / "mount point").mkdir()
    (tmp_path / "disk").symlink_to(other_disk)
    index = tmp_path / ".pincite"
    sync(index, [articles, tmp_path / "disk"], embedder=HashingEmbedder())

    def put(target: Path) -> None:
        (tmp_path / "new").symlink_to(target)
        (tmp_path / "new").rename(tmp_path / "disk")

    with Watching(index, sweep=1.0) as watching:
        watching.report()
        put(tmp_path / "mount point")
        assert "disk is empty, and on another disk than before" in watching.notice()
        (articles / "train.txt").write_text("The train to Bern leaves at one.\n")
        watching.until(lambda report: report.changed == 1)
        watching.until(lambda report: report.unchanged == 4)
        (other_disk / "d.txt").write_text("An article on a disk, changed elsewhere.\n")
        put(other_disk)
        watching.until(lambda report: report.changed == 1)
        (other_disk / "d.txt").write_text("An article on a disk, changed here.\n")
        watching.until(lambda report: report.changed == 1)
        assert watching.until(lambda report: report.unchanged == 4).removed == 0


@pytest.mark.slow
def test_links_that_are_followed_are_followed_by_the_watch(index: Path, articles: Path) -> None:
    (articles / ".store").mkdir()
    (articles / ".store/s.txt").write_text("A stored article.\n")
    (articles / ".more").mkdir()
    with Watching(index) as watching:
        watching.report()
        (articles / "s.txt").symlink_to(".store/s.txt")
        assert watching.report().added == 1
        (articles / ".store/s.txt").write_text("A stored article, changed.\n")
        assert watching.until(lambda report: report.changed == 1)
        (articles / "more").symlink_to(".more")
        (articles / ".more/m.txt").write_text("Another stored article.\n")
        assert watching.until(lambda report: report.added == 1)
        (articles / "more").unlink()
        assert watching.until(lambda report: report.removed == 1)


def test_nothing_behind_a_link_to_outside_is_watched(articles: Path, tmp_path: Path) -> None:
    (tmp_path / "outside/in").mkdir(parents=True)
    (articles / "link").symlink_to("../outside")
    (articles / "up").symlink_to("/")
    (articles / "sub").mkdir()
    scope = take_scope(str(tmp_path), str(tmp_path / ".pincite"), [Source("articles")])
    assert set(scope.folders) == {str(articles), str(articles / "sub")}


@pytest.mark.slow
def test_sources_that_another_process_adds_are_watched_too(index: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "o.txt").write_text("Of another source.\n")
    with Watching(index) as watching:
        watching.report()
        sync(index, [other], embedder=HashingEmbedder())
        watching.until(lambda report: report.unchanged == 4)
        (other / "o.txt").write_text("Of another source, changed.\n")
        assert watching.until(lambda report: report.changed == 1)


@pytest.mark.slow
def test_a_sync_that_fails_is_one_line_and_tried_again(index: Path, articles: Path) -> None:
    with Watching(index) as watching:
        watching.report()
        with writer(str(index)):
            (articles / "train.txt").write_text("The train to Bern leaves at one.\n")
            assert "is being written by process" in watching.notice()
            time.sleep(2)  # fails again
        assert watching.report().changed == 1
    assert len(watching.named) > 3


def test_an_unexpected_error_is_not_swallowed(index: Path) -> None:
    def crash(*_: object, **__: object) -> SyncReport:
        raise ZeroDivisionError

    with Watching(index, crash) as watching, pytest.raises(ZeroDivisionError):
        watching.next()


@pytest.mark.slow
def test_an_index_that_is_gone_is_not_made_of_what_changed(index: Path, articles: Path) -> None:
    with Watching(index) as watching:
        watching.report()
        shutil.rmtree(index)
        (articles / "train.txt").write_text("The train to Bern leaves at one.\n")
        assert "No index in" in watching.notice()
        assert not index.exists()
        sync(index, [articles], embedder=HashingEmbedder())
        assert watching.report().unchanged == 3


@pytest.mark.slow
def test_names_that_are_no_utf_8_are_looked_at_instead_of_watched(index: Path, articles: Path) -> None:
    with Watching(index) as watching:
        watching.report()
        with open(os.fsencode(articles) + b"/caf\xe9.txt", "w") as file:
            file.write("A name of old times.\n")
        assert "no UTF-8" in watching.notice()
        assert watching.report().added == 1
        with open(os.fsencode(articles) + b"/caf\xe9.txt", "w") as file:
            file.write("A name of old times, changed.\n")
        assert watching.until(lambda report: report.changed == 1)
        (articles / "train.txt").unlink()
        assert watching.until(lambda report: report.removed == 1)


@pytest.mark.slow
@pytest.mark.parametrize("error", [OSError("OS file watch limit reached."), RuntimeError("Too many open files")])
def test_where_the_system_refuses_to_watch_it_looks_now_and_then(
    index: Path, articles: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(watchfiles._rust_notify, "RustNotify", refuse)
    with Watching(index) as watching:
        assert str(error) in watching.notice()
        watching.report()
        (articles / "train.txt").write_text("The train to Bern leaves at one.\n")
        assert watching.report().changed == 1
        (articles / "sub").mkdir()
        (articles / "sub/new.txt").write_text("News.\n")
        assert watching.report().added == 1
        assert watching.is_quiet()


@pytest.mark.slow
def test_a_change_that_no_look_has_seen_yet_is_not_lost_when_another_source_is_watched_anew(
    index: Path, articles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scope, "network_disk", lambda location, mounts: "nfs" * location.endswith("far"))
    (tmp_path / "far").mkdir()
    (tmp_path / "far/f.txt").write_text("On the disk of a network.\n")
    sync(index, [tmp_path / "far"], embedder=HashingEmbedder())
    with Watching(index, poll=600.0) as watching:
        assert "network disk (nfs)" in watching.notice()
        watching.report()
        (tmp_path / "far/f.txt").write_text("On the disk of a network, changed.\n")
        (articles / "new").mkdir()
        assert watching.until(lambda report: report.changed == 1)


class _Deaf:
    """A watch that hears nothing until it is told to stop."""

    def __init__(self, *_: object) -> None:
        pass

    def watch(self, _debounce: int, _step: int, _timeout: int, stop: threading.Event) -> str:
        stop.wait()
        return "stop"

    def close(self) -> None:
        pass


@pytest.mark.slow
def test_a_change_that_nobody_noticed_is_found_in_the_end(
    index: Path, articles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchfiles._rust_notify, "RustNotify", _Deaf)
    with Watching(index, sweep=1.0) as watching:
        watching.report()
        (articles / "train.txt").write_text("The train to Bern leaves at one.\n")
        assert watching.until(lambda report: report.changed == 1)


MOUNTS = """\
22 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw
40 22 0:35 / /mnt/far\\040away rw shared:20 - nfs4 server:/export rw,addr=10.0.0.1
41 22 0:36 / /home/ann/drive rw - fuse.sshfs ann@server: rw
42 40 0:37 / /mnt/far\\040away/near rw - tmpfs none rw
43 22 0:38 / /mnt rw - ext4 /dev/sda1 rw
"""


@pytest.mark.parametrize(
    ("location", "kind"),
    [
        ("/home/bob", ""),
        ("/mnt/far away", "nfs4"),
        ("/mnt/far away/notes", "nfs4"),
        ("/mnt/far away/near/notes", ""),
        ("/mnt/far awayer", ""),
        ("/home/ann", "fuse.sshfs"),
        ("/", "nfs4"),
    ],
)
def test_disks_of_a_network_are_known_by_their_mount(location: str, kind: str) -> None:
    assert network_disk(location, MOUNTS) == kind
