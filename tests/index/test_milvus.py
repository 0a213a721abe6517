"""An index in Milvus, for real in milvus-lite: the same answers as from a folder, and a sync that may be killed."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from pincite.index import (
    Chunking,
    Index,
    IndexBusyError,
    IndexFormatError,
    IndexNotFoundError,
    PinciteError,
    SourceError,
    milvus_rows,
    milvus_sync,
)
from pincite.index.filters import parse_where
from pincite.index.location import changes_and_overview, index_folder, open_index, sync_index
from pincite.index.milvus import MilvusIndex
from pincite.index.milvus_store import Address, MilvusStore, parse_address, stop_lite
from pincite.index.milvus_sync import _Run
from pincite.qa.cli import _run
from pincite.qa.pipeline import Pipeline
from pincite.qa.retriever import Hit, Mode, retrieve
from tests.conftest import HashingEmbedder, KnowingReader

SEEDS = Path(__file__).parents[2] / "seeds"
QUESTIONS = [
    "Who sits on the board of the foundation?",
    "When was it announced?",
    "How many projects moved to the Linux Foundation?",
    "the of and",
    "zzyzx",
]

slow = pytest.mark.slow


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    pytest.importorskip("milvus_lite")
    yield tmp_path / "articles.db"
    stop_lite()


def opened(database: Path, embedder: HashingEmbedder) -> MilvusIndex:
    index = open_index(database, embedder=embedder)
    assert isinstance(index, MilvusIndex)
    return index


def found(index: Index | MilvusIndex, query: str, **options: object) -> list[Hit]:
    return retrieve(index, query, index.embedder.embed_query(query), 10, **options)  # type: ignore[arg-type]  # as given


def texts(database: Path, embedder: HashingEmbedder, query: str) -> list[str]:
    return [hit.passage.text for hit in found(opened(database, embedder), query)]


def stored(index: MilvusIndex) -> tuple[int, set[str]]:
    """Return how many passages Milvus holds, seen or not, and of which documents it has texts."""
    store = index.store
    texts = {row["document"] for row in store.rows(store.sources, 'kind == "text"', ["document"])}
    return sum(1 for _ in store.rows(store.passages, "id >= 0", ["id"])), texts


def test_an_address_names_a_server_or_a_database_and_everything_else_is_a_folder(tmp_path: Path) -> None:
    assert parse_address("milvus://127.0.0.1/a_b") == Address("http://127.0.0.1:19530", "a_b")
    assert parse_address("milvus+https://[::1]:1/a") == Address("https://[::1]:1", "a")
    assert parse_address("milvus:notes") == Address("", path="notes")
    (tmp_path / "x.db").mkdir()
    (tmp_path / "x.db" / "FORMAT").write_text("")
    assert parse_address(str(tmp_path / "x.db")) is None
    for rubbish in ("milvus://", "milvus://host", "milvus://h/a/b", "milvus://h:x/a", "milvus://u:p@h/a", "milvus:"):
        with pytest.raises(PinciteError):
            parse_address(rubbish)


@pytest.mark.parametrize("command", ["watch", "serve", "compact", "repair", "verify"])
def test_a_command_for_folders_says_so_in_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run([command, "--index", "milvus://localhost/articles"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(PinciteError, match="index in Milvus"):
        index_folder("articles.db")


@slow
def test_every_mode_and_condition_finds_the_same_with_the_same_scores_as_in_a_folder(
    database: Path, tmp_path: Path, embedder: HashingEmbedder
) -> None:
    shutil.copytree(SEEDS, tmp_path / "seeds")
    folder = Index.sync(tmp_path / ".pincite", [tmp_path / "seeds"], embedder=embedder)
    sync_index(database, [tmp_path / "seeds"], embedder=embedder)
    milvus = opened(database, embedder)
    modes: list[Mode] = ["dense", "sparse", "hybrid"]
    wheres = ("", "path=*.md", "format!=text", "author=*examples", "date>=2022-09-14", "path=nowhere/**")
    for where in wheres:
        for question in QUESTIONS:
            for mode in modes:
                asked = [parse_where(where)] if where else []
                one, other = (found(index, question, mode=mode, where=asked) for index in (folder, milvus))
                places = [
                    [(hit.path, hit.passage, hit.line, hit.title, hit.metadata) for hit in hits]
                    for hits in (one, other)
                ]
                assert places[0] == places[1]
                assert np.allclose([hit.score for hit in one], [hit.score for hit in other], atol=1e-5)
    assert milvus.keys() == folder.keys()
    assert changes_and_overview(milvus) == changes_and_overview(folder)
    for document in folder.documents():
        assert milvus.document(document.id) == document
        assert milvus.passages_of(document.id) == folder.passages_of(document.id)
        assert milvus.location(document) == folder.location(document)
        assert milvus.documents_of(document.path) == [document]


def test_an_answer_from_milvus_is_that_from_a_folder_and_its_citation_is_verified(
    database: Path, articles: Path, embedder: HashingEmbedder
) -> None:
    reader = KnowingReader({"Who is on the board?": "Ann, Bob and Cid"})
    folder = Index.sync(articles.parent / ".pincite", [articles], embedder=embedder)
    sync_index(database, [articles], embedder=embedder)
    answers = [
        Pipeline(index, reader=reader).ask("Who is on the board?") for index in (folder, opened(database, embedder))
    ]
    assert answers[0].citations == answers[1].citations
    assert answers[1].text == "Ann, Bob and Cid" and answers[1].citations[0].verified
    (articles / "board.txt").write_text("Nobody.\n")
    later = Pipeline(opened(database, embedder), reader=reader).ask("Who is on the board?")
    assert not later.citations[0].verified


def test_sync_adds_replaces_and_removes_what_changed_and_embeds_only_that(
    database: Path, articles: Path, embedder: HashingEmbedder
) -> None:
    (articles / "long.txt").write_text("".join(f"Paragraph {i} speaks of thing{i}. " * 20 + "\n\n" for i in range(5)))
    first = sync_index(database, [articles], exclude=["garden*"], embedder=embedder)
    assert (first.added, first.changed, first.removed, first.unchanged) == (3, 0, 0, 0)
    assert "carp" not in " ".join(texts(database, embedder, "carp in the pond"))
    again = sync_index(database, embedder=embedder)
    assert (again.added, again.unchanged, again.embedded, again.generation) == (0, 3, 0, 1)
    (articles / "train.txt").write_text("The ferry to Basel leaves at dawn.\n")
    (articles / "board.txt").unlink()
    (articles / "long.txt").write_text((articles / "long.txt").read_text().replace("thing4", "zebra", 1))
    (articles / "new.txt").write_text("A lighthouse stands on the cape.\n")
    report = sync_index(database, embedder=embedder)
    assert (report.added, report.changed, report.removed, report.unchanged) == (1, 2, 1, 0)
    assert report.embedded < report.passages
    assert texts(database, embedder, "ferry to Basel")[0].startswith("The ferry")
    everything = " ".join(texts(database, embedder, "train board lighthouse"))
    assert "Bern" not in everything and "Ann" not in everything and "lighthouse" in everything
    folder = Index.sync(articles.parent / ".pincite", [articles], exclude=["garden*"], embedder=embedder)
    same = [
        [(hit.passage, round(hit.score, 4)) for hit in found(index, "zebra ferry cape")]
        for index in (folder, opened(database, embedder))
    ]
    assert same[0] == same[1]  # the counts behind BM25 followed every change
    assert sync_index(database, remove=[articles], embedder=embedder).removed == 3
    index = opened(database, embedder)
    assert texts(database, embedder, "ferry to Basel") == [] and stored(index) == (0, set())
    assert index.known_files() == {} and changes_and_overview(index)[0]["missing"] == 0


@slow
def test_names_and_texts_that_are_no_utf8_and_long_or_empty_ones_come_back_as_they_are(
    database: Path, tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    name = os.fsdecode(b"caf\xe9 \"q\\uote' \n.txt")
    (folder / name).write_text('"quoted" \\ {braces} ${dollar} \N{FAMILY} 家族の物語です。\r\nEnd\t.', newline="")
    lines = ['{"_id": "a", "title": "t", "text": "half \\ud83d alone"}', '{"_id": "b", "text": "Pears are green."}']
    (folder / "lone.jsonl").write_text("\n".join(lines))
    (folder / "talk.srt").write_text("1\n00:00:01,000 --> 00:00:04,000\nApples are red.\n")
    (folder / "big.txt").write_text("".join(f"Sentence {i} is about whale{i}, with ünïcode. " for i in range(1_600)))
    (folder / "dots.txt").write_text("... !!! ???\n")
    monkeypatch.setattr(milvus_rows, "_LONGEST", 500)  # of a longer passage the text is read from its document
    sync_index(database, [folder], embedder=embedder)
    index = opened(database, embedder)
    other = Index.sync(tmp_path / ".pincite", [folder], embedder=embedder)
    documents = list(other.documents())
    assert len(documents) == 6
    for document in documents:
        assert index.document(document.id) == document
        for passage in index.passages_of(document.id):
            assert passage.text == document.text[passage.span.start : passage.span.end]
    for query in ("half alone", "green pears", "red apples", "whale77 sentence"):
        own = {"score": 0, "row": 0, "dense_rank": 0, "sparse_rank": 0}  # ranks of passages that are alike
        one, another = (asdict(found(each, query)[0]) | own for each in (index, other))
        assert one == another


@slow
@pytest.mark.parametrize("stage", ["_put_passages", "_put", "_count"])
def test_a_sync_killed_anywhere_shows_no_half_of_a_document_and_the_next_one_mends_it(
    stage: str, database: Path, articles: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync_index(database, [articles], embedder=embedder)
    (articles / "train.txt").write_text("The ferry to Basel leaves at dawn.\n")
    (articles / "garden.md").unlink()
    step = getattr(_Run, stage)
    for calls in range(1, 9):
        count = iter(range(1, 1_000))

        def killed(*arguments: object, count: Iterator[int] = count, calls: int = calls) -> object:
            result = step(*arguments)
            if next(count) == calls:
                raise KeyboardInterrupt
            return result

        with monkeypatch.context() as patch:
            patch.setattr(_Run, stage, killed)
            patch.setattr(_Run, "end", lambda self: None)
            try:
                sync_index(database, embedder=embedder)
            except KeyboardInterrupt:
                seen = " ".join(texts(database, embedder, "train ferry Bern Basel leaves"))
                assert ("Bern" in seen) != ("Basel" in seen)
    report = sync_index(database, embedder=embedder)
    index = opened(database, embedder)
    fresh = Index.sync(articles.parent / ".pincite", [articles], embedder=embedder)
    for query in ("ferry Basel", "board Ann", "carp pond"):
        pairs = [[(hit.passage, round(hit.score, 4)) for hit in found(one, query)] for one in (fresh, index)]
        assert pairs[0] == pairs[1]
    assert report.passages == fresh.stats().passages == index.stats().passages
    assert index.stats().documents == 2
    assert stored(index) == (report.passages, {document.id for document in fresh.documents()})


def test_another_chunking_or_rebuild_begins_afresh_and_keeps_the_sources(
    database: Path, articles: Path, embedder: HashingEmbedder
) -> None:
    before = sync_index(database, [articles], embedder=embedder)
    report = sync_index(database, embedder=embedder, chunking=Chunking(40, 30, 0))
    assert report.embedded == report.passages >= before.passages
    assert sync_index(database, embedder=HashingEmbedder("other"), rebuild=True).added == 3
    with pytest.raises(PinciteError):
        opened(database, embedder).embedder  # noqa: B018


def test_what_cannot_be_opened_is_told_in_one_line_and_nothing_is_left_behind(
    database: Path, articles: Path, embedder: HashingEmbedder
) -> None:
    with pytest.raises(IndexNotFoundError):
        open_index(database)
    assert not database.exists()
    with pytest.raises(SourceError):
        sync_index(database, [articles / "none"], embedder=embedder)
    (articles / "file.db").write_text("")
    with pytest.raises(IndexFormatError):
        sync_index(articles / "file.db", [articles], embedder=embedder)
    (articles / "void").mkdir()
    with pytest.raises(SourceError, match="Nothing to read"):
        sync_index(database, [articles / "void"], embedder=embedder)
    assert opened(database, embedder).sources == ()
    with pytest.raises(PinciteError, match=r"Milvus at http://127\.0\.0\.1:1"):
        MilvusStore(Address("http://127.0.0.1:1", "articles"))


def test_a_server_is_reached_by_its_address_and_a_second_sync_is_told_to_wait(
    tmp_path: Path, articles: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    lite = pytest.importorskip("milvus_lite.adapter.grpc.server")
    server, data, port = lite.start_server_in_thread(str(tmp_path / "served"))
    address = f"milvus://127.0.0.1:{port}/articles"
    monkeypatch.chdir(tmp_path)

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    try:
        assert sync_index(address, [articles], embedder=embedder).added == 3
        index = open_index(address, embedder=embedder)
        hits = retrieve(index, "carp in the pond", embedder.embed_query("carp in the pond"), 3)
        assert hits[0].path == "articles/garden.md"
        assert index.location(index.document(hits[0].passage.document_id)) == str(articles / "garden.md")
        (articles / "train.txt").write_text("The ferry to Basel leaves at dawn.\n")
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(_Run, "_put_passages", interrupted)
            patch.setattr(_Run, "end", lambda self: None)
            sync_index(address, embedder=embedder)
        with pytest.raises(IndexBusyError):
            sync_index(address, embedder=embedder)
        monkeypatch.setattr(milvus_sync, "_BUSY_SECONDS", 0.0)
        assert sync_index(address, embedder=embedder).changed == 1
    finally:
        server.stop(0).wait(2.0)
        data.close()


@slow
def test_milvus_lite_is_reached_by_a_private_socket_that_goes_with_the_process(
    database: Path, articles: Path, embedder: HashingEmbedder, tmp_path: Path
) -> None:
    sync_index(database, [articles], embedder=embedder)
    index = opened(database, embedder)
    uri = Path(index.store.uri.removeprefix("unix:"))
    assert stat.S_IMODE(uri.parent.stat().st_mode) == 0o700
    listening = Path("/proc/self/net/tcp").read_text() if Path("/proc/self/net/tcp").exists() else ""
    mine = {
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.islink(f"/proc/self/fd/{fd}")
    }
    for line in listening.splitlines()[1:]:
        state, inode = line.split()[3], line.split()[9]
        assert state != "0A" or f"socket:[{inode}]" not in mine
    busy = [sys.executable, "-m", "pincite.qa", "status", "--index", str(database)]
    child = subprocess.run(busy, capture_output=True, text=True, check=False)
    assert child.returncode == 2 and "Another process" in child.stderr and child.stderr.count("\n") == 1
    stop_lite()
    assert not uri.parent.exists()
