"""Functions of a test, run in processes of their own that need not import anything: forks of one warm process.

Run as a script it is that process: it imports a module, reads calls from its standard input, and answers each with a
line when the call is done.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

__all__ = ["Children", "mount_privately"]

_NEW_MOUNTS, _NEW_USER = 0x20000, 0x10000000
_PRIVATE = 0x40000 | 0x4000  # all that is mounted already


class Children:
    """Processes that run the functions of a module.

    Args:
        module: its name; it is imported once, before the first call.
    """

    def __init__(self, module: str) -> None:
        places = [str(Path(__file__).parents[2]), *sys.path]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # threads do not survive a fork
        self._process = subprocess.Popen(
            [sys.executable, __file__, module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self._started = 0
        self._answers: dict[int, dict[str, Any]] = {}  # Any: what JSON holds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def start(self, function: Callable[..., Any], *arguments: object) -> int:
        """Call a function of the module in a child; return the number with which to ask for the result."""
        assert self._process.stdin
        self._started += 1
        self._process.stdin.write(json.dumps([self._started, function.__name__, arguments]) + "\n")
        self._process.stdin.flush()
        return self._started

    def result(self, number: int) -> Any:  # Any: what JSON holds
        """Wait for a call and return its result; raise `AssertionError` with the traceback if it failed."""
        assert self._process.stdout
        while number not in self._answers:
            line = self._process.stdout.readline()
            assert line, "the warm process has died"
            answer = json.loads(line)
            self._answers[answer["number"]] = answer
        answer = self._answers.pop(number)
        assert "result" in answer, answer
        return answer["result"]

    def call(self, function: Callable[..., Any], *arguments: object) -> Any:  # Any: what JSON holds
        """Call a function of the module in a child and return its result."""
        return self.result(self.start(function, *arguments))


def mount_privately(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount something for this process only, as mount(2).

    Raises:
        OSError: this process may not, or the system has no such mounts.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "unshare"):
        raise OSError(errno.ENOSYS, "unshare")
    user, group = os.getuid(), os.getgid()
    _check(libc.unshare(_NEW_MOUNTS | (_NEW_USER if user else 0)))
    if user:
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _check(libc.mount(b"none", b"/", None, _PRIVATE, None))
    _check(libc.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode()))


def _check(status: int) -> None:
    if status:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _serve(module: str) -> None:
    functions = importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        number, name, arguments = json.loads(line)
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _answer(number, getattr(functions, name), arguments)


def _answer(number: int, function: Callable[..., Any], arguments: list[Any]) -> NoReturn:
    """Run a function in one more child, so that however it ends there is an answer."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            os.dup2(2, 1)
            try:
                answer = {"result": function(*arguments)}
            except BaseException:
                answer = {"error": traceback.format_exc()[-2000:]}
            os.write(writing, json.dumps(answer).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        held = file.read()
    status = os.waitpid(child, 0)[1]
    answer = json.loads(held) if held else {"died": status}
    os.write(1, json.dumps(answer | {"number": number}).encode() + b"\n")
    os._exit(0)


if __name__ == "__main__":
    _serve(sys.argv[1])
