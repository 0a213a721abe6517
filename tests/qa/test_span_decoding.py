"""The spans that a model finds likeliest: the best of all pairs, within a sentence, whole, and on clean bounds."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pincite.index import Span
from pincite.index.sentences import outline
from pincite.qa.span_decoding import MAX_TOKENS, best_spans, clean_bounds
from pincite.qa.span_model import Window


def window(text: str, starts: dict[int, float], ends: dict[int, float], null: float = 0.0) -> Window:
    """Return a window of the words and marks of a text; logits are 0 where none is given."""
    offsets = [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]
    start, end = (np.array([own.get(i, 0.0) for i in range(len(offsets))], np.float32) for own in (starts, ends))
    return Window(0, np.array(offsets, np.int64).reshape(-1, 2), start, end, null)


@given(st.data())
def test_best_span_is_that_of_all_pairs(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    text = " ".join(f"w{i}" for i in range(count))
    logits = st.lists(st.floats(-5, 5, width=32), min_size=count, max_size=count)
    starts, ends = data.draw(logits), data.draw(logits)
    null = data.draw(st.floats(-5, 5))
    ((span, margin),) = best_spans(
        [window(text, dict(enumerate(starts)), dict(enumerate(ends)), null)], text, outline(text)
    )
    pairs = [(starts[i] + ends[j] - null, i, j) for i in range(count) for j in range(i, count)]
    best = max(pairs)[0]
    assert margin == pytest.approx(best, abs=1e-4)
    words = span.of(text).split()
    place = int(words[0][1:]), int(words[-1][1:])
    assert any(place == (i, j) and one == pytest.approx(best, abs=1e-4) for one, i, j in pairs)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("", "Chad, Mali and Togo"),
        ("Where did they trade?", "Chad, Mali and Togo"),
        ("In which countries did they trade?", "Chad, Mali and Togo"),
        ("In which country did they trade?", "Togo"),
        ("Besides Mali, where did they trade?", "Togo"),
        ("Who in Togo asked where they trade?", "Chad, Mali and Togo"),
    ],
)
def test_a_list_comes_out_whole_only_where_the_question_may_ask_for_it(question: str, answer: str) -> None:
    text = "They trade in Chad, Mali and Togo."
    none = dict.fromkeys(range(9), -9.0)
    read = [window(text, none | {3: 3.0, 7: 5.0}, none | {7: 5.0})]
    ((span, _),) = best_spans(read, text, outline(text), question=question)
    assert span.of(text) == answer


def test_what_cannot_answer_the_question_is_no_span() -> None:
    text = "Ann Lee chairs the club. It has 34 singers."
    none = dict.fromkeys(range(11), -9.0)
    read = [window(text, none | {0: 9.0, 8: 1.0}, none | {1: 9.0, 9: 1.0})]
    ((anyone, _),) = best_spans(read, text, outline(text), question="Who leads the club?")
    ((number, margin),) = best_spans(read, text, outline(text), question="How many singers has the club?")
    assert (anyone.of(text), number.of(text), margin) == ("Ann Lee", "34 singers", 2.0)
    assert best_spans(read, text, outline(text), question="What is its e-mail address?") == []


def test_further_spans_do_not_overlap_better_ones_and_come_from_all_windows() -> None:
    text = "one two three four five six"
    first = window(text, {0: 5.0, 1: 4.0}, {1: 5.0, 2: 4.0})
    second = Window(0, first.offsets[4:], np.array([3, 0], np.float32), np.array([3, 0], np.float32), -1.0)
    spans = best_spans([first, second], text, outline(text), 3)
    assert [(span.of(text), margin) for span, margin in spans[:2]] == [("one two", 10.0), ("five", 7.0)]


@pytest.mark.parametrize(
    ("text", "first", "last", "answer"),
    [
        ("The seats went to Meta, AMD and Google Cloud in May.", "Meta", "Cloud", "Meta, AMD and Google Cloud"),
        ("The next two seats of the board went to Meta,\nAMD and Acer in May.", "Meta", "Acer", "Meta,\nAMD and Acer"),
        ("Ann Roe (chair), Bob de Wit and Cy May met.", "Ann Roe", "May", "Ann Roe (chair), Bob de Wit and Cy May"),
        ("Present: Ann Roe (chair), Bo Lee, Cy May.", "Ann Roe", "May", "Ann Roe (chair), Bo Lee, Cy May"),
        ("He came to Bonn, Berlin, Rome.", "Bonn", "Rome", "Bonn"),
        ("He likes tea, milk and dark bread in May.", "tea", "bread", "tea"),
        ("Ann came, Bob and Cid left.", "Ann", "Cid", "Ann"),
    ],
)
def test_a_list_of_names_comes_out_whole(text: str, first: str, last: str, answer: str) -> None:
    words = re.findall(r"\w+|[^\w\s]", text)
    start, end, whole = (words.index(word) for word in (first.split()[0], first.split()[-1], last))
    none = dict.fromkeys(range(len(words)), -9.0)
    read = [window(text, none | {start: 5.0}, none | {end: 5.0, whole: 3.0})]
    ((span, margin),) = best_spans(read, text, outline(text))
    assert (span.of(text), margin) == (answer, 10.0)


def test_no_span_goes_beyond_a_sentence() -> None:
    text = "Ann left. Bob stayed there."
    spans = best_spans([window(text, {0: 9.0, 3: 1.0}, {5: 9.0, 1: 1.0})], text, outline(text), 2)
    assert [span.of(text) for span, _ in spans] == ["Ann left", "Bob stayed there"]


def test_no_span_is_longer_than_the_limit() -> None:
    text = " ".join("abc" for _ in range(2 * MAX_TOKENS))
    ((span, _),) = best_spans([window(text, {0: 9.0}, {2 * MAX_TOKENS - 1: 9.0})], text, outline(text))
    assert len(span.of(text).split()) <= MAX_TOKENS


def test_text_without_tokens_has_no_span() -> None:
    assert best_spans([window("", {}, {})], "", outline("")) == []
    assert best_spans([], "word", outline("word")) == []


@pytest.mark.parametrize(
    ("text", "part", "clean"),
    [
        ("Built by Ann Roe.", "y Ann Ro", "by Ann Roe"),
        ("in 1987, at noon", "in 1987,", "in 1987"),
        ("the U.S. and Mr. Fox Jr. went", "the U.S.", "the U.S."),
        ("the U.S. and Mr. Fox Jr. went", "Mr. Fox Jr.", "Mr. Fox Jr."),
        ("It cost $3.50.", "$3.50.", "$3.50"),
        ("at -5.2 °C today", "-5.2 °C", "-5.2 °C"),
        ("Ann (née Roe) left", "Ann (née Roe", "Ann (née Roe)"),
        ("a row (of houses) stood", "(of houses", "(of houses)"),
        ('said "yes, we can" twice', '"yes, we can', "yes, we can"),
        ('said "yes" twice', '"yes"', '"yes"'),
        ("**Ann Roe** won", "**Ann Roe**", "Ann Roe"),
        ("write to jobs@loom.example.", "loom", "jobs@loom.example"),
        ("see https://loom.example/a-b, page 2", "loom", "https://loom.example/a-b"),
        ("jobs@loom.example or by post", "loom.example or", "loom.example or"),
        ("Ann's dog", "Ann's", "Ann's"),
        ("the dogs' owner", "the dogs'", "the dogs"),
        ("...", "...", ""),
        ("naïve ﬁsh", "aïve", "naïve"),
    ],
)
def test_bounds_are_clean(text: str, part: str, clean: str) -> None:
    start = text.index(part)
    assert clean_bounds(text, start, start + len(part)).of(text) == clean


@given(st.text("ab1 .,()[]\"'“”-\n(", max_size=20), st.integers(0, 20), st.integers(0, 20))
def test_clean_bounds_are_within_the_text_and_stay_when_cleaned_again(text: str, a: int, b: int) -> None:
    start, end = sorted((min(a, len(text)), min(b, len(text))))
    span = clean_bounds(text, start, end)
    assert 0 <= span.start <= span.end <= len(text)
    if span.start < span.end:
        assert not span.of(text)[0].isspace() and not span.of(text)[-1].isspace()
    assert isinstance(span, Span)
