"""How far a sync, or a file of questions, has come -> a bar on the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pincite.index import Progress

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(after: float = 0.0, noun: str = "passages") -> Iterator[Callable[[Progress], None] | None]:
    """Show on a terminal, on stderr, what is passed on while this is open; give None where there is no terminal.

    Args:
        after: seconds in which nothing is shown yet, so that a short sync shows nothing at all.
        noun: what is counted.
    """
    if not sys.stderr.isatty():
        yield None
        return
    started = time.monotonic()
    with ExitStack() as stack:
        show: Callable[[Progress], None] | None = None if after else stack.enter_context(_bar(started, noun))

        def pass_on(progress: Progress) -> None:
            nonlocal show
            if show is None and time.monotonic() - started >= after:
                show = stack.enter_context(_bar(started, noun))
            if show:
                show(progress)

        yield pass_on


@contextmanager
def _bar(started: float, noun: str) -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn(f"{{task.fields[passages]}} {noun}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, passages="0", rate="")

        def show(progress: Progress) -> None:
            share = progress.bytes_read / progress.bytes_total if progress.bytes_total else 1.0
            expected = progress.passages_found / share if share else None
            rate = progress.passages_done / max(time.monotonic() - started, 0.001)
            bar.update(
                task,
                completed=progress.passages_done,
                total=expected,
                passages=f"{progress.passages_done:,}",
                rate=f"{rate:.{0 if rate >= 10 else 1}f}/s",
            )

        yield show
