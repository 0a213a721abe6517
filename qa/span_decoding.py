"""(windows of a text, text) -> the spans that the model finds likeliest, on clean bounds.

A span is a first and a last token; its margin is the sum of their logits less that of "no answer", as BERT was run on
SQuAD 2.0 (Devlin et al. 2019, section 4.3). Spans stay within a sentence, and lists of names come out whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set

import numpy as np
from numpy.typing import NDArray

from pincite.index import Span
from pincite.index.sentences import Outline
from pincite.index.terms import analyze
from pincite.qa.question_kind import asks_for_one, could_answer
from pincite.qa.span_model import Window

__all__ = ["MAX_TOKENS", "best_spans", "clean_bounds", "says_something"]

MAX_TOKENS = 40
"""Longest span, in tokens: a list of companies has 30."""

LIST_SLACK = 4.0
"""Logits that a whole list of names may be less likely than its likeliest part. Other lists are left as the model has
them: for them it is right too often that only a part answers."""

_TOP = 16
"""Starts and ends of a window that are combined."""


def best_spans(
    windows: Sequence[Window], text: str, layout: Outline, n: int = 1, *, question: str = ""
) -> list[tuple[Span, float]]:
    """Return the spans of `text` that the model finds likeliest, best first, none within or across another.

    No span goes beyond a sentence. One that is part of a list of names is taken with the rest of the list if the model
    finds that nearly as likely; but not if the question asks for one thing, or names something in the rest itself.

    Args:
        windows: what the model says of the text.
        text: the text.
        layout: its sentences.
        n: at most so many.
        question: as asked; without it any list comes out whole.

    Returns:
        (span, margin): characters of the text on clean bounds, and the sum of the logits of its first and last token
        less that of "no answer". Empty only if the text has nothing but function words, or nothing that could be an
        answer: no number for "how many", say.
    """
    candidates = [pair for window in windows for pair in _pairs(window, layout.starts)]
    candidates.sort(key=lambda pair: (-pair[0], *pair[1:]))
    takes_lists, asked = not asks_for_one(question), frozenset(analyze(question))
    found: list[tuple[Span, float]] = []
    for margin, start, end in candidates:
        if any(start < one.end and one.start < end for one, _ in found):
            continue
        if not could_answer(question, text[start:end]) or not says_something(text[start:end]):
            continue
        if takes_lists:
            start, end = _whole_list(text, margin, start, end, candidates, asked)
        span = clean_bounds(text, start, end)
        if span.start < span.end and all(span.end <= one.start or one.end <= span.start for one, _ in found):
            found.append((span, margin))
            if len(found) == n:
                break
    return found


def says_something(text: str) -> bool:
    """Return whether a text has more than the commonest words, which alone answer nothing.

    >>> says_something("in"), says_something("in 2016"), says_something("May")
    (False, True, True)
    """
    return any(word[0].isupper() or any(map(str.isdigit, word)) for word in text.split()) or bool(analyze(text))


def _pairs(window: Window, sentences: NDArray[np.int64]) -> Iterator[tuple[float, int, int]]:
    """Yield (margin, start, end) of the likeliest spans of a window, in characters, each within a sentence."""
    count = len(window.offsets)
    inside = np.searchsorted(sentences, window.offsets[:, 0], side="right")
    starts = np.argsort(-window.start, kind="stable")[:_TOP].tolist()
    ends = np.argsort(-window.end, kind="stable")[:_TOP].tolist()
    # Each of the best alone as well: there is always a span, also where no good start goes before a good end.
    pairs = {(i, j) for i in starts for j in ends if i <= j < min(i + MAX_TOKENS, count) and inside[i] == inside[j]}
    for i, j in sorted(pairs | {(i, i) for i in (*starts, *ends)}):
        margin = float(window.start[i] + window.end[j]) - window.null
        yield margin, int(window.offsets[i, 0]), int(window.offsets[j, 1])


def _whole_list(
    text: str, margin: float, start: int, end: int, candidates: Sequence[tuple[float, int, int]], asked: Set[str]
) -> tuple[int, int]:
    """Return the longest list of names around a span that the model finds nearly as likely, or the span itself.

    What has a name that the question has (`asked`, its terms) is no list of answers: "Africa and the South Pacific" for
    "Where else than in Africa ...?".
    """

    def is_asked(name: str) -> bool:
        terms = set(analyze(name))
        return bool(terms) and terms <= asked

    longest = start, end
    for other, a, b in candidates:
        if other < margin - LIST_SLACK:
            break
        if a <= start and end <= b and b - a > longest[1] - longest[0]:
            before, after = text[a:start], text[end:b]
            is_whole = (not before or _LIST_BEFORE.search(before)) and (not after or _LIST_AFTER.match(after))
            is_names = _NAMES.match(text, a, b) or _PEOPLE.match(text, a, b)
            is_list = (is_whole and is_names) or (not before and _WHOSE_NAMES.match(after))
            if is_list and not any(map(is_asked, _BETWEEN.split(f"{before},{after}"))):
                longest = a, b
    return longest


_BETWEEN = re.compile(r"[,;]|\band\b|\bor\b")
_LIST_BEFORE = re.compile(r"(?:[,;]|\band|\bor)\s+(?:the\s+)?$")
_ROLE = r"(?:\s\([^()]{1,60}\))?"
_NAME = rf"(?:the\s)?[A-Z0-9][\w.&'’-]*(?:\s(?:of\s|the\s|and\s)?[\w.&'’-]+){{0,3}}{_ROLE}"
_NAMES = re.compile(rf"{_NAME}(?:,\s+{_NAME})*,?\s(?:and|or)\s+{_NAME}$")
_WHOSE_NAMES = re.compile(
    rf"(?:,?\s(?:and|or)\s[\w-]+)?\s(?:from|of|at|by|for|such\sas)\s{_NAME}(?:,\s+{_NAME}){{2,}},?\s(?:and|or)\s+{_NAME}$"
)
_PERSON = rf"[A-Z][\w.'’-]*(?:\s(?:[a-z]{{2,3}}\s)?[A-Z][\w.'’-]*){{1,3}}{_ROLE}"
_PEOPLE = re.compile(rf"{_PERSON}(?:[,;]\s+{_PERSON}){{2,}}$")  # as in minutes, without an "and"
_LIST_AFTER = re.compile(rf"{_ROLE}\s*(?:[,;]|and\b|or\b)\s*\w")


# --- clean bounds ------------------------------------------------------------------------------------------------

_EDGE_LEFT = re.compile(r"(?:[\s,;:!?)\]}…–—*_>]|[-.](?!\d))+")
_EDGE_RIGHT = re.compile(r"[\s,;:!?(\[{…–—*_<-]+$")
_ADDRESS = re.compile(r"\b[\w.+-]+@\w[\w-]*(?:\.[\w-]+)+\b|\b(?:https?://|www\.)[^\s<>()\[\]\"'“”]+[\w/]")
_ADDRESS_LENGTH = 200
_ABBREVIATED = re.compile(r"(?:\b[^\W\d_]\.|\b(?:Inc|Corp|Ltd|Co|Jr|Sr|St|No|Bros|etc|Dr|Mr|Mrs|Ms|Mt|vs|approx)\.)$")
_PAIRS = (("(", ")"), ("[", "]"), ("{", "}"), ("“", "”"), ("«", "»"), ("„", "“"))


def clean_bounds(text: str, start: int, end: int) -> Span:
    """Return the span widened to whole words and trimmed of white space, of punctuation and of half a pair of marks.

    A part of an e-mail or web address is widened to the whole of it.

    >>> text = 'It was “built by Ann (née Roe)”, in 1987.'
    >>> [clean_bounds(text, *ends).of(text) for ends in ((8, 18), (17, 29), (34, 41))]
    ['built by Ann', 'Ann (née Roe)', 'in 1987']
    """
    while 0 < start < end and text[start - 1].isalnum() and text[start].isalnum():
        start -= 1
    while start < end < len(text) and text[end - 1].isalnum() and text[end].isalnum():
        end += 1
    for address in _ADDRESS.finditer(text, max(0, start - _ADDRESS_LENGTH), end + _ADDRESS_LENGTH):
        if address.start() <= start < end <= address.end():
            return Span(*address.span())
    changed = True
    while changed and start < end:
        changed = False
        if match := _EDGE_LEFT.match(text, start, end):
            start, changed = match.end(), True
        if match := _EDGE_RIGHT.search(text, start, end):
            end, changed = match.start(), True
        if text[start:end].endswith(".") and not _ABBREVIATED.search(text, start, end):
            end, changed = end - 1, True
        part = text[start:end]
        for opening, closing in _PAIRS:
            if part.count(opening) > part.count(closing):
                if text.startswith(closing, end):
                    end, changed = end + 1, True
                elif part.startswith(opening):
                    start, changed = start + 1, True
            elif part.count(opening) < part.count(closing) and part.endswith(closing):
                end, changed = end - 1, True
            if changed:
                break
        for mark in "\"'":
            if not changed and part.count(mark) == 1 and part[:1] == mark:
                start, changed = start + 1, True
            elif not changed and part.count(mark) == 1 and part[-1:] == mark:
                end, changed = end - 1, True
    return Span(start, max(start, end))
