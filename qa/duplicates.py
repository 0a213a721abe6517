"""Hits -> hits of which none repeats another: copies are folded under the passage that says all that they say.

A journalist's files hold one article under two names, in two formats, or in twelve papers' reprints of an agency, and
each copy is cut into passages of its own. A passage is a copy if one other document has nearly all of its words in the
same order, be it in several passages, and neither alters a sentence of the other. Shingles of letters (Broder 1997)
find the pairs, the words in order decide. On news of 2022 each of 82 pairs that were looked at was rightly folded; of
generated copies and of texts with one fact altered `scripts/evaluate_duplicates.py` tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from pincite.index import Passage
from pincite.qa.overlap import Comparable, comparable, overlap, says_no_more
from pincite.qa.retriever import Hit

__all__ = ["fold"]

_LETTERS = 32  # of a shingle; a power of two
_FACTOR = 0x9E3779B97F4A7C15  # odd, and its bits are well mixed
_SAMPLED = np.uint64(1 << 63)  # hashes that are counted are below: half of them
_MISSED = 2  # shingles that a sample may have too few of those in common
_MOST_SHINGLES = 4096  # in common
_ONES = np.array([number.bit_count() for number in range(256)], np.uint8)  # of each byte
_RELATED = 0.03  # share of a passage's shingles from which on another may have a part of it,
_RELATED_IN_ALL = 0.5  # and those of one document all of it
_MOST_COMPARED = 6  # pairs for each passage; many forms filled in would take long, and are no copies
_RISES = 0.25  # share of a copy's words from which on a passage takes the copy's rank, if that is better


def fold(hits: Sequence[Hit]) -> list[Hit]:
    """Return the hits without those that repeat others; these are in `also` of the hit that says what they say.

    Every hit is there once, itself or in one `also`. Which ones belong together does not depend on their order; of
    those that are copies of each other the first stays. One that says more than a copy before it takes its rank and
    its score.

    Args:
        hits: of one index, best first.
    """
    order = _by_document(hits)
    passages = [hits[rank].passage for rank in order]
    shares = _shares(passages)
    related = np.flatnonzero(shares.any(axis=0) | shares.any(axis=1)).tolist()
    if not related:
        return list(hits)
    texts = dict(zip(related, comparable([passages[number] for number in related]), strict=True))
    groups = _Groups(texts, shares, order)
    for number in range(len(passages)):
        groups.add(number)
    found = []
    for leader, members in groups.members.items():
        first = min(order[number] for number in (leader, *groups.equals(leader)))
        everyone = sorted(order[number] for number in (leader, *members))
        rank, also = min(groups.ranks[leader], everyone[0]), tuple(hits[one] for one in everyone if one != first)
        changed = also or rank != first
        found.append((rank, first, replace(hits[first], score=hits[rank].score, also=also) if changed else hits[first]))
    return [hit for _, _, hit in sorted(found, key=lambda entry: entry[:2])]


def _by_document(hits: Sequence[Hit]) -> list[int]:
    """Return the places of the hits in the order in which they are compared: those of the fullest document first."""
    sizes: Counter[str] = Counter()
    for hit in hits:
        sizes[hit.passage.document_id] += len(hit.passage.text)

    def key(place: int) -> tuple[object, ...]:
        hit = hits[place]
        return -sizes[hit.passage.document_id], hit.path, hit.passage.document_id, hit.passage.span

    return sorted(range(len(hits)), key=key)


def _shares(passages: Sequence[Passage]) -> NDArray[np.float32]:
    """Return for each passage the share of its shingles that each one of another document has, shape `(n, n)`.

    It is estimated from a sample, and rather too high: a short passage has few. What is so little that the passage
    cannot be a copy is 0.
    """
    n = len(passages)
    shares = np.zeros((n, n), np.float32)
    owners, shingles = _shingles([passage.text for passage in passages])
    if not len(shingles):
        return shares
    own = np.bincount(owners, minlength=n)
    order = np.argsort(shingles)
    owners, shingles = owners[order], shingles[order]
    documents = np.unique([passage.document_id for passage in passages], return_inverse=True)[1]
    starts = np.flatnonzero(np.append(True, shingles[1:] != shingles[:-1]))
    names = documents[owners]
    common = np.minimum.reduceat(names, starts) < np.maximum.reduceat(names, starts)
    total = int(common.sum())
    columns = np.repeat(np.where(common, np.cumsum(common) - 1, total), np.diff(starts, append=len(shingles)))
    counted = columns < min(total, _MOST_SHINGLES)  # the lowest hashes: a sample
    rows, places = np.unique(owners[counted], return_inverse=True)
    has = np.zeros((len(rows), min(total, _MOST_SHINGLES)), bool)
    has[places, columns[counted]] = True
    bits = np.packbits(has, axis=1)
    # A matrix product would do, but libraries for these take all processors for it.
    counts = np.array([_ONES[one & bits].sum(axis=1) for one in bits]).reshape(len(rows), len(rows))
    in_common = counts * max(1.0, total / _MOST_SHINGLES)
    shares[np.ix_(rows, rows)] = np.where(in_common > 0, in_common + _MISSED, 0) / own[rows][:, None]
    shares[(documents[:, None] == documents) | (shares < _RELATED)] = 0
    shares[shares.sum(axis=1) < _RELATED_IN_ALL] = 0
    return shares


def _shingles(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return hashes of `_LETTERS` letters or digits in a row: of a sample of them, and of the first ones of each text.

    The first ones may run over the end, so that a short text has one, too.

    Returns:
        The number of the text, and the hash, each of shape `(n,)`.
    """
    end = "\0" * _LETTERS
    text = "".join(text.replace("\0", " ") + end for text in texts).casefold()
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    alphabet = _alphabet()
    letters = codes[alphabet[np.minimum(codes, len(alphabet) - 1)]]
    hashes, length = letters.astype(np.uint64), 1
    while length < _LETTERS:
        hashes = hashes[:-length] * np.uint64(pow(_FACTOR, length, 1 << 64)) + hashes[length:]
        length *= 2
    hashes *= np.uint64(_FACTOR)
    places = np.flatnonzero(letters)
    is_within = letters[places + _LETTERS - 1] != 0
    places = places[(is_within & (hashes[places] < _SAMPLED)) | (letters[places - 1] == 0)]
    owners = np.cumsum(letters == 0)[places] // _LETTERS
    return owners, hashes[places]


@cache
def _alphabet() -> NDArray[np.bool_]:
    """Return of each character whether it is a letter or digit; the last one stands for all behind it."""
    return np.array([code == 0 or chr(code).isalnum() for code in range(0x3000)] + [True])


class _Groups:
    """Passages that stand, and their copies; all are numbers of texts.

    Attributes:
        members: of each passage that stands, its copies.
        ranks: of each passage that stands, the best place of a copy that has a good part of its words.
    """

    def __init__(self, texts: Mapping[int, Comparable], shares: NDArray[np.float32], places: Sequence[int]) -> None:
        self.members: dict[int, list[int]] = {}
        self.ranks: dict[int, int] = {}
        self._texts = texts
        self._shares = shares
        self._places = places
        self._left = _MOST_COMPARED * len(places)

    def add(self, number: int) -> None:
        """Put a passage to that one of a document which has most of it, if it is a copy; else it stands."""
        related = np.flatnonzero(self._shares[number]).tolist()
        standing = [other for other in related if other in self.members]
        for _, several in groupby(standing, key=lambda other: self._texts[other].passage.document_id):
            others = list(several)
            shares = self.covering(number, others) if self._shares[number, others].sum() >= _RELATED_IN_ALL else {}
            if shares:
                self.members[max(shares, key=lambda other: (shares[other], -other))].append(number)
                for other, share in shares.items():
                    if share >= _RISES:
                        self.ranks[other] = min(self.ranks[other], self._places[number])
                return
        self.members[number] = []
        self.ranks[number] = self._places[number]

    def equals(self, leader: int) -> list[int]:
        """Return the copies of a passage of which it is one itself; only of documents with one passage among them."""
        members = self.members[leader]
        own = Counter(self._texts[member].passage.document_id for member in members)
        once = [member for member in members if own[self._texts[member].passage.document_id] == 1]
        return [member for member in once if self.covering(leader, [member])]

    def covering(self, number: int, others: Sequence[int]) -> Mapping[int, float]:
        """Return the share of a passage's words that each of others, of one document, has; empty if it is no copy.

        Those that share most are taken first, and no more than are needed.
        """
        text = self._texts[number]
        covered = np.zeros(len(text.ids), bool)
        shares: dict[int, float] = {}
        for other in sorted(others, key=lambda other: (-self._shares[number, other], other)):
            self._left -= 1
            both = overlap(text, self._texts[other]) if self._left >= 0 else None
            if both is None:
                break
            covered[slice(*both)] = True
            shares[other] = (both[1] - both[0]) / len(covered)
            if says_no_more(text, covered):
                return shares
        return {}
