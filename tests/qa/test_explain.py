"""--explain: the parts of each score, which are those that it was made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pincite.index import Index
from pincite.qa import Pipeline
from pincite.qa.explain import explain, explanation_json, explanation_text
from pincite.qa.render import Style
from tests.conftest import HashingEmbedder

QUESTION = "Who repaired the harbour crane?"


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    (tmp_path / "crane.txt").write_text("Ida Holm repaired the harbour crane in May. It lifts nine tons.")
    (tmp_path / "bridge.txt").write_text("The bridge was painted in June. Nobody paid for the harbour.")
    (tmp_path / "tower.txt").write_text("The tower is closed on Mondays.")
    return Pipeline(Index.sync(tmp_path / ".pincite", [tmp_path], embedder=HashingEmbedder()))


def test_the_parts_add_up_to_the_score_that_ranked(pipeline: Pipeline) -> None:
    answer = pipeline.ask(QUESTION, read_all=True)
    explanations = explain(pipeline, QUESTION, answer.hits)
    assert [one.hit for one in explanations] == list(answer.hits)
    assert len(explanations) == 3
    for one in explanations:
        assert one.meaning + one.words + one.reading == pytest.approx(one.hit.score, abs=1e-6)
        assert one.reading > 0
    first = explanations[0]
    assert {word for word, _ in first.terms} == {"repaired", "harbour", "crane"} and first.missing == ()
    weights = [weight for _, weight in first.terms]
    assert weights == sorted(weights, reverse=True)
    assert sum(weights) == pytest.approx(float(pipeline.index.bm25(QUESTION, np.array([first.hit.row]))[0]), rel=1e-5)
    assert first.span and first.span.text == answer.text == "Ida Holm"
    assert first.span.confidence == pytest.approx(answer.confidence, abs=1e-6)
    second = next(one for one in explanations if one.hit.path.endswith("bridge.txt"))
    assert [word for word, _ in second.terms] == ["harbour"] and set(second.missing) == {"repaired", "crane"}


def test_hits_that_were_not_read_have_nothing_of_the_reader(pipeline: Pipeline) -> None:
    for one in explain(pipeline, QUESTION, pipeline.search(QUESTION)):
        assert one.reading == pytest.approx(0, abs=1e-6)


def test_it_is_told_in_words_and_as_json(pipeline: Pipeline) -> None:
    explanations = explain(pipeline, QUESTION, pipeline.ask(QUESTION).hits)
    text = explanation_text(explanations, Style())
    assert "reader: “Ida Holm”" in text and "harbour" in text and "lacks repaired, crane" in text
    assert len(explanation_json(explanations)) == len(explanations)
    assert explain(pipeline, QUESTION, []) == []
