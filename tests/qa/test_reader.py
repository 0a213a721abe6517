"""Sentences that may answer: chosen well, whole, and exact in the document."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pincite.index import Index
from pincite.qa.reader import SENTENCES, WEIGHTS, ScoredSpan, covered, kind_asked, measure, offers, read_sentences
from pincite.qa.retriever import retrieve
from tests.conftest import HashingEmbedder


def read(folder: Path, embedder: HashingEmbedder, question: str, k: int = 10) -> tuple[Index, list[ScoredSpan]]:
    index = Index.sync(folder.parent / ".pincite", [folder], embedder=embedder)
    vector = embedder.embed_query(question)
    return index, read_sentences(index, question, vector, retrieve(index, question, vector, k))


def best(tmp_path: Path, embedder: HashingEmbedder, question: str, **files: str) -> str:
    folder = tmp_path / "files"
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return read(folder, embedder, question)[1][0].text


def test_the_sentence_that_names_people_answers_who(articles: Path, embedder: HashingEmbedder) -> None:
    for question in ("Who sits on the board?", "who sits on the board?", "WHO SITS ON THE BOARD?"):
        spans = read(articles, embedder, question)[1]
        assert spans[0].text == "On the board sit Ann, Bob and Cid."


def test_spans_quote_the_document_exactly_and_once(articles: Path, embedder: HashingEmbedder) -> None:
    text = (
        "\ufeffZażółć gęślą jaźń. \U0001f600 e\u0301tude\tof the board.\r\n\r\nThe board met\r\nat noon. It left.\r\n"
    )
    (articles / "odd.txt").write_bytes(text.encode())
    long = " ".join(f"The board of club {n} met in room {n} with {n} guests." for n in range(60))
    (articles / "long.txt").write_text(long)
    index, spans = read(articles, embedder, "When did the board meet?")
    assert 0 < len(spans) <= SENTENCES
    for span in spans:
        assert span.span.of(index.document(span.hit.passage.document_id).text) == span.text
        assert span.sentence_span == span.span
    assert len({(span.hit.path, span.span) for span in spans}) == len(spans)


def test_confidence_is_a_probability_and_falls(articles: Path, embedder: HashingEmbedder) -> None:
    confidences = [span.confidence for span in read(articles, embedder, "When does the train to Bern leave?")[1]]
    assert confidences == sorted(confidences, reverse=True)
    assert all(type(one) is float and 0 < one < 1 for one in confidences)


def test_what_the_articles_answer_scores_above_what_they_do_not(articles: Path, embedder: HashingEmbedder) -> None:
    answered = read(articles, embedder, "When does the train to Bern leave?")[1][0].confidence
    missed = read(articles, embedder, "When was the bishop of Durham enthroned?")[1][0].confidence
    assert answered > 2 * missed


@pytest.mark.parametrize(
    "furniture",
    [
        "The mayor of Ulm",
        "By Mayor Ulm",
        "Ulm, the mayor?",
        "---\ntitle: The mayor of Ulm\nmayor: Ulm\n---",
        "## Who is the mayor of Ulm",
        "May 3, 2021",
    ],
)
def test_headings_bylines_dates_and_questions_are_no_answers(
    tmp_path: Path, embedder: HashingEmbedder, furniture: str
) -> None:
    text = f"{furniture}\n\nOn the third day the council chose Eva Roth.\n"
    assert (
        best(tmp_path, embedder, "Who is the mayor of Ulm?", a=text) == "On the third day the council chose Eva Roth."
    )


def test_a_document_of_headings_alone_can_answer(tmp_path: Path, embedder: HashingEmbedder) -> None:
    assert best(tmp_path, embedder, "who is the mayor of Ulm", a="Mayor of Ulm: Eva Roth") == "Mayor of Ulm: Eva Roth"


def test_the_heading_above_counts_and_the_one_below_does_not(tmp_path: Path, embedder: HashingEmbedder) -> None:
    text = "# Ulm\n\nIt lies in a wood. It is old.\n\n# Bern\n\nIt lies on a river. It is young.\n"
    assert best(tmp_path, embedder, "Where is Bern?", a=text) in ("It lies on a river.", "It is young.")


@pytest.mark.parametrize(
    ("question", "text", "answer"),
    [
        ("Wer leitet den Hafen?", "Der Fluss ist lang. Den Hafen leitet Frau Meyer. Es regnet.", "Den Hafen leitet"),
        ("誰が港を管理しますか", "川は長い。港を管理するのは田中です。雨が降る。", "港を管理"),
        ("who runs the port?", "THE RIVER IS LONG. THE PORT IS RUN BY EVA ROTH. IT RAINS.", "THE PORT"),
        ("кто управляет портом?", "Река длинная. Портом управляет Иванова. Идёт дождь.", "Портом"),
    ],
)
def test_other_languages_and_upper_case(
    tmp_path: Path, embedder: HashingEmbedder, question: str, text: str, answer: str
) -> None:
    assert best(tmp_path, embedder, question, a=text).startswith(answer)


@pytest.mark.parametrize("question", ["who are they?", "???", "xyzzy plugh", "\U0001f600", "\x00", "why " * 500])
def test_questions_without_a_known_term_are_read_and_score_low(
    articles: Path, embedder: HashingEmbedder, question: str
) -> None:
    spans = read(articles, embedder, question)[1]
    assert all(np.isfinite(span.confidence) and span.confidence < 0.3 for span in spans)


def test_no_passages_no_spans(articles: Path, embedder: HashingEmbedder) -> None:
    index = Index.sync(articles.parent / ".pincite", [articles], embedder=embedder)
    assert read_sentences(index, "who?", embedder.embed_query("who?"), []) == []
    candidates, features = measure(index, "who?", [])
    assert candidates == [] and features.shape == (0, len(WEIGHTS))


def test_only_the_likeliest_sentences_are_embedded(articles: Path, embedder: HashingEmbedder) -> None:
    (articles / "long.txt").write_text(" ".join(f"The board of club {n} met in room {n}." for n in range(60)))
    index = Index.sync(articles.parent / ".pincite", [articles], embedder=embedder)
    vector = embedder.embed_query("Where did the board meet?")
    hits = retrieve(index, "Where did the board meet?", vector, 10)
    embedder.embedded.clear()
    read_sentences(index, "Where did the board meet?", vector, hits)
    assert len(embedder.embedded) == SENTENCES


def test_terms_weigh_by_rarity(articles: Path, embedder: HashingEmbedder) -> None:
    index = Index.sync(articles.parent / ".pincite", [articles], embedder=embedder)
    common, rare, unknown = index.idf(["hous", "carp", "zebra"])
    assert common <= rare < unknown
    assert index.idf([]).shape == (0,)
    assert covered({}, {"carp"}) == 0.0


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("When did it end?", "time"),
        ("In what year was it built", "time"),
        ("how many seats are there", "number"),
        ("What is the price of a ticket?", "number"),
        ("Where does she live?", "place"),
        ("In which city is it?", "place"),
        ("Why did he go?", "reason"),
        ("To whom was it given?", "name"),
        ("Does it rain?", ""),
        ("Wo liegt Bern?", ""),
        ("", ""),
    ],
)
def test_kind_asked(question: str, kind: str) -> None:
    assert kind_asked(question) == kind


@pytest.mark.parametrize(
    ("kind", "sentence", "found"),
    [
        ("time", "It opened in 1931.", 1.0),
        ("time", "It opened with music.", -1.0),
        ("time", "The 2022 race was won.", -1.0),
        ("number", "Some forty people came.", 1.0),
        ("number", "In 2022 many came.", -1.0),
        ("place", "She lives in Bern.", 1.0),
        ("place", "She lives in hope.", -1.0),
        ("reason", "It closed because nobody came.", 1.0),
        ("name", "The race was won by Ann.", 1.0),
        ("name", "Anna won the race.", -1.0),
        ("name", "Roses won.", -1.0),
        ("name", "Eva Roth won.", 1.0),
        ("", "Eva Roth won.", 0.0),
    ],
)
def test_offers_only_what_is_not_in_the_question(kind: str, sentence: str, found: float) -> None:
    asked = frozenset({"2022", "race", "anna"})
    assert offers(kind, sentence, asked) == found
