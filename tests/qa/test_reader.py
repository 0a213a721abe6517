"""Spans that may answer: the model's best, on clean bounds, exact in the document, on one scale over all passages."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pincite.index import Index, Span
from pincite.qa.reader import (
    FEATURES,
    MAX_TOKENS,
    SPANS,
    WEIGHTS,
    ScoredSpan,
    best_spans,
    clean_bounds,
    measure,
    read_parts,
    reranked,
    score,
)
from pincite.qa.retriever import Hit, retrieve
from pincite.qa.span_model import Window
from tests.conftest import HashingEmbedder, KnowingReader


def found(
    folder: Path, embedder: HashingEmbedder, question: str, answer: str
) -> tuple[Index, list[Hit], list[ScoredSpan]]:
    index = Index.sync(folder.parent / ".pincite", [folder], embedder=embedder)
    hits = retrieve(index, question, embedder.embed_query(question), 10)
    return index, hits, score(measure(index, KnowingReader({question: answer}), question, hits, hits[0].score))


def window(text: str, starts: dict[int, float], ends: dict[int, float], null: float = 0.0) -> Window:
    """Return a window of the words and marks of a text; logits are 0 where none is given."""
    offsets = [match.span() for match in re.finditer(r"\w+|[^\w\s]", text)]
    start, end = (np.array([own.get(i, 0.0) for i in range(len(offsets))], np.float32) for own in (starts, ends))
    return Window(0, np.array(offsets, np.int64).reshape(-1, 2), start, end, null)


def test_the_model_s_span_is_first_and_its_sentence_is_around_it(articles: Path, embedder: HashingEmbedder) -> None:
    index, _, spans = found(articles, embedder, "Who sits on the board?", "Ann, Bob and Cid")
    assert spans[0].text == "Ann, Bob and Cid"
    text = index.document(spans[0].hit.passage.document_id).text
    assert spans[0].sentence_span.of(text).strip() == "On the board sit Ann, Bob and Cid."
    assert spans[0].margin == 60.0


def test_a_yes_no_question_gets_the_sentence_that_decides(articles: Path, embedder: HashingEmbedder) -> None:
    spans = found(articles, embedder, "Does the train have a bar?", "a bar")[2]
    assert spans[0].text.strip() == "It has six cars and a bar."
    assert spans[0].span == spans[0].sentence_span


def test_spans_quote_the_document_exactly_and_once(articles: Path, embedder: HashingEmbedder) -> None:
    text = (
        "\ufeffZażółć gęślą jaźń. \U0001f600 e\u0301tude\tof the board.\r\n\r\nThe board met\r\nat noon. It left.\r\n"
    )
    (articles / "odd.txt").write_bytes(text.encode())
    long = " ".join(f"The board of club {n} met in room {n} with {n} guests." for n in range(60))
    (articles / "long.txt").write_text(long)
    index, hits, spans = found(articles, embedder, "When did the board meet?", "at noon")
    assert len(hits) > 4 and len(spans) > 4
    for span in spans:
        document = index.document(span.hit.passage.document_id)
        assert span.span.of(document.text) == span.text
        assert span.sentence_span.start <= span.span.start <= span.span.end <= span.sentence_span.end
    places = [(span.hit.passage.document_id, span.span) for span in spans]
    for (one, a), (other, b) in product(places, repeat=2):
        assert (one, a) == (other, b) or one != other or a.end <= b.start or b.end <= a.start


def test_confidence_is_a_probability_and_falls(articles: Path, embedder: HashingEmbedder) -> None:
    confidences = [one.confidence for one in found(articles, embedder, "When does the train leave?", "noon")[2]]
    assert confidences == sorted(confidences, reverse=True)
    assert all(type(one) is float and 0 < one < 1 for one in confidences)


def test_every_weight_has_its_feature_and_more_margin_means_more_confidence() -> None:
    assert tuple(WEIGHTS) == FEATURES
    assert WEIGHTS["margin"] > 0


@pytest.mark.parametrize("question", ["who are they?", "???", "xyzzy plugh", "\U0001f600", "\x00", "why " * 500])
def test_questions_without_a_known_term_are_read_too(articles: Path, embedder: HashingEmbedder, question: str) -> None:
    assert all(np.isfinite(span.confidence) for span in found(articles, embedder, question, "")[2])


def test_parts_cover_every_word_and_offsets_are_those_of_the_text() -> None:
    texts = ["", "One. ", " ".join(f"The board met in room {n} 😀 today." for n in range(10)), "no end"]
    read = read_parts(KnowingReader({"Where?": "room 7"}), "Where?", texts)
    assert len(read) == len(texts)
    for number, (text, windows) in enumerate(zip(texts, read, strict=True)):
        places = {tuple(place) for window in windows for place in window.offsets.tolist()}
        assert places == {match.span() for match in re.finditer(r"\w+|[^\w\s]", text)}
        assert all(window.text == number for window in windows)
    assert len(read[2]) == 5
    assert best_spans(read[2], texts[2])[0][0].of(texts[2]) == "room 7"


def test_no_passages_no_spans(articles: Path, embedder: HashingEmbedder) -> None:
    index = Index.sync(articles.parent / ".pincite", [articles], embedder=embedder)
    assert score(measure(index, KnowingReader({"who?": ""}), "who?", [], 0.0)) == []
    assert reranked([], []) == []


def test_a_passage_with_the_answer_rises_and_scores_stay_sorted(articles: Path, embedder: HashingEmbedder) -> None:
    question = "house"
    index = Index.sync(articles.parent / ".pincite", [articles], embedder=embedder)
    hits = retrieve(index, question, embedder.embed_query(question), 10)
    assert hits[-1].path.endswith(("board.txt", "train.txt"))
    answer = hits[-1].passage.text.split()[3]
    ranked = reranked(hits, measure(index, KnowingReader({question: answer}), question, hits, hits[0].score))
    gained = {hit.path: hit.score for hit in ranked}
    assert gained[hits[-1].path] > hits[-1].score
    assert [hit.score for hit in ranked] == sorted(gained.values(), reverse=True)
    assert {hit.path for hit in ranked} == {hit.path for hit in hits}


# --- decoding ----------------------------------------------------------------------------------------------------


@given(st.data())
def test_best_span_is_that_of_all_pairs(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    text = " ".join(f"w{i}" for i in range(count))
    logits = st.lists(st.floats(-5, 5, width=32), min_size=count, max_size=count)
    starts, ends = data.draw(logits), data.draw(logits)
    null = data.draw(st.floats(-5, 5))
    ((span, margin),) = best_spans([window(text, dict(enumerate(starts)), dict(enumerate(ends)), null)], text)
    pairs = [(starts[i] + ends[j] - null, i, j) for i in range(count) for j in range(i, count)]
    best = max(pairs)[0]
    assert margin == pytest.approx(best, abs=1e-4)
    words = span.of(text).split()
    place = int(words[0][1:]), int(words[-1][1:])
    assert any(place == (i, j) and one == pytest.approx(best, abs=1e-4) for one, i, j in pairs)


def test_further_spans_do_not_overlap_better_ones_and_come_from_all_windows() -> None:
    text = "one two three four five six"
    first = window(text, {0: 5.0, 1: 4.0}, {1: 5.0, 2: 4.0})
    second = Window(0, first.offsets[4:], np.array([3, 0], np.float32), np.array([3, 0], np.float32), -1.0)
    spans = best_spans([first, second], text, SPANS)
    assert [(span.of(text), margin) for span, margin in spans[:2]] == [("one two", 10.0), ("five", 7.0)]


@pytest.mark.parametrize(
    ("text", "first", "last", "answer"),
    [
        ("The seats went to Meta, AMD and Google Cloud in May.", "Meta", "Cloud", "Meta, AMD and Google Cloud"),
        ("He likes tea, milk and dark bread in May.", "tea", "bread", "tea"),
        ("Ann came, Bob and Cid left.", "Ann", "Cid", "Ann"),
    ],
)
def test_a_list_of_names_comes_out_whole(text: str, first: str, last: str, answer: str) -> None:
    words = re.findall(r"\w+|[^\w\s]", text)
    a, b = words.index(first), words.index(last)
    none = dict.fromkeys(range(len(words)), -9.0)
    ((span, margin),) = best_spans([window(text, none | {a: 5.0}, none | {a: 5.0, b: 3.0})], text)
    assert (span.of(text), margin) == (answer, 10.0)


def test_no_span_goes_beyond_a_sentence() -> None:
    text = "Ann left. Bob stayed there."
    spans = best_spans([window(text, {0: 9.0, 3: 1.0}, {5: 9.0, 1: 1.0})], text, 2)
    assert [span.of(text) for span, _ in spans] == ["Ann left", "Bob stayed there"]


def test_no_span_is_longer_than_the_limit() -> None:
    text = " ".join("abc" for _ in range(2 * MAX_TOKENS))
    ((span, _),) = best_spans([window(text, {0: 9.0}, {2 * MAX_TOKENS - 1: 9.0})], text)
    assert len(span.of(text).split()) <= MAX_TOKENS


def test_text_without_tokens_has_no_span() -> None:
    assert best_spans([window("", {}, {})], "") == []
    assert best_spans([], "word") == []


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
