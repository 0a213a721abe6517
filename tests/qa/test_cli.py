"""The command line as a user meets it: with the real model on the example articles."""

from __future__ import annotations

import fcntl
import json
import os
import re
import resource
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

from pincite.qa.cli import main

SEEDS = Path(__file__).parents[2] / "seeds"


@dataclass(frozen=True)
class Result:
    returncode: int
    stdout: str
    stderr: str


def pincite(*arguments: str, cwd: Path) -> Result:
    """Run a command in this process, as the installed script would."""
    before = Path.cwd()
    os.chdir(cwd)
    try:
        with (
            redirect_stdout(StringIO()) as stdout,
            redirect_stderr(StringIO()) as stderr,
            pytest.raises(SystemExit) as stop,
        ):
            main(arguments)
    finally:
        os.chdir(before)
    return Result(int(stop.value.code or 0), stdout.getvalue(), stderr.getvalue())


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example articles, indexed."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "seeds").mkdir()
    for article in SEEDS.iterdir():
        (folder / "seeds" / article.name).write_bytes(article.read_bytes())
    done = pincite("index", "seeds", cwd=folder)
    assert done.returncode == 0 and done.stdout == "" and "added" in done.stderr
    return folder


def one_error(result: Result, *words: str) -> None:
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("pincite: ")
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize("option", ["--reader", "--reranker"])
def test_models_that_are_not_here_are_one_clear_line(library: Path, option: str) -> None:
    one_error(pincite("ask", "who?", option, "no/such-model", cwd=library), "no/such-model", "downloads nothing")
    one_error(pincite("search", "who?", option, "seeds", cwd=library), "seeds")


def test_full_search_orders_the_hybrid_hits_by_what_is_read(library: Path) -> None:
    modes, one = ("hybrid", "full"), ("-k20", "--where", "path=seeds/who-governs-pytorch.txt")
    found = {
        mode: json.loads(pincite("search", "--json", "--mode", mode, "who sits?", *one, cwd=library).stdout)["hits"]
        for mode in modes
    }
    hybrid, full = ({(hit["path"], hit["start"]): hit["score"] for hit in found[mode]} for mode in modes)
    assert hybrid.keys() == full.keys() and hybrid != full
    assert all(full[place] >= score for place, score in hybrid.items())
    assert list(full.values()) == sorted(full.values(), reverse=True)


PLACE = {"path", "title", "start", "end", "line", "unit", "mark", "format", "author", "date", "url"}
HIT = PLACE | {"rank", "text", "score", "also"}


def test_ask_answers_quotes_and_cites(library: Path) -> None:
    result = pincite("ask", "--json", "who sits on the board?", cwd=library)
    body = json.loads(result.stdout)
    assert result.returncode == 0 and result.stderr == "" and body["answered"]
    assert set(body) == {"question", "answered", "answer", "confidence", "citations", "passages", "index", "elapsed_ms"}
    assert set(body["elapsed_ms"]) == {"open", "embed", "retrieve", "read", "total"}
    assert "Nvidia" in body["answer"] and 0 <= body["confidence"] <= 1
    assert body["citations"] and body["passages"]
    for citation in body["citations"]:
        assert citation["verified"] and citation["problem"] is None and citation["page"] is None
        if not citation["path"].endswith(".html"):
            text = (library / citation["path"]).read_text(encoding="utf-8")
            assert text[citation["start"] : citation["end"]] == citation["quote"]
            assert text[citation["sentence_start"] : citation["sentence_end"]] == citation["sentence"]
            line = text.split("\n")[citation["line"] - 1]
            assert line[citation["column"] - 1 :].startswith(citation["quote"].split("\n")[0])
    assert body["citations"][0]["quote"] == body["answer"]
    for rank, passage in enumerate(body["passages"], 1):
        assert passage["rank"] == rank
        assert set(passage) == HIT


def test_ask_prints_text_without_escape_codes_into_a_pipe(library: Path) -> None:
    result = pincite("ask", "who", "sits", "on", "the", "board?", cwd=library)
    assert result.returncode == 0 and "\x1b" not in result.stdout
    assert "seeds/" in result.stdout and "Nvidia" in result.stdout


def test_ask_abstains_with_exit_code_1(library: Path) -> None:
    result = pincite("ask", "-k2", "How do I bake sourdough bread at home?", cwd=library)
    assert result.returncode == 1 and result.stdout == ""
    assert "do not say" in result.stderr
    body = json.loads(pincite("ask", "-k2", "--json", "How do I bake sourdough bread at home?", cwd=library).stdout)
    assert (body["answered"], body["answer"], body["citations"]) == (False, None, [])


def test_search_prints_hits_in_order(library: Path) -> None:
    body = json.loads(pincite("search", "--json", "-k", "3", "Istio service mesh", cwd=library).stdout)
    assert [hit["rank"] for hit in body["hits"]] == [1, 2, 3]
    assert body["hits"][0]["path"] == "seeds/the-istio-lesson.md"
    assert set(body["hits"][0]) == HIT | {"dense_rank", "sparse_rank"}
    scores = [hit["score"] for hit in body["hits"]]
    assert scores == sorted(scores, reverse=True)


def test_index_is_found_from_a_folder_below(library: Path) -> None:
    body = json.loads(pincite("search", "--json", "who sits on the board?", cwd=library / "seeds").stdout)
    path = body["hits"][0]["path"]
    assert (library / "seeds" / path).exists() and "/" not in path


def test_show_prints_the_passage_on_a_line(library: Path) -> None:
    result = pincite("show", "seeds/who-governs-pytorch.txt:8", cwd=library)
    assert result.returncode == 0
    assert "Seats on the board" in result.stdout and "¶" in result.stdout
    assert "two of them want to turn" not in result.stdout
    one_error(pincite("show", "seeds/nothing.txt", cwd=library), "not in the index")
    one_error(pincite("show", "seeds/who-governs-pytorch.txt:999", cwd=library), "none with the number 999")


def test_status_and_verify_tell_what_has_changed(library: Path) -> None:
    body = json.loads(pincite("status", "--json", cwd=library).stdout)
    assert body["documents"] == len(list(SEEDS.iterdir())) and body["sources"] == [{"path": "seeds", "exclude": []}]
    assert body["changes"] == {"new": 0, "changed": 0, "missing": 0}
    assert pincite("verify", cwd=library).returncode == 0


def test_stale_source_is_reported_and_sync_updates_it(library: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The lighthouse at Rum Point was lit in 1893. Its keeper was Ida Moss.\n")
    assert pincite("index", "a.txt", cwd=tmp_path).returncode == 0
    (tmp_path / "a.txt").write_text("The lighthouse at Rum Point was lit in 1894. Its keeper was Ida Moss.\n")
    result = pincite("ask", "--min-confidence", "0", "When was the lighthouse at Rum Point lit?", cwd=tmp_path)
    assert result.returncode == 0 and "not verified" in result.stdout and "not as indexed" in result.stderr
    assert pincite("verify", cwd=tmp_path).returncode == 1
    assert "1 changed" in pincite("status", cwd=tmp_path).stdout
    result = pincite(
        "ask", "--min-confidence", "0", "--sync", "When was the lighthouse at Rum Point lit?", cwd=tmp_path
    )
    assert "1894" in result.stdout and "not verified" not in result.stdout
    (tmp_path / "a.txt").unlink()
    result = pincite("ask", "--min-confidence", "0", "When was the lighthouse lit?", cwd=tmp_path)
    assert "no longer there" in result.stdout


def test_bad_input_is_one_line_and_exit_code_2(library: Path, tmp_path: Path) -> None:
    one_error(pincite("ask", "who?", cwd=tmp_path), "No index", "pincite index")
    one_error(pincite("index", cwd=tmp_path), "No index")
    one_error(pincite("index", "nowhere", cwd=tmp_path), "nowhere", "No such file")
    (tmp_path / "empty").mkdir()
    one_error(pincite("index", "empty", cwd=tmp_path), "empty", "Nothing to read")
    assert not (tmp_path / ".pincite").exists()
    one_error(pincite("ask", "  ", cwd=library), "empty")
    one_error(pincite("ask", "word " * 10_000, cwd=library), "10,000 words")
    one_error(pincite("ask", cwd=library), "QUESTION")
    one_error(pincite("frobnicate", cwd=library), "frobnicate")
    one_error(pincite("index", "--model", "no-such/model", "seeds", cwd=library), "no-such/model")
    one_error(pincite("search", "-k", "0", "x", cwd=library))
    assert pincite("verify", cwd=library).returncode == 0


def test_second_writer_is_refused(library: Path) -> None:
    with open(library / ".pincite" / "LOCK", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        one_error(pincite("index", cwd=library), "being written by process")
        assert pincite("search", "who sits on the board?", cwd=library).returncode == 0


def test_damaged_index_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Some article.")
    assert pincite("index", "a.txt", cwd=tmp_path).returncode == 0
    manifest = tmp_path / ".pincite" / "manifest.json"
    manifest.write_text(manifest.read_text()[:-40])
    for command in (["ask", "x"], ["index"], ["status"], ["verify"], ["index", "a.txt"]):
        one_error(pincite(*command, cwd=tmp_path), "damaged", "pincite repair SOURCE")
    assert pincite("index", "--rebuild", "a.txt", cwd=tmp_path).returncode == 0
    assert pincite("verify", cwd=tmp_path).returncode == 0


def test_damaged_segment_is_repaired_by_the_command_that_the_error_names(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The ferry to Horta leaves at nine.")
    assert pincite("index", "a.txt", cwd=tmp_path).returncode == 0
    (segment,) = (tmp_path / ".pincite").glob("seg-*")
    segment.write_bytes(segment.read_bytes()[:-1000])
    one_error(pincite("ask", "when does the ferry leave?", cwd=tmp_path), "damaged", "Repair it: pincite repair")
    repaired = pincite("repair", cwd=tmp_path)
    assert repaired.returncode == 0 and "kept in .pincite.aside-1" in repaired.stderr
    assert pincite("ask", "when does the ferry leave?", cwd=tmp_path).returncode == 0
    again = pincite("repair", cwd=tmp_path)
    assert (again.returncode, again.stderr) == (0, "The index .pincite is whole: nothing had to be read again.\n")


def test_compact_says_what_it_saved(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The ferry to Horta leaves at nine.")
    pincite("index", "a.txt", cwd=tmp_path)
    (tmp_path / "a.txt").write_text("The ferry to Horta leaves at ten.")
    pincite("index", cwd=tmp_path)
    compacted = pincite("compact", cwd=tmp_path)
    assert compacted.returncode == 0
    assert re.fullmatch(r"2 segments, \d\.\d MB -> 1 segment, \d\.\d MB\n", compacted.stderr)
    one_error(pincite("compact", "--index", "nowhere", cwd=tmp_path), "No index in nowhere")


def test_full_disk_is_one_line_and_keeps_the_index(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Some article about ferries.")
    assert pincite("index", "a.txt", cwd=tmp_path).returncode == 0
    (tmp_path / "b.txt").write_text("\n\n".join(f"Number {n} of many articles about ships." for n in range(150)))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 10, limits[1]))
    try:
        one_error(pincite("index", "b.txt", cwd=tmp_path), "Cannot write the index", "intact")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    body = json.loads(pincite("status", "--json", cwd=tmp_path).stdout)
    assert body["documents"] == 1 and body["generation"] == 1
    assert pincite("verify", cwd=tmp_path).returncode == 0
    assert {path.name[:4] for path in (tmp_path / ".pincite").iterdir()} == {"FORM", "LOCK", "mani", "seg-"}
    assert pincite("index", "b.txt", cwd=tmp_path).returncode == 0


def test_folder_without_write_permission_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Some article.")
    one_error(pincite("index", "a.txt", "--index", "/proc/pincite", cwd=tmp_path), "Cannot write the index")


def test_unwritable_index_still_answers(library: Path) -> None:
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (library / ".pincite").iterdir())
    assert pincite("ask", "-k1", "--min-confidence", "0", "who sits on the board?", cwd=library).returncode == 0
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (library / ".pincite").iterdir()) == before


def test_module_runs_as_a_command_of_its_own(library: Path) -> None:
    command = [sys.executable, "-m", "pincite.qa", "ask", "who sits on the board?"]
    result = subprocess.run(command, cwd=library, capture_output=True, text=True, encoding="utf-8")
    assert (result.returncode, result.stderr) == (0, "")
    assert "seeds/" in result.stdout


def test_no_traceback_reaches_a_user(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pincite.index.Index.open", lambda *_, **__: 1 / 0)
    one_error(pincite("ask", "who?", cwd=library), "ZeroDivisionError", "report")


@pytest.mark.slow
def test_closed_pipe_is_no_error_message(library: Path) -> None:
    command = f'"{sys.executable}" -m pincite.qa search -k 100 pytorch | head -c 10'
    result = subprocess.run(["bash", "-c", command], cwd=library, capture_output=True, text=True)
    assert result.stderr == ""
