"""PDF bytes -> the lines of its pages, read by pdfium in processes of their own.

A crafted file may crash pdfium, or keep it busy for ever: then one process ends, not that of the user. What a page
breaks is that page: reading goes on behind it. A process is kept for the next file, since starting one takes 0.1 s.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pincite.index.extracted import MissingExtraError, UnreadableError
from pincite.index.pdf_lines import Line
from pincite.index.pdf_worker import ARTIFACT, HYPHEN, NO_MEMORY, TURN

__all__ = ["Pages", "close", "read_pages"]

_PROGRAM = Path(__file__).with_name("pdf_worker.py")
_MEMORY = 1 << 30  # bytes a process may use; it takes 40 MB, and twice what the file has
_SECONDS = 60.0  # for a file, and one more for each megabyte: pdfium reads 100 to 300 pages in a second
_PAGE_SECONDS = 20.0
_MOST_ANSWERED = 64 << 20  # bytes of lines; a page of a book has 4,000
_MOST_UNMAPPED = 0.5  # share of a page's characters; bullets and formulas often have no meaning, words hardly ever
_KEPT = 2  # idle processes
_FILES = 500  # that a process reads before it is replaced, whatever may have leaked

_NONSENSE = "pdfium answers nonsense"
_DAMAGED = "damaged beyond reading, or no PDF"
_REASONS = {  # pdfium's numbers
    4: "it needs a password; save a copy without one: qpdf --decrypt --password=... in.pdf out.pdf",
    5: "it is encrypted in a way that cannot be read; save a copy without encryption",
}


@dataclass(slots=True)
class Pages:
    """What a PDF holds.

    Attributes:
        count: of its pages.
        information: what it says of itself, under pdfium's names, such as "Title", "CreationDate" and "language".
        lines: of each page that could be read, by its 0-based number, ascending.
        drawn: 0-based numbers of pages with little text or none that show something else, such as a scan.
        unread: why the others could not be read, by their 0-based numbers.
        missing: why the last pages were left out, if they were.
    """

    count: int = 0
    information: Mapping[str, str] = field(default_factory=dict)
    lines: dict[int, list[Line]] = field(default_factory=dict)
    drawn: list[int] = field(default_factory=list)
    unread: dict[int, str] = field(default_factory=dict)
    missing: str = ""

    def add(self, page: _Page) -> None:
        """Add what was read of a page."""
        if page.lines is None:
            self.unread[page.number] = "damaged"
        elif page.unmapped > _MOST_UNMAPPED:
            self.unread[page.number] = "the fonts do not say which letters they show"
        else:
            self.lines[page.number] = page.lines
            if page.drawn:
                self.drawn.append(page.number)


def read_pages(data: bytes) -> Pages:
    """Return the pages of a PDF. Threads may read at the same time, each in a process of its own.

    Raises:
        UnreadableError: it is encrypted, damaged, no PDF, or too much for pdfium.
        MissingExtraError: pypdfium2 is not installed.
    """
    seconds = _SECONDS + len(data) / 1e6
    ends = time.monotonic() + seconds
    pages = Pages()
    reached = size = 0
    fresh = False
    while not pages.missing:
        process = _take(fresh)
        fresh = not process.files
        try:
            for answer in process.answers(data, reached, ends):
                if isinstance(answer, _Opened):
                    pages.count, pages.information = answer.count, answer.information
                else:
                    pages.add(answer)
                    reached = answer.number + 1
                    size += answer.size
                if size > _MOST_ANSWERED:
                    pages.missing = f"the file has more text than {_MOST_ANSWERED >> 20} MiB"
                    break
            else:
                return pages
        except _LostError as error:
            if time.monotonic() >= ends:
                pages.missing = f"reading the file takes longer than {seconds:.0f} s"
            elif not fresh and not error.late:  # what it has read before may be the cause
                fresh = True
            elif not pages.count:
                raise UnreadableError(f"damaged, or made to harm: {error}") from error
            else:
                pages.unread[reached] = str(error)
                reached += 1
                if reached >= pages.count:
                    return pages
        finally:
            process.release()
    return pages


def close() -> None:
    """End the processes that are kept."""
    while _idle:
        _idle.pop().end()


@dataclass(frozen=True, slots=True)
class _Opened:
    """Answer to a file that can be opened."""

    count: int
    information: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Page:
    """Answer to a page; `lines` is None if it is damaged. `size`: bytes that the answer had."""

    number: int
    lines: list[Line] | None
    unmapped: float
    drawn: bool
    size: int


class _LostError(Exception):
    """A process has ended before its answer; the message says how. `late`: its clock ended it."""

    def __init__(self, cause: str, late: bool = False) -> None:
        super().__init__(cause)
        self.late = late


class _Process:
    """A process that reads one file at a time.

    Attributes:
        files: how many it has been given.
    """

    def __init__(self) -> None:
        self.files = 0
        self._done = True
        if not sys.executable or getattr(sys, "frozen", False):
            raise UnreadableError("reading it needs a Python interpreter to run pdfium in")
        command = [sys.executable, "-I", "-S", str(_PROGRAM), str(_MEMORY), str(_PAGE_SECONDS), *_folders()]
        try:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=os.sep,  # the folder that this one is in may be removed
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
        except OSError as error:
            raise UnreadableError(f"pdfium cannot be started ({error.strerror})") from error

    def answers(self, data: bytes, first: int, ends: float) -> Iterator[_Opened | _Page]:
        """Yield what the process answers, which is told to begin with the page `first`.

        Raises:
            UnreadableError: pdfium says why it cannot read the file.
            _LostError: the process has ended, has not answered by the time `ends`, or has answered nonsense.
        """
        assert self._child.stdin and self._child.stdout
        self.files += 1
        self._done = False
        clock = threading.Timer(max(0.0, ends - time.monotonic()), self._child.kill)
        clock.daemon = True
        clock.start()
        try:
            self._child.stdin.write(json.dumps({"size": len(data), "first": first}).encode() + b"\n")
            self._child.stdin.write(data)
            self._child.stdin.flush()
            while (line := self._child.stdout.readline(_MOST_ANSWERED)).endswith(b"\n"):
                answer = _parsed(line)
                if isinstance(answer, _Opened | _Page):
                    yield answer
                    continue
                self._done = True
                if answer is not None:
                    raise UnreadableError(_REASONS.get(answer, _DAMAGED))
                return
            if line:
                raise _LostError(_NONSENSE)
        except OSError:  # of the pipe, whose other end has gone
            pass
        finally:
            clock.cancel()
        raise self._lost()

    def release(self) -> None:
        """Keep the process for the next file, or end it if it has not finished this one."""
        if self._done and self.files < _FILES and len(_idle) < _KEPT:
            _idle.append(self)
        else:
            self.end()

    def end(self) -> None:
        """End the process."""
        self._child.kill()
        self._child.wait()
        self._close()

    def leave(self) -> None:
        """Leave the process to the one that this one was forked from."""
        self._child.returncode = 0  # or Popen would complain that it is still running
        self._close()

    def _close(self) -> None:
        for pipe in (self._child.stdin, self._child.stdout):
            with suppress(OSError):  # what was not written yet
                if pipe:
                    pipe.close()

    def _lost(self) -> _LostError:
        """Return how the process ended, of which the pipes are closed."""
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(1)
        self._child.kill()
        status = self._child.wait()
        if status == NO_MEMORY:
            return _LostError(f"more than {_MEMORY >> 30} GiB of memory needed")
        if status >= 0:
            return _LostError(f"pdfium stops (status {status})")
        name = next((one.name for one in signal.Signals if one == -status), f"signal {-status}")
        if name == "SIGALRM":
            return _LostError(f"more than {_PAGE_SECONDS:.0f} s needed", late=True)
        return _LostError(f"pdfium stops ({name}), perhaps for want of memory")


def _parsed(line: bytes) -> _Opened | _Page | int | None:
    """Return an answer; a number says why the file cannot be read, None that this was all.

    Raises:
        _LostError: it is none.
    """
    try:
        answer = json.loads(line)
        if "lines" in answer:
            lines = None if answer["lines"] is None else [_line(*line) for line in answer["lines"]]
            return _Page(int(answer["page"]), lines, float(answer["unmapped"]), bool(answer["drawn"]), len(line))
        if "pages" in answer:
            return _Opened(int(answer.pop("pages")), {key: str(value) for key, value in answer.items()})
        return None if answer.get("end") else int(answer["error"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _LostError(_NONSENSE) from error


def _line(baseline: float, size: float, flags: int, *pieces: Any) -> Line:
    if not pieces:
        raise ValueError("an empty line")
    stretches = zip(map(str, pieces[::3]), map(float, pieces[1::3]), map(float, pieces[2::3]), strict=True)
    turn = flags // TURN
    return Line(float(baseline), float(size), tuple(stretches), bool(flags & HYPHEN), bool(flags & ARTIFACT), turn)


_idle: list[_Process] = []  # appending to it and popping from it are safe in threads


def _take(fresh: bool) -> _Process:
    """Return a process that reads no file; `fresh`: it has never read one."""
    try:
        return _Process() if fresh else _idle.pop()
    except IndexError:
        return _Process()


def _folders() -> list[str]:
    """Return where pypdfium2 is."""
    specs = [find_spec(name) for name in ("pypdfium2", "pypdfium2_raw")]
    found = [spec.submodule_search_locations[0] for spec in specs if spec and spec.submodule_search_locations]
    if not found:
        raise MissingExtraError("pypdfium2", "pdf")
    return list(dict.fromkeys(os.path.dirname(os.path.abspath(folder)) for folder in found))


def _leave_all() -> None:
    while _idle:
        _idle.pop().leave()


atexit.register(close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all)
