"""A file of questions, on lines -> what each line asks, or what is wrong with it; nothing in it ends the reading."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from pincite.index.errors import SourceError
from pincite.index.extracted import UnreadableError
from pincite.index.lines import lines_of
from pincite.qa.pipeline import MAX_WORDS

__all__ = ["LONGEST_LINE", "Asked", "opened", "parse_object", "read_questions", "sound_lines", "sound_question"]

LONGEST_LINE = 1 << 20
"""Bytes of a line of questions; a question has at most 1,000 words."""

_SHOWN = 200  # characters of a line that holds no question


@dataclass(frozen=True, slots=True)
class Asked:
    """What a line asks: `question`, or what it has instead and the `error` that it is; `end` is its last byte + 1."""

    question: str
    id: str | int | None
    error: str
    end: int

    @property
    def head(self) -> dict[str, Any]:
        """How the object that answers it begins."""
        return ({} if self.id is None else {"id": self.id}) | {"question": self.question}


@contextmanager
def opened(path: str) -> Iterator[tuple[IO[bytes], int]]:
    """Open a file of questions, and say how many bytes it has; 0 if that is not known."""
    try:
        stream = open(0 if path == "-" else path, "rb", closefd=path != "-")  # noqa: SIM115  # it is closed below
    except OSError as error:
        raise SourceError(f"The questions in {path} cannot be read: {error.strerror}.") from error
    with stream:
        yield stream, os.fstat(stream.fileno()).st_size


def read_questions(stream: IO[bytes], path: str) -> Iterator[Asked]:
    """Yield what each line asks: a question, or an object `{"id"?, "question", ...}` in a `.jsonl` file.

    On stdin, `-`, the first line says which of the two it is.

    Raises:
        SourceError: the file cannot be read on.
    """
    as_json = path.lower().endswith(".jsonl")
    end = 0
    for number, (line, size) in enumerate(sound_lines(stream, path)):
        if path == "-" and number == 0:
            as_json = line is not None and line.lstrip().startswith(b"{")
        end += size
        yield _asked(line, as_json, end)


def sound_lines(stream: IO[bytes], path: str) -> Iterator[tuple[bytes | None, int]]:
    """Yield each line and its bytes, None instead of one that is too long; a byte-order mark is left out.

    Raises:
        SourceError: the file cannot be read on.
    """
    try:
        for number, (line, size) in enumerate(lines_of(stream, LONGEST_LINE)):
            yield line.removeprefix(b"\xef\xbb\xbf") if line and not number else line, size
    except (OSError, UnreadableError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SourceError(f"The questions in {path} cannot be read: {reason}.") from error


def _asked(line: bytes | None, as_json: bool, end: int) -> Asked:
    shown = (line or b"")[: 4 * _SHOWN].decode("utf-8", "replace").strip()[:_SHOWN]
    name = None
    try:
        if line is not None and not as_json:
            question: object = line.decode("utf-8")
        else:
            row = parse_object(line)
            name, question = row.get("id"), row.get("question")
            if not isinstance(name, str | int | None) or isinstance(name, bool):
                name = None
                raise ValueError("its id is neither a string nor a whole number")
        return Asked(sound_question(question), name, "", end)
    except ValueError as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        return Asked(shown, name, reason, end)


def sound_question(question: object) -> str:
    """Return a question without the white space around it.

    Raises:
        ValueError: it is none; the message is a few words.
    """
    if not isinstance(question, str):
        raise ValueError("no question" if question is None else "its question is not a string")
    words = len(question.split())
    if not words:
        raise ValueError("the question is empty")
    if words > MAX_WORDS:
        raise ValueError(f"the question has {words:,} words; at most {MAX_WORDS:,} are read")
    return question.strip()


def parse_object(line: bytes | None) -> dict[str, Any]:
    """Return the JSON object on a line of `sound_lines`.

    Raises:
        ValueError: there is none; the message is a few words.
    """
    if line is None:
        raise ValueError(f"the line is longer than {LONGEST_LINE >> 20} MiB")
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error
    except ValueError as error:
        raise ValueError("not JSON" if line.strip() else "the line is empty") from error
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    return row
