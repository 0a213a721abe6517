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
from pincite.qa.render_json import answer_json
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


def statuses(file: str = "answer.json") -> list[str]:
    """Return the status of the citations of a.txt, b.html and c.jsonl#x#y, and their lines."""
    found = {
        os.path.relpath(one.saved.path): f"{one.status} {one.line}"
        for one in check(Index.open(".pincite"), list(read_saved(file)))
    }
    return [found.pop(name) for name in ("in/a.txt", "in/b.html", "in/c.jsonl#x#y")] + list(found)


@pytest.mark.parametrize("file", ["answer.json", "notes.json"])
def test_citations_hold_while_the_sources_say_the_same_and_move_with_the_words_around_them(
    library: Path, file: str
) -> None:
    for name in ("in/a.txt", "in/b.html"):
        assert statuses(file) == ["holds 3", "holds 3", "holds 4"]
        Path(name).write_text(Path(name).read_text() + "\n<!-- A change that matters to nobody. -->")
    near = f"{'By and by, ' * 5}by Ida Moss, who else?\n\nThen.\n\n"
    Path("in/a.txt").write_text(near + SENTENCE.replace("had two", "has three"))
    Path("in/b.html").write_text(PAGE.format(f"<h1>The light</h1><p>A new one.</p><p>{SENTENCE} It is so.</p>"))
    rows = Path("in/c.jsonl").read_text().splitlines()
    rows[3] = rows[3].replace("Hm!", "Hm! Hm!").replace("The keeper of the light was", "It was then")
    Path("in/c.jsonl").write_text("\n".join(["", *rows]))
    assert statuses(file) == ["moved 5", "moved 5", "moved 5"]


def test_quote_in_other_words_is_gone_and_a_lost_source_is_missing(library: Path) -> None:
    Path("in/a.txt").write_text("Nobody saw Ida Moss, who slept all day and knew nothing of lights.")
    Path("in/b.html").unlink()
    Path("in/c.jsonl").write_text(json.dumps({"_id": "0", "text": "Row 0 is here."}))
    assert statuses() == ["gone 0", "missing 0", "missing 0"]
    long = Saved("f", "in/a.txt", 90, 136, "who slept all day and knew nothing of lights.", "Once there was one, ")
    lost = Saved("f", "in/a.txt", 0, 5, "Ida's")
    assert [(one.status, one.reason) for one in check(Index.open(".pincite"), [long, lost])] == [
        ("moved", ""), ("gone", "the source no longer has it")
    ]  # fmt: skip


def test_only_files_of_the_index_are_read(library: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.txt"
    secret.write_text("The word is swordfish, and nobody knows.")
    Path("in/new.txt").write_text("The word is swordfish.")
    names = [secret, "in/../../secret.txt", "in", "in/new.txt", ".pincite", "#", "/etc/passwd"]
    found = check(Index.open(".pincite"), [Saved("f", str(name), 12, 21, "swordfish") for name in names])
    assert {one.status for one in found} == {"missing"}
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
    Path("many.jsonl").write_text(f"{failed}\n\n{Path('answer.json').read_text()}\nrubbish\n")
    code, out, err = run(capsys, "many.jsonl")
    assert (code, err) == (1, "") and sorted(out.splitlines()) == [
        "4 citations: 1 moved, 1 missing, 1 hold, 1 invalid",
        "many.jsonl:3: missing: in/b.html «Ida Moss, who» (no source has it under this name, as seen from here, "
        "or it cannot be read)",
        "many.jsonl:3: moved: in/a.txt «Ida Moss, who» (now on line 2)",
        "many.jsonl:4: invalid: (not JSON, or nested too deeply)",
    ]
    code, out, err = run(capsys, "--json", "many.jsonl")
    body = json.loads(out)
    assert code == 1 and [body[key] for key in ("checked", "holds", "moved", "gone", "missing", "invalid")] == [
        4, 1, 1, 0, 1, 1
    ]  # fmt: skip
    (moved,) = [one for one in body["citations"] if one["status"] == "moved"]
    assert (moved["line"], moved["start"]) == (2, 5 + SENTENCE.index("Ida")) and moved["saved"]["path"] == "in/a.txt"
    code, out, err = run(capsys, "many.jsonl", "no.json")
    assert (code, out, err.count("\n")) == (2, "", 1) and "no.json" in err


RUBBISH = (
    b"", b"[]x", b"[]", b"\xff\xfe{", b"[" * 100_000, b"1" * 10_000, b"{}", b'{"type": "Annotation"', b"\0" * 99,
    b'x\n{"citations": []}', b'{"citations": []' + b" " * LARGEST + b"}",
)  # fmt: skip


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_what_is_no_file_of_answers_is_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for data in RUBBISH:
        path.write_bytes(data)
        with pytest.raises(SourceError, match=rf"{name}.*json has written\.$"):
            list(read_saved(str(path)))
    with open(path, "wb") as file:
        file.truncate(3 << 30 if name == "a.json" else LARGEST + 9)
    os.mkfifo(tmp_path / "pipe.json")
    for place in (path, tmp_path / "pipe.json", tmp_path, "/dev/zero"):
        with pytest.raises(SourceError):
            list(read_saved(str(place)))


VALUE: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "in/a.txt", "Ida", "file:///a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([
        "citations", "also", "alternatives", "path", "start", "end", "quote", "sentence", "sentence_start", "type",
        "target", "selector", "source", "state", "cached", "exact", "items", "first",
    ]), inner, max_size=6),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(VALUE, VALUE, st.sampled_from(["citations", "target", "items", "first"]), st.sampled_from(["", "Collection"]))
def test_no_shape_of_json_breaks_the_check(tmp_path: Path, one: Any, other: Any, key: str, kind: str) -> None:
    body = {key: [one, other], "type": f"Annotation{kind}", "alternatives": other}
    (tmp_path / "a.json").write_text(json.dumps(body))
    found = list(read_saved(str(tmp_path / "a.json")))
    assert found or key != "citations"
    assert all(saved.problem or (saved.path and saved.quote and saved.start < saved.end) for saved in found)


@pytest.mark.parametrize(
    "change",
    [{"path": None}, {"path": 7}, {"path": ""}, {"path": "a\0"}, {"path": "a" * 9999}, {"quote": 7}, {"quote": "   "},
     {"start": -1}, {"start": False}, {"end": 3.0}, {"end": 10**99}, {"end": 8}, {"sentence": [7]}],
)  # fmt: skip
def test_malformed_citation_is_passed_on_with_the_reason(tmp_path: Path, change: dict[str, Any]) -> None:
    good = {"path": "in/a.txt", "start": 0, "end": 3, "quote": "Ida", "sentence": "Ida!", "sentence_start": 0}
    (tmp_path / "a.json").write_text(json.dumps({"citations": [good, good | change, None], "alternatives": None}))
    found = list(read_saved(str(tmp_path / "a.json")))
    assert [bool(one.problem) for one in found] == [False, True, True] and found[0].after == "!"
