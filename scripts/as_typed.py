"""Questions as people type them: with a slip of the finger, in a telegram's style, with politeness around them.

Teaches the reader; `evaluate_robust.py` asks with words of its own.
"""

from __future__ import annotations

import random
import re

from pincite.index.terms import analyze

__all__ = ["as_typed", "with_typo"]

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_WORD = re.compile(r"[^\W\d_]+")
_WAYS = (("typo", 0.5), ("telegram", 0.3), ("wordy", 0.2))
_DROPPED = 0.8  # of the words that tell little, in a telegram
_DENIALS = frozenset(["no", "nor", "not", "without", "never"])  # what they tell is much, and the stop words have some
_BEFORE = (
    "Hi,",
    "I have a question.",
    "Can you tell me",
    "I would like to know",
    "According to these articles,",
    "I read something about this last week and can't find it any more.",
    "My colleague asked me this morning, and I had no idea:",
    "Sorry if this is obvious, but",
    "For a report that I am writing:",
)
_AFTER = (
    "Thanks!",
    "Please quote the source.",
    "I need this today.",
    "A short answer will do.",
    "I could not find it myself.",
    "I hope someone can look it up for me, best regards.",
)


def as_typed(text: str, draw: random.Random) -> str:
    """Return a question in one of the ways in which people type it; `draw` decides.

    >>> as_typed("who repaired the old harbour?", random.Random(5))
    'repaired old harbour'
    """
    way = draw.choices([name for name, _ in _WAYS], [share for _, share in _WAYS])[0]
    if way == "typo":
        return with_typo(text, draw)
    if way == "telegram":
        words = re.findall(r"[\w'-]+", text)
        kept = [word for word in words if analyze(word) or word.casefold() in _DENIALS or draw.random() >= _DROPPED]
        return " ".join(kept) or text
    before, after = draw.choice(["", *_BEFORE]), draw.choice(["", *_AFTER])
    return f"{before} {text} {after}".strip()


def with_typo(text: str, draw: random.Random) -> str:
    """Return a text with one letter of a word of four letters or more left out, doubled, exchanged or swapped.

    >>> with_typo("Who repaired the harbour?", random.Random(3))
    'Who repailred the harbour?'
    """
    words = [word for word in _WORD.finditer(text) if len(word[0]) >= 4]
    if not words:
        return text
    word = draw.choice([one for one in words if analyze(one[0])] or words)
    at = draw.randrange(word.start() + 1, word.end())
    kind = draw.choice(["left out", "added", "exchanged", "swapped"])
    if kind == "left out":
        return text[:at] + text[at + 1 :]
    if kind == "swapped":
        return text[: at - 1] + text[at] + text[at - 1] + text[at + 1 :]
    return text[:at] + draw.choice(_LETTERS) + text[at + (kind == "exchanged") :]
