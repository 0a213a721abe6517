"""The comparison with other libraries: what they are given, what becomes of their figures, and two of them for real."""

from __future__ import annotations

import doctest
import json
from pathlib import Path
from typing import Any

import bench_peers
import peer_adapters
import pytest
from bench_peers import Bench, cut, main, measure, medians, ratios, read_task, table, write_work
from peer_adapters import documents_of, read_rows

SENTENCES = [
    "Ann Lee chairs the chess club of Bern.",
    "The pond behind the mill holds three carp.",
    "The night train to Genoa leaves at noon.",
    "Roses grow behind the house of the baker.",
    "The bridge over the Aare was built in 1844.",
    "Sugar is sold at the harbour on Mondays.",
    "The library lends drums and violins to schools.",
    "A clock without hands hangs in the town hall.",
    "The mayor feeds the swans each Sunday.",
    "Snow closes the pass from November to May.",
]
ASKED = {0: ("Who chairs the chess club?", "Ann Lee"), 4: ("When was the bridge built?", "1844")}


@pytest.fixture
def squad(tmp_path: Path) -> Path:
    """Ten paragraphs, two of them with a question."""
    paragraphs: list[dict[str, Any]] = []
    for number, text in enumerate(SENTENCES):
        asked = [ASKED[number]] if number in ASKED else []
        qas = [
            {"id": question, "question": question, "answers": [{"text": answer, "answer_start": text.index(answer)}]}
            for question, answer in asked
        ]
        paragraphs.append({"context": text, "qas": qas})
    file = tmp_path / "town.json"
    file.write_text(json.dumps({"data": [{"title": "Life_in_town", "paragraphs": paragraphs}]}), encoding="utf-8")
    return file


def result() -> dict[str, Any]:
    """The figures of two libraries and a third that failed."""
    mode = {"cold_s": 7.25, "p50_ms": 12.34, "p95_ms": 20.0, "ask_mb": 537.0}
    scores = {"recall@1": 0.5, "recall@10": 1.0, "MRR@10": 0.66, "nDCG@10": 0.7431}
    peer = {"passages_per_s": 51.26, "update_s": 3.456, "index_mb": 700.0, "modes": {"dense": mode | scores}}
    return {
        "peers": {
            "plain": {"size_more_mb": None, "rebuilds": True} | peer,
            "txtai": {"size_more_mb": 3, "rebuilds": False} | peer,
        },
        "ratios": {"plain": {"passages_per_s": 0.2}, "plain dense": {"cold_s": 8.0551}},
        "failed": {"semantra": "index: no such file"},
        "versions": {"plain": {"faiss-cpu": "1.15"}, "txtai": {"txtai": "9.14"}},
        "set": "town",
        "documents": 1200,
        "passages": 2067,
        "questions": 300,
        "rounds": 3,
        "date": "2026-11-22",
        "cpu": "a processor",
        "cores": 2,
        "load_average": 0.1,
        "command": "scripts/bench_peers.py town.json",
    }


def test_the_table_has_a_row_for_each_mode_and_tells_how_it_was_measured() -> None:
    lines = table(result()).splitlines()
    assert lines[2] == (
        "| plain, dense | 51.3 (0.2) | 7.25 (8.06) | 12.3, 20.0 | 3.46 rebuilt | 700, 537 | – "
        "| 0.500 | 1.000 | 0.660 | 0.743 |"
    )
    assert lines[3].startswith("| txtai, dense | 51.3 | 7.25 |") and "| 3.46 |" in lines[3] and "| 3 |" in lines[3]
    assert len({line.count("|") for line in lines[:4]}) == 1
    assert "1,200 documents, 2,067 passages, 300 questions; 3 rounds, 2026-11-22, a processor, 2 cores" in lines[5]
    assert "faiss-cpu 1.15, txtai 9.14. `scripts/bench_peers.py town.json`" in lines[5]
    assert lines[6] == "Left out: semantra (index: no such file)."


def test_an_update_that_is_not_found_costs_a_library_that_figure_only(
    tmp_path: Path, squad: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_peers, "run_step", lambda *_: (2.0, {"seconds": 1.5, "found": False}))
    bench = Bench(read_task(squad, 10), tmp_path, {"txtai": "python"}, 10, {"txtai": {"index_s": [1.0]}})
    assert dict(bench_peers.update(bench, "txtai")) == {"update_is_rebuild": False}
    figures = result()
    del figures["peers"]["txtai"]["update_s"]
    assert "| not found after it |" in table(figures).splitlines()[3]


def test_ratios_are_medians_of_rounds_and_not_ratios_of_medians() -> None:
    figures = {
        "pincite": {"index_s": [1.0, 2.0, 4.0], "hybrid cold_s": [0.5, 1.0, 2.0], "full cold_s": [1.0, 3.0, 2.0]},
        "plain": {"index_s": [4.0, 2.0, 12.0], "dense cold_s": [5.0, 2.0, 9.0], "update_is_rebuild": [1.0] * 3},
    }
    assert ratios(figures) == {
        "pincite": {"index_s": 1.0},
        "pincite hybrid": {"cold_s": 1.0},
        "pincite full": {"cold_s": 2.0},
        "plain": {"index_s": 3.0},
        "plain dense": {"cold_s": 4.5},
    }
    assert medians(figures["plain"])["modes"] == {"dense": {"cold_s": 5.0}}
    assert ratios({"plain": figures["plain"]}) == {}


def test_all_libraries_are_given_the_same_passages(tmp_path: Path, squad: Path) -> None:
    long = " ".join(f"word{number}" for number in range(400))
    passages = cut(f"A short paragraph.\n\n{long}")
    assert [len(passage.split()) for passage in passages] == [3, 150, 150, 100]
    assert " ".join(passages) == f"A short paragraph. {long}"

    task = read_task(squad, 10)
    assert write_work(task, tmp_path / "work") == len(SENTENCES)
    rows = read_rows(tmp_path / "work")
    assert [row.text for row in rows] == [f"Life in town\n{text}" for text in SENTENCES]
    record = json.loads((tmp_path / "work/records/d4.jsonl").read_text())
    assert record == {"_id": "d4", "title": "Life in town", "text": SENTENCES[4]}
    assert (tmp_path / "work/texts/d4.txt").read_text() == f"Life in town\n\n{SENTENCES[4]}"
    assert task.questions == ("Who chairs the chess club?", "When was the bridge built?")
    assert bench_peers.quality(task, [["d0"], ["d3", "d4"]])["MRR@10"] == 0.75
    assert documents_of(["d4-1", "d0-0", "d4-0"]) == ["d4", "d0"]


def test_a_library_that_fails_is_left_out_with_its_reason(tmp_path: Path, squad: Path) -> None:
    bench = Bench(read_task(squad, 10), tmp_path, {"plain": str(tmp_path / "no-python")}, 10, {"plain": {}})
    failed = measure(bench, 1)
    assert failed.keys() == {"plain"} and "no-python" in failed["plain"]
    assert bench.figures == {"plain": {}}


@pytest.mark.parametrize("module", [bench_peers, peer_adapters])
def test_examples_in_the_docstrings_hold(module: Any) -> None:
    outcome = doctest.testmod(module)
    assert outcome.attempted and not outcome.failed


@pytest.mark.slow
def test_plain_and_pincite_are_measured_side_by_side(
    tmp_path: Path, squad: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(squad), "--rounds", "1", "--json", str(tmp_path / "figures.json")])
    figures = json.loads(capsys.readouterr().out)
    assert figures == json.loads((tmp_path / "figures.json").read_text())
    assert figures["failed"] == {} and figures["passages"] == 10 and figures["questions"] == 2
    assert {name: set(peer["modes"]) for name, peer in figures["peers"].items()} == {
        "plain": {"dense"},
        "pincite": {"hybrid", "full", "ask"},
    }
    for peer in figures["peers"].values():
        assert peer["passages_per_s"] > 0 and peer["index_mb"] > 50
        assert all(of["recall@1"] == 1 and of["p50_ms"] > 0 for of in peer["modes"].values())
    assert figures["peers"]["plain"]["rebuilds"] and not figures["peers"]["pincite"]["rebuilds"]
    assert set(figures["ratios"]) == {
        "plain",
        "plain dense",
        "pincite",
        "pincite hybrid",
        "pincite full",
        "pincite ask",
    }
