"""Sync against what it promises: every document of the sources, no other, at the cost of what changed."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pincite.index import (
    Chunking,
    Document,
    Index,
    IndexBusyError,
    IndexFormatError,
    IndexNotFoundError,
    ModelMismatchError,
    PinciteError,
    Skipped,
    SourceError,
    batch,
    build,
    chunker,
    merge,
    records,
    sources,
    store,
    survey,
    verify,
    webpages,
)
from pincite.index.extracted import MissingExtraError
from pincite.index.overview import overview
from pincite.index.sources import SourceFile, read_documents
from pincite.index.survey import changes_since
from tests.conftest import HashingEmbedder


def texts(index: Index) -> dict[str, str]:
    return {document.path: document.text for document in index.documents()}


def test_sync_indexes_every_article_and_covers_its_text(articles: Path, embedder: HashingEmbedder) -> None:
    index = Index.sync(articles / ".pincite", [articles], embedder=embedder)
    assert texts(index) == {str(path): path.read_text() for path in articles.iterdir() if path.is_file()}
    for document in index.documents():
        for passage in index.passages_of(document.id):
            assert passage.span.of(document.text) == passage.text
    assert index.report is not None
    assert (index.report.added, index.report.changed, index.report.removed, index.report.unchanged) == (3, 0, 0, 0)
    assert list(verify(index)) == []


def test_second_sync_embeds_and_commits_nothing(articles: Path, embedder: HashingEmbedder) -> None:
    first = Index.sync(articles / ".pincite", [articles], embedder=embedder)
    embedder.embedded.clear()
    second = Index.sync(articles / ".pincite", embedder=embedder)
    assert embedder.embedded == []
    assert second.report is not None and second.report.unchanged == 3
    assert second.manifest == first.manifest


def test_unchanged_files_are_not_opened(
    articles: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = Index.sync(articles / ".pincite", [articles], embedder=embedder)
    opened: list[str] = []

    def noting(file: SourceFile) -> Iterator[Document | Skipped]:
        opened.append(file.path)
        return read_documents(file)

    monkeypatch.setattr(build, "read_documents", noting)
    (articles / "train.txt").write_text("The train to Bern leaves at one.\n")
    again = Index.sync(articles / ".pincite", embedder=embedder)
    assert opened == ["train.txt"]
    assert again.report is not None and (again.report.changed, again.report.unchanged) == (1, 2)
    assert again.generation == index.generation + 1


def test_changed_passage_costs_its_own_embedding_only(tmp_path: Path, embedder: HashingEmbedder) -> None:
    paragraphs = [f"Paragraph {n} is about thing{n}. " * 12 for n in range(10)]
    article = tmp_path / "long.txt"
    article.write_text("\n\n".join(paragraphs))
    Index.sync(tmp_path / ".pincite", [article], embedder=embedder)
    before = len(embedder.embedded)
    embedder.embedded.clear()
    paragraphs[4] = paragraphs[4].replace("thing4", "thing44")
    article.write_text("\n\n".join(paragraphs))
    index = Index.sync(tmp_path / ".pincite", embedder=embedder)
    assert before >= 10
    assert 1 <= len(embedder.embedded) <= 2
    assert all("thing44" in text for text in embedder.embedded)
    assert list(verify(index)) == []


def test_renamed_file_is_not_embedded_again(articles: Path, embedder: HashingEmbedder) -> None:
    Index.sync(articles / ".pincite", [articles], embedder=embedder)
    embedder.embedded.clear()
    (articles / "train.txt").rename(articles / "railway.txt")
    index = Index.sync(articles / ".pincite", embedder=embedder)
    assert embedder.embedded == []
    assert index.report is not None and (index.report.added, index.report.removed) == (1, 1)
    assert str(articles / "railway.txt") in texts(index) and str(articles / "train.txt") not in texts(index)


def test_touched_file_is_read_once_and_then_unchanged(articles: Path, embedder: HashingEmbedder) -> None:
    Index.sync(articles / ".pincite", [articles], embedder=embedder)
    embedder.embedded.clear()
    os.utime(articles / "train.txt")
    touched = Index.sync(articles / ".pincite", embedder=embedder)
    assert touched.report is not None and (touched.report.changed, touched.report.unchanged) == (0, 3)
    assert embedder.embedded == []
    assert changes_since(touched) == {"new": 0, "changed": 0, "missing": 0}
    assert Index.sync(articles / ".pincite", embedder=embedder).generation == touched.generation


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_document_stays_while_the_disk_fails_to_read_its_file(
    articles: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before = texts(Index.sync(articles / ".pincite", [articles], embedder=embedder))
    os.utime(articles / "train.txt")

    def failing(location: str) -> io.FileIO:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(sources, "open_regular", failing)
        index = Index.sync(articles / ".pincite", embedder=embedder)
    assert texts(index) == before and index.report is not None
    assert [Path(item.path).name for item in index.report.skipped] == ["train.txt"]
    after = Index.sync(articles / ".pincite", embedder=embedder)
    assert texts(after) == before and after.report is not None and after.report.skipped == ()


def test_edit_right_after_sync_is_never_missed(articles: Path, embedder: HashingEmbedder) -> None:
    for number in range(30):
        (articles / "train.txt").write_text(f"Train number {number % 10} leaves at noon.\n")
        index = Index.sync(articles / ".pincite", [articles], embedder=embedder)
        assert texts(index)[str(articles / "train.txt")] == f"Train number {number % 10} leaves at noon.\n"


def test_records_of_a_corpus_are_synced_one_by_one(tmp_path: Path, embedder: HashingEmbedder) -> None:
    corpus = tmp_path / "corpus.jsonl"
    records = [{"_id": f"r{n}", "title": f"Title {n}", "text": f"Record {n} speaks of thing{n}."} for n in range(5)]
    corpus.write_text("".join(json.dumps(record) + "\n" for record in records))
    index = Index.sync(tmp_path / ".pincite", [corpus], embedder=embedder)
    assert index.stats().documents == 5
    assert {document.line for document in index.documents()} == {1, 2, 3, 4, 5}
    records[2]["text"] = "Record 2 is another now."
    del records[0]
    corpus.write_text("".join(json.dumps(record) + "\n" for record in records))
    embedder.embedded.clear()
    index = Index.sync(tmp_path / ".pincite", embedder=embedder)
    assert len(embedder.embedded) == 1
    assert index.report is not None
    assert (index.report.changed, index.report.removed, index.report.unchanged) == (1, 1, 3)
    assert texts(index)[f"{corpus}#r2"] == "Record 2 is another now."


def test_sources_are_remembered_added_and_removed(tmp_path: Path, embedder: HashingEmbedder) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.txt").write_text(f"Article in {name}.")
    where = tmp_path / ".pincite"
    Index.sync(where, [tmp_path / "a"], embedder=embedder)
    index = Index.sync(where, [tmp_path / "b"], embedder=embedder)
    assert len(texts(index)) == 2
    (tmp_path / "a" / "x.txt").write_text("Changed in a.")
    index = Index.sync(where, [tmp_path / "b"], embedder=embedder)
    assert texts(index)[str(tmp_path / "a" / "x.txt")] == "Article in a."
    index = Index.sync(where, embedder=embedder)
    assert texts(index)[str(tmp_path / "a" / "x.txt")] == "Changed in a."
    index = Index.sync(where, remove=[tmp_path / "a"], embedder=embedder)
    assert list(texts(index)) == [str(tmp_path / "b" / "x.txt")]
    with pytest.raises(SourceError, match="not a source"):
        Index.sync(where, remove=[tmp_path / "a"], embedder=embedder)


def test_missing_source_keeps_its_documents_and_is_reported(tmp_path: Path, embedder: HashingEmbedder) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.txt").write_text(f"Article in {name}.")
    Index.sync(tmp_path / ".pincite", [tmp_path / "a", tmp_path / "b"], embedder=embedder)
    (tmp_path / "a").rename(tmp_path / "unmounted")
    index = Index.sync(tmp_path / ".pincite", embedder=embedder)
    assert index.report is not None
    assert len(texts(index)) == 2
    assert [item.path for item in index.report.skipped] == ["a"]


def test_excluded_files_leave_the_index(articles: Path, embedder: HashingEmbedder) -> None:
    Index.sync(articles / ".pincite", [articles], embedder=embedder)
    index = Index.sync(articles / ".pincite", [articles], exclude=["*.md"], embedder=embedder)
    assert not any(path.endswith(".md") for path in texts(index))
    index = Index.sync(articles / ".pincite", [articles], embedder=embedder)
    assert not any(path.endswith(".md") for path in texts(index))


def test_skipped_file_is_reported_every_time_but_read_once(articles: Path, embedder: HashingEmbedder) -> None:
    (articles / "noise.txt").write_bytes(bytes(range(256)) * 40)
    (articles / "some.jsonl").write_text('{"_id": "1", "text": "Fine."}\nnot JSON\n')
    first = Index.sync(articles / ".pincite", [articles], embedder=embedder)
    second = Index.sync(articles / ".pincite", embedder=embedder)
    assert first.report is not None and second.report is not None
    assert first.report.skipped == second.report.skipped
    assert [item.path for item in second.report.skipped] == ["noise.txt", "some.jsonl:2"]
    assert second.generation == first.generation


def test_other_model_embeds_everything_again_in_one_commit(articles: Path, embedder: HashingEmbedder) -> None:
    first = Index.sync(articles / ".pincite", [articles], embedder=embedder)
    other = HashingEmbedder(salt="other")
    second = Index.sync(articles / ".pincite", embedder=other)
    assert second.fingerprint is not None and second.fingerprint.embedder == other.fingerprint
    assert second.generation == first.generation + 1
    assert second.report is not None and second.report.embedded == second.stats().passages


def test_changed_weights_under_the_same_name_never_mix(articles: Path, embedder: HashingEmbedder) -> None:
    index = Index.sync(articles / ".pincite", [articles], embedder=embedder)
    other = HashingEmbedder(salt="other")
    with pytest.raises(ModelMismatchError, match="weights have changed since"):
        _ = Index.open(articles / ".pincite", embedder=other).embedder
    (articles / "new.txt").write_text("A new article.")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "load_embedder", lambda model: other)
        with pytest.raises(ModelMismatchError, match="pincite index --model hashing"):
            Index.sync(articles / ".pincite")
    assert Index.open(articles / ".pincite").manifest == index.manifest


def test_passages_of_another_chunker_are_refused(
    articles: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    Index.sync(articles / ".pincite", [articles], embedder=embedder)
    monkeypatch.setattr(chunker, "VERSION", chunker.VERSION + 1)
    with pytest.raises(IndexFormatError, match="another version"):
        Index.open(articles / ".pincite")
    with pytest.raises(IndexFormatError, match="another version"):
        Index.sync(articles / ".pincite", embedder=embedder)
    assert Index.sync(articles / ".pincite", rebuild=True, embedder=embedder).stats().documents == 3


def test_index_of_another_format_is_refused(articles: Path, embedder: HashingEmbedder) -> None:
    Index.sync(articles / ".pincite", [articles], embedder=embedder)
    (articles / ".pincite" / "FORMAT").write_text("pincite index 99\n")
    with pytest.raises(IndexFormatError, match="format 99, this pincite reads format 3"):
        Index.open(articles / ".pincite")
    with pytest.raises(IndexFormatError, match="format 99"):
        Index.sync(articles / ".pincite", embedder=embedder)


def test_empty_folder_is_refused_and_leaves_nothing(tmp_path: Path, embedder: HashingEmbedder) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=rf"Nothing to read in {tmp_path}/empty \(no file of a kind"):
        Index.sync(tmp_path / ".pincite", [tmp_path / "empty"], embedder=embedder)
    assert not (tmp_path / ".pincite").exists()


def test_missing_source_is_refused_and_keeps_the_index(articles: Path, embedder: HashingEmbedder) -> None:
    index = Index.sync(articles / ".pincite", [articles], embedder=embedder)
    with pytest.raises(SourceError, match="No such file or folder"):
        Index.sync(articles / ".pincite", [articles / "nowhere"], embedder=embedder)
    assert Index.open(articles / ".pincite").manifest == index.manifest


def test_second_writer_is_told_who_holds_the_lock(articles: Path, embedder: HashingEmbedder) -> None:
    Index.sync(articles / ".pincite", [articles], embedder=embedder)
    with open(articles / ".pincite" / "LOCK", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(IndexBusyError, match=f"process {os.getpid()}"):
            Index.sync(articles / ".pincite", embedder=embedder)


def test_damaged_manifest_is_an_error_and_rebuild_sets_it_aside(articles: Path, embedder: HashingEmbedder) -> None:
    Index.sync(articles / ".pincite", [articles], embedder=embedder)
    manifest = articles / ".pincite" / "manifest.json"
    damaged = manifest.read_bytes().replace(b'"generation": 1', b'"generation": 7')
    manifest.write_bytes(damaged)
    with pytest.raises(IndexFormatError, match="checksum"):
        Index.open(articles / ".pincite")
    with pytest.raises(IndexFormatError, match="checksum"):
        Index.sync(articles / ".pincite", [articles], embedder=embedder)
    with pytest.raises(IndexFormatError, match="name them"):
        Index.sync(articles / ".pincite", rebuild=True, embedder=embedder)
    assert manifest.read_bytes() == damaged
    index = Index.sync(articles / ".pincite", [articles], rebuild=True, embedder=embedder)
    assert len(texts(index)) == 3
    assert index.report is not None and index.report.set_aside is not None
    assert Path(index.report.set_aside, "manifest.json").read_bytes() == damaged


def test_manifest_without_its_segments_is_damage_not_emptiness(articles: Path, embedder: HashingEmbedder) -> None:
    Index.sync(articles / ".pincite", [articles], embedder=embedder)
    (articles / ".pincite" / "manifest.json").unlink()
    with pytest.raises(IndexFormatError, match=r"manifest\.json is missing"):
        Index.open(articles / ".pincite")
    with pytest.raises(IndexFormatError):
        Index.sync(articles / ".pincite", [articles], embedder=embedder)


def test_missing_segment_is_one_clear_error(articles: Path, embedder: HashingEmbedder) -> None:
    Index.sync(articles / ".pincite", [articles], embedder=embedder)
    next((articles / ".pincite").glob("seg-*")).unlink()
    with pytest.raises(IndexFormatError, match="missing"):
        Index.open(articles / ".pincite")
    with pytest.raises(IndexFormatError, match="missing"):
        Index.sync(articles / ".pincite")
    index = Index.sync(articles / ".pincite", rebuild=True, embedder=embedder)
    assert len(texts(index)) == 3


def test_no_index_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFoundError, match="pincite index"):
        Index.open(tmp_path / ".pincite")
    with pytest.raises(IndexNotFoundError, match="pincite index"):
        Index.sync(tmp_path / ".pincite")


@pytest.mark.parametrize("step", [31, pytest.param(3, marks=pytest.mark.slow)])
def test_every_flipped_byte_of_a_segment_is_found_by_verify(
    articles: Path, embedder: HashingEmbedder, step: int
) -> None:
    Index.sync(articles / ".pincite", [articles], embedder=embedder)
    segment = next((articles / ".pincite").glob("seg-*"))
    intact = segment.read_bytes()
    for place in range(0, len(intact), step):
        segment.write_bytes(intact[:place] + bytes([intact[place] ^ 0x20]) + intact[place + 1 :])
        try:
            problems = list(verify(Index.open(articles / ".pincite", embedder=embedder)))
        except PinciteError:
            continue
        assert any(problem.damage for problem in problems), place


def write_twenty(folder: Path) -> None:
    for number in range(20):
        (folder / f"{number:02}.txt").write_text(f"Article {number} is about thing{number}.")


def die_at(embedder: HashingEmbedder, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process be interrupted in the middle of a batch of articles, counted from 0."""
    embed = embedder.embed_passages
    calls = iter(range(100))

    def embed_passages(texts: list[str], **options: object) -> object:
        if texts[0].startswith("Article") and next(calls) == batch:
            raise KeyboardInterrupt
        return embed(texts)

    monkeypatch.setattr(embedder, "embed_passages", embed_passages)


def embedded_articles(embedder: HashingEmbedder) -> list[str]:
    return [text for text in embedder.embedded if text.startswith("Article")]


def test_interrupted_sync_goes_on_where_it_stopped(
    tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "COMMIT_EVERY", 4)
    write_twenty(tmp_path)
    die_at(embedder, 2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        Index.sync(tmp_path / ".pincite", [tmp_path], embedder=embedder)
    assert Index.open(tmp_path / ".pincite").stats().documents == 8
    index = Index.sync(tmp_path / ".pincite", [tmp_path], embedder=embedder)
    assert index.stats().documents == 20
    assert len(embedded_articles(embedder)) == len(set(embedded_articles(embedder))) == 20
    assert list(verify(index)) == []


def test_files_too_many_to_remember_are_found_again_and_what_changed_meanwhile_waits(
    tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "_MOST_KEPT", 3)
    write_twenty(tmp_path)
    Index.sync(tmp_path / ".pincite", [tmp_path], embedder=embedder)
    for number in range(10):
        (tmp_path / f"{number:02}.txt").write_text(f"Changed {number}.")
    (tmp_path / "19.txt").unlink()
    tick = survey.let_clock_tick

    def something_happens(newest_ns: int) -> None:
        tick(newest_ns)
        (tmp_path / "03.txt").write_text("Changed again.")
        (tmp_path / "04.txt").unlink()
        (tmp_path / "new.txt").write_text("New.")

    with monkeypatch.context() as patch:
        patch.setattr(build, "let_clock_tick", something_happens)
        report = Index.sync(tmp_path / ".pincite", embedder=embedder).report
    assert report is not None and (report.added, report.changed, report.removed) == (0, 8, 1)
    index = Index.sync(tmp_path / ".pincite", embedder=embedder)
    assert index.report is not None
    assert (index.report.added, index.report.changed, index.report.removed) == (1, 1, 1)
    found = {Path(document.path).name: document.text for document in index.documents()}
    assert found == {path.name: path.read_text() for path in tmp_path.glob("*.txt")}


@pytest.mark.parametrize("salt", ["", "another model"])
def test_interrupted_rebuild_leaves_the_old_index_and_embeds_nothing_again(
    tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch, salt: str
) -> None:
    write_twenty(tmp_path)
    old = Index.sync(tmp_path / ".pincite", [tmp_path], embedder=embedder)
    monkeypatch.setattr(build, "COMMIT_EVERY", 4)
    monkeypatch.setattr(merge, "_TOGETHER", 2)
    monkeypatch.setattr(merge, "_SIZES", (8, 8, 8, 8))
    other = HashingEmbedder(salt)
    die_at(other, 4, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        Index.sync(tmp_path / ".pincite", embedder=other, rebuild=True)
    assert Index.open(tmp_path / ".pincite").manifest == old.manifest
    assert len(list((tmp_path / ".pincite").glob("seg-*"))) == 3, "the old one, and two merged ones of eight"
    index = Index.sync(tmp_path / ".pincite", embedder=other, rebuild=True)
    assert index.stats().documents == 20
    assert len(embedded_articles(other)) == len(set(embedded_articles(other))) == 20
    assert list(verify(index)) == []
    left = {path.name for path in (tmp_path / ".pincite").glob("seg-*")}
    assert left == {entry.name for entry in index.manifest.segments}


@pytest.mark.parametrize("rebuild", [False, True])
def test_interruption_within_a_batch_costs_one_lot_of_it(
    tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch, rebuild: bool
) -> None:
    write_twenty(tmp_path)
    if rebuild:
        Index.sync(tmp_path / ".pincite", [tmp_path], embedder=HashingEmbedder("another model"))
    monkeypatch.setattr(batch, "LOT", 4)
    die_at(embedder, 3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        Index.sync(tmp_path / ".pincite", [tmp_path], embedder=embedder)
    before = len(embedded_articles(embedder))
    index = Index.sync(tmp_path / ".pincite", [tmp_path], embedder=embedder)
    assert index.stats().documents == 20
    assert before > 0 and len(embedded_articles(embedder)) == len(set(embedded_articles(embedder))) == 20
    assert list(verify(index)) == []
    left = {path.name for path in (tmp_path / ".pincite").glob("seg-*")}
    assert left == {entry.name for entry in index.manifest.segments}


def test_what_an_interrupted_writer_left_gives_no_vector_of_another_model_or_of_a_torn_file(
    tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_twenty(tmp_path)
    Index.sync(tmp_path / ".pincite", [tmp_path], embedder=embedder)
    known = {path.name for path in (tmp_path / ".pincite").glob("seg-*")}
    monkeypatch.setattr(build, "COMMIT_EVERY", 4)
    other = HashingEmbedder("another model")
    die_at(other, 4, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        Index.sync(tmp_path / ".pincite", embedder=other, rebuild=True)
    first, second, *_ = sorted(path for path in (tmp_path / ".pincite").glob("seg-*") if path.name not in known)
    first.write_bytes(first.read_bytes()[:-9])
    second.write_bytes(b"")
    third = HashingEmbedder("a third model")
    index = Index.sync(tmp_path / ".pincite", embedder=third, rebuild=True)
    assert sorted(embedded_articles(third)) == sorted(embedded_articles(embedder))
    assert list(verify(index)) == []


def test_open_index_keeps_its_generation_and_refresh_sees_the_next(articles: Path, embedder: HashingEmbedder) -> None:
    old = Index.sync(articles / ".pincite", [articles], embedder=embedder)
    assert old.refresh() is old
    (articles / "train.txt").unlink()
    Index.sync(articles / ".pincite", embedder=embedder)
    assert len(texts(old)) == 3
    new = old.refresh()
    assert len(texts(new)) == 2 and new.generation == old.generation + 1
    assert new.embedder is embedder


def test_ids_of_records_are_shown_as_they_are(
    tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "r.jsonl").write_text('{"_id": "a/../1", "text": "One."}\n{"_id": "1", "text": "Another."}\n')
    (tmp_path / "in" / "#x.txt").write_text("A third.")
    monkeypatch.chdir(tmp_path)
    index = Index.sync(".pincite", ["in"], embedder=embedder)
    assert set(texts(index)) == {"in/r.jsonl#a/../1", "in/r.jsonl#1", "in/#x.txt"}
    assert [document.text for document in index.documents_of("in/r.jsonl#a/../1")] == ["One."]


def test_paths_are_shown_as_the_index_was_opened(
    articles: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(articles.parent)
    index = Index.sync("articles/.pincite", ["articles"], embedder=embedder)
    assert set(texts(index)) == {"articles/board.txt", "articles/garden.md", "articles/train.txt"}
    document = index.documents_of("articles/train.txt")[0]
    assert index.location(document) == str(articles / "train.txt")
    monkeypatch.chdir(articles)
    moved = Index.open(".pincite")
    assert set(texts(moved)) == {"board.txt", "garden.md", "train.txt"}


def test_moved_folder_with_its_index_still_works(articles: Path, embedder: HashingEmbedder) -> None:
    Index.sync(articles / ".pincite", [articles], embedder=embedder)
    moved = articles.rename(articles.parent / "elsewhere")
    index = Index.sync(moved / ".pincite", embedder=embedder)
    assert index.report is not None and index.report.unchanged == 3
    assert list(verify(index)) == []


def test_vectors_are_those_of_the_passages(articles: Path, embedder: HashingEmbedder) -> None:
    index = Index.sync(articles / ".pincite", [articles], embedder=embedder)
    (articles / "new.txt").write_text("A new article about nothing much.")
    index = Index.sync(articles / ".pincite", embedder=embedder)
    vector = embedder.embed_query("A new article about nothing much.")
    rows, cosine = index.search_dense(vector, 1)
    assert index.passages(rows)[0].text == "A new article about nothing much."
    assert cosine[0] == pytest.approx(1, abs=1e-3)
    assert index.cosine(vector, rows) == pytest.approx(cosine)


def test_other_chunking_cuts_everything_again(articles: Path, embedder: HashingEmbedder) -> None:
    (articles / "long.txt").write_text(" ".join(f"Sentence number {n} is here." for n in range(60)))
    first = Index.sync(articles / ".pincite", [articles], embedder=embedder)
    second = Index.sync(articles / ".pincite", chunking=Chunking(120, 20, 0), embedder=embedder)
    assert second.stats().passages > 2 * first.stats().passages
    assert second.fingerprint is not None and second.fingerprint.chunking["target_tokens"] == 20
    (articles / "new.txt").write_text(" ".join(f"Sentence number {n} is here." for n in range(60)))
    third = Index.sync(articles / ".pincite", embedder=embedder)
    assert third.fingerprint == second.fingerprint
    assert list(verify(third)) == []


@pytest.mark.slow
def test_large_index_is_searched_by_codes_and_finds_nearly_the_same(
    tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "COMMIT_EVERY", 10_000)
    corpus = tmp_path / "corpus.jsonl"
    animals = ["mice", "cats", "owls", "newts", "bears", "larks", "eels", "toads", "rams", "apes"]
    records = [
        {
            "_id": str(n),
            "text": f"Note {n}: " + ", ".join(f"{n % (i + 3)} {animal}" for i, animal in enumerate(animals)),
        }
        for n in range(24_000)
    ]
    corpus.write_text("\n".join(json.dumps(record) for record in records))
    Index.sync(tmp_path / ".pincite", [corpus], embedder=embedder)
    corpus.write_text("\n".join(json.dumps(record) for n, record in enumerate(records) if n % 9))
    exact = Index.sync(tmp_path / ".pincite", embedder=embedder)
    monkeypatch.setattr(store, "EXACT_ROWS", 20_000)
    coded = Index.open(tmp_path / ".pincite", embedder=embedder)
    found = 0
    for n in range(1, 1_000, 50):
        vector = embedder.embed_query(records[n]["text"])
        wanted = exact.search_dense(vector, 10)[1]
        got = coded.search_dense(vector, 10)[1]
        found += int((got >= wanted[-1] - 1e-6).sum())
    assert found / 200 > 0.95
    assert coded.stats().passages == sum(bool(n % 9) for n in range(24_000))
    parts = coded._dense._parts or []
    assert sum(part.rows is None for part in parts) == 2  # two segments by their codes, the small one exactly
    assert list(verify(coded)) == []


def test_file_that_needs_a_missing_package_is_remembered_with_its_reason_and_tried_again(
    articles: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks(name: str, kind: object, data: bytes) -> object:
        raise MissingExtraError("a package", "extra")

    monkeypatch.setattr(sources, "read_content", lacks)
    (articles / "later.txt").write_text("This is read once the package is there.")
    folder = articles / ".pincite"
    with pytest.raises(SourceError, match="needs a package"):
        Index.sync(folder, [articles / "later.txt"], embedder=embedder)
    monkeypatch.undo()
    (articles / "later.txt").unlink()
    Index.sync(folder, [articles], embedder=embedder)
    monkeypatch.setattr(sources, "read_content", lacks)
    (articles / "later.txt").write_text("This is read once the package is there.")
    index = Index.sync(folder, embedder=embedder)
    assert [item.path for item in overview(index).skipped] == [index.shown("later.txt")]
    assert changes_since(index) == {"new": 1, "changed": 0, "missing": 0}
    again = Index.sync(folder, embedder=embedder)
    assert again.generation == index.generation, "nothing new to remember"
    monkeypatch.undo()
    index = Index.sync(folder, embedder=embedder)
    assert "This is read once the package is there." in texts(index).values()
    assert not overview(index).skipped and changes_since(index)["new"] == 0


@pytest.mark.parametrize("name", ["odd.jsonl", "odd.html"])
def test_file_at_which_a_reader_fails_stops_no_other_and_keeps_what_is_known_of_it(
    articles: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fails(*arguments: object) -> object:
        raise KeyError("nobody\nthought of this")

    text = '{"text": "The odd one."}\n' if name == "odd.jsonl" else "<p>The odd one."
    (articles / name).write_text(text)
    Index.sync(articles / ".pincite", [articles], embedder=embedder)
    (articles / name).write_text(f"{text} ")
    (articles / "other.txt").write_text("Another.")
    monkeypatch.setattr(records, "parse_record", fails)
    monkeypatch.setattr(webpages, "read_html", fails)
    index = Index.sync(articles / ".pincite", embedder=embedder)
    assert index.report is not None
    (skipped,) = index.report.skipped
    assert skipped.path == name and "KeyError" in skipped.reason and "\n" not in skipped.reason
    assert {"Another.", "The odd one."} <= set(texts(index).values())
