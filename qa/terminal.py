"""What commands write: answers to stdout, all else to stderr, in one line and without control characters."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pincite.qa.render import Style
    from pincite.qa.render_json import Json

__all__ = ["explain_error", "note", "say", "say_json", "style", "tell"]


def say(text: str) -> None:
    """Write a text and a line end to stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say_json(body: Json) -> None:
    """Write an object to stdout, on a line."""
    from pincite.qa.answer_formats import json_text

    say(json_text(body))


def tell(text: str) -> None:
    """Write a text and a line end to stderr."""
    sys.stdout.flush()
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def note(message: str) -> None:
    """Write a message to stderr, on one line, whatever names are in it."""
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(message.split()))
    tell(f"pincite: {line}")


def explain_error(error: Exception) -> str:
    """Return what to tell a user of an error."""
    from pincite.index.errors import PinciteError

    message = " ".join(str(error).split())
    if isinstance(error, PinciteError):
        return message
    if isinstance(error, MemoryError):
        return "Out of memory. Close other programs, or index fewer articles."
    return f"This should not happen: {type(error).__name__}: {message}. Please report it; PINCITE_DEBUG=1 shows more."


def style() -> Style:
    """Return how to write to stdout: with colour if it is a terminal that can, unless NO_COLOR is set."""
    from pincite.qa.render import Style

    can = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    return Style(colour=can and not os.environ.get("NO_COLOR"))
