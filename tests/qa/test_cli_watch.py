"""`pincite watch` and `--sync` as a user meets them, with the real model."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import pytest

from tests.qa.test_cli import one_error, pincite

PATIENCE = 60.0  # seconds for what takes two on an idle machine
LIT = "When was the lighthouse at Rum Point lit?"


class Watcher:
    """A running `pincite watch`, its lines as they come."""

    def __init__(self, *options: str, cwd: Path) -> None:
        command = [sys.executable, "-m", "pincite.qa", "watch", "--debounce", "100", *options]
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
        )
        self.lines: dict[str, SimpleQueue[str]] = {}
        self._threads = []
        for name in ("stdout", "stderr"):
            self.lines[name] = SimpleQueue()
            self._threads.append(threading.Thread(target=self._read, args=(name,)))
            self._threads[-1].start()

    def _read(self, name: str) -> None:
        for line in getattr(self.process, name):
            self.lines[name].put(line.rstrip("\n"))

    def line(self, name: str = "stderr") -> str:
        return self.lines[name].get(timeout=PATIENCE)

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.end()

    def end(self) -> int:
        code = self.process.wait(timeout=PATIENCE)
        for thread in self._threads:
            thread.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream
            stream.close()
        return code

    def rest(self) -> list[str]:
        found = []
        for lines in self.lines.values():
            while not lines.empty():
                found.append(lines.get())
        return found


@contextmanager
def watching(*options: str, cwd: Path) -> Iterator[Watcher]:
    watcher = Watcher(*options, cwd=cwd)
    try:
        yield watcher
    finally:
        if watcher.process.poll() is None:
            watcher.process.kill()
            watcher.end()


def lighthouse(folder: Path, year: int) -> None:
    (folder / "a.txt").write_text(f"The lighthouse at Rum Point was lit in {year}. Its keeper was Ida Moss.\n")


def test_watch_keeps_the_index_in_step_until_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    lighthouse(tmp_path / "notes", 1893)
    assert pincite("index", "notes", cwd=tmp_path).returncode == 0
    (tmp_path / "notes/b.txt").write_text("The ferry to Rum Point leaves at noon.\n")
    with watching(cwd=tmp_path) as watcher:
        assert watcher.line().startswith("1 added, 0 changed, 0 removed, 1 unchanged: 2 passages in .pincite (")
        assert watcher.line() == "pincite: watching for changes; Ctrl-C ends it"
        lighthouse(tmp_path / "notes", 1894)
        assert watcher.line().startswith("0 added, 1 changed, 0 removed, 1 unchanged: 2 passages in .pincite (")
        (tmp_path / "notes/c.txt").write_bytes(b"\0\1\2\3" * 100)
        assert watcher.line() == "skipped notes/c.txt: binary"
        assert watcher.line().startswith("0 added, 0 changed, 0 removed, 2 unchanged, 1 skipped: 2 passages in ")
        assert watcher.interrupt() == 0
        assert watcher.rest() == ["pincite: stopped watching; what was committed is kept"]
    assert "1894" in pincite("ask", "--min-confidence", "0", LIT, cwd=tmp_path).stdout


@pytest.mark.slow
def test_watch_prints_an_object_a_line_for_programs(tmp_path: Path) -> None:
    lighthouse(tmp_path, 1893)
    assert pincite("index", "a.txt", cwd=tmp_path).returncode == 0
    with watching("--json", cwd=tmp_path) as watcher:
        assert json.loads(watcher.line("stdout"))["documents"] == {
            "added": 0,
            "changed": 0,
            "removed": 0,
            "unchanged": 1,
        }
        assert watcher.line() == "pincite: watching for changes; Ctrl-C ends it"
        lighthouse(tmp_path, 1894)
        assert json.loads(watcher.line("stdout"))["documents"]["changed"] == 1
        assert watcher.interrupt() == 0


@pytest.mark.slow
def test_watch_says_why_it_waits_and_goes_on(tmp_path: Path) -> None:
    lighthouse(tmp_path, 1893)
    assert pincite("index", "a.txt", cwd=tmp_path).returncode == 0
    with open(tmp_path / ".pincite" / "LOCK", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with watching(cwd=tmp_path) as watcher:
            assert "being written by" in watcher.line()
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert watcher.line().startswith("0 added, 0 changed, 0 removed, 1 unchanged")
            assert watcher.interrupt() == 0


def test_watch_without_an_index_is_an_error_of_one_line(tmp_path: Path) -> None:
    one_error(pincite("watch", cwd=tmp_path), "No index", "pincite index")
    one_error(pincite("watch", "--index", "gone", cwd=tmp_path), "No index in gone", "pincite index")


def test_sync_brings_the_index_in_step_before_the_question(tmp_path: Path) -> None:
    one_error(pincite("ask", "--sync", LIT, cwd=tmp_path), "No index", "pincite index")
    lighthouse(tmp_path, 1893)
    assert pincite("index", "a.txt", cwd=tmp_path).returncode == 0
    lighthouse(tmp_path, 1894)
    asked = pincite("ask", "--sync", "--min-confidence", "0", LIT, cwd=tmp_path)
    assert (asked.returncode, asked.stderr) == (0, "")
    assert "1894" in asked.stdout and "not verified" not in asked.stdout
    lighthouse(tmp_path, 1895)
    found = pincite("search", "--sync", "lighthouse", cwd=tmp_path)
    assert found.stderr == "" and "1895" in found.stdout


@pytest.mark.slow
def test_sync_answers_from_the_last_commit_while_another_process_writes(tmp_path: Path) -> None:
    lighthouse(tmp_path, 1893)
    assert pincite("index", "a.txt", cwd=tmp_path).returncode == 0
    lighthouse(tmp_path, 1894)
    with open(tmp_path / ".pincite" / "LOCK", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        asked = pincite("ask", "--sync", "--min-confidence", "0", "--json", LIT, cwd=tmp_path)
    assert asked.returncode == 0
    assert "1893" in json.loads(asked.stdout)["answer"]
    assert asked.stderr == "pincite: Another process is writing the index .pincite; this is as of its last commit.\n"
