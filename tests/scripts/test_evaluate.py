"""The evaluations on sets so small that their figures can be worked out by hand."""

from __future__ import annotations

import doctest
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import evaluate
import evaluate_open
import pytest
import question_sets
import timing
from evaluate_reader import Prediction, evaluate_reader, reading_scores
from question_sets import Question, QuestionSet, document_name, read_questions, read_squad, sample, sources_of

from pincite.index import Index
from pincite.qa import Pipeline
from tests.conftest import HashingEmbedder, KnowingReader

CHAIR = "Ann Lee chairs the chess club of the town of Bern. It has met each Friday since the spring of 1987."
POND = "The pond behind the old mill holds three carp and a pike. Herons come there to fish in the winter."
TRAIN = "The night train to Genoa leaves at noon from platform nine. It has six cars, one of them a bar."


def squad(path: Path, paragraphs: Mapping[str, Sequence[tuple[str, list[str]]]]) -> Path:
    """Write a SQuAD-form file with one article of the given paragraphs, and return it."""
    content = []
    for text, asked in paragraphs.items():
        qas = [
            {
                "id": question,
                "question": question,
                "answers": [{"text": answer, "answer_start": text.index(answer)} for answer in answers],
                "is_impossible": not answers,
            }
            for question, answers in asked
        ]
        content.append({"context": text, "qas": qas})
    path.write_text(json.dumps({"data": [{"title": "Life_in_town", "paragraphs": content}]}), encoding="utf-8")
    return path


def jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def answerable(tmp_path: Path) -> Path:
    paragraphs = {
        CHAIR: [
            ("Who chairs the chess club?", ["Ann Lee"]),
            ("Since when has the club met?", ["1987", "spring of 1987"]),
        ],
        POND: [("What carp does the pond hold?", ["three", "three carp"])],
    }
    return squad(tmp_path / "first.json", paragraphs)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    paragraphs = {
        POND: [("What carp does the pond hold?", ["three"]), ("How many trout does the pond hold?", [])],
        TRAIN: [("Where does the night train go?", ["Genoa"]), ("Who drives the night train?", [])],
    }
    return squad(tmp_path / "second.json", paragraphs)


def test_a_paragraph_that_two_files_share_is_one(answerable: Path, mixed: Path, tmp_path: Path) -> None:
    both = evaluate_open.with_unanswerable(read_questions(answerable), mixed)
    assert sorted(one.text for one in both.paragraphs.values()) == sorted([CHAIR, POND, TRAIN])
    assert [question.text for question in both.questions if not question.answers] == [
        "How many trout does the pond hold?",
        "Who drives the night train?",
    ]
    assert sum(bool(question.answers) for question in both.questions) == 3, (
        "answerable ones of the second file are left"
    )
    (file,) = sources_of(both, tmp_path / "new" / "work")
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert {record["title"] for record in records} == {"Life in town"}
    named = {record["_id"]: record["text"] for record in records}
    assert all(named[name] in (CHAIR, POND, TRAIN) for question in both.questions for name in question.gold)


def test_sets_are_read_in_each_of_their_forms(tmp_path: Path) -> None:
    corpus = tmp_path / "news"
    corpus.mkdir()
    jsonl(corpus / "corpus.jsonl", [{"_id": "d1", "title": "Carp", "text": POND}])
    jsonl(corpus / "answers.jsonl", [{"_id": "q1", "text": "How many carp?", "answers": ["three"], "gold": ["d1"]}])
    news = read_questions(corpus)
    assert news == QuestionSet(
        "news", (Question("How many carp?", ("three",), frozenset({"d1"})),), (corpus / "corpus.jsonl",)
    )

    folder = tmp_path / "town"
    (folder / "articles").mkdir(parents=True)
    rows = [
        {"_id": "1", "text": "Who?", "article": "St. Moritz-Bad", "answers": ["Ann", "Yes."]},
        {"_id": "2", "text": "Is it?", "article": "Bern", "answers": ["No.", "no"]},
        {"_id": "3", "text": "What?", "article": "Bern", "answers": [""]},
    ]
    jsonl(folder / "questions_all.jsonl", rows)
    town = read_questions(folder)
    assert town.questions == (Question("Who?", ("Ann",), frozenset({"St_Moritz_Bad"})),)
    assert town.sources == (folder / "articles",)
    assert document_name("town/articles/St_Moritz_Bad.txt") in town.questions[0].gold

    alone = read_questions(jsonl(tmp_path / "alone.jsonl", [{"_id": "4", "text": "Why?", "answer": "Nobody knows."}]))
    assert (alone.questions, alone.sources, alone.paragraphs) == ((Question("Why?", ()),), (), {})


def test_a_sample_is_the_same_each_time_and_in_order() -> None:
    questions = tuple(Question(f"{number:03}?", ()) for number in range(200))
    drawn = sample(questions, 20)
    assert drawn == sample(questions, 20)
    assert len(set(drawn)) == 20 and list(drawn) == sorted(drawn, key=lambda question: question.text)
    assert drawn != questions[:20]
    assert sample(questions, None) == sample(questions, 200) == sample(questions, 999) == questions


def test_reader_is_scored_as_worked_by_hand(answerable: Path) -> None:
    told = {
        "Who chairs the chess club?": "Ann Lee",  # exact
        "Since when has the club met?": "Friday since the spring of 1987",  # 3 of 6 - "the" = 5 words: F1 6/8
        "What carp does the pond hold?": "old mill",  # nothing shared
    }
    figures = evaluate_reader(answerable, KnowingReader(told))
    assert figures == {
        "evaluate": "reader",
        "set": "first",
        "reader": "knowing",
        "questions": 3,
        "of": 3,
        "read_in_several_windows": 0,
        "answerable": 3,
        "EM": round(1 / 3, 4),
        "F1": round((1 + 0.75) / 3, 4),
    }


def test_answers_are_found_in_whichever_window_has_them(answerable: Path) -> None:
    told = {
        "Who chairs the chess club?": "Ann Lee",
        "Since when has the club met?": "1987",
        "What carp does the pond hold?": "three",
    }
    figures = evaluate_reader(answerable, KnowingReader(told, width=6))
    assert (figures["read_in_several_windows"], figures["EM"], figures["F1"]) == (3, 1.0, 1.0)


def test_reader_is_scored_on_abstaining_where_some_have_no_answer(mixed: Path) -> None:
    told = {
        "What carp does the pond hold?": "three",
        "How many trout does the pond hold?": "",  # rightly none
        "Where does the night train go?": "Genoa",
        "Who drives the night train?": "noon",  # wrongly sure, as sure as of the right ones
    }
    figures = evaluate_reader(mixed, KnowingReader(told))
    assert (figures["answerable"], figures["unanswerable"]) == (2, 2)
    assert (figures["EM"], figures["F1"]) == (1.0, 1.0)
    assert figures["AUROC"] == 0.75  # of four pairs two are right and two tie
    assert figures["best_F1"] == figures["best_EM"] == 0.75
    parts = {"EM": 0.75, "F1": 0.75, "HasAns_EM": 1.0, "HasAns_F1": 1.0, "NoAns": 0.5}
    assert figures["at_best_F1"] == figures["at_0"] == parts
    json.dumps(figures, allow_nan=False)


def test_best_threshold_may_be_to_decline_everything() -> None:
    predictions = [Prediction(Question("a?", ()), "x", 2.0, 1), Prediction(Question("b?", ("y",)), "x", 1.0, 1)]
    figures = reading_scores(predictions)
    assert (figures["best_F1"], figures["best_F1_threshold"], figures["AUROC"]) == (0.5, None, 0.0)
    assert figures["at_best_F1"]["NoAns"] == 1.0
    assert figures["at_0"] == {"EM": 0.0, "F1": 0.0, "HasAns_EM": 0.0, "HasAns_F1": 0.0, "NoAns": 0.0}
    json.dumps(figures, allow_nan=False)


def test_context_without_words_has_an_empty_prediction(tmp_path: Path) -> None:
    file = squad(tmp_path / "blank.json", {" \n": [("Who?", [])], POND: [("How many carp?", ["three"])]})
    figures = evaluate_reader(file, KnowingReader({"Who?": "", "How many carp?": "three"}))
    assert (figures["best_F1"], figures["AUROC"]) == (1.0, 1.0)
    json.dumps(figures, allow_nan=False)


def open_figures(
    questions: QuestionSet, told: Mapping[str, str], work: Path, limit: int | None = None
) -> dict[str, Any]:
    embedder = HashingEmbedder()
    index = Index.sync(work / ".pincite", sources_of(questions, work), embedder=embedder)
    return evaluate_open.evaluate_open(questions, Pipeline(index, reader=KnowingReader(told)), limit=limit)


def test_open_questions_are_scored_as_worked_by_hand(answerable: Path, mixed: Path, tmp_path: Path) -> None:
    told = {
        "Who chairs the chess club?": "Ann Lee",  # right
        "Since when has the club met?": "three carp",  # wrong, from another paragraph
        "What carp does the pond hold?": "",  # declined
        "How many trout does the pond hold?": "",  # rightly declined
        "Who drives the night train?": "platform nine",  # wrongly given
    }
    questions = evaluate_open.with_unanswerable(read_questions(answerable), mixed)
    figures = open_figures(questions, told, tmp_path / "work")
    assert (figures["documents"], figures["set"]) == (3, "first")
    part = figures["answerable"]
    third = round(1 / 3, 4)
    expected = {
        "questions": 3,
        "EM": third,
        "F1": third,
        "declined": third,
        "right_given": third,
        "wrong_given": third,
        "with_gold": 3,
        "words_in_answer": third,
    }
    assert {name: part[name] for name in expected} == expected
    assert figures["unanswerable"] == {"questions": 2, "declined": 0.5}
    # Of six pairs two are right for certain and one is wrong; the others are of questions that it is as sure about.
    assert 2 / 6 - 1e-4 <= figures["AUROC"] <= 5 / 6 + 1e-4
    # Sure of three, two of them wrongly; all but certain that the rest have no answer.
    assert figures["ECE_exact"] == figures["ECE_F1_over_half"] == pytest.approx(2 / 5, abs=0.1)
    json.dumps(figures, allow_nan=False)


def test_citations_are_right_if_they_are_in_the_paragraph_that_was_asked_about(
    answerable: Path, tmp_path: Path
) -> None:
    told = {
        "Who chairs the chess club?": "Ann Lee",
        "Since when has the club met?": "three carp",
        "What carp does the pond hold?": "three carp",
    }
    part = open_figures(read_questions(answerable), told, tmp_path / "work")["answerable"]
    assert part["right_document_cited"] == part["words_in_citation"] == round(2 / 3, 4)
    # The other paragraph's first word is an unlikely answer, but an answer: its sentence is among the first five.
    assert part["words_in_5_citations"] >= part["words_in_citation"]
    assert part["forced_F1"] == part["F1"]


def test_forced_answers_count_only_where_it_is_said(answerable: Path, tmp_path: Path) -> None:
    told = dict.fromkeys(
        ["Who chairs the chess club?", "Since when has the club met?", "What carp does the pond hold?"], ""
    )
    figures = open_figures(read_questions(answerable), told, tmp_path / "work")
    part = figures["answerable"]
    assert (part["declined"], part["EM"], part["F1"], part["wrong_given"]) == (1.0, 0.0, 0.0, 0.0)
    # Made to answer, it gives the first word of a paragraph: "Ann" of "Ann Lee" for the first question.
    assert part["forced_F1"] <= round(2 / 3 / 3, 4)
    assert "unanswerable" not in figures and "AUROC" not in figures


def test_limit_draws_from_both_kinds(answerable: Path, mixed: Path, tmp_path: Path) -> None:
    questions = evaluate_open.with_unanswerable(read_questions(answerable), mixed)
    told = {question.text: "" for question in questions.questions}
    figures = open_figures(questions, told, tmp_path / "work", limit=1)
    assert (figures["answerable"]["questions"], figures["unanswerable"]["questions"]) == (1, 1)
    assert figures["documents"] == 3


def test_gold_documents_are_found_for_articles_and_corpora(tmp_path: Path) -> None:
    folder = tmp_path / "town"
    (folder / "articles").mkdir(parents=True)
    (folder / "articles" / "Old_mill.txt").write_text(POND)
    (folder / "articles" / "Night_train.txt").write_text(TRAIN)
    rows = [{"_id": "1", "text": "How many carp?", "article": "Old mill", "answers": ["three"]}]
    jsonl(folder / "questions_all.jsonl", rows)
    part = open_figures(read_questions(folder), {"How many carp?": "three"}, tmp_path / "work")["answerable"]
    assert (part["EM"], part["right_document_cited"]) == (1.0, 1.0)

    corpus = tmp_path / "news"
    corpus.mkdir()
    jsonl(corpus / "corpus.jsonl", [{"_id": "d1", "text": POND}, {"_id": "d2", "text": TRAIN}])
    asked = [
        {"_id": "q1", "text": "How many carp?", "answers": ["three"], "gold": ["d2"]},
        {"_id": "q2", "text": "Where does it go?", "answers": ["Genoa"], "gold": []},
    ]
    jsonl(corpus / "answers.jsonl", asked)
    told = {"How many carp?": "three", "Where does it go?": "Genoa"}
    part = open_figures(read_questions(corpus), told, tmp_path / "work2")["answerable"]
    assert (part["EM"], part["with_gold"], part["right_document_cited"]) == (1.0, 1, 0.0)


def test_retrieval_is_scored_in_each_mode(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    jsonl(
        folder / "corpus.jsonl",
        [{"_id": name, "text": text} for name, text in zip("cpt", (CHAIR, POND, TRAIN), strict=True)],
    )
    jsonl(folder / "queries.jsonl", [{"_id": "1", "text": "town platform?"}, {"_id": "2", "text": "unjudged"}])
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n1\tc\t1\n1\tt\t0\n")
    embedder = HashingEmbedder()
    told = {"town platform?": "Ann Lee"}

    def pipeline_of(place: Path, sources: Sequence[Path]) -> Pipeline:
        index = Index.sync(place / ".pincite", sources, embedder=embedder)
        return Pipeline(index, reader=KnowingReader(told))

    figures = evaluate.evaluate_ir(folder, tmp_path / "work", ("sparse", "hybrid", "full"), pipeline_of)
    assert (figures["documents"], figures["queries"]) == (3, 1)
    assert figures["modes"].keys() == {"sparse", "hybrid", "full"}
    assert figures["modes"]["sparse"]["recall@5"] == figures["modes"]["hybrid"]["recall@5"] == 1.0
    # Each of two articles has one of the words: the reader decides.
    assert figures["modes"]["full"]["recall@1"] == 1.0
    told["town platform?"] = "Genoa"
    figures = evaluate.evaluate_ir(folder, tmp_path / "work", ("full",), pipeline_of)
    assert (figures["modes"]["full"]["recall@1"], figures["modes"]["full"]["recall@5"]) == (0.0, 1.0)
    few = evaluate.evaluate_ir(folder, tmp_path / "work", ("sparse",), pipeline_of, others=0)
    assert few["documents"] == 2, "what was judged, relevant or not, and nothing besides"


@pytest.mark.parametrize("module", [question_sets, timing])
def test_examples_in_docstrings(module: Any) -> None:
    result = doctest.testmod(module)
    assert result.attempted and not result.failed


def test_squad_files_of_version_one_have_no_unanswerable_questions(tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    qa = {"id": "1", "question": "How many?", "answers": [{"text": "three", "answer_start": 31}]}
    file.write_text(json.dumps({"version": "1.1", "data": [{"paragraphs": [{"context": POND, "qas": [qa]}]}]}))
    assert [question.answers for question in read_squad(file).questions] == [("three",)]
