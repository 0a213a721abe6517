"""Spans that may answer: the model's best, on clean bounds, exact in the document, on one scale over all passages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from pincite.index import Index, Passage, Span
from pincite.index.sentences import outline
from pincite.index.terms import analyze
from pincite.qa.features import Asked, ask_words
from pincite.qa.parts import parts_of, read_parts, read_texts
from pincite.qa.reader import WEIGHTS, Reading, ScoredSpan, measure, reranked, score
from pincite.qa.retriever import Hit, retrieve
from pincite.qa.span_decoding import best_spans
from pincite.qa.span_model import Window
from tests.conftest import HashingEmbedder, KnowingReader


def readings_of(index: Index, question: str, answer: str, hits: list[Hit]) -> list[Reading]:
    asked = ask_words(index, question)
    return measure(asked, KnowingReader({question: answer}), question, parts_of(asked, hits))


def found(
    folder: Path, embedder: HashingEmbedder, question: str, answer: str
) -> tuple[Index, list[Hit], list[ScoredSpan]]:
    index = Index.sync(folder.parent / ".pincite", [folder], embedder=embedder)
    hits = retrieve(index, question, embedder.embed_query(question), 10)
    return (
        index,
        hits,
        score(readings_of(index, question, answer, hits)),
    )


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


def test_every_feature_is_weighed_and_more_margin_means_more_confidence(
    articles: Path, embedder: HashingEmbedder
) -> None:
    question = "When does the train leave?"
    index, hits, _ = found(articles, embedder, question, "noon")
    readings = readings_of(index, question, "noon", hits)
    assert readings and all(reading.features.keys() == WEIGHTS.keys() for reading in readings)
    one = readings[0]
    for margin, surer in ((-9.0, -8.0), (0.0, 1.0), (8.0, 9.0)):
        (less,), (more,) = (score([replace(one, features={**one.features, "margin": m})]) for m in (margin, surer))
        assert less.confidence < more.confidence


def test_a_foreign_model_s_logits_may_be_of_any_size(articles: Path, embedder: HashingEmbedder) -> None:
    question = "When does the train leave?"
    index, hits, _ = found(articles, embedder, question, "noon")
    one, *_ = readings_of(index, question, "noon", hits)
    for margin, confidence in ((-1e6, 0.0), (1e6, 1.0)):
        extreme = replace(one, features={**one.features, "margin": margin})
        assert [span.confidence for span in score([extreme])] == [confidence]
        assert all(np.isfinite(hit.score) for hit in reranked(question, hits, [extreme]))


@pytest.mark.parametrize("question", ["who are they?", "???", "xyzzy plugh", "\U0001f600", "\x00", "why " * 500])
def test_questions_without_a_known_term_are_read_too(articles: Path, embedder: HashingEmbedder, question: str) -> None:
    assert all(np.isfinite(span.confidence) for span in found(articles, embedder, question, "")[2])


def test_parts_cover_every_word_and_offsets_are_those_of_the_text() -> None:
    texts = ["", "One. ", " ".join(f"The board met in room {n} 😀 today." for n in range(10)), "no end"]
    read = read_texts(KnowingReader({"Where?": "room 7"}), "Where?", texts, list(map(outline, texts)))
    assert len(read) == len(texts)
    for number, (text, windows) in enumerate(zip(texts, read, strict=True)):
        places = {tuple(place) for window in windows for place in window.offsets.tolist()}
        assert places == {match.span() for match in re.finditer(r"\w+|[^\w\s]", text)}
        assert all(window.text == number for window in windows)
    assert len(read[2]) == 5
    assert best_spans(read[2], texts[2], outline(texts[2]))[0][0].of(texts[2]) == "room 7"


@pytest.mark.parametrize(
    ("title", "question", "before"),
    [
        ("Tower Bridge", "When was Tower Bridge opened?", "Tower Bridge. "),
        ("Tower\n Bridge", "When was the tower opened?", "Tower Bridge. "),
        ("Tower Bridge", "When was the queen there?", ""),
        ("The queen", "When was the queen there?", ""),
        ("Tower Bridge reopened after a year", "When was Tower Bridge opened?", ""),
    ],
)
def test_a_short_title_is_read_before_what_lacks_it_but_is_no_answer(title: str, question: str, before: str) -> None:
    text = "The queen opened it in 1894."
    hit = Hit(Passage("a", Span(7, 7 + len(text)), text), "a.txt", title, 1, 1.0, 1, 1)
    read: list[str] = []

    class Noting(KnowingReader):
        def read(self, question: str, texts: Sequence[str]) -> list[Window]:
            read.extend(texts)
            return super().read(question, texts)

    asked = Asked(dict.fromkeys(analyze(question), 1.0), is_yes_no=False)
    [windows] = read_parts(Noting({question: "1894"}), question, parts_of(asked, [hit]))
    assert read == [before + text]
    assert [tuple(place) for place in windows[0].offsets] == [
        match.span() for match in re.finditer(r"\w+|[^\w\s]", text)
    ]
    assert best_spans(windows, text, outline(text))[0][0].of(text) == "1894"
    [windows] = read_parts(KnowingReader({question: "Bridge"}, width=4), question, parts_of(asked, [hit]))
    assert all(window.start.max(initial=-35.0) < 0 for window in windows)


def test_no_passages_no_spans(articles: Path, embedder: HashingEmbedder) -> None:
    index = Index.sync(articles.parent / ".pincite", [articles], embedder=embedder)
    assert score(measure(ask_words(index, "who?"), KnowingReader({"who?": ""}), "who?", [])) == []
    assert reranked("Who?", [], []) == []


def test_a_passage_with_the_answer_rises_and_scores_stay_sorted(articles: Path, embedder: HashingEmbedder) -> None:
    question = "which house?"
    index = Index.sync(articles.parent / ".pincite", [articles], embedder=embedder)
    hits = retrieve(index, question, embedder.embed_query(question), 10)
    assert hits[-1].path.endswith(("board.txt", "train.txt"))
    answer = hits[-1].passage.text.split()[3]
    ranked = reranked(
        question,
        hits,
        readings_of(index, question, answer, hits),
    )
    gained = {hit.path: hit.score for hit in ranked}
    assert gained[hits[-1].path] > hits[-1].score
    assert [hit.score for hit in ranked] == sorted(gained.values(), reverse=True)
    assert {hit.path for hit in ranked} == {hit.path for hit in hits}


def test_what_is_no_question_is_not_ordered_by_answers_and_hardly_what_has_none(
    articles: Path, embedder: HashingEmbedder
) -> None:
    question = "When does the train leave?"
    index, hits, _ = found(articles, embedder, question, "noon")
    readings = readings_of(index, question, "noon", hits)
    assert reranked("trains that leave", hits, readings) == hits
    lower = [replace(one, features={**one.features, "margin": -9.0}) for one in readings]
    gains = [
        max(new.score - old.score for new in reranked(question, hits, found) for old in hits if new.path == old.path)
        for found in (readings, lower)
    ]
    assert gains[0] > 100 * gains[1] > 0
