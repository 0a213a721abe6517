"""Functions -> how long they take, side by side, how much memory, and on which machine."""

from __future__ import annotations

import os
import platform
import re
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


def interleaved(rounds: int, sides: dict[str, Callable[[], Any]]) -> dict[str, tuple[list[float], list[float]]]:
    """Return the wall and CPU seconds of each round of each side, the sides taking turns."""
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            times[name][0].append(time.perf_counter() - wall)
            times[name][1].append(time.process_time() - cpu)
    return times


def cpu_name() -> str:
    """Return the processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def p50_and_p95(values: Sequence[float], digits: int = 1) -> dict[str, float]:
    """Return the median and the 95th percentile.

    >>> p50_and_p95([1.0, 2.0, 3.0])
    {'p50': 2.0, 'p95': 2.9}
    """
    middle, high = np.percentile(values, [50, 95]).tolist()
    return {"p50": round(middle, digits), "p95": round(high, digits)}


def spread(ratios: Sequence[float], digits: int) -> dict[str, float]:
    """Return the median, the least and the greatest of the ratios of some rounds.

    >>> spread([2.0, 1.0, 4.0], 1)
    {'ratio': 2.0, 'ratio_min': 1.0, 'ratio_max': 4.0}
    """
    found = {"ratio": statistics.median(ratios), "ratio_min": min(ratios), "ratio_max": max(ratios)}
    return {name: round(value, digits) for name, value in found.items()}


def machine(rounds: int) -> dict[str, Any]:
    """Return what the figures were measured with."""
    return {
        "rounds": rounds,
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
    }


@dataclass(slots=True)
class Memory:
    """Memory of this process, in MB (10**6 bytes).

    Attributes:
        resident_mb: all of it.
        anonymous_mb: what only this process can have; 0 where the system does not tell.
        mapped_mb: pages of files, which the system may drop and read again.
    """

    resident_mb: int = 0
    anonymous_mb: int = 0
    mapped_mb: int = 0


def memory() -> Memory:
    """Return what memory this process has now; on systems other than Linux the most that it had so far."""
    status = Path("/proc/self/status")
    if not status.exists():
        unit = 1 if sys.platform == "darwin" else 1024
        return Memory(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 10**6)
    found = dict(re.findall(r"(VmRSS|RssAnon|RssFile):\s*(\d+) kB", status.read_text()))
    return Memory(*(int(found[name]) * 1024 // 10**6 for name in ("VmRSS", "RssAnon", "RssFile")))


@contextmanager
def peak_memory(every: float = 0.02) -> Iterator[Memory]:
    """Watch this process's memory and leave the greatest of each kind in what is yielded."""
    peak, is_over = memory(), threading.Event()

    def look() -> None:
        now = memory()
        peak.resident_mb = max(peak.resident_mb, now.resident_mb)
        peak.anonymous_mb = max(peak.anonymous_mb, now.anonymous_mb)
        peak.mapped_mb = max(peak.mapped_mb, now.mapped_mb)

    def watch() -> None:
        while not is_over.wait(every):
            look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        is_over.set()
        watcher.join()
        look()


def written_bytes() -> int:
    """Return the bytes that this process has written to files so far; 0 where the system does not tell."""
    status = Path("/proc/self/io")
    found = re.search(r"wchar: (\d+)", status.read_text()) if status.exists() else None
    return int(found[1]) if found else 0
