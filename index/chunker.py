"""Document -> passages: whole sentences up to a target size, counted in the model's own tokens.

A passage rather begins at a heading or a paragraph than exactly at the target size, and a heading stays with the
text below it. Every offset is exact because passages are cut from the text and never rebuilt: their spans, and the
white space between them, are the document.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pincite.index.dates import iso_date
from pincite.index.passage import Document, Passage, Span
from pincite.index.sentences import Opening, Outline, outline

__all__ = ["VERSION", "Chunking", "Tokenizer", "chunk", "fit_lead", "fit_title"]

VERSION = 1
"""Part of the index's fingerprint: another number means that the same text gives other passages."""


class Tokenizer(Protocol):
    """What the chunker needs of an embedder."""

    def token_offsets(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return for each text, shape `(t, 2)`: start and end character of its tokens, none of them special."""
        ...


# nDCG@10 of hybrid search by target/overlap: `scripts/evaluate.py ir DIR --target 200 --overlap 40` and so on,
# news_2022 with `--others 160`. The articles of time have no paragraphs; there .015 is chance, on the others .005.
#
#              130/26  200/0  200/40  200/80  250/50
#   time         .692   .687    .673    .700    .712
#   news_2022    .902   .906    .904    .904    .900
#   cmu_qad      .965   .963    .964    .963    .961
_TARGET_TOKENS = 250
_OVERLAP_TOKENS = 50


@dataclass(frozen=True, slots=True)
class Chunking:
    """How passages are cut; part of the index's fingerprint.

    Attributes:
        max_tokens: a passage and its lead never have more tokens than this; the model's window without special
            tokens.
        target_tokens: the size aimed at, exceeded by up to a quarter where a paragraph or the document ends.
        overlap_tokens: a passage that begins inside a paragraph repeats this much of the one before it, in whole
            sentences; none that is longer.
    """

    max_tokens: int = 254
    target_tokens: int = _TARGET_TOKENS
    overlap_tokens: int = _OVERLAP_TOKENS

    def __post_init__(self) -> None:
        if self.max_tokens < 4 or self.target_tokens < 1 or self.overlap_tokens < 0:
            raise ValueError(f"cannot cut passages by {self}")

    @classmethod
    def for_window(cls, max_tokens: int) -> Chunking:
        """Return the defaults, made smaller where a model's window of `max_tokens` demands it."""
        target = min(_TARGET_TOKENS, max_tokens)
        return cls(max_tokens, target, min(_OVERLAP_TOKENS, target // 5))


def fit_title(title: str, tokenizer: Tokenizer, chunking: Chunking) -> str:
    """Return as much of `title` as may stand before each passage that is embedded, as `title + "\\n" + text`.

    That is 64 tokens or a quarter of the window, whichever is less; `chunk` leaves room for it.
    """
    if not title:
        return ""
    room = min(_TITLE_TOKENS, chunking.max_tokens // 4)
    offsets = tokenizer.token_offsets([title])[0]
    return title if len(offsets) <= room else title[: offsets[room][0]].rstrip()


def fit_lead(document: Document, tokenizer: Tokenizer, chunking: Chunking) -> str:
    """Return what stands before each passage of a document that is embedded: its title, author and date.

    Without author and date that is what `fit_title` returns, and with them it is not longer; the date is never cut.
    """
    author = " ".join(document.metadata.get("author", "").split())
    date = iso_date(document.metadata.get("date", ""))
    if not author and not date:
        return fit_title(document.title, tokenizer, chunking)
    head = ", ".join(filter(None, [document.title, author and f"by {author}"]))
    room = min(_TITLE_TOKENS, chunking.max_tokens // 4)
    before, behind = tokenizer.token_offsets([head, f", {date}"])
    if date and len(behind) < room:
        room -= len(behind)
    else:
        date = ""
    cut = head if len(before) <= room else head[: before[room][0]].rstrip(" ,")
    return ", ".join(filter(None, [cut, date]))


def chunk(document: Document, tokenizer: Tokenizer, chunking: Chunking) -> list[Passage]:
    """Return the passages of `document` in order; time is linear in the length of its text.

    A sentence is cut only if it alone is longer than the window, and then at a clause or a space if it has one.
    """
    text = document.text
    lead = fit_lead(document, tokenizer, chunking)
    prefix = lead + "\n" if lead else ""
    window = max(chunking.max_tokens - (len(tokenizer.token_offsets([prefix])[0]) if lead else 0), 1)
    target = min(chunking.target_tokens, window)
    units = _units(text, tokenizer, window)
    packed = _pack(units, window, target, min(chunking.overlap_tokens, target // 2))
    within = _within(text, [span for span, sure in packed if not sure], units.starts, prefix, tokenizer, chunking)
    spans = sorted([span for span, sure in packed if sure] + within)
    return [Passage(document.id, span, text[span.start : span.end]) for span in spans]


_TITLE_TOKENS = 64
# A word without end is one unknown token to WordPiece, and a run of NULs none at all; so so many characters count as
# one token. English has 4 to 5 a token, long technical words 7.
_CHARACTERS = 12
_PIECE = 4_000  # characters tokenized as one text
_BATCH = 512  # texts a call of the tokenizer
# Text on its own may have more tokens than it had inside its document, but at a sentence's ends by a few at most. So
# passages this far below the limit are not counted twice, which halves the time.
_SURE = 16
# What it costs to begin a passage here, in the unit "off the target by its whole size", by `_Units.ranks`:
# inside a sentence, inside a paragraph, at a line or list item, at a paragraph, at a heading.
_COSTS = (1.0, 0.4, 0.25, 0.1, 0.0)
_SENTENCE = 1 + Opening.NOTHING
_HEADING = 1 + Opening.HEADING
_PARTED_HEADING = 2.0


@dataclass(frozen=True, slots=True)
class _Units:
    """What passages are made of: sentences, or parts of those longer than the window. Parallel lists."""

    starts: list[int]
    ends: list[int]
    ranks: list[int]  # 0 for a sentence's later parts, else 1 + Opening
    costs: list[int]  # tokens


def _units(text: str, tokenizer: Tokenizer, window: int) -> _Units:
    sentences = outline(text)
    costs = _costs(text, sentences, tokenizer)
    starts, ends = sentences.starts.tolist(), sentences.ends.tolist()
    ranks = (sentences.openings + 1).tolist()
    long = np.flatnonzero(costs > window).tolist()
    if not long:
        return _Units(starts, ends, ranks, costs.tolist())
    units = _Units([], [], [], [])
    done = 0
    for i in [*long, len(starts)]:
        units.starts.extend(starts[done:i])
        units.ends.extend(ends[done:i])
        units.ranks.extend(ranks[done:i])
        units.costs.extend(costs[done:i].tolist())
        done = i + 1
        if i < len(starts):
            heading = units.costs[-1] if units.ranks and units.ranks[-1] == _HEADING else 0
            first = window - heading if 2 * heading <= window else window
            offsets = tokenizer.token_offsets([text[starts[i] : ends[i]]])[0][:, 0] + starts[i]
            rank = ranks[i]
            for start, end, cost in _parts(text, Span(starts[i], ends[i]), offsets, first, window):
                units.starts.append(start)
                units.ends.append(end)
                units.ranks.append(rank)
                units.costs.append(cost)
                rank = 0
    return units


def _costs(text: str, sentences: Outline, tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Return the tokens of each sentence, shape `(n,)`; at least one for every `_CHARACTERS` characters."""
    starts, ends = sentences.starts, sentences.ends
    tokens = np.zeros(len(starts), np.int64)
    firsts = np.flatnonzero(np.diff(starts // _PIECE, prepend=-1))
    lasts = np.append(firsts[1:], len(starts))
    for batch in range(0, len(firsts), _BATCH):
        bounds = list(zip(firsts[batch : batch + _BATCH], lasts[batch : batch + _BATCH], strict=True))
        pieces = [text[starts[first] : ends[last - 1]] for first, last in bounds]
        for (first, last), offsets in zip(bounds, tokenizer.token_offsets(pieces), strict=True):
            # By its last character: some tokenizers count the space before a word to the word.
            owner = np.searchsorted(starts[first:last], offsets[:, 1] - 1 + starts[first], side="right") - 1
            tokens[first:last] = np.bincount(np.maximum(owner, 0), minlength=last - first)
    costs: NDArray[np.int64] = np.maximum(tokens, -(-(ends - starts) // _CHARACTERS))
    return costs


def _parts(
    text: str, span: Span, offsets: NDArray[np.int64], first: int, window: int
) -> Iterable[tuple[int, int, int]]:
    """Yield (start, end, cost) of the parts of a sentence whose tokens begin at `offsets`."""
    start, limit = span.start, first
    while start < span.end:
        token = int(np.searchsorted(offsets, start))
        tokens, characters = len(offsets) - token, span.end - start
        if max(tokens, -(-characters // _CHARACTERS)) <= limit:
            yield start, span.end, max(tokens, -(-characters // _CHARACTERS))
            return
        stop = min(start + _CHARACTERS * limit, span.end)
        if tokens > limit:
            stop = min(stop, int(offsets[token + limit]))
        end, resume = _cut(text, start, max(stop, start + 1))
        tokens = int(np.searchsorted(offsets, end)) - token
        yield start, end, max(tokens, -(-(end - start) // _CHARACTERS))
        start, limit = resume, window


_CLAUSE_END = re.compile(r"[,;:)\]–—，、；：]\s*")
_SPACE = re.compile(r"\s+")


def _cut(text: str, start: int, stop: int) -> tuple[int, int]:
    """Return where in `start < end <= stop` to cut, and where the text resumes behind the white space there."""
    half = start + (stop - start) // 2
    for pattern in (_CLAUSE_END, _SPACE):
        cut = max((match.end() for match in pattern.finditer(text, half, stop)), default=0)
        if start < cut <= stop and text[start:cut].strip():
            break
    else:
        cut = stop
        # Not inside what is seen as one character: letter and accent, emoji joined to a family.
        while cut > max(half, start + 1, stop - 32) and _joins(text[cut - 1 : cut + 1]):
            cut -= 1
        if _joins(text[cut - 1 : cut + 1]):
            cut = stop
    end = cut
    while end > start + 1 and text[end - 1].isspace():
        end -= 1
    while cut < len(text) and text[cut].isspace():
        cut += 1
    return end, cut


def _joins(pair: str) -> bool:
    return len(pair) == 2 and (
        unicodedata.category(pair[1])[0] == "M" or "\u200d" in pair or "\U0001f3fb" <= pair[1] <= "\U0001f3ff"
    )


def _pack(units: _Units, window: int, target: int, overlap: int) -> list[tuple[Span, bool]]:
    """Return the spans of passages, runs of units, and whether each is sure to fit."""
    ranks, costs, n = units.ranks, units.costs, len(units.starts)
    if not n:
        return []
    # Where each unit stands on a ruler of tokens; of white space only a screenful takes room.
    gaps = (np.array(units.starts[1:]) - np.array(units.ends[:-1])) // (4 * _CHARACTERS)
    lengths = np.array(costs, np.int64)
    stands = np.cumsum(lengths) - lengths + np.concatenate(([0], np.cumsum(gaps, dtype=np.int64)))
    begins, finishes = stands.tolist(), (stands + lengths).tolist()
    limit = min(window, target + target // 4)
    spans = []
    first = fresh = 0  # first unit of the passage, and first that no earlier passage has
    while fresh < n:
        best, last = float("inf"), n
        if finishes[-1] - begins[first] > limit:
            for end in range(fresh + 1, n + 1):
                size = finishes[end - 1] - begins[first]
                if end > fresh + 1 and (size > window or (size > limit and ranks[last - 1] != _HEADING)):
                    break
                cost = abs(size - target) / target
                if end < n:
                    cost += _COSTS[ranks[end]]
                    if ranks[end - 1] == _HEADING:
                        cost += _PARTED_HEADING
                if cost <= best:
                    best, last = cost, end
        whole = ranks[first] > 0 and (last == n or ranks[last] > 0)
        sure = whole and finishes[last - 1] - begins[first] + _SURE <= window
        spans.append((Span(units.starts[first], units.ends[last - 1]), sure))
        first, previous, fresh = last, first, last
        if fresh < n and ranks[fresh] == _SENTENCE:
            # Whole sentences of the same paragraph, and never so many that the next unit no longer fits.
            room = min(overlap, window - (finishes[fresh] - finishes[fresh - 1]))
            while (
                first - 1 > previous
                and ranks[first] == _SENTENCE
                and ranks[first - 1] > 0
                and finishes[fresh - 1] - begins[first - 1] <= room
            ):
                first -= 1
    return spans


def _within(
    text: str, spans: list[Span], starts: list[int], prefix: str, tokenizer: Tokenizer, chunking: Chunking
) -> list[Span]:
    """Return `spans`, those halved that have too many tokens on their own."""
    fitting = []
    for batch in range(0, len(spans), _BATCH):
        some = spans[batch : batch + _BATCH]
        counted = tokenizer.token_offsets([prefix + text[span.start : span.end] for span in some])
        for span, offsets in zip(some, counted, strict=True):
            if len(offsets) <= chunking.max_tokens or len(span) == 1:
                fitting.append(span)
            else:
                halves = _halves(text, span, starts)
                fitting.extend(_within(text, halves, starts, prefix, tokenizer, chunking))
    return fitting


def _halves(text: str, span: Span, starts: list[int]) -> list[Span]:
    """Return two parts of a span of two characters or more, parted between sentences if it has several."""
    middle = (span.start + span.end) // 2
    i = bisect_left(starts, middle)
    nearest = min(
        (start for start in starts[max(i - 1, 0) : i + 1] if span.start < start < span.end),
        key=lambda start: abs(start - middle),
        default=0,
    )
    if nearest:
        return [Span(span.start, span.start + len(text[span.start : nearest].rstrip())), Span(nearest, span.end)]
    end, resume = _cut(text, span.start, middle)
    return [Span(span.start, end), Span(resume, span.end)]
