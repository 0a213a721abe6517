"""The sentence that carries an answer -> the other documents in which it stands, and where.

The same words are the same source, be it a reprint, another format or one release in two papers: nobody writes the same
eight words by chance. In news of 2022 most documents that share a sentence of so many words share those beside it, too,
and of the others those looked at had it from one another; of shorter ones many were phrases, captions and entries of
lists. A shorter sentence therefore counts with words beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pincite.index import Document, Span
from pincite.qa.retriever import Hit
from pincite.qa.wording import Wording, is_break, words_of

__all__ = ["TELLING", "Copies"]

TELLING = 8
"""Words in a row that two texts have from one another."""

_AROUND = 2_000  # characters beside a folded passage in which the sentence may stand


class Copies:
    """Finds sentences of hits in the other hits and in those that are folded under them.

    Args:
        hits: that were found.
        document: returns the document of a hit.
    """

    def __init__(self, hits: Sequence[Hit], document: Callable[[Hit], Document]) -> None:
        self._hits = [one for hit in hits for one in (hit, *hit.also)]
        self._document = document
        self._letters: dict[tuple[str, Span], str] = {}

    def of(self, hit: Hit, span: Span, sentence_span: Span) -> Iterator[tuple[Hit, Span, Span]]:
        """Yield a hit of each other document that has a sentence, and where in that the quote and the sentence are.

        Args:
            hit: in whose passage the sentence is.
            span: of the quote in its document; `sentence_span`: of the sentence.
        """
        begin = hit.passage.span.start
        quoted = _Quoted(
            hit.passage.text,
            Span(span.start - begin, span.end - begin),
            Span(sentence_span.start - begin, sentence_span.end - begin),
        )
        seen = {hit.passage.document_id}
        for other in self._hits:
            passage = other.passage
            if passage.document_id not in seen and quoted.may_be_in(self._letters_of(other)):
                found = quoted.find(passage.text, passage.span.start)
                if found:
                    seen.add(passage.document_id)
                    yield other, *found
        for other in hit.also:
            if other.passage.document_id not in seen:
                start = max(0, other.passage.span.start - _AROUND)
                text = self._document(other).text[start : other.passage.span.end + _AROUND]
                found = quoted.find(text, start)
                if found:
                    seen.add(other.passage.document_id)
                    yield other, *found

    def _letters_of(self, hit: Hit) -> str:
        key = hit.passage.document_id, hit.passage.span
        if key not in self._letters:
            self._letters[key] = "".join(words_of(hit.passage.text))
        return self._letters[key]


class _Quoted:
    """A quote in its sentence, to be found in other texts; `span` and `sentence_span` are in `text`."""

    def __init__(self, text: str, span: Span, sentence_span: Span) -> None:
        own = Wording.of(text)
        words, sentence = own.words_in(span), own.words_in(sentence_span)
        windows = _windows(sentence, len(own)) if words and sentence else []
        start = own.offsets[sentence.start]
        self._sentence = own.letters_of(sentence)
        self._windows = [(own.letters_of(window), start - own.offsets[window.start]) for window in windows]
        self._is_all = len(own) < TELLING
        self._quote = own.offsets[words.start] - start, own.offsets[words.stop] - start
        self._quote_marks = _marks_around(own, span, words) if windows else (0, 0)
        self._sentence_marks = _marks_around(own, sentence_span, sentence) if windows else (0, 0)

    def may_be_in(self, letters: str) -> bool:
        """Return whether the letters of a text are such that the sentence may be in it."""
        return any(window in letters for window, _ in self._windows)

    def find(self, text: str, offset: int) -> tuple[Span, Span] | None:
        """Return where the quote and its sentence are in a text, moved by an offset; None if the text has it not."""
        other = Wording.of(text)
        for window, before in self._windows:
            at = other.find(window)
            start, end = at + before, at + before + len(self._sentence)
            if at < 0 or (self._is_all and len(other.letters) != len(window)):
                continue
            sentence = other.words_at(start, end)
            stands = (other.offsets[sentence.start], other.offsets[sentence.stop]) == (start, end)
            if stands and _begins(other, sentence.start) and _begins(other, sentence.stop):
                quote = other.words_at(start + self._quote[0], start + self._quote[1])
                return (
                    _with_marks(other, quote, self._quote_marks, offset),
                    _with_marks(other, sentence, self._sentence_marks, offset),
                )
        return None


def _windows(sentence: range, length: int) -> list[range]:
    """Return the runs of words of a text, one of which a copy must have: the sentence, with words beside a short one.

    >>> _windows(range(10, 20), 30), _windows(range(10, 13), 30)
    ([range(10, 20)], [range(10, 18), range(5, 13)])
    """
    if len(sentence) >= TELLING or length < TELLING:
        return [sentence if length >= TELLING else range(length)]
    starts = dict.fromkeys((min(sentence.start, length - TELLING), max(sentence.stop - TELLING, 0)))
    return [range(start, start + TELLING) for start in starts]


def _begins(wording: Wording, word: int) -> bool:
    """Return whether a sentence may begin with a word, or end before it."""
    return word in (0, len(wording)) or is_break(wording.gap_before(word))


def _marks_around(wording: Wording, span: Span, words: range) -> tuple[int, int]:
    """Return how many characters a span has before the first and behind the last of its words."""
    inner = wording.span_of(words)
    return max(0, inner.start - span.start), max(0, span.end - inner.end)


def _with_marks(wording: Wording, words: range, marks: tuple[int, int], offset: int) -> Span:
    """Return the span of words with as many quotation marks and the like, if they are there, moved by an offset."""
    span, text = wording.span_of(words), wording.text
    start, end = span.start, span.end
    while start > max(0, span.start - marks[0]) and _is_mark(text[start - 1]):
        start -= 1
    while end < min(len(text), span.end + marks[1]) and _is_mark(text[end]):
        end += 1
    return Span(start + offset, end + offset)


def _is_mark(character: str) -> bool:
    return not (character.isalnum() or character.isspace())
