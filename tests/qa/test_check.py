"""Saved answers: which citations still hold, and that nothing in their files is trusted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pincite.index import Index, SourceError
from pincite.qa import Pipeline
from pincite.qa.annotations import answer_annotations
from pincite.qa.check import check
from pincite.qa.cli import main
from pincite.qa.render import answer_json
from pincite.qa.saved_answers import LARGEST, Saved, read_saved
from tests.conftest import HashingEmbedder, KnowingReader

SENTENCE = "The keeper of the light was Ida Moss, who had two goats."
PAGE = "<html><head><title>Light</title></head><body><article>{}</article></body></html>"


@pytest.fixture
def library(tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: sources of three kinds with one sentence each, indexed, and an answer saved in two ways."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Path("in/a.txt").write_text(f"Ida Moss came here as a child.\n\n{SENTENCE}\n")
    Path("in/b.html").write_text(PAGE.format(f"<h1>The light</h1><p>Well. {SENTENCE} It is so.</p>"))
    records = [{"_id": str(n), "text": f"Row {n} is here."} for n in range(3)]
    Path("in/c.jsonl").write_text("\n".join(map(json.dumps, [*records, {"_id": "x#y", "text": f"Hm! {SENTENCE}"}])))
    index = Index.sync(".pincite", ["in"], embedder=embedder)
    answer = Pipeline(index, reader=KnowingReader({"Who kept it?": "Ida Moss, who"})).ask("Who kept it?", read_all=True)
    Path("answer.json").write_text(json.dumps(answer_json(answer, index.stats())))
    Path("notes.json").write_text(json.dumps(answer_annotations(answer)))
    return tmp_path


def statuses(*files: str) -> dict[str, str]:
    """Return the status of each citation by the name of its file, and where it stands now."""
    saved = [one for file in files or ("answer.json",) for one in read_saved(file)]
    return {
        os.path.relpath(one.saved.path): f"{one.status} {os.path.relpath(one.path)}:{one.line}"
        if one.path
        else one.status
        for one in check(Index.open(".pincite"), saved)
    }


@pytest.mark.parametrize("file", ["answer.json", "notes.json"])
def test_citations_hold_while_the_sources_say_the_same(library: Path, file: str) -> None:
    held = {
        "in/a.txt": "holds in/a.txt:3",
        "in/b.html": "holds in/b.html:3",
        "in/c.jsonl#x#y": "holds in/c.jsonl#x#y:4",
    }
    assert statuses(file) == held
    for name in ("in/a.txt", "in/b.html"):
        Path(name).write_text(Path(name).read_text() + "\n<!-- A change that matters to nobody. -->")
    assert statuses(file) == held


@pytest.mark.parametrize("file", ["answer.json", "notes.json"])
def test_moved_quotes_are_found_with_the_words_around_them(library: Path, file: str) -> None:
    near = f"{'By and by, ' * 5}by Ida Moss, who else?\n\nThen.\n\n"
    Path("in/a.txt").write_text(near + SENTENCE.replace("goats", "sheep"))
    Path("in/b.html").write_text(PAGE.format(f"<h1>The light</h1><p>A new one.</p><p>{SENTENCE} It is so.</p>"))
    rows = Path("in/c.jsonl").read_text().splitlines()
    rows[3] = rows[3].replace("Hm!", "Hm! Hm!")
    Path("in/c.jsonl").write_text("\n".join(["", *rows]))
    assert statuses(file) == {
        "in/a.txt": "moved in/a.txt:5",
        "in/b.html": "moved in/b.html:5",
        "in/c.jsonl#x#y": "moved in/c.jsonl#x#y:5",
    }


def test_quote_in_other_words_is_gone_and_a_lost_source_is_missing(library: Path) -> None:
    Path("in/a.txt").write_text("Nobody saw Ida Moss, who slept all day and knew nothing of lights.")
    Path("in/b.html").unlink()
    Path("in/c.jsonl").write_text(json.dumps({"_id": "0", "text": "Row 0 is here."}))
    assert statuses() == {"in/a.txt": "gone", "in/b.html": "missing", "in/c.jsonl#x#y": "gone"}
    Path("in/a.txt").write_text(f"Ida Moss came here as a child.\n\n{SENTENCE}\n")
    assert statuses()["in/b.html"] == "missing in/a.txt:3"


def test_lost_sentence_is_found_under_another_name_of_its_row_or_file(library: Path, embedder: HashingEmbedder) -> None:
    Path("in/a.txt").rename("in/z.txt")
    Path("in/b.html").unlink()
    Path("in/c.jsonl").write_text(Path("in/c.jsonl").read_text().replace("x#y", "new"))
    Index.sync(".pincite", embedder=embedder)
    Path("in/c.jsonl").write_text(f"\n{Path('in/c.jsonl').read_text()}")
    found = statuses()
    assert found["in/c.jsonl#x#y"] == "moved in/c.jsonl#new:5"
    assert found["in/a.txt"] in ("missing in/z.txt:3", "missing in/c.jsonl#new:5")
    Path("in/c.jsonl").unlink()
    assert statuses()["in/a.txt"] == "missing in/z.txt:3" and statuses()["in/c.jsonl#x#y"] == "missing in/z.txt:3"


def test_only_files_of_the_index_are_read(library: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.txt"
    secret.write_text("The word is swordfish, and nobody knows.")
    saved = [
        Saved("f", str(path), 12, 21, "swordfish") for path in (secret, "in/../../secret.txt", "in", ".pincite", "#")
    ]
    found = check(Index.open(".pincite"), [*saved, Saved("f", "/etc/passwd", 0, 4, "root")])
    assert {(one.status, one.reason) for one in found} == {
        ("missing", "not in the index under this name, as seen from here")
    }
    Path("in/a.txt").unlink()
    Path("in/a.txt").symlink_to(secret)
    (one,) = check(Index.open(".pincite"), [Saved("f", "in/a.txt", 12, 21, "swordfish")])
    assert one.status == "missing" and "no source" in one.reason


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["check", *arguments])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_command_tells_what_does_not_hold(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "answer.json") == (0, "3 citations: 3 hold\n", "")
    Path("in/a.txt").write_text(f"Now.\n{SENTENCE}")
    Path("in/b.html").unlink()
    failed = json.dumps({"question": "", "error": "The question is empty."})
    Path("many.jsonl").write_text("\n" + Path("answer.json").read_text() + f"\nrubbish\n{failed}\n")
    code, out, err = run(capsys, "many.jsonl")
    assert (code, err) == (1, "") and sorted(out.splitlines()) == [
        "4 citations: 1 moved, 1 missing, 1 hold, 1 not checkable",
        "many.jsonl:2: missing: in/b.html «Ida Moss, who» (the file is no longer there, or in no source any more; "
        "the same words are in in/c.jsonl#x#y:4)",
        "many.jsonl:2: moved: in/a.txt -> in/a.txt:2 «Ida Moss, who»",
        "many.jsonl:3: not checkable: (not JSON)",
    ]
    code, out, err = run(capsys, "--json", "no.json", "many.jsonl")
    body = json.loads(out)
    assert code == 2 and err.count("\n") == 1 and "no.json" in err
    assert [body[key] for key in ("checked", "holds", "moved", "gone", "missing", "not_checkable")] == [
        4,
        1,
        1,
        0,
        1,
        1,
    ]
    (moved,) = [one for one in body["citations"] if one["status"] == "moved"]
    assert moved["now"] == {"path": "in/a.txt", "line": 2, "start": 5 + SENTENCE.index("Ida")}


RUBBISH = [
    b"",
    b"[]x",
    b"\xff\xfe{",
    b"[" * 100_000,
    b"1" * 10_000,
    b"{}",
    b"[1, null]",
    b'{"type": "Annotation"',
    b"\0" * 99,
]


@pytest.mark.parametrize("data", RUBBISH)
def test_file_of_rubbish_is_one_line(tmp_path: Path, data: bytes) -> None:
    for name in ("a.json", "a.jsonl"):
        (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=r"a\.json"):
        list(read_saved(str(tmp_path / "a.json")))
    if data:
        assert [bool(one.problem) for one in read_saved(str(tmp_path / "a.jsonl"))] == [True]


def test_files_and_lines_without_end_take_neither_time_nor_memory(tmp_path: Path) -> None:
    with open(tmp_path / "a.json", "wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(SourceError, match="larger than 32 MiB"):
        list(read_saved(str(tmp_path / "a.json")))
    with open(tmp_path / "a.jsonl", "wb") as file:
        file.truncate(LARGEST + 9)
        file.seek(0, os.SEEK_END)
        file.write(b"\n[]")
    assert ["longer" in one.problem for one in read_saved(str(tmp_path / "a.jsonl"))] == [True, False]
    (tmp_path / "many.jsonl").write_text("x\n" * 100_000)
    with pytest.raises(SourceError, match="none of its first"):
        list(read_saved(str(tmp_path / "many.jsonl")))
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "pipe.json", tmp_path, "/dev/zero"):
        with pytest.raises(SourceError):
            list(read_saved(str(path)))


VALUE: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "in/a.txt", "Ida", "file:///a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([
        "citations", "also", "alternatives", "path", "start", "end", "quote", "sentence", "sentence_start", "type",
        "target", "selector", "source", "state", "cached", "exact", "items", "first",
    ]), inner, max_size=6),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUE, VALUE, st.sampled_from(["citations", "target", "items"]))
def test_no_shape_of_json_breaks_the_check(tmp_path: Path, one: Any, other: Any, key: str) -> None:
    body = {key: [one, other], "type": "Annotation", "alternatives": other}
    (tmp_path / "a.json").write_text(json.dumps(body))
    found = list(read_saved(str(tmp_path / "a.json")))
    assert found and all(saved.problem or (saved.path and saved.quote and saved.start < saved.end) for saved in found)


@pytest.mark.parametrize(
    "change",
    [{"path": None}, {"path": 7}, {"path": ""}, {"path": "a\0"}, {"quote": 7}, {"quote": " "}, {"start": -1},
     {"start": True}, {"end": 9.0}, {"end": 10**99}, {"end": 8}],
)  # fmt: skip
def test_malformed_citation_is_passed_on_with_the_reason(tmp_path: Path, change: dict[str, Any]) -> None:
    good = {"path": "in/a.txt", "start": 0, "end": 3, "quote": "Ida"}
    (tmp_path / "a.json").write_text(json.dumps({"citations": [good, good | change, None], "alternatives": None}))
    found = list(read_saved(str(tmp_path / "a.json")))
    assert [bool(one.problem) for one in found] == [False, True, True]
