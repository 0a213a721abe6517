"""Two passages -> the words that they have in common, in order, or None where one alters a sentence of the other.

What is altered decides, not how much: between the words that both have, all may differ that stands by itself, such as a
headline or a caption, but no word within a sentence, be it a name, a number or a "not".
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate, chain, pairwise

import numpy as np
from numpy.typing import NDArray

from pincite.index import Passage
from pincite.qa.wording import gaps_of, is_break, words_of

__all__ = ["FURNITURE", "MIN_COVERED", "SHINGLE", "Comparable", "comparable", "overlap", "says_no_more"]

SHINGLE = 5
"""Words in a row that two passages share before they are compared."""

FURNITURE = 15
"""Words that a copy may have for itself as a headline with a byline, and as a line of credits."""

MIN_COVERED = 0.7
"""Share of a copy's words that the other document must have."""

_STOP = re.compile(r"[^\w\s]*[.!?]")  # of a sentence; no headline ends so
_DASH = re.compile(r"[—–]|\s-\s")  # as behind "PARIS"
_BLANK = 80  # characters: what begins before is the first of its document, whatever white space is before it
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, and its bits are well mixed


class Comparable:
    """A passage as its words.

    Attributes:
        passage: the passage.
        words: as `words_of` returns them; `ids`: a number for each, the same in all passages that are compared.
        shingles: a hash of `SHINGLE` words in a row for each word; the last ones run over the end.
    """

    def __init__(self, passage: Passage, words: list[str], ids: list[int], shingles: NDArray[np.uint64]) -> None:
        self.passage = passage
        self.words = words
        self.ids = ids
        self.shingles = shingles

    @cached_property
    def places(self) -> dict[int, int]:
        """The shingles that are in it once, in order, with their places."""
        shingles = self.shingles.tolist()
        counts = Counter(shingles)
        return {shingle: place for place, shingle in enumerate(shingles) if counts[shingle] == 1}

    @cached_property
    def gaps(self) -> list[str]:
        """What is before, between and behind the words."""
        return gaps_of(self.passage.text)


def comparable(passages: Sequence[Passage]) -> list[Comparable]:
    """Return passages to be compared with each other."""
    words = [words_of(passage.text) for passage in passages]
    numbers = {word: number for number, word in enumerate(dict.fromkeys(chain.from_iterable(words)), 1)}
    ids = [[numbers[word] for word in one] for one in words]
    end = [0] * (SHINGLE - 1)  # so that a text of n words has n shingles, however short it is
    flat = np.array(list(chain.from_iterable(chain(one, end) for one in ids)), np.uint64)
    shingles = np.zeros(max(len(flat) - len(end), 0), np.uint64)
    for n in range(SHINGLE):
        shingles = (shingles + flat[n : n + len(shingles)]) * _FACTOR
    starts = accumulate((len(one) + len(end) for one in ids), initial=0)
    return [
        Comparable(passage, own_words, own_ids, shingles[start : start + len(own_ids)])
        for passage, own_words, own_ids, start in zip(passages, words, ids, starts, strict=False)
    ]


def overlap(text: Comparable, other: Comparable) -> tuple[int, int] | None:
    """Return from which word to which another text has all words of a text in the same order, perhaps with more.

    Words are the same if they are so run together. None if there are no such words, or if a sentence of theirs has
    other words in the other text.
    """
    if text.ids == other.ids:
        return 0, len(text.ids)
    blocks = _blocks(text, other)
    start, other_start, length = next(blocks, (0, 0, 0))
    if not length:
        return None
    begin = _edge(text, start, other, other_start, -1, length)
    end, other_end = start + length, other_start + length
    if begin is None:
        return None
    for start, other_start, length in blocks:
        words, others = text.words[end:start], other.words[other_end:other_start]
        if "".join(words) != "".join(others) and (words or not _stands_alone(other, other_end, other_start)):
            return None
        end, other_end = start + length, other_start + length
    last = _edge(text, end, other, other_end, 1, length)
    return None if last is None or last <= begin else (begin, last)


def says_no_more(text: Comparable, covered: NDArray[np.bool_]) -> bool:
    """Return whether what is not covered of a text is but a headline with a byline, or a line of credits."""
    n, shared = len(covered), np.flatnonzero(covered)
    if not len(shared) or len(shared) < MIN_COVERED * n:
        return False
    start, end = int(shared[0]), int(shared[-1]) + 1
    if len(shared) < end - start or max(start, n - end) > FURNITURE:
        return False
    has_headline = start == 0 or (text.passage.span.start < _BLANK and _is_apart(text.gaps[start], -1))
    credits = text.words[end:]
    return has_headline and (
        not credits or (_is_apart(text.gaps[end], 1) and not any(word[0].isdigit() for word in credits))
    )


def _blocks(text: Comparable, other: Comparable) -> Iterator[tuple[int, int, int]]:
    """Yield where runs of the same words begin in either text, and their length, in order.

    If not all words are one run, they are found as by a patience diff: by the shingles that each text has once, as many
    as are in the same order.
    """
    ids, others = text.ids, other.ids
    before, run, _ = f" {' '.join(other.words)} ".partition(f" {' '.join(text.words)} ")
    if run:
        yield 0, before.count(" "), len(ids)
        return
    last = max(len(ids) - SHINGLE, 0)  # a shingle that begins behind it runs over the end
    places = other.places
    anchors = [(start, places[key]) for key, start in text.places.items() if key in places and start <= last]
    end = other_end = 0
    for n in _longest_increasing([found for _, found in anchors]):
        start, found = anchors[n]
        if start < end or found < other_end:
            continue
        first, other_first = start, found
        while first > end and other_first > other_end and ids[first - 1] == others[other_first - 1]:
            first, other_first = first - 1, other_first - 1
        end, other_end = start, found
        while end < len(ids) and other_end < len(others) and ids[end] == others[other_end]:
            end, other_end = end + 1, other_end + 1
        yield first, other_first, end - first


def _longest_increasing(numbers: Sequence[int]) -> Sequence[int]:
    """Return the places of a longest increasing subsequence (Fredman 1975).

    >>> _longest_increasing([7, 1, 2, 9, 3])
    [1, 2, 4]
    """
    if all(one < following for one, following in pairwise(numbers)):
        return range(len(numbers))
    least: list[int] = []  # by length, the least number with which a subsequence of it ends,
    ends: list[int] = []  # and where that is
    before: list[int] = []
    for place, number in enumerate(numbers):
        length = bisect_left(least, number)
        before.append(ends[length - 1] if length else -1)
        least[length : length + 1] = [number]
        ends[length : length + 1] = [place]
    found = ends[-1:]
    while before[found[-1]] >= 0:
        found.append(before[found[-1]])
    return found[::-1]


def _parted_otherwise(words: Sequence[str], others: Sequence[str]) -> tuple[int, int]:
    """Return how many words of either are the same letters together; those of the shorter one, or none.

    >>> _parted_otherwise(["co", "operate"], ["cooperate", "with", "us"])
    (2, 1)
    """
    if not (words and others):
        return 0, 0
    ends, other_ends = list(accumulate(map(len, words))), list(accumulate(map(len, others)))
    length = min(ends[-1], other_ends[-1])
    if length not in ends or length not in other_ends or "".join(words)[:length] != "".join(others)[:length]:
        return 0, 0
    return ends.index(length) + 1, other_ends.index(length) + 1


def _edge(text: Comparable, place: int, other: Comparable, other_place: int, step: int, most: int) -> int | None:
    """Return where what two texts share begins or ends, if both go on as they may: with what stands by itself.

    Args:
        text, other: the texts.
        place, other_place: in words, where the first of their blocks begins, or the last one ends.
        step: -1 where it begins, 1 where it ends.
        most: length of the block.
    """
    words, others = _beyond(text, place, step), _beyond(other, other_place, step)
    same, other_same = _parted_otherwise([word[::step] for word in words], [word[::step] for word in others])
    place, other_place = place + step * same, other_place + step * other_same
    gap, other_gap = text.gaps[place], other.gaps[other_place]
    if (len(words) > same and not (_is_apart(gap, step) or _STOP.match(gap))) or (
        len(others) > other_same and not is_break(other_gap)
    ):
        # Two headlines may end alike, and two lines of credits begin so.
        inner = (
            n
            for n in range(1, min(most, FURNITURE))
            if "\n" in text.gaps[place - step * n] and "\n" in other.gaps[other_place - step * n]
        )
        alike = next(inner, 0)
        place, other_place = place - step * alike, other_place - step * alike
    words, others = _beyond(text, place, step), _beyond(other, other_place, step)
    if (words and not is_break(text.gaps[place])) or (others and not is_break(other.gaps[other_place])):
        return None
    return None if _is_form(words, others, with_numbers=step < 0) else place


def _beyond(text: Comparable, place: int, step: int) -> list[str]:
    """Return the words before (-1) or behind (1) a place, the nearest first."""
    return text.words[:place][::-1] if step < 0 else text.words[place:]


def _is_apart(gap: str, step: int) -> bool:
    """Return whether a headline may end (-1), or a line of credits begin (1), at what stands between two words."""
    if step < 0 and _STOP.match(gap):
        return False
    return "\n" in gap or (step < 0 and _DASH.search(gap) is not None)


def _stands_alone(text: Comparable, start: int, end: int) -> bool:
    """Return whether some words, if there are any, are not parts of sentences to which the words beside them belong."""
    return start == end or (is_break(text.gaps[start]) and is_break(text.gaps[end]))


def _is_form(words: Sequence[str], others: Sequence[str], *, with_numbers: bool = False) -> bool:
    """Return whether words are those of a form that others fill in otherwise: "week 12" for "week 13".

    Args:
        words: the nearest to what is shared first; `others` the same.
        with_numbers: only if a number differs. Bylines may have a date in common, and another name.
    """
    length = min(len(words), len(others), FURNITURE)
    counts, other_counts = Counter(words[:length]), Counter(others[:length])
    differ = (counts - other_counts) + (other_counts - counts)
    if with_numbers and not any(word[0].isdigit() for word in differ):
        return False
    return 2 * (counts & other_counts).total() > length
