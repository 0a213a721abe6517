"""Whatever fails while an index is written, it holds its old or its new state, and what was acknowledged stays.

Every change that pincite makes to the file system is made to fail in every way, and the power is cut after every one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from pincite.index import Index, disk, manifest, merge
from tests.conftest import HashingEmbedder
from tests.index.campaign import (
    Ignored,
    Place,
    Scenario,
    Stage,
    failures_of_operations,
    failures_of_power,
    perform,
    play,
    prepared,
    state_of,
)
from tests.index.faults import FAULTS, Operation, SimulatedDisk, restore


def every_case(stage: Stage) -> Iterator[Mapping[int, str]]:
    for number in range(len(stage.operations)):
        for fault in FAULTS:
            yield {number: fault}


def telling_cases(stage: Stage) -> Iterator[Mapping[int, str]]:
    """Yield a crash and an error at each operation, but only at the first write to a file, and torn, at its last."""
    last = len(stage.operations) - 1
    for number, operation in enumerate(stage.operations):
        if operation.kind == "write" and stage.operations[number - 1] == operation:
            if number == last or stage.operations[number + 1] != operation:
                yield {number: "torn write"}
            continue
        yield {number: "crash before"}
        yield {number: ("ENOSPC", "EIO")[number % 2]}
    yield {last: "crash after"}


def _three_articles(place: Place) -> None:
    place.write(
        board="The board of the club\n\nOn the board sit Ann, Bob and Cid. They meet in May.\n",
        garden="The garden\n\nRoses grow behind the house.\n\nThe pond holds three carp.\n",
        train="The train to Bern leaves at noon. It has six cars and a bar.\n",
    )


def _change_add_remove(place: Place) -> None:
    place.write(train="The train to Bern leaves at one.\n", boat="The boat to Thun leaves at two. It is white.\n")
    (place.articles / "garden.txt").unlink()


def _old_index_and_changes(place: Place) -> None:
    _three_articles(place)
    place.sync()
    _change_add_remove(place)


def _old_index_with_orphans(place: Place) -> None:
    _old_index_and_changes(place)
    for name in ("seg-0123456789abcdef", "manifest.json.01234567.tmp"):
        (place.index / name).write_bytes(b"left behind")


def _many_changes(place: Place) -> None:
    _old_index_and_changes(place)
    place.write(**{f"note{n}": f"Note {n} is about the pond and {n} carp.\n" for n in range(2)})


def _small_segments(place: Place) -> None:
    """Leave a segment that is not merged, two that will be, and in these the deletion of a document in the first."""
    _three_articles(place)
    place.write(**{f"note{n}": f"Note {n} is about the pond and {n} carp.\n" for n in range(4)})
    place.sync()
    _change_add_remove(place)
    place.sync()
    place.write(boat="The boat to Thun leaves at three.\n")
    place.sync()
    place.write(boat="The boat to Thun leaves at four.\n")


def _compact(place: Place) -> None:
    Index.compact(place.index)


def _several_segments(place: Place) -> None:
    _small_segments(place)
    place.sync()


SCENARIOS = {
    "first sync": Scenario(_three_articles, Place.sync),
    "change, addition and removal": Scenario(_old_index_and_changes, Place.sync),
    "vectors written ahead": Scenario(_three_articles, Place.sync, lot=1),
    "many commits": Scenario(_many_changes, Place.sync, commit_every=2),
    "rebuild": Scenario(_old_index_and_changes, lambda place: place.sync(rebuild=True)),
    "clean-up of orphans": Scenario(_old_index_with_orphans, Place.sync),
    "merge": Scenario(_small_segments, Place.sync, merge_from=3),
    "compaction": Scenario(_several_segments, _compact),
}


@pytest.mark.parametrize(
    ("name", "commits", "before", "after"),
    [
        ("first sync", 2, 0, 1),
        ("many commits", 3, 2, 5),
        ("rebuild", 1, 1, 1),
        ("merge", 2, 3, 2),
        ("compaction", 1, 4, 1),
    ],
)
def test_scenarios_do_what_their_names_say(
    name: str,
    commits: int,
    before: int,
    after: int,
    tmp_path: Path,
    embedder: HashingEmbedder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = prepared(SCENARIOS[name], tmp_path, embedder, monkeypatch)
    segments = Index.open(stage.place.index).manifest.segments
    assert len(stage.states) - 1 == commits
    assert sum("seg-" in path for path in stage.before) == before
    assert len(segments) == after


QUICK = ("first sync", "change, addition and removal")


@pytest.mark.parametrize("name", [*QUICK, "merge"])
def test_a_fault_leaves_the_old_or_the_new_state_and_the_next_sync_succeeds(
    name: str, tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = prepared(SCENARIOS[name], tmp_path, embedder, monkeypatch)
    assert list(failures_of_operations(stage, telling_cases(stage))) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_fault_leaves_the_old_or_the_new_state_and_the_next_sync_succeeds(
    name: str, tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = prepared(SCENARIOS[name], tmp_path, embedder, monkeypatch)
    assert list(failures_of_operations(stage, every_case(stage))) == []


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SCENARIOS]
)
def test_a_power_cut_leaves_the_old_or_the_new_state_and_the_next_sync_succeeds(
    name: str, tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = prepared(SCENARIOS[name], tmp_path, embedder, monkeypatch)
    assert list(failures_of_power(stage)) == []


def _failed_first_syncs(stage: Stage) -> Iterator[tuple[int, int]]:
    """Yield (number of the operation that fails, number of operations in all) of syncs whose clean-up changes much."""
    for number, operation in enumerate(stage.operations):
        if operation.kind in ("create", "sync", "sync folder", "rename"):
            restore(stage.place.disk, stage.before)
            simulated = SimulatedDisk(stage.place.disk, {number: "EIO"})
            play(stage, simulated)
            yield number, len(simulated.operations)


@pytest.mark.slow
def test_a_failed_first_sync_that_dies_while_it_cleans_up_can_be_repeated(
    tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = prepared(SCENARIOS["first sync"], tmp_path, embedder, monkeypatch)
    failed, count = max(_failed_first_syncs(stage), key=lambda pair: pair[1] - pair[0])
    assert count - failed > 5
    cases = [{failed: "EIO", number: "crash before"} for number in range(failed + 1, count)]
    assert list(failures_of_operations(stage, cases)) == []
    assert list(failures_of_power(stage, {failed: "EIO"})) == []


@pytest.mark.slow
def test_the_power_may_fail_after_any_fault(
    tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = prepared(SCENARIOS["first sync"], tmp_path, embedder, monkeypatch)
    for number in range(len(stage.operations)):
        assert list(failures_of_power(stage, {number: "EIO"})) == []


def test_a_disk_that_takes_a_few_bytes_at_a_time_is_written_to_the_end(
    tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = prepared(SCENARIOS["first sync"], tmp_path, embedder, monkeypatch)
    restore(stage.place.disk, stage.before)
    assert play(stage, SimulatedDisk(stage.place.disk, longest_write=100))[0] is None
    assert state_of(stage.place) == stage.states[-1]


def test_folders_that_are_made_for_an_index_are_on_the_disk_with_it(
    articles: Path, tmp_path: Path, embedder: HashingEmbedder
) -> None:
    root = tmp_path / "disk"
    root.mkdir()
    simulated = SimulatedDisk(root)
    index = root / "new" / "also new" / ".pincite"
    assert perform(lambda: Index.sync(index, [articles], embedder=embedder), simulated, "a", lambda: None) is None
    restore(root, next(simulated.power_cuts()))
    assert Index.open(index).stats().documents == 3


def _is_sync_of(name: str) -> Ignored:
    return lambda done, now: now.kind == "sync" and os.path.basename(now.path).startswith(name)


def _is_folder_sync_after(kind: str, name: str) -> Ignored:
    def ignored(done: Sequence[Operation], now: Operation) -> bool:
        is_after = bool(done) and done[-1].kind == kind and os.path.basename(done[-1].path).startswith(name)
        return is_after and now == Operation("sync folder", ".pincite")

    return ignored


def _is_sync_of_the_folder_above(done: Sequence[Operation], now: Operation) -> bool:
    return now == Operation("sync folder", ".")


SYNCS: dict[str, tuple[Ignored, str]] = {
    "of a segment": (_is_sync_of("seg-"), "change, addition and removal"),
    "of the manifest": (_is_sync_of("manifest.json."), "change, addition and removal"),
    "of the folder before the rename": (
        _is_folder_sync_after("sync", "manifest.json."),
        "change, addition and removal",
    ),
    "of the folder after the rename": (
        _is_folder_sync_after("rename", "manifest.json"),
        "change, addition and removal",
    ),
    "of FORMAT": (_is_sync_of("FORMAT"), "first sync"),
    "of the folder above": (_is_sync_of_the_folder_above, "first sync"),
}


@pytest.mark.slow
@pytest.mark.parametrize("sync", SYNCS)
def test_no_sync_could_be_left_out(
    sync: str, tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignored, name = SYNCS[sync]
    stage = prepared(SCENARIOS[name], tmp_path, embedder, monkeypatch)
    assert next(failures_of_power(stage, ignored=ignored), None) is not None


def test_what_a_killed_writer_renamed_is_synced_before_it_is_built_upon(
    tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = prepared(SCENARIOS["rebuild"], tmp_path, embedder, monkeypatch)
    renamed = stage.operations.index(Operation("rename", ".pincite/manifest.json"))
    assert list(failures_of_operations(stage, [{renamed: "crash after"}])) == []
    stage.verdicts.clear()
    ignored = _is_folder_sync_after("write", "LOCK")
    assert list(failures_of_operations(stage, [{renamed - 1: "crash after"}], ignored=ignored)) != []


@pytest.mark.slow
def test_a_failed_first_sync_could_not_be_cleaned_up_in_one_step(
    tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = prepared(SCENARIOS["first sync"], tmp_path, embedder, monkeypatch)
    failed = max(_failed_first_syncs(stage), key=lambda pair: pair[1] - pair[0])[0]
    ignored = _is_folder_sync_after("unlink", "")
    assert next(failures_of_power(stage, {failed: "EIO"}, ignored=ignored), None) is not None


@pytest.mark.slow
def test_the_manifest_could_not_be_written_in_its_place(
    tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_place(old: str, new: str) -> None:
        simulated = vars(disk)["os"]
        file = simulated.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
        try:
            disk._write(file, Path(old).read_bytes())
            disk.fsync(file)
        finally:
            simulated.close(file)
        disk.unlink(old)

    stage = prepared(SCENARIOS["change, addition and removal"], tmp_path, embedder, monkeypatch)
    monkeypatch.setattr(disk, "rename", in_place)
    assert next(failures_of_power(stage), None) is not None
    in_manifest = [{number: "torn write"} for number in range(len(stage.operations) - 4, len(stage.operations))]
    assert list(failures_of_operations(stage, in_manifest)) != []


@pytest.mark.slow
def test_a_merge_could_not_do_without_the_deletions_that_it_carries_over(
    tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = prepared(SCENARIOS["merge"], tmp_path, embedder, monkeypatch)
    monkeypatch.setattr(merge, "_carried", lambda older, merged: {})
    assert next(failures_of_operations(stage, telling_cases(stage)), None) is not None


def test_an_interrupted_mending_of_the_format_can_be_repeated(
    tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = prepared(SCENARIOS["first sync"], tmp_path, embedder, monkeypatch).place
    state = state_of(place)
    for number in range(4):
        (place.index / "FORMAT").write_bytes(b"not what was written")
        simulated = SimulatedDisk(place.disk, {number: "crash before"})
        perform(lambda: manifest.mend_format(str(place.index)), simulated, str(number), lambda: None)
        assert simulated.is_dead
        manifest.mend_format(str(place.index))
        assert state_of(place) == state
