"""A user's own questions: figures by hand, lines of no use, and a plot."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from math import log2
from pathlib import Path
from typing import Any

import pytest

from pincite.index import Index, SourceError
from pincite.qa import Pipeline
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
    {"question": "How old is the pond?", "answerable": False, "files": ["garden.md"]},
]


def lines_of(rows: list[dict[str, Any]]) -> io.BytesIO:
    return io.BytesIO("".join(json.dumps(row) + "\n" for row in rows).encode())


def scores_of(pipeline: Pipeline, rows: list[dict[str, Any]], threshold: float = 0.15) -> dict[str, Any]:
    notes: list[str] = []
    expected = read_expected(lines_of(rows), "q.jsonl", notes.append)
    scores = evaluate(pipeline, expected, min_confidence=threshold)
    assert not notes
    return scores


@pytest.fixture
def pipeline(articles: Path, embedder: HashingEmbedder) -> Pipeline:
    return Pipeline(Index.sync(articles / ".pincite", [articles], embedder=embedder), reader=KnowingReader(TOLD))


def test_figures_are_those_worked_out_by_hand(pipeline: Pipeline) -> None:
    scores = scores_of(pipeline, LINES)
    assert scores["questions"] == 5
    retrieval, answers = scores["retrieval"], scores["answers"]
    assert retrieval["questions"] == 3
    ranks = []
    for question, file in [("Who sits on the board?", "board.txt"), ("When does the train leave?", "train.txt")]:
        ranks.append([Path(hit.path).name for hit in pipeline.search(question)].index(file) + 1)
    garden = [Path(hit.path).name for hit in pipeline.search("Where do roses grow?")]
    ranks.append(list(dict.fromkeys(garden)).index("garden.md") + 1)
    assert retrieval["hit@1"][0] == pytest.approx(sum(rank == 1 for rank in ranks) / 3, abs=1e-4)
    assert retrieval["hit@10"][0] == 1
    assert retrieval["MRR@10"][0] == pytest.approx(sum(1 / rank for rank in ranks) / 3, abs=1e-4)
    assert answers["questions"] == 2
    means = {name: figure[0] for name, figure in answers.items() if name != "questions"}
    assert means == {
        "EM": 0.5,
        "F1": 0.5,
        "right": 0.5,
        "wrong": 0.5,
        "declined": 0,
        "words_in_answer": 0.5,
        "words_in_5_citations": 1,  # "The train" is another answer, of no confidence, in the right sentence
        "right_file_cited": 1,
    }
    assert scores["unanswerable"]["questions"] == 2 and scores["unanswerable"]["declined"][0] == 0.5
    assert scores["never_found"] == ["lost.txt"]
    assert scores["calibration"]["questions"] == 4
    assert sum(one["count"] for one in scores["calibration"]["bins"]) == 4


def test_files_rank_by_their_best_passage(tmp_path: Path, embedder: HashingEmbedder) -> None:
    for n in range(12):
        words = " ".join(f"word{n}x{i}" for i in range(90))
        (tmp_path / f"{n}.txt").write_text(f"Keeper {n} keeps the lamp. {words}. The lamp is lit {words}.\n")
    pipeline = Pipeline(
        Index.sync(tmp_path / ".pincite", [tmp_path], embedder=embedder), reader=KnowingReader({"lamp": ""})
    )
    paths = [hit.path for hit in pipeline.search("lamp", 100)]
    assert len(paths) > len(set(paths)) == 12
    for rank, path in enumerate(dict.fromkeys(paths), 1):
        found = scores_of(pipeline, [{"question": "lamp", "files": [path]}])["retrieval"]
        means = {name: figure[0] for name, figure in found.items() if name != "questions"}
        assert means == {
            "hit@1": rank <= 1,
            "hit@5": rank <= 5,
            "hit@10": rank <= 10,
            "MRR@10": round(1 / rank, 4) if rank <= 10 else 0,
            "nDCG@10": round(1 / log2(rank + 1), 4) if rank <= 10 else 0,
        }


def test_a_higher_threshold_declines_and_the_best_one_is_told(pipeline: Pipeline) -> None:
    scores = scores_of(pipeline, LINES, threshold=1.0)
    assert scores["answers"]["declined"][0] == 1 and scores["answers"]["EM"][0] == 0
    assert scores["unanswerable"]["declined"][0] == 1
    threshold = scores["threshold"]
    confidence = {row["question"]: pipeline.ask(row["question"], min_confidence=0).confidence for row in LINES}
    # Only the first question is answered rightly; it is best to answer that, if it is surer than the wrong answers.
    others = [confidence[one] for one in ("When does the train leave?", "How old is the pond?")]
    assert threshold["questions"] == 4 and threshold["unanswerable"] == 2
    assert threshold["right_now"][0] == 0.5
    assert threshold["right_at_best"][0] >= 0.5
    if confidence["Who sits on the board?"] > max(others):
        assert threshold["best"][0] == pytest.approx(confidence["Who sits on the board?"], abs=1e-4)
        assert threshold["right_at_best"][0] == 0.75
    assert threshold["best"][1] <= threshold["best"][0] <= threshold["best"][2]


def test_a_copy_of_the_right_file_counts_as_found(articles: Path, embedder: HashingEmbedder) -> None:
    (articles / "a-copy.txt").write_bytes((articles / "board.txt").read_bytes())
    index = Index.sync(articles / ".pincite", [articles], embedder=embedder)
    for name in ("board.txt", "a-copy.txt", str(articles / "board.txt")):
        row = {"question": "Who sits on the board?", "files": [name]}
        scores = scores_of(Pipeline(index, reader=KnowingReader(TOLD)), [row])
        assert scores["retrieval"]["hit@1"][0] == 1
        assert scores["answers"]["EM"] is None


def test_lines_of_no_use_are_named_with_their_number_and_left_out(pipeline: Pipeline) -> None:
    bad = [
        b"no json",
        b'{"answers": ["x"]}',
        b'{"question": "Who?"}',
        b'{"question": "Who?", "answers": [""]}',
        b'{"question": "Who?", "answers": ["the ..."]}',
        b'{"question": "Who?", "answers": 7}',
        b'{"question": "Who?", "answers": [], "files": ["a.txt"]}',
        b'{"question": "Who?", "answers": ["x"], "answerable": false}',
        b'{"question": "Who?", "answers": ["x"], "answerable": "yes"}',
        b'{"question": "caf\xe9?", "answers": ["x"]}',
        b"[" * 100_000,
        b"x" * (2 << 20),
        b"",
    ]
    good = json.dumps(LINES[0]).encode()
    notes: list[str] = []
    expected = list(read_expected(io.BytesIO(b"\n".join([*bad, good])), "q.jsonl", notes.append))
    assert [one.question for one in expected] == ["Who sits on the board?"]
    assert [note.partition(": ")[0] for note in notes] == [f"q.jsonl:{n}" for n in range(1, len(bad) + 1)]
    assert all(len(note) < 120 for note in notes)
    with pytest.raises(SourceError, match="No question"):
        evaluate(pipeline, read_expected(io.BytesIO(b"\n".join(bad)), "q.jsonl", notes.append), min_confidence=0.1)


def test_the_table_says_how_many_questions_it_rests_on(pipeline: Pipeline) -> None:
    text = evaluation_text(scores_of(pipeline, LINES))
    assert "where files are named: 3 questions" in text and "without an answer: 2 questions" in text
    assert "too few to rely on" in text and "--min-confidence" in text
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
@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_the_plot_is_drawn_without_a_display_the_same_each_time(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    from pincite.qa.calibration_plot import plot_calibration

    monkeypatch.delenv("DISPLAY", raising=False)
    bins = [
        {"low": 0.0, "high": 0.1, "count": 1, "confidence": 0.05, "right": 0.0},
        {"low": 0.9, "high": 1.0, "count": 3, "confidence": 0.95, "right": 1.0},
    ]
    first, second = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    plot_calibration(bins, str(first))
    plot_calibration(bins, str(second))
    assert first.read_bytes().startswith(b"<?xml" if suffix == "svg" else b"\x89PNG")
    assert first.read_bytes() == second.read_bytes()
    plot_calibration([], str(tmp_path / f"none.{suffix}"))
    with pytest.raises(SourceError, match="cannot be written"):
        plot_calibration(bins, str(tmp_path / "no" / f"folder.{suffix}"))


def test_evaluating_loads_no_matplotlib() -> None:
    code = "import sys, pincite.qa.evaluation, pincite.qa.evaluation_text; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
