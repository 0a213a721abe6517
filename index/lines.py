"""Stream -> its lines, none longer than memory allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from pincite.index.extracted import UnreadableError

__all__ = ["lines_of", "pass_line_end"]

_MOST_PASSED = 1 << 30  # bytes of overlong lines of a file: a hole of terabytes takes no room on the disk


def lines_of(stream: IO[bytes], longest: int) -> Iterator[tuple[bytes | None, int]]:
    r"""Yield each line of a stream with its end, and its bytes; None instead of a line that is longer than `longest`.

    Raises:
        UnreadableError: more than 1 GiB of it was in such lines.

    >>> import io
    >>> list(lines_of(io.BytesIO(b"short\ntoo long\nend"), 6))
    [(b'short\n', 6), (None, 9), (b'end', 3)]
    """
    passed = 0
    while line := stream.readline(longest + 1):
        if len(line) <= longest or line.endswith(b"\n"):
            yield line, len(line)
            continue
        ends, rest = pass_line_end(stream, _MOST_PASSED - passed)
        passed += rest
        if not ends:
            raise UnreadableError("lines without an end; what follows is not read")
        yield None, len(line) + rest


def pass_line_end(stream: IO[bytes], most: int) -> tuple[bool, int]:
    """Read on to the end of the line and return whether it came within `most` bytes, and how many that took."""
    passed = 0
    while piece := stream.readline(1 << 20):
        passed += len(piece)
        if piece.endswith(b"\n"):
            break
        if passed > most:
            return False, passed
    return True, passed
