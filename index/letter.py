"""The text parts of an e-mail -> what its sender wrote, and below it what is quoted first."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pincite.index.extracted import UnreadableError
from pincite.index.mime import Mail, Text

__all__ = ["own_first", "text_of", "unflowed"]

_MOST_PAGES = 5  # parts in HTML that are read of a mail
_SIGNATURE = "-- "


def text_of(mail: Mail) -> str:
    """Return the text of a mail, its parts separated by an empty line; empty if it has none."""
    texts = []
    pages = 0
    for part in mail.texts:
        pages += part.kind == "html"
        if part.kind != "html" or pages <= _MOST_PAGES:
            texts.append(_words(part).strip("\n"))
    return own_first("\n\n".join(text for text in texts if text.strip()))


def _words(part: Text) -> str:
    if part.kind == "html":
        from pincite.index.webpages import read_html

        try:
            return read_html(part.text.encode("utf-8", "replace")).text
        except UnreadableError:
            return ""
    text = part.text.replace("\r\n", "\n").replace("\r", "\n")
    return unflowed(text, part.kind == "flowed-delsp") if part.kind.startswith("flowed") else text


def unflowed(text: str, delsp: bool = False) -> str:
    r"""Return text of `format=flowed` (RFC 3676) with each paragraph on one line.

    Args:
        text: lines that end with a space go on in the next one.
        delsp: whether that space is not part of the text.

    >>> unflowed("The ferry \nleaves at noon.\n> Which \n> one?\n")
    'The ferry leaves at noon.\n> Which one?\n'
    """
    lines: list[str] = []
    pieces: list[str] = []
    depth_before = 0
    for line in text.split("\n"):
        words = line.lstrip(">")
        depth = len(line) - len(words)
        words = words.removeprefix(" ")
        if pieces and (depth != depth_before or words == _SIGNATURE):
            lines.append(_quoted("".join(pieces), depth_before))
            pieces = []
        depth_before = depth
        goes_on = words.endswith(" ") and words != _SIGNATURE
        pieces.append(words[:-1] if goes_on and delsp else words)
        if not goes_on:
            lines.append(_quoted("".join(pieces), depth))
            pieces = []
    if pieces:
        lines.append(_quoted("".join(pieces), depth_before))
    return "\n".join(lines)


def _quoted(words: str, depth: int) -> str:
    return f"{'>' * depth} {words}" if depth else words


def own_first(text: str) -> str:
    r"""Return a mail with what it quotes at its beginning, and the line that says of whom, at its end.

    Where one quotation after the other is answered, they stay: an answer says little without its question.

    >>> own_first("Ann wrote:\n> When?\n\nAt noon.\n")
    'At noon.\n\nAnn wrote:\n> When?'
    """
    lines = text.split("\n")
    begin = next((n for n, line in enumerate(lines) if line.startswith(">")), len(lines))
    before = [line for line in lines[:begin] if line.strip()]
    if begin == len(lines) or not _introduces(before):
        return text
    end = next((n for n in range(begin, len(lines)) if lines[n].strip() and not lines[n].startswith(">")), len(lines))
    own = "\n".join(lines[end:]).strip("\n")
    answers_in_turn = any(line.startswith(">") for line in lines[end:])
    if not own or answers_in_turn or re.match(r"-- ?\n", own):
        return text
    return own + "\n\n" + "\n".join(lines[:end]).strip("\n")


def _introduces(lines: Sequence[str]) -> bool:
    """Return whether these lines only say who is quoted: there are none, or two at most that end with a colon."""
    return not lines or (len(lines) <= 2 and lines[-1].rstrip().endswith(":"))
