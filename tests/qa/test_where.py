"""Questions to some of the documents: found as if there were no others, and shown with author and date."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

from pincite.index import Index, Passage, QuestionError, segment_columns, store
from pincite.index.filters import parse_wheres
from pincite.index.overview import overview
from pincite.qa import Hit, Pipeline, retriever
from pincite.qa.retriever import Mode, retrieve
from tests.conftest import HashingEmbedder, KnowingReader
from tests.qa.test_cli import one_error, pincite

WORDS = ["harbour", "ferry", "rose", "pond", "carp", "train", "Bern", "noon", "mayor", "budget", "bridge", "flood"]


class WideEmbedder(HashingEmbedder):
    """As many dimensions as the default model has, all of them in use, so that codes do what they do with it."""

    dim = 384

    def embed_query(self, text: str) -> NDArray[np.float32]:
        words = [_direction(word) for word in re.findall(r"\w+", text.lower())]
        vector = np.sum(words, axis=0) + _direction("")
        return np.asarray(vector / np.linalg.norm(vector), np.float32)


@cache
def _direction(word: str) -> NDArray[np.float32]:
    return np.random.default_rng(list(word.encode())).standard_normal(384, np.float32)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """5,000 records in an index whose segments carry codes, one of them replaced in part."""
    folder = tmp_path_factory.mktemp("many")
    embedder, draw = WideEmbedder("many"), Random(3)

    def write(name: str, count: int, first: int) -> None:
        lines = []
        for number in range(first, first + count):
            text = " ".join(draw.choices(WORDS, k=8)) + f" {draw.randrange(300)} {draw.randrange(300)}"
            said = {"n": number, "date": f"{1950 + number % 70}-{1 + number % 12:02}", "share": number % 1000 / 1000}
            lines.append(json.dumps({"_id": str(number), "text": text} | said))
        (folder / name).write_text("\n".join(lines))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment_columns, "CODES_FROM", 100)
        write("a.jsonl", 3000, 0)
        write("b.jsonl", 1800, 3000)
        Index.sync(folder / ".pincite", [folder], embedder=embedder)
        write("b.jsonl", 1900, 3100)
        index = Index.sync(folder / ".pincite", embedder=embedder)
    assert index.stats().passages == 4900
    return index


@cache
def all_scores(index: Index, query: str, mode: Mode) -> dict[Passage, float]:
    vector = index.embedder.embed_query(query)
    return {hit.passage: hit.score for hit in retrieve(index, query, vector, 5000, mode=mode)}


@pytest.mark.parametrize("share", [0.5, 0.01, 0.0004])
@pytest.mark.parametrize(
    ("mode", "exact_rows"),
    [
        ("dense", 0),
        ("dense", 100_000),
        pytest.param("sparse", 0, marks=pytest.mark.slow),
        ("hybrid", 0),
        pytest.param("hybrid", 100_000, marks=pytest.mark.slow),
    ],
)
def test_the_best_of_some_documents_are_those_of_an_exact_search(
    many: Index, share: float, mode: Mode, exact_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "EXACT_ROWS", exact_rows)
    if mode == "dense":
        monkeypatch.setattr(retriever, "CANDIDATES", 10)  # or these would be so many that all rows were looked at
    index = Index.open(many.path, embedder=many.embedder)
    where = [f"share<{share}", "n<4800"]
    fitting = index.rows_where(parse_wheres(where))
    n_fitting = int(fitting.sum())
    assert share * 4900 / 2 < n_fitting < share * 4900 + 5
    found = expected = 0
    for query in ("harbour bridge 17", "the mayor of Bern at noon 123"):
        vector = index.embedder.embed_query(query)
        every = all_scores(many, query, mode)
        hits = retrieve(index, query, vector, 10, mode=mode, where=where)
        ids = {passage.document_id for passage in index.passages(np.flatnonzero(fitting))}
        assert {hit.passage.document_id for hit in hits} <= ids
        best = sorted((score for passage, score in every.items() if passage.document_id in ids), reverse=True)[:10]
        assert len(hits) == len(best)
        assert [hit.score for hit in hits] == pytest.approx([every[hit.passage] for hit in hits], abs=1e-6)
        found += sum(hit.score >= best[-1] - 1e-6 for hit in hits)
        expected += len(best)
    assert found >= (0.96 if exact_rows == 0 else 1) * expected


def test_codes_are_used_in_this_index(many: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "EXACT_ROWS", 0)
    index = Index.open(many.path, embedder=many.embedder)
    vector = index.embedder.embed_query("harbour")
    choice = index._dense._chosen(index.rows_where(parse_wheres("share<0.5")))
    assert index._dense._candidates(vector, 10, choice) is not None
    assert all(part.rows is None for part in index._dense._faiss_parts())


HEAD = "---\ntitle: {}\nauthor: {}\ndate: {}\n---\n\n"
ARTICLES = {
    "reports/harbour.md": HEAD.format("The harbour", "Jane Roe", "2019-05-03") + "The harbour master is Ida.\n",
    "reports/bridge.md": HEAD.format("The bridge", "[Ann Lee, Jane Roe]", "2021-06") + "The bridge is new.\n",
    "notes/pond.txt": "Carp in the pond\n\nBy Bob Day\n\nThe pond holds three carp.\n",
    "plain.txt": "The train to Bern leaves at noon.\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in ARTICLES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    records = [{"_id": "r1", "title": "Of tides", "text": "High water is at six.", "author": "Ole Dahl", "year": 1998}]
    (tmp_path / "tides.jsonl").write_text("\n".join([*map(json.dumps, records), "no record"]))
    (tmp_path / "binary.txt").write_bytes(bytes(range(256)) * 10)
    return tmp_path


@pytest.fixture
def index(folder: Path, embedder: HashingEmbedder) -> Index:
    return Index.sync(folder / ".pincite", [folder], embedder=embedder)


def found(index: Index, *where: str) -> set[str]:
    return {Path(hit.path).name for hit in Pipeline(index).search("the", 100, mode="dense", where=where)}


def test_all_conditions_hold_for_what_is_found(index: Index) -> None:
    assert found(index) == {"harbour.md", "bridge.md", "pond.txt", "plain.txt", "tides.jsonl#r1"}
    assert found(index, "author=jane roe") == {"harbour.md", "bridge.md"}
    assert found(index, "author=*roe", "date<2020") == {"harbour.md"}
    assert found(index, "author!=jane roe") == {"pond.txt", "plain.txt", "tides.jsonl#r1"}
    assert found(index, "author=*", "path!=reports/**") == {"pond.txt", "tides.jsonl#r1"}
    assert found(index, "title=*harbour*") == {"harbour.md"}
    assert found(index, "format=markdown") == {"harbour.md", "bridge.md"}
    assert found(index, "year>1990", "year<2000") == {"tides.jsonl#r1"}
    assert found(index, "author=Roe") == found(index, "year>1998") == set()


def test_an_answer_is_from_the_documents_that_are_asked(index: Index) -> None:
    question = "Who is the harbour master?"
    pipeline = Pipeline(index, reader=KnowingReader({question: "Ida"}))
    assert pipeline.ask(question, where=["author=Jane Roe", "date<=2019-05"]).text == "Ida"
    assert pipeline.ask(question, where="path=reports").text == "Ida"
    elsewhere = pipeline.ask(question, where=["path=notes/*"])
    assert elsewhere.text is None and [Path(hit.path).name for hit in elsewhere.hits] == ["pond.txt"]
    assert pipeline.ask(question, where=["autor=Roe"]).hits == ()
    for where in (["author"], "author", ["date>soon"]):
        with pytest.raises(QuestionError, match="condition"):
            pipeline.ask(question, where=where)
        with pytest.raises(QuestionError, match="condition"):
            pipeline.search(question, where=where)


def test_author_and_date_are_found_by_and_come_with_a_hit(index: Index) -> None:
    def best(query: str) -> Hit:
        return Pipeline(index).search(query, 1, mode="sparse")[0]

    assert Path(best("what did Roe write in 2019?").path).name == "harbour.md"
    assert Path(best("Bob Day").path).name == "pond.txt"
    for query in ("what did Dahl write?", "what was written in 1998?"):  # no text has these words
        hit = best(query)
        assert Path(hit.path).name == "tides.jsonl#r1"
        assert (hit.metadata["author"], hit.metadata["year"]) == ("Ole Dahl", "1998")


def test_overview_counts_formats_and_keeps_what_was_skipped(
    index: Index, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = overview(index)
    assert held.formats == {"markdown": 2, "text": 2, "jsonl": 1}
    assert sorted(Path(item.path).name for item in held.skipped) == ["binary.txt", "tides.jsonl:2"]
    (folder / "binary.txt").write_text("Now it is text.")
    (folder / "tides.jsonl").unlink()
    (folder / "empty.md").write_text("")
    monkeypatch.chdir(folder)
    held = overview(Index.sync(".pincite", embedder=HashingEmbedder()))
    assert held.formats == {"text": 3, "markdown": 2}
    assert [(item.path, item.reason) for item in held.skipped] == [("empty.md", "no text")]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the articles, indexed with the real model."""
    place = tmp_path_factory.mktemp("library")
    for name, text in ARTICLES.items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(text)
    (place / "binary.txt").write_bytes(bytes(range(256)) * 10)
    assert pincite("index", ".", cwd=place).returncode == 0
    return place


def test_command_line_takes_conditions(library: Path) -> None:
    question = "who is the harbour master?"
    result = pincite("ask", question, "--where", "author=Jane Roe", "--where", "date<2020", cwd=library)
    assert result.returncode == 0
    assert "reports/harbour.md:7:23  The harbour, by Jane Roe, 2019-05-03" in result.stdout
    elsewhere = pincite("ask", question, "--where", "path=notes/**", "--json", cwd=library)
    assert elsewhere.returncode == 1
    assert {item["path"] for item in json.loads(elsewhere.stdout)["passages"]} == {"notes/pond.txt"}
    result = pincite("search", "bridge", "--where", "author=*Lee*", cwd=library)
    assert result.returncode == 0 and result.stdout.startswith(" 1. reports/bridge.md:")
    assert "The bridge, by Ann Lee, Jane Roe, 2021-06  " in result.stdout


def test_command_line_says_why_nothing_is_found(library: Path) -> None:
    result = pincite("search", "bridge", "--where", "autor=Lee", cwd=library)
    assert result.returncode == 1 and result.stdout == ""
    assert "no document has autor. There are: path, title, format, author, date" in result.stderr
    result = pincite("ask", "bridge?", "--where", "date>2030", "--where", "format=markdown", cwd=library)
    assert result.returncode == 1 and "no document fits date>2030 and format=markdown" in result.stderr


@pytest.mark.parametrize("command", ["ask", "search"])
@pytest.mark.parametrize("condition", ["author", "date>=soon", "\x1b[31m", "title<3", ""])
def test_malformed_condition_is_one_clear_line(library: Path, command: str, condition: str) -> None:
    one_error(pincite(command, "bridge", "--where", condition, cwd=library), "condition")


def test_status_tells_formats_and_what_was_skipped(library: Path) -> None:
    text = pincite("status", cwd=library).stdout
    assert "documents  4  (2 markdown, 2 text)" in text
    assert "skipped    1: " in text and "binary.txt" in text
    body = json.loads(pincite("status", "--json", cwd=library).stdout)
    assert body["formats"] == {"markdown": 2, "text": 2}
    assert [item["path"] for item in body["skipped"]] == ["binary.txt"] and body["skipped"][0]["reason"]
