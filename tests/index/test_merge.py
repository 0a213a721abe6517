"""Merging: the same segment as one written at once, only where the policy says so, and nothing comes back."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pincite.index import Index, IndexFormatError, build, disk, merge, verify
from pincite.index.merge import LARGEST, all_runs, next_run
from tests.conftest import HashingEmbedder


@pytest.fixture
def never_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "_TOGETHER", 10**9)


def write_records(path: Path, records: dict[str, str]) -> None:
    path.write_text("\n".join(json.dumps({"_id": name, "text": text}) for name, text in records.items()))


def texts(index: Index) -> list[tuple[str, str]]:
    return sorted((document.path, document.text) for document in index.documents())


def test_merged_segment_is_the_one_that_a_fresh_build_writes(
    tmp_path: Path, embedder: HashingEmbedder, never_merged: None
) -> None:
    articles = tmp_path / "articles"
    articles.mkdir()
    records = {f"r{n}": f"Record {n} tells of the Öresund {n % 3} times." for n in range(9)}
    for n in range(12):
        (articles / f"{n:02}.txt").write_text(f"Note {n}\n\nIn it stands the number {n}. 日本 {n * n}.\n" * (n % 4 + 1))
        write_records(articles / "many.jsonl", dict(list(records.items())[: n + 1]))
        Index.sync(tmp_path / "grown", [articles], embedder=embedder)
    (articles / "03.txt").unlink()
    (articles / "05.txt").write_text("Now it says something else.")
    write_records(articles / "many.jsonl", records | {"r8": "Changed."})
    grown = Index.sync(tmp_path / "grown", embedder=embedder)
    assert len(grown.segments) == 13
    compact = Index.compact(tmp_path / "grown")
    fresh = Index.sync(tmp_path / "fresh", [articles], embedder=embedder)
    (merged,), (built,) = compact.segments, fresh.segments
    assert set(merged.segment.names()) == set(built.segment.names())
    for name in built.segment.names():
        assert np.array_equal(merged.segment.array(name), built.segment.array(name)), name
    assert list(verify(compact)) == []


def test_compacting_twice_writes_nothing_the_second_time(articles: Path, embedder: HashingEmbedder) -> None:
    Index.sync(articles / ".pincite", [articles], embedder=embedder)
    (articles / "train.txt").write_text("The train is gone.")
    Index.sync(articles / ".pincite", embedder=embedder)
    once = Index.compact(articles / ".pincite")
    assert Index.compact(articles / ".pincite").generation == once.generation


def test_index_of_nothing_is_compacted_to_no_segment(articles: Path, embedder: HashingEmbedder) -> None:
    Index.sync(articles / ".pincite", [articles], embedder=embedder)
    Index.sync(articles / ".pincite", remove=[articles], embedder=embedder)
    index = Index.compact(articles / ".pincite")
    assert index.segments == () and index.stats().passages == 0
    Index.sync(articles / ".pincite", [articles], embedder=embedder)
    assert len(texts(Index.open(articles / ".pincite"))) == 3


def test_many_small_syncs_leave_few_segments_and_write_little(tmp_path: Path, embedder: HashingEmbedder) -> None:
    articles = tmp_path / "articles"
    articles.mkdir()
    for n in range(100):
        (articles / f"{n}.txt").write_text(f"This is note {n}, of no more than one sentence.")
    Index.sync(tmp_path / "index", [articles], embedder=embedder)
    for n in range(20):
        (articles / f"{n}.txt").write_text(f"This is note {n}, changed.")
        index = Index.sync(tmp_path / "index", [articles / f"{n}.txt"], embedder=embedder)
        assert len(index.segments) <= 8
    assert index.stats().documents == 100
    assert [document.text for document in index.documents_of(str(articles / "7.txt"))] == ["This is note 7, changed."]


def test_records_replaced_late_in_a_long_sync_do_not_stay(
    tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Merges in the middle of a sync must leave segments alone of which documents may yet be replaced."""
    corpus = tmp_path / "many.jsonl"
    records: dict[str, str] = {}
    with monkeypatch.context() as patch:
        patch.setattr(merge, "_TOGETHER", 10**9)
        for n in range(12):
            records[f"r{n}"] = f"Record {n}."
            write_records(corpus, records)
            Index.sync(tmp_path / "index", [corpus], embedder=embedder)
    monkeypatch.setattr(merge, "_TOGETHER", 3)
    monkeypatch.setattr(build, "COMMIT_EVERY", 1)
    changed = {name: f"{text} Changed." for name, text in records.items()}
    write_records(corpus, changed)
    index = Index.sync(tmp_path / "index", embedder=embedder)
    assert texts(index) == sorted((f"{corpus}#{name}", text) for name, text in changed.items())


def test_damaged_segment_is_not_merged(articles: Path, embedder: HashingEmbedder) -> None:
    Index.sync(articles / ".pincite", [articles], embedder=embedder)
    (articles / "train.txt").write_text("The train is gone.")
    index = Index.sync(articles / ".pincite", embedder=embedder)
    path = articles / ".pincite" / index.manifest.segments[0].name
    data = bytearray(path.read_bytes())
    data[data.index(b"They meet in May")] ^= 1
    path.unlink()
    path.write_bytes(data)
    with pytest.raises(IndexFormatError, match="pincite repair"):
        Index.compact(articles / ".pincite")
    assert Index.open(articles / ".pincite").generation == index.generation


def test_merge_that_the_disk_refuses_is_put_off(
    articles: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "_TOGETHER", 2)
    Index.sync(articles / ".pincite", [articles], embedder=embedder)
    (articles / "more.txt").write_text("There is more.")
    with monkeypatch.context() as patch:
        written = []

        def full(path: str, blocks: Sequence[bytes]) -> int:
            written.append(path)
            if len([one for one in written if "seg-" in one]) > 1:
                raise OSError(28, os.strerror(28))
            return write_file(path, blocks)

        write_file = disk.write_file
        patch.setattr(disk, "write_file", full)
        index = Index.sync(articles / ".pincite", embedder=embedder)
    assert len(index.segments) == 2 and len(texts(index)) == 4
    (articles / "more.txt").unlink()
    index = Index.sync(articles / ".pincite", embedder=embedder)
    assert len(index.segments) == 1 and len(texts(index)) == 3


def test_no_segment_grows_beyond_the_largest_and_each_level_stays_small() -> None:
    """A million passages in small syncs: the policy alone, on sizes."""
    sizes: list[int] = []
    rewritten = 0
    for _ in range(4_000):
        sizes.append(250)
        while run := next_run(sizes, sizes):
            total = sum(sizes[run.start : run.stop])
            rewritten += total
            sizes[run.start : run.stop] = [total]
    assert sum(sizes) == 1_000_000
    assert max(sizes) <= LARGEST
    assert len(sizes) < 45
    assert rewritten < 6 * 1_000_000
    assert max(len(run) for run in all_runs(sizes, sizes)) >= 2


def test_segment_of_which_a_third_is_gone_is_written_again() -> None:
    assert next_run([10_000, 20_000], [10_000, 13_000]) == range(1, 2)
    assert next_run([10_000, 20_000], [10_000, 15_000]) is None
