"""The weights of the reader: spans are labelled as they should be, and what is fitted is what the data say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import reader_data
from fit_reader import Asked, ask, best, calibrate, fit_ranking, fit_spans, held_back_written, logistic, summary
from reader_data import Question

from pincite.index import Index
from pincite.qa.reader import WEIGHTS
from tests.conftest import HashingEmbedder, KnowingReader

TEXTS = ["Ann Lee chairs the club.", "The club once had Ann Lee in it.", "Bob Roe chairs the choir."]


@pytest.fixture
def index(tmp_path: Path, embedder: HashingEmbedder) -> Index:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps({"_id": str(i), "text": text}) + "\n" for i, text in enumerate(TEXTS)))
    return Index.sync(tmp_path / "index", [corpus], embedder=embedder)


def asked_of(index: Index, *, is_absent: bool) -> Asked:
    question = Question("nq_oracle-dev", "Who chairs the club?", 0, ((0, 7),), True)
    return ask(index, KnowingReader({question.text: "Ann Lee"}), question, ("Ann Lee",), is_absent)


def test_only_the_answer_in_its_own_context_is_surely_right(index: Index) -> None:
    one = asked_of(index, is_absent=False)
    assert one.features.shape == (len(one.labels), len(WEIGHTS))
    by_margin = one.features[:, list(WEIGHTS).index("margin")]
    assert sorted(one.labels[by_margin > 0]) == [-1, 1], "the same words elsewhere may answer or not"
    assert not one.labels[by_margin < 0].any() and one.is_right.sum() == 2
    assert one.ranking.shape == (3, 3) and one.ranking[:, 2].sum() == 1
    assert one.ranking[one.ranking[:, 2] == 1, 1] == 60


def test_nothing_is_right_where_nothing_answers(index: Index) -> None:
    one = asked_of(index, is_absent=True)
    assert len(one.labels) and not one.labels.any() and not one.is_right.any()


def test_written_questions_are_asked_about_the_context_they_are_of(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "Rain fell for a week. The bridge was built by Ann Kerr."
    paragraph = text[text.index("The bridge") :]
    written = [(paragraph, [("Who built the bridge?", ((24, 32),)), ("Who paid for the bridge?", ())])]
    monkeypatch.setattr(reader_data, "read_written", lambda contexts: written)
    monkeypatch.setattr(reader_data, "HELD_BACK", 1.0)
    answered, unanswered = held_back_written([*TEXTS, text], [])
    assert answered.context == unanswered.context == 3
    assert [text[start:end] for start, end in answered.answers] == ["Ann Kerr"] and unanswered.answers == ()
    monkeypatch.setattr(reader_data, "HELD_BACK", 0.0)
    assert held_back_written([*TEXTS, text], []) == [], "the reader learned from these"


def test_logistic_finds_what_the_labels_were_drawn_from() -> None:
    draw = np.random.default_rng(1)
    rows = draw.normal(size=(20_000, 2)) * [1.0, 5.0]
    labels = (draw.random(20_000) < 1 / (1 + np.exp(-(rows @ [1.5, -0.2] + 0.7)))).astype(float)
    weights, bias = logistic(rows, labels, 0.0)
    assert weights == pytest.approx([1.5, -0.2], abs=0.06) and bias == pytest.approx(0.7, abs=0.06)
    chance = 1 / (1 + np.exp(-(rows @ weights + bias)))
    assert np.abs(np.c_[rows, np.ones(len(rows))].T @ (chance - labels)).max() < 1e-4  # the likelihood is level there
    strict, _ = logistic(rows, labels, 1e4)
    assert (np.abs(strict) < 0.6 * np.abs(weights)).all()


def drawn(count: int) -> list[Asked]:
    """Questions whose right span has a margin of 2 on average and whose other has one of -2; half have no answer."""
    draw = np.random.default_rng(2)
    margin = list(WEIGHTS).index("margin")
    found = []
    for n in range(count):
        features = draw.normal(size=(2, len(WEIGHTS)))
        labels = np.array([0 if n % 2 else 1, 0])
        features[:, margin] += np.where(labels, 2.0, -2.0)
        ranking = np.array([[0.5, 0.0, 0], [0.4, features[0, margin], 1]])
        question = Question("nq_oracle-dev", "Who?", 0, (), True)
        found.append(Asked(question, (), n % 2 == 1, features, labels, labels == 1, ranking))
    return found


def test_weights_tell_right_from_wrong_and_the_chance_is_true() -> None:
    asked = drawn(400)
    weights, bias = fit_spans(asked)
    assert np.argmax(np.abs(weights)) == list(WEIGHTS).index("margin")
    logit, is_right = best(asked[0], weights, bias)
    assert logit == pytest.approx(float((asked[0].features @ weights).max()) + bias) and isinstance(is_right, bool)
    _, _, chance, right = calibrate(asked)
    order = [one for fold in range(5) for one in asked[fold::5]]
    figures = summary(chance, right, np.array([one.is_absent for one in order]))
    assert (figures["answerable"], figures["unanswerable"]) == (200, 200)
    assert figures["auroc"] > 0.9 and figures["calibration_error"] < 0.05
    assert figures["at 0.5"]["unanswerable_declined"] > 0.85 > 0.3 > figures["at 0.5"]["answerable_declined"]


def test_a_ranking_is_helped_by_what_was_read() -> None:
    ranking = fit_ranking(drawn(100))
    before, after = ranking["other half"]
    assert before == 0.5 and after > 0.8 and ranking["weight"] > 0
