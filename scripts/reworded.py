"""Question -> the same question with a word exchanged, so that what answered it no longer does.

These are three of the ways in which SQuAD 2.0's unanswerable questions were made: another entity or number, an antonym,
a negation (Rajpurkar, Jia & Liang 2018, "Know what you don't know", table 1).
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Change", "reworded"]

_OPPOSITES = [
    ("first", "last"), ("before", "after"), ("more", "less"), ("most", "least"), ("largest", "smallest"),
    ("biggest", "smallest"), ("highest", "lowest"), ("oldest", "youngest"), ("earliest", "latest"), ("best", "worst"),
    ("north", "south"), ("east", "west"), ("northern", "southern"), ("eastern", "western"), ("increase", "decrease"),
    ("increased", "decreased"), ("win", "lose"), ("won", "lost"), ("male", "female"), ("men", "women"),
    ("good", "bad"), ("better", "worse"), ("old", "new"), ("start", "end"), ("started", "ended"),
    ("begin", "finish"), ("began", "finished"), ("open", "closed"), ("opened", "closed"), ("buy", "sell"),
    ("bought", "sold"), ("father", "mother"), ("son", "daughter"), ("brother", "sister"), ("husband", "wife"),
    ("king", "queen"), ("major", "minor"), ("longest", "shortest"), ("long", "short"), ("large", "small"),
    ("high", "low"), ("fast", "slow"), ("inside", "outside"), ("allowed", "forbidden"),
    ("easy", "difficult"), ("hot", "cold"), ("early", "late"), ("majority", "minority"),
    ("always", "never"), ("same", "different"), ("true", "false"),
    ("arrived", "left"), ("accept", "refuse"), ("accepted", "refused"), ("public", "private"),
    ("direct", "indirect"), ("possible", "impossible"), ("known", "unknown"), ("love", "hate"),
]  # fmt: skip
_OPPOSITE = {a: b for pair in _OPPOSITES for a, b in (pair, pair[::-1])}
_AUXILIARY = re.compile(r"\b(is|are|was|were|did|does|do|has|have|had|could|would|should)\b", re.IGNORECASE)
_NUMBER = re.compile(r"\b\d[\d,.]*\d\b|\b\d\b")
_NAME = re.compile(r"(?<=[a-z,] )(?!I\b)(?:[A-Z][\w'’&-]*)(?: (?:of |the |de )?[A-Z][\w'’&-]*)*")
_WORD = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Change:
    """A question reworded; `old` was exchanged for `new` in it. `old` is empty if something was only added."""

    question: str
    old: str
    new: str


def reworded(question: str, pool: Sequence[str], draw: random.Random) -> Change | None:
    """Return the question reworded so that what answered it no longer does; None if no way is found.

    Args:
        question: as asked.
        pool: texts from which another name or number is taken.
        draw: decides.

    >>> reworded("Who was the first mayor?", [], random.Random(1))
    Change(question='Who was the last mayor?', old='first', new='last')
    """
    ways = []
    for pattern in (_NAME, _NUMBER):
        found = list(pattern.finditer(question))
        if found:
            match = draw.choice(found)
            known = question.lower()
            others = [m.group() for text in pool for m in pattern.finditer(text) if m.group().lower() not in known]
            if others:
                ways.append((match, draw.choice(others)))
    opposites = [match for match in _WORD.finditer(question) if match.group().lower() in _OPPOSITE]
    if opposites:
        match = draw.choice(opposites)
        ways.append((match, _OPPOSITE[match.group().lower()]))
    if ways:
        match, new = draw.choice(ways)
        return Change(question[: match.start()] + new + question[match.end() :], match.group(), new)
    auxiliaries = list(_AUXILIARY.finditer(question))
    if auxiliaries and "n't" not in question and draw.random() < 0.5:
        match = draw.choice(auxiliaries)
        return Change(f"{question[: match.end()]}n't{question[match.end() :]}", "", "")
    return None
