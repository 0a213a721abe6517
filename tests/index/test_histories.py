"""Whatever happens to an index in its life, it equals a fresh build of the same files: documents, hits and scores."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pincite.index import Index, build, disk, merge, survey, verify
from pincite.index.repair import repair
from tests.conftest import HashingEmbedder

NAMES = st.sampled_from(["a.txt", "b.md", "sub/c.txt", "sub/d.txt"])
SENTENCES = st.sampled_from(["Red fish swim.", "Blue birds sing.", "Öl ist teuer.", "猫が好き。"])
BODIES = st.lists(SENTENCES, min_size=1, max_size=4)
RECORDS = st.dictionaries(st.sampled_from("pqrstuvwxy"), BODIES, min_size=5, max_size=10)


class Crash(BaseException):
    """The process is gone."""


class Histories(RuleBasedStateMachine):
    """Files change, and syncs, merges, crashes, damages and repairs come in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(merge, "_SIZES", (2, 6))
        self.patch.setattr(merge, "_TOGETHER", 3)
        self.patch.setattr(merge, "_DEAD", 0.7)
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / ".pincite"
        (self.folder / "sub").mkdir()
        self.files: dict[str, str] = {}
        self.records: dict[str, str] = {}
        self.excluded = ""
        for name in ("keep.txt", "a.txt", "b.md", "sub/c.txt", "sub/d.txt", "e.txt", "f.txt", "g.txt"):
            self.write(name, [f"This is what {name} says in the beginning."])
        self.embedder = HashingEmbedder()
        # The first segment is too large to be merged but by `compact`; later ones are small.
        Index.sync(self.path, [self.folder], embedder=self.embedder)
        self.patch.setattr(build, "COMMIT_EVERY", 3)
        self.patch.setattr(survey, "_MOST_KEPT", 2)

    def teardown(self) -> None:
        self.patch.undo()
        shutil.rmtree(self.folder)

    def write(self, name: str, body: list[str]) -> None:
        self.files[name] = "\n\n".join(body)
        (self.folder / name).write_text(self.files[name], encoding="utf-8")

    @rule(name=NAMES, body=BODIES)
    def change(self, name: str, body: list[str]) -> None:
        self.write(name, body)

    @rule(records=RECORDS)
    def change_records(self, records: dict[str, list[str]]) -> None:
        self.records = {name: " ".join(body) for name, body in records.items()}
        lines = [json.dumps({"_id": name, "text": text}) for name, text in self.records.items()]
        (self.folder / "many.jsonl").write_text("\n".join(lines), encoding="utf-8")

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        if self.files.pop(name, None):
            (self.folder / name).unlink()

    @rule(old=NAMES, new=NAMES)
    def rename(self, old: str, new: str) -> None:
        if old in self.files and old != new:
            (self.folder / old).replace(self.folder / new)
            self.files[new] = self.files.pop(old)

    @rule(pattern=st.sampled_from(["sub/", "*.md"]))
    def exclude(self, pattern: str) -> None:
        self.excluded = pattern
        Index.sync(self.path, [self.folder], exclude=[pattern], embedder=self.embedder)
        self.equals_the_files()

    @rule()
    def exclude_nothing(self) -> None:
        self.excluded = ""
        Index.sync(self.path, [self.folder], exclude=[], embedder=self.embedder)
        self.equals_the_files()

    @rule(name=NAMES, body=BODIES)
    def sync_one_file(self, name: str, body: list[str]) -> None:
        """Only this file is looked at; what else has changed stays for the next sync."""
        if not self.is_excluded(name):
            self.write(name, body)
            index = Index.sync(self.path, [self.folder / name], embedder=self.embedder)
            assert [document.text for document in index.documents_of(str(self.folder / name))] == [self.files[name]]
            assert index.sources == Index.open(self.path).sources and len(index.sources) == 1

    @rule()
    def sync(self) -> None:
        Index.sync(self.path, embedder=self.embedder)
        self.equals_the_files()

    @rule()
    def compact(self) -> None:
        before = Index.open(self.path)
        index = Index.compact(self.path)
        assert len(index.segments) <= 1
        assert contents(index) == contents(before)
        assert index.stats().passages == sum(one.passages for one in index.segments)

    @rule(at=st.integers(1, 40), does_compact=st.booleans())
    def crash(self, at: int, does_compact: bool) -> None:
        """The process dies at one of its changes to the disk; what it did not come to is done next time."""
        with pytest.MonkeyPatch.context() as patch:
            count = 0

            def dying(name: str, call: object) -> None:
                def counted(*arguments: object) -> object:
                    nonlocal count
                    count += 1
                    if count >= at:
                        raise Crash
                    return call(*arguments)  # type: ignore[operator]

                patch.setattr(disk, name, counted)

            for name in ("_write", "fsync", "rename", "sync_folder", "unlink"):
                dying(name, getattr(disk, name))
            try:
                if does_compact:
                    Index.compact(self.path)
                else:
                    Index.sync(self.path, embedder=self.embedder)
            except Crash:
                pass
        self.sync()

    @rule(which=st.integers(0, 9), how=st.sampled_from(["flip", "cut", "delete"]))
    def damage_and_repair(self, which: int, how: str) -> None:
        segments = Index.open(self.path).manifest.segments
        if not segments:
            return
        path = self.path / segments[which % len(segments)].name
        data = bytearray(path.read_bytes())
        place = len(data) * (which + 1) // 11
        data[place] ^= 64
        path.unlink()
        if how != "delete":
            path.write_bytes(data if how == "flip" else data[:place])
        report = repair(self.path, embedder=self.embedder)
        assert report is not None and report.set_aside is not None
        shutil.rmtree(report.set_aside)
        self.equals_the_files()

    @rule()
    def change_model(self) -> None:
        self.embedder = HashingEmbedder(self.embedder.salt + "x")
        Index.sync(self.path, embedder=self.embedder)
        self.equals_the_files()

    @rule()
    def drop_and_add_the_source(self) -> None:
        Index.sync(self.path, remove=[self.folder], embedder=self.embedder)
        assert list(Index.open(self.path).documents()) == []
        self.excluded = ""
        Index.sync(self.path, [self.folder], embedder=self.embedder)
        self.equals_the_files()

    @precondition(lambda self: Index.open(self.path).generation > 4)
    @rule(words=BODIES)
    def equals_a_fresh_build(self, words: list[str]) -> None:
        index = Index.sync(self.path, embedder=self.embedder)
        exclude = [self.excluded] if self.excluded else []
        fresh = Index.sync(self.folder / ".fresh", [self.folder], exclude=exclude, rebuild=True, embedder=self.embedder)
        query = " ".join(words)
        assert self.ranked(index, query) == self.ranked(fresh, query)

    @invariant()
    def nothing_is_left_behind(self) -> None:
        names = {path.name for path in self.path.iterdir()}
        kept = {entry.name for entry in Index.open(self.path).manifest.segments}
        assert names == kept | {"FORMAT", "LOCK", "manifest.json"}

    def equals_the_files(self) -> None:
        index = Index.open(self.path)
        wanted = {name: text for name, text in self.files.items() if not self.is_excluded(name)}
        wanted |= {f"many.jsonl#{name}": text for name, text in self.records.items()}
        assert contents(index) == sorted((f"{self.folder}/{name}", text) for name, text in wanted.items())
        assert not list(verify(index))

    def is_excluded(self, name: str) -> bool:
        return bool(self.excluded) and (name.startswith(self.excluded) or name.endswith(self.excluded[1:]))

    def ranked(self, index: Index, query: str) -> list[tuple[float, float, str, int]]:
        rows = np.arange(sum(contents.passages for contents in index.segments))
        live, _ = index.search_dense(self.embedder.embed_query(query), len(rows))
        cosine, bm25 = index.cosine(self.embedder.embed_query(query), live), index.bm25(query, live)
        found = zip(cosine.tolist(), bm25.tolist(), index.passages(live), live.tolist(), strict=True)
        return sorted(
            (round(c, 5), round(b, 5), index.place_of(row).path, passage.span.start) for c, b, passage, row in found
        )


def contents(index: Index) -> list[tuple[str, str]]:
    return sorted((document.path, document.text) for document in index.documents())


QUIET = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}
Histories.TestCase.settings = settings(max_examples=4, stateful_step_count=12, **QUIET)  # type: ignore[arg-type]
TestHistories = Histories.TestCase


class ManyHistories(Histories):
    """The same, for longer."""


ManyHistories.TestCase.settings = settings(max_examples=60, stateful_step_count=40, **QUIET)  # type: ignore[arg-type]
TestManyHistories = pytest.mark.slow(ManyHistories.TestCase)
