"""Text -> its words as every copy of it has them, whatever its format did to case, hyphens, ligatures and spaces.

Two texts say the same if their words, run together, are the same letters: a hyphen at a line's end, a ligature or a
lost space changes what a word is, but not that. Digits, currencies, percent and minus signs are words, too: what a
sentence says depends on them.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate

from pincite.index import Span

__all__ = ["Wording", "gaps_of", "is_break", "plain", "words_of"]

# In the scripts of South and South-East Asia vowels are marks, which \w leaves out. A number has its points and commas.
_MARKED = "\u0900-\u0963\u0966-\u109f\u1780-\u17d3"
_WORD = re.compile(rf"[^\W\d_]+(?:[{_MARKED}]+[^\W\d_]*)*|\d+(?:[.,:]\d+)*|[$€£¥₹%‰]|(?<!\w)[-\u2212\u2013](?=[\d¼-¾])")
# What Markdown and footnotes add to the words, the target of a link and the number of a note; and what each paper
# writes in its own way before the words of an agency: "PARIS, May 3 (AFP) - ", "Paris (Reuters) - ".
_MARKUP = re.compile(
    r"\]\([^()\s]{1,500}\)|\[\^?\d{1,3}\]|(?m:^)[ \t]*(?:"
    r"[^\W\d_a-z][^\W\d_a-z.'’]+(?:[ /-][^\W\d_a-z.'’]+){0,3}(?:,[^\n()]{1,30})?\s\([^()\n]{2,25}\)"
    r"|(?:[^\W\d_a-z][^\n()]{1,50}\s)?\((?:AP|AFP|CNN|dpa|EFE|PA|Reuters|UPI|Xinhua)\)"
    r")\s*[-–—_]{1,2}\s"
)
_MARKUP_OR_WORD = re.compile(f"(?P<markup>{_MARKUP.pattern})|{_WORD.pattern}")
_ACCENTS = re.compile("[\u0300-\u036f]+")
_THOUSANDS = re.compile(r",(?=\d{3}(?!\d))")


def plain(text: str) -> str:
    """Return `text` without accents, ligatures, targets of links, marks of footnotes and datelines.

    >>> plain("PARIS (AFP) - The ﬁrst café[3], see [its site](https://cafe.example)")
    ' The first cafe , see [its site '
    """
    if not text.isascii():
        text = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    return _MARKUP.sub(" ", text)


def words_of(text: str) -> list[str]:
    """Return the words of a text, in lower case.

    >>> words_of("It rose by 1,200 (or −2.5%) in Zürich.")
    ['it', 'rose', 'by', '1200', 'or', '-', '2.5', '%', 'in', 'zurich']
    """
    words: list[str] = _WORD.findall(plain(text).casefold())
    return [_THOUSANDS.sub("", word) if "," in word else "-" if word in _MINUS else word for word in words]


def gaps_of(text: str) -> list[str]:
    """Return what stands before, between and behind the words that `words_of` returns: one more than these.

    >>> gaps_of("A dog. It barks!")
    ['', ' ', '. ', ' ', '!']
    """
    return _WORD.split(plain(text).casefold())


def is_break(gap: str) -> bool:
    """Return whether a sentence may end or begin at what stands between two words.

    >>> is_break(". "), is_break("\\n"), is_break(", ")
    (True, True, False)
    """
    return _BREAK.search(gap) is not None


_MINUS = "-\u2212\u2013"
_BREAK = re.compile(r"[\n.!?:;|…—–。！？।]|\s-\s|[»”\"]\s*$")


@dataclass(frozen=True, slots=True)
class Wording:
    """The words of a text run together, and where each stands in it.

    Attributes:
        text: as it is.
        letters: its words, as `words_of` has them, without anything between them.
        spans: of each word in `text`.
        offsets: of each word in `letters`, and their length.
    """

    text: str
    letters: str
    spans: tuple[Span, ...]
    offsets: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> Wording:
        """Return the wording of a text."""
        found = [match for match in _MARKUP_OR_WORD.finditer(text) if match["markup"] is None]
        words = ["-" if match.group() in _MINUS else "".join(words_of(match.group())) for match in found]
        spans = tuple(Span(*match.span()) for match in found)
        return cls(text, "".join(words), spans, tuple(accumulate(map(len, words), initial=0)))

    def __len__(self) -> int:
        return len(self.spans)

    def words_in(self, span: Span) -> range:
        """Return the numbers of the words that lie in a span of the text, at least partly."""
        first = bisect_right(self.spans, span.start, key=lambda word: word.end)
        return range(first, max(first, bisect_left(self.spans, span.end, key=lambda word: word.start)))

    def words_at(self, start: int, end: int) -> range:
        """Return the numbers of the words that have some of the letters, at least partly."""
        first = bisect_right(self.offsets, start) - 1
        return range(first, max(first, bisect_left(self.offsets, end)))

    def letters_of(self, words: range) -> str:
        """Return some of the words, run together."""
        return self.letters[self.offsets[words.start] : self.offsets[words.stop]]

    def find(self, letters: str) -> int:
        """Return at which letter the first run of whole words begins that are these together; -1 if there is none."""
        at = self.letters.find(letters) if letters else -1
        while at >= 0:
            words = self.words_at(at, at + len(letters))
            if self.offsets[words.start] == at and self.offsets[words.stop] == at + len(letters):
                return at
            at = self.letters.find(letters, at + 1)
        return -1

    def gap_before(self, word: int) -> str:
        """Return what stands between a word, or the end, and the word before it."""
        start = self.spans[word - 1].end if word else 0
        return self.text[start : self.spans[word].start if word < len(self) else None]

    def span_of(self, words: range) -> Span:
        """Return the characters of the text from the first of the words to the last; there is one at least."""
        return Span(self.spans[words.start].start, self.spans[words.stop - 1].end)
