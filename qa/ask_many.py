"""Many questions -> their answers, in order, a few at a time.

Nearly all of a question's time is reading, whose network runs on every core; threads fill what is idle meanwhile,
while one question's sentences are cut, say. Embedding the questions in batches would save 1 % of the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from pincite.index.filters import Condition, parse_wheres
from pincite.qa.answers import Answer
from pincite.qa.pipeline import Pipeline
from pincite.qa.reader import MIN_CONFIDENCE

__all__ = ["ask_many", "in_order"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_THREADS = 3
"""Questions at a time, on any number of cores: one is read by the network, which takes one at a time."""

_AHEAD = 4 * _THREADS
"""Questions begun before the first of them is given back: one that takes long holds up no thread."""


def ask_many(
    pipeline: Pipeline,
    questions: Iterable[str],
    k: int = 10,
    *,
    min_confidence: float = MIN_CONFIDENCE,
    read_all: bool = False,
    where: str | Sequence[str | Condition] = (),
) -> Iterator[Answer]:
    """Yield the answer to each question, in their order; a dozen are taken ahead, so that any number can stream.

    Args: as of `Pipeline.ask`.

    Raises:
        QuestionError: as `Pipeline.ask` does, at the place of the question that it is about; that ends it.
    """
    conditions = parse_wheres(where)
    ask = partial(pipeline.ask, k=k, min_confidence=min_confidence, read_all=read_all, where=conditions)
    return in_order(ask, questions)


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
