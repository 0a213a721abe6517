"""Blocking work for a server: a few threads, a short queue before them, and a limit to how long a client waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pincite.qa.api_parameters import ApiError

__all__ = ["BoundedWork"]

Result = TypeVar("Result")


class BoundedWork:
    """Threads that do what takes long.

    Work that has begun cannot be broken off: when its client is told that it takes too long, it keeps its thread and
    its place until it is done, so that there is never more of it than there are places.

    Args:
        threads: that work.
        waiting: how much more may wait for them.
        seconds: that a client waits.
    """

    def __init__(self, *, threads: int, waiting: int, seconds: float) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="pincite-serve")
        self._places = threading.BoundedSemaphore(threads + waiting)
        self._seconds = seconds

    async def run(self, work: Callable[[], Result]) -> Result:
        """Return what `work` returns, done in a thread; raises what it raises.

        Raises:
            ApiError: with status 503 if there is no place, 504 if it takes too long.
        """
        if not self._places.acquire(blocking=False):
            raise ApiError(503, "busy", "Too many questions at once. Ask again in a moment.", {"retry-after": "1"})
        try:
            future = self._pool.submit(work)
        except RuntimeError as error:
            self._places.release()
            raise ApiError(503, "stopping", "The server is about to stop.") from error
        future.add_done_callback(lambda _: self._places.release())
        done = asyncio.wrap_future(future)
        if not (await asyncio.wait({done}, timeout=self._seconds))[0]:
            done.cancel()  # has an effect on what waits
            raise ApiError(504, "time_limit", f"That took longer than {self._seconds:g} s. Ask for less.")
        return done.result()

    def close(self) -> None:
        """Take no more work, and drop what has not begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)
