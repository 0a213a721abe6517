"""A user's own questions: figures by hand, lines of no use, and a plot."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from math import log2
from pathlib import Path
from typing import Any

import pytest

from pincite.index import Index, SourceError
from pincite.qa import Pipeline
from pincite.qa.calibration_plot import plotter
from pincite.qa.evaluation import evaluate, read_expected
from pincite.qa.evaluation_text import evaluation_text
from pincite.qa.metrics import calibration_table, with_interval
from tests.conftest import HashingEmbedder, KnowingReader

TOLD = {
    "Who sits on the board?": "Ann, Bob and Cid",
    "When does the train leave?": "six cars",
    "Where do roses grow?": "behind the house",
    "What does the bar cost?": "",
    "How old is the pond?": "three carp",
}
LINES: list[dict[str, Any]] = [
    {"question": "Who sits on the board?", "answers": ["Cid", "Ann, Bob and Cid."], "files": ["board.txt"]},
    {"question": "When does the train leave?", "answers": ["at noon"], "files": ["./articles/train.txt"]},
    {"question": "Where do roses grow?", "files": ["garden.md", "lost.txt"]},
    {"question": "What does the bar cost?", "answers": []},
    {"question": "How old is the pond?", "answers": []},
]

Score = Callable[..., dict[str, Any]]


@pytest.fixture
def pipeline(articles: Path, embedder: HashingEmbedder) -> Pipeline:
    return Pipeline(Index.sync(articles / ".pincite", [articles], embedder=embedder), reader=KnowingReader(TOLD))


@pytest.fixture
def scores_of(tmp_path: Path) -> Score:
    def scores(pipeline: Pipeline, rows: list[dict[str, Any]], threshold: float = 0.15) -> dict[str, Any]:
        path = tmp_path / "questions.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return evaluate(pipeline, read_expected(str(path), pytest.fail), min_confidence=threshold)

    return scores


def means(part: dict[str, Any]) -> dict[str, float]:
    return {name: figure[0] for name, figure in part.items() if name != "questions"}


def test_figures_are_those_worked_out_by_hand(pipeline: Pipeline, scores_of: Score) -> None:
    scores = scores_of(pipeline, LINES)
    assert scores["questions"] == 5
    ranks = []
    for question, file in [(LINES[0], "board.txt"), (LINES[1], "train.txt"), (LINES[2], "garden.md")]:
        names = [Path(hit.path).name for hit in pipeline.search(question["question"])]
        ranks.append(list(dict.fromkeys(names)).index(file) + 1)
    retrieval = means(scores["retrieval"])
    assert retrieval["hit@1"] == pytest.approx(sum(rank == 1 for rank in ranks) / 3, abs=1e-4)
    assert retrieval["hit@10"] == retrieval["right_file_cited"] == 1
    assert retrieval["MRR@10"] == pytest.approx(sum(1 / rank for rank in ranks) / 3, abs=1e-4)
    assert means(scores["answers"]) == {
        "EM": 0.5,
        "F1": 0.5,
        "right": 0.5,
        "wrong": 0.5,
        "declined": 0,
        "words_in_answer": 0.5,
        "words_in_5_citations": 1,  # "The train" is another answer, of no confidence, in the right sentence
    }
    sizes = [scores[part]["questions"] for part in ("retrieval", "answers", "unanswerable", "calibration")]
    assert sizes == [3, 2, 2, 4] and sum(one["count"] for one in scores["calibration"]["bins"]) == 4
    assert scores["unanswerable"]["declined"][0] == 0.5 and scores["never_found"] == ["lost.txt"]


def test_files_rank_by_their_best_passage(tmp_path: Path, embedder: HashingEmbedder, scores_of: Score) -> None:
    for n in range(4):
        words = " ".join(f"word{n}x{i}" for i in range(90))
        (tmp_path / f"{n}.txt").write_text(f"Keeper {n} keeps the lamp. {words}. The lamp is lit {words}.\n")
    index = Index.sync(tmp_path / ".pincite", [tmp_path], embedder=embedder)
    pipeline = Pipeline(index, reader=KnowingReader({"lamp": ""}))
    paths = [hit.path for hit in pipeline.search("lamp", 100)]
    assert len(paths) > len(set(paths)) == 4
    for rank, path in enumerate(dict.fromkeys(paths), 1):
        found = means(scores_of(pipeline, [{"question": "lamp", "files": [path]}])["retrieval"])
        assert (found["hit@1"], found["hit@5"]) == (rank == 1, 1)
        assert (found["MRR@10"], found["nDCG@10"]) == (round(1 / rank, 4), round(1 / log2(rank + 1), 4))


def test_a_higher_threshold_declines_and_the_best_one_is_told(pipeline: Pipeline, scores_of: Score) -> None:
    scores = scores_of(pipeline, LINES, threshold=1.0)
    assert (scores["answers"]["declined"][0], scores["answers"]["EM"][0]) == (1, 0)
    assert scores["unanswerable"]["declined"][0] == 1 and scores["threshold"]["right_now"][0] == 0.5
    # Of these the one that has an answer is answered rightly, and far surer than the other.
    threshold = scores_of(pipeline, [LINES[0], LINES[3]], threshold=0.0)["threshold"]
    assert threshold["best"] == pytest.approx(pipeline.ask(LINES[0]["question"]).confidence, abs=1e-4)
    assert (threshold["right_now"][0], threshold["right_at_best"][0]) == (0.5, 1)


def test_a_copy_of_the_right_file_counts_as_found(articles: Path, embedder: HashingEmbedder, scores_of: Score) -> None:
    (articles / "a-copy.txt").write_bytes((articles / "board.txt").read_bytes())
    index = Index.sync(articles / ".pincite", [articles], embedder=embedder)
    for name in ("board.txt", "a-copy.txt", str(articles / "board.txt")):
        row = {"question": "Who sits on the board?", "files": [name]}
        assert scores_of(Pipeline(index, reader=KnowingReader(TOLD)), [row])["retrieval"]["hit@1"][0] == 1


def test_lines_of_no_use_are_named_with_their_number_and_left_out(pipeline: Pipeline, tmp_path: Path) -> None:
    bad = [
        b"no json",
        b'{"answers": ["x"]}',
        b'{"question": "Who?"}',
        b'{"question": "Who?", "answers": [""]}',
        b'{"question": "Who?", "answers": ["the ..."]}',
        b'{"question": "Who?", "answers": "x"}',
        b'{"question": "Who?", "answers": [], "files": ["a.txt"]}',
        b'{"question": "caf\xe9?", "answers": ["x"]}',
        b"[" * 100_000,
        b"x" * (2 << 20),
        b"",
    ]
    path, notes = tmp_path / "q.jsonl", list[str]()
    path.write_bytes(b"\n".join([*bad, json.dumps(LINES[0]).encode()]))
    assert [one.question for one in read_expected(str(path), notes.append)] == ["Who sits on the board?"]
    assert [note.partition(": ")[0] for note in notes] == [f"{path}:{n}" for n in range(1, len(bad) + 1)]
    assert all(len(note) - len(str(path)) < 120 for note in notes)
    path.write_bytes(b"\n".join(bad))
    with pytest.raises(SourceError, match="No question"):
        evaluate(pipeline, read_expected(str(path), notes.append), min_confidence=0.1)
    notes.clear()
    path.write_bytes(b"no json\n" * 500)
    assert list(read_expected(str(path), notes.append)) == []
    assert len(notes) == 21 and notes[-1] == f"{path}: 480 more lines left out"


def test_the_table_says_how_many_questions_it_rests_on(pipeline: Pipeline, scores_of: Score) -> None:
    text = evaluation_text(scores_of(pipeline, LINES))
    for said in ("files are named: 3 questions", "without an answer: 2 questions", "too few to rely on", "lost.txt"):
        assert said in text
    assert "to choose one takes both" in evaluation_text(scores_of(pipeline, LINES[:1]))
    assert "confidence:" not in evaluation_text(scores_of(pipeline, LINES[2:3]))


def test_intervals_are_wide_for_few_questions_even_if_all_are_right() -> None:
    assert with_interval([]) is None
    assert with_interval([1.0]) == (1.0, 0.2065, 1.0)
    # Brown, Cai & DasGupta 2001 give Wilson's interval; R's prop.test(9, 30, correct = FALSE) says the same.
    assert with_interval([1.0] * 9 + [0.0] * 21) == pytest.approx((0.3, 0.1666, 0.4788), abs=2e-4)


def test_bins_hold_every_sample_once() -> None:
    table = calibration_table([0.0, 0.1, 0.11, 0.2, 1.0], [False, True, True, False, True])
    assert [(one.low, one.count, one.right) for one in table] == [(0.0, 2, 0.5), (0.1, 2, 0.5), (0.9, 1, 1.0)]


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "begin"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_the_plot_is_drawn_without_a_display_the_same_each_time(
    tmp_path: Path, suffix: str, begin: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.delenv("DISPLAY", raising=False)
    bins = [
        {"low": 0.0, "high": 0.1, "count": 1, "confidence": 0.05, "right": 0.0},
        {"low": 0.9, "high": 1.0, "count": 3, "confidence": 0.95, "right": 1.0},
    ]
    first, second = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    for path in (first, second):
        plotter(str(path))(bins)
    assert first.read_bytes() == second.read_bytes() and first.read_bytes().startswith(begin)
    plotter(str(tmp_path / f"none.{suffix}"))([])
    with pytest.raises(SourceError, match="cannot be written"):
        plotter(str(tmp_path / "no" / f"folder.{suffix}"))(bins)


def test_evaluating_loads_no_matplotlib() -> None:
    names = "pincite.qa.evaluation, pincite.qa.evaluation_text, pincite.qa.calibration_plot"
    code = f"import sys, {names}; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
