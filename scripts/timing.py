"""Functions -> how long they take, side by side, and on which machine."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Sequence
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


def machine(rounds: int) -> dict[str, Any]:
    """Return what the figures were measured with."""
    return {
        "rounds": rounds,
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
    }
