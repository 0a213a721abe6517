"""A file of questions, on lines -> what each line asks, or what is wrong with it; nothing in it ends the reading."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from pincite.index.errors import SourceError
from pincite.index.extracted import UnreadableError
from pincite.index.lines import lines_of
from pincite.index.opening import reason_for
from pincite.qa.pipeline import MAX_WORDS

__all__ = ["LONGEST_LINE", "Asked", "Position", "parse_object", "read_lines", "read_questions", "sound_question"]

LONGEST_LINE = 1 << 20
"""Bytes of a line of questions; a question has at most 1,000 words."""

_SHOWN = 200  # characters of a line that holds no question

Position: TypeAlias = tuple[int, int]
"""Where a line ends, in bytes, and how many its file has; 0 if that is not known."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a line asks: `question`, or what it has instead and the `error` that it is; and where it ends."""

    question: str
    id: str | int | None
    error: str
    end: Position

    @property
    def head(self) -> dict[str, Any]:
        """How the object that answers it begins."""
        return ({} if self.id is None else {"id": self.id}) | {"question": self.question}


def read_lines(path: str) -> Iterator[tuple[bytes | None, Position]]:
    """Yield each line of a file, None instead of one that is too long, and where it ends; `-` is stdin.

    Raises:
        SourceError: the file cannot be read, or cannot be read on.
    """
    try:
        with open(0 if path == "-" else path, "rb", closefd=path != "-") as stream:
            end, total = 0, os.fstat(stream.fileno()).st_size
            for line, size in lines_of(stream, LONGEST_LINE):
                end += size
                yield line, (end, total)
    except FileNotFoundError as error:
        raise SourceError(f"No such file: {path}. Name a file with a question a line, or - for stdin.") from error
    except (OSError, UnreadableError) as error:
        reason = reason_for(error) if isinstance(error, OSError) else error
        raise SourceError(f"The questions in {path} cannot be read: {reason}.") from error


def read_questions(path: str) -> Iterator[Asked]:
    """Yield what each line asks: a question, or `{"id"?, "question", ...}` in a `.jsonl` file; on stdin, `-`, either.

    Raises:
        SourceError: as `read_lines`.
    """
    for line, end in read_lines(path):
        begin = (line or b"").lstrip(b" \t\xef\xbb\xbf")[:1]
        yield _asked(line, path.lower().endswith(".jsonl") or (path == "-" and begin == b"{"), end)


def _asked(line: bytes | None, as_json: bool, end: Position) -> Asked:
    name = None
    try:
        row = parse_object(line) if as_json else {"question": _decoded(line)}
        if not isinstance(row.get("id"), str | int | None):
            raise ValueError("its id is neither a string nor a whole number")
        name = row.get("id")
        return Asked(sound_question(row.get("question")), name, "", end)
    except ValueError as error:
        shown = (line or b"")[: 4 * _SHOWN].decode("utf-8", "replace").strip()[:_SHOWN]
        return Asked(shown, name, str(error), end)


def sound_question(question: object) -> str:
    """Return a question without the white space around it.

    Raises:
        ValueError: it is none; the message is a few words.
    """
    if not isinstance(question, str):
        raise ValueError("no question")
    words = len(question.split())
    if not 0 < words <= MAX_WORDS:
        raise ValueError(f"the question has {words:,} words; it needs 1 to {MAX_WORDS:,}")
    return question.strip()


def parse_object(line: bytes | None) -> dict[str, Any]:
    """Return the JSON object on a line, of which there is None if it is too long.

    Raises:
        ValueError: there is none; the message is a few words.
    """
    text = _decoded(line)
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:  # also of a number with thousands of digits
        raise ValueError("not JSON, or nested too deeply") from error
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    return row


def _decoded(line: bytes | None) -> str:
    if line is None:
        raise ValueError("it is too long")
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
