"""A file of questions -> a line of JSON for each of its lines, in a file that an interrupted run goes on with.

Line n of the answers is of line n of the questions, whatever is on that: the two can be read side by side, and what is
there already tells where to go on. Nearly all of a question's time is reading, whose network runs on every core;
threads fill what is idle meanwhile, while one question's sentences are cut, say.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import TypeVar

from pincite.index.errors import SourceError
from pincite.index.reports import Progress
from pincite.qa.answer_formats import json_text
from pincite.qa.question_lines import Asked, read_questions
from pincite.qa.render_json import Json

__all__ = ["answer_file", "in_order"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_THREADS = 3
"""Questions at a time, on any number of cores: one is read by the network, which takes one at a time."""

_AHEAD = 4 * _THREADS
"""Questions begun before the first of them is given back: one that takes long holds up no thread."""

_LONGEST_ANSWER = 64 << 20  # bytes of a line of answers that a run goes on behind


def in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield what `work` makes of each item, in their order, done in threads; the first error ends it.

    Items are taken in the caller's thread, no more than a dozen ahead of what was yielded.
    """
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="pincite-ask")
    begun: deque[Future[Result]] = deque()
    try:
        for item in items:
            begun.append(pool.submit(work, item))
            while begun and (len(begun) >= _AHEAD or begun[0].done()):
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def answer_file(
    ask: Callable[[str], Json],
    path: str,
    output: str | None,
    write: Callable[[str], None],
    progress: Callable[[Progress], None] | None,
) -> int:
    """Answer a file of questions, an object of JSON a line, and return how many lines hold no question.

    The objects are those of `ask`, which runs in threads, with the question's "id" if it has one; or have a "question"
    and an "error". Lines that `output` does not have yet are added to it; where there is none, `write` takes each.

    Raises:
        SourceError: a file cannot be read or written, or `output` is of other questions.
    """
    errors = 0

    def counted() -> Iterator[Asked]:
        nonlocal errors
        for one in read_questions(path):
            errors += bool(one.error)
            yield one

    def answer(one: Asked) -> tuple[Asked, str]:
        return one, json_text(one.head | ({"error": one.error} if one.error else ask(one.question)))

    asked = counted()
    if output is not None:
        asked, write = _resumed(output, path, asked), partial(_append, output)
    for done, (one, line) in enumerate(in_order(answer, asked), 1):
        write(line)
        if progress and one.end[1]:
            progress(Progress(*one.end, done, done))
    return errors


def _append(path: str, line: str) -> None:
    with _told(path), open(path, "ab") as file:
        file.write(line.encode() + b"\n")


@contextmanager
def _told(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceError(
            f"The answers cannot be written to {path}: {error.strerror}. The next run goes on from what is there."
        ) from error


def _resumed(path: str, questions: str, asked: Iterator[Asked]) -> Iterator[Asked]:
    """Return what a file of answers, new or to go on with, does not answer yet, and drop a last line that is torn.

    Raises:
        SourceError: it cannot be written, or has a line that does not answer its question.
    """
    source: str | int = 0 if questions == "-" else questions
    kept, torn = 0, []
    with _told(path):
        is_same = os.path.exists(path) and os.path.exists(source) and os.path.samefile(path, source)
        if is_same or (os.path.exists(path) and not os.path.isfile(path)):
            raise SourceError(f"The answers cannot go to {path}. Name another file.")
        with open(path, "a+b") as file:
            file.seek(0)
            for number, line in enumerate(iter(partial(file.readline, _LONGEST_ANSWER), b""), 1):
                one = next(asked, None)
                head = json_text(one.head)[:-1].encode() if one else b""  # what follows need not be looked at
                if one is None or line[: len(head)] != head[: len(line)] or len(line) == _LONGEST_ANSWER:
                    raise SourceError(f"Line {number:,} of {path} answers no line of {questions}. Name another file.")
                if line.endswith(b"\n"):
                    kept += len(line)
                else:
                    torn = [one]
            file.truncate(kept)
    return chain(torn, asked)
