"""A file of questions -> a line of JSON for each of its lines, in a file that an interrupted run goes on with.

Line n of the answers is of line n of the questions, whatever is on that: the two can be read side by side, and what is
there already tells where to go on.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain

from pincite.index.build import Progress
from pincite.index.errors import SourceError
from pincite.index.filters import Condition, parse_wheres
from pincite.qa.answer_formats import json_text
from pincite.qa.ask_many import in_order
from pincite.qa.pipeline import Pipeline
from pincite.qa.question_lines import Asked, opened, read_questions
from pincite.qa.reader import MIN_CONFIDENCE
from pincite.qa.render import answer_json

__all__ = ["answer_file", "append_answers"]


def answer_file(
    pipeline: Pipeline,
    path: str,
    output: str | None,
    write: Callable[[str], None],
    progress: Callable[[Progress], None] | None,
    *,
    k: int = 10,
    min_confidence: float = MIN_CONFIDENCE,
    all_answers: bool = False,
    where: str | Sequence[str | Condition] = (),
) -> int:
    """Answer a file of questions, an object of JSON a line, and return how many lines hold no question.

    The objects are those of `answer_json`, with the question's "id" if it has one; or have a "question" and an "error".

    Args:
        pipeline: answers.
        path: of the questions; `-` is stdin.
        output: file to which lines are added that it does not have yet; None for `write`.
        write: takes each line where there is no `output`.
        progress: told how far it has come, if the questions are in a file.
        k: as for `Pipeline.ask`, and so are `min_confidence` and `where`.
        all_answers: read all passages and give every answer found.

    Raises:
        SourceError: a file cannot be read or written, or `output` is of other questions.
        QuestionError: a condition cannot be read.
    """
    stats, conditions = pipeline.index.stats(), parse_wheres(where)
    ask = partial(pipeline.ask, k=k, min_confidence=min_confidence, read_all=all_answers, where=conditions)

    def answer(one: Asked) -> tuple[int, str]:
        if one.error:
            return one.end, json_text(one.head | {"error": one.error})
        return one.end, json_text(one.head | answer_json(ask(one.question), stats, all_answers=all_answers))

    errors = 0

    def noted(lines: Iterable[Asked]) -> Iterator[Asked]:
        nonlocal errors
        for one in lines:
            errors += bool(one.error)
            yield one

    with ExitStack() as stack:
        stream, size = stack.enter_context(opened(path))
        asked = noted(read_questions(stream, path))
        if output is not None:
            write, asked = stack.enter_context(append_answers(output, path, asked))
        for done, (end, line) in enumerate(in_order(answer, asked), 1):
            write(line)
            if progress and size:
                progress(Progress(end, size, done, done))
    return errors


@contextmanager
def append_answers(
    path: str, questions: str, asked: Iterator[Asked]
) -> Iterator[tuple[Callable[[str], None], Iterator[Asked]]]:
    """Open the file of answers, new or to go on with; give what adds a line to it, and what it does not answer yet.

    A last line that was not written to its end is dropped. Only one process at a time has the file.

    Args:
        path: of the answers.
        questions: path of the questions, for messages.
        asked: what `questions` asks, from its first line on.

    Raises:
        SourceError: the file has answers to other questions, is no file, is in use or cannot be written.
    """
    with _told(path):
        if os.path.exists(path) and (not os.path.isfile(path) or _are_same(path, questions)):
            raise SourceError(f"The answers cannot go to {path}. Name another file.")
        file = open(path, "ab", buffering=0)  # noqa: SIM115  # it is closed below
    with file:
        with _told(path):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise SourceError(f"Another process is writing {path}. Wait for it, or name another file.") from error
            kept, torn = _answered(path, asked, questions)
            file.truncate(kept)

        def write(line: str) -> None:
            rest = memoryview(line.encode() + b"\n")
            with _told(path):
                while rest:
                    rest = rest[file.write(rest) :]

        yield write, chain(torn, asked)


@contextmanager
def _told(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceError(
            f"The answers cannot be written to {path}: {error.strerror}. The next run goes on from what is there."
        ) from error


def _are_same(path: str, questions: str) -> bool:
    return os.path.samestat(os.stat(path), os.fstat(0) if questions == "-" else os.stat(questions))


def _answered(path: str, asked: Iterator[Asked], questions: str) -> tuple[int, list[Asked]]:
    """Return where the whole lines of a file of answers end, each seen to answer its question, and what is torn."""
    kept, number = 0, 0
    with open(path, "rb") as file:
        while start := file.read(1):
            number += 1
            if (one := next(asked, None)) is None:
                raise SourceError(f"{path} has more lines than {questions}. Name another file for the answers.")
            expected = json_text(one.head)[:-1].encode()  # the rest, an answer or an error, need not be looked at
            start += file.read(len(expected) - 1)
            if not expected.startswith(start):
                raise SourceError(
                    f"Line {number:,} of {path} does not answer line {number:,} of {questions}. "
                    "Name another file for the answers."
                )
            piece = b""
            for piece in iter(partial(file.readline, 1 << 20), b""):
                if piece.endswith(b"\n"):
                    break
            if not piece.endswith(b"\n"):
                return kept, [one]
            kept = file.tell()
    return kept, []
