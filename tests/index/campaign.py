"""A campaign of faults: a change of an index is played again and again, each time with another fault.

Expected are the states that a run without faults goes through. What a fault leaves on the disk is opened and compared
with them, then synced, and then the power is cut once more.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from pincite.index import Index, IndexNotFoundError, PinciteError, batch, build, disk, manifest, merge, verify
from tests.conftest import HashingEmbedder
from tests.index.faults import Crash, Image, Operation, SimulatedDisk, image_of, restore

__all__ = [
    "Ignored",
    "Place",
    "Scenario",
    "Stage",
    "failures_of_operations",
    "failures_of_power",
    "perform",
    "play",
    "prepared",
    "state_of",
]

Ignored = Callable[[Sequence[Operation], Operation], bool]
"""Says of an operation, after those that were done, that the code is to seem not to contain it."""

QUERIES = ("the train to Bern", "carp in the pond", "who meets in May")


@dataclass(frozen=True)
class State:
    """What an index answers: its sources, documents and passages, and what it finds for `QUERIES`, with scores."""

    sources: tuple[object, ...]
    documents: tuple[object, ...]
    passages: tuple[object, ...]
    hits: tuple[object, ...]


@dataclass(frozen=True)
class Place:
    """Where a scenario plays: the simulated disk, which holds the index only, and the articles beside it."""

    disk: Path
    articles: Path
    embedder: HashingEmbedder

    @property
    def index(self) -> Path:
        return self.disk / ".pincite"

    def write(self, **texts: str) -> None:
        for name, text in texts.items():
            (self.articles / f"{name}.txt").write_text(text)

    def sync(self, *, rebuild: bool = False) -> None:
        Index.sync(self.index, [self.articles], rebuild=rebuild, embedder=self.embedder)


@dataclass(frozen=True)
class Scenario:
    """A change of an index: how it comes to its old state, and the sources to theirs, and the change itself.

    Small segments, of up to three passages, are merged when there are `merge_from` of them; `lot` of them are embedded
    at a time.
    """

    prepare: Callable[[Place], None]
    act: Callable[[Place], None]
    commit_every: int = build.COMMIT_EVERY
    merge_from: int = 8
    lot: int = 256


@dataclass
class Stage:
    """A scenario, ready to be played again and again.

    Attributes:
        before: what the disk holds at its beginning.
        states: the old state and that after each commit, as a run without faults has them.
        operations: the changes to the file system of that run.
        verdicts: what was found wrong before with a disk: (what it holds, the least of it that is durable) ->
            numbers of the states that it holds, and problems.
        seen: the states of indexes: what a reader looks at -> state.
    """

    scenario: Scenario
    place: Place
    before: Image = field(default_factory=dict)
    states: list[State | None] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    verdicts: dict[object, tuple[frozenset[int], list[str]]] = field(default_factory=dict)
    seen: dict[object, State | None] = field(default_factory=dict)


def state_of(place: Place) -> State | None:
    """Return the state of the index on the disk; None if there is none, or one that never held anything."""
    try:
        found = Index.open(place.index, embedder=place.embedder)
    except IndexNotFoundError:
        return None
    documents = sorted((document.path, document.sha256, document.text) for document in found.documents())
    if found.generation == 0 and not documents and not found.sources:
        return None
    hits = []
    for query in QUERIES if documents else ():
        vector = place.embedder.embed_query(query)
        for rows, scores in (found.search_dense(vector, 1000), found.search_sparse(query, 1000)):
            passages = found.passages(rows)
            places = [found.place_of(row) for row in rows]
            hits += sorted(
                (round(float(score), 4), str(place), passage.text)
                for score, place, passage in zip(scores, places, passages, strict=True)
            )
    passages_of = [passage for document in found.documents() for passage in found.passages_of(document.id)]
    return State(
        sources=found.sources,
        documents=tuple(documents),
        passages=tuple(sorted((passage.document_id, passage.span.start, passage.text) for passage in passages_of)),
        hits=tuple(hits),
    )


class _Names:
    """Names that are the same in each run, in the place of random ones."""

    def __init__(self, salt: str) -> None:
        self.salt = salt
        self.count = 0

    def token_hex(self, n: int) -> str:
        self.count += 1
        return f"{self.salt}{self.count:0{2 * n - len(self.salt)}x}"


def perform(
    act: Callable[[], object], simulated: SimulatedDisk, salt: str, committed: Callable[[], None]
) -> Crash | PinciteError | None:
    """Run `act` on a simulated disk; call `committed` after each commit, and return what went wrong."""
    swap = manifest._swap

    def acknowledged(folder: str, new: manifest.Manifest) -> manifest.Manifest:
        done = swap(folder, new)
        committed()
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk, "os", simulated)
        patch.setattr(manifest, "secrets", _Names(salt))
        patch.setattr(manifest, "_swap", acknowledged)
        try:
            act()
        except (Crash, PinciteError) as error:
            return error
    return None


def prepared(scenario: Scenario, folder: Path, embedder: HashingEmbedder, patch: pytest.MonkeyPatch) -> Stage:
    """Bring a scenario to its beginning, and record what a run without faults does."""
    place = Place(folder / "disk", folder / "articles", embedder)
    place.disk.mkdir()
    place.articles.mkdir()
    patch.setattr(build, "COMMIT_EVERY", scenario.commit_every)
    patch.setattr(batch, "LOT", scenario.lot)
    patch.setattr(merge, "_TOGETHER", scenario.merge_from)
    patch.setattr(merge, "_SIZES", (3, 3, 3, 3))
    scenario.prepare(place)
    stage = Stage(scenario, place, image_of(place.disk), [state_of(place)])
    simulated = SimulatedDisk(place.disk)
    error = perform(lambda: scenario.act(place), simulated, "a", lambda: stage.states.append(state_of(place)))
    assert error is None
    assert simulated.image() == image_of(place.disk)
    stage.operations = simulated.operations
    fresh = replace(place, disk=folder / "fresh")
    fresh.sync()
    assert state_of(place) == stage.states[-1] == state_of(fresh)
    return stage


def failures_of_operations(
    stage: Stage, cases: Iterable[Mapping[int, str]], *, ignored: Ignored | None = None
) -> Iterator[str]:
    """Play a scenario once for each case (number of an operation -> what happens to it); yield what went wrong."""
    for faults in cases:
        restore(stage.place.disk, stage.before)
        simulated = SimulatedDisk(stage.place.disk, faults, ignored=ignored)
        error, commits = play(stage, simulated)
        what = {simulated.operations[number]: fault for number, fault in faults.items()}
        failed = {operation.path for operation in what if operation.kind in ("create", "write", "sync")}
        if not simulated.is_dead and failed & simulated.image().keys() - {".pincite/LOCK"}:
            yield f"{what}: what could not be written is still there"
        for problem in problems_after(stage, simulated, error, commits):
            yield f"{what}: {problem}"


def play(stage: Stage, simulated: SimulatedDisk) -> tuple[Crash | PinciteError | None, int]:
    """Play a scenario; return what went wrong and how many commits were acknowledged."""
    commits: list[None] = []
    return perform(lambda: stage.scenario.act(stage.place), simulated, "a", lambda: commits.append(None)), len(commits)


def problems_after(
    stage: Stage, simulated: SimulatedDisk, error: Crash | PinciteError | None, commits: int
) -> Iterator[str]:
    """Yield what is wrong after a run with a fault, and after the next one."""
    if simulated.image() != image_of(stage.place.disk):
        yield "something was changed past index/disk.py"
    if isinstance(error, PinciteError) and len(str(error).splitlines()) != 1:
        yield f"not one line: {error}"
    if is_locked(stage.place.index):
        yield "the lock is still held"
    last = len(stage.states) - 1
    allowed = {last} if error is None else {min(commits, last), min(commits + 1, last)}
    yield from recovery_problems(stage, simulated, allowed)


def failures_of_power(
    stage: Stage, faults: Mapping[int, str] | None = None, *, ignored: Ignored | None = None
) -> Iterator[str]:
    """Cut the power before every operation and at the end; yield what went wrong."""
    last = len(stage.states) - 1
    commits: list[None] = []
    cuts: dict[object, tuple[Image, set[int]]] = {}

    def cut() -> None:
        for image in simulated.power_cuts():
            states = {min(len(commits), last), min(len(commits) + 1, last)}
            key = key_of(image)
            cuts[key] = image, states & cuts[key][1] if key in cuts else states

    restore(stage.place.disk, stage.before)
    simulated = SimulatedDisk(stage.place.disk, faults, ignored=ignored, before=cut)
    error = perform(lambda: stage.scenario.act(stage.place), simulated, "a", lambda: commits.append(None))
    if error and not faults:
        yield f"fails without a fault: {error}"
    cut()
    for image, states in cuts.values():
        restore(stage.place.disk, image)
        for problem in recovery_problems(stage, SimulatedDisk(stage.place.disk, ignored=ignored), states):
            yield f"power cut that leaves {shown(image)}: {problem}"


def recovery_problems(stage: Stage, simulated: SimulatedDisk, allowed: set[int]) -> Iterator[str]:
    """Open what is on the disk, which must hold one of the `allowed` states, sync, and then cut the power."""
    key = key_of(simulated.image()), key_of(next(simulated.power_cuts()))
    if key not in stage.verdicts:
        stage.verdicts[key] = _recovery(stage, simulated)
    found, problems = stage.verdicts[key]
    if not found & allowed and not problems:
        yield f"it holds state {sorted(found) or 'unknown'} instead of {sorted(allowed)}"
    yield from problems


def _recovery(stage: Stage, simulated: SimulatedDisk) -> tuple[frozenset[int], list[str]]:
    """Return which states the disk holds now, and what goes wrong from here on."""
    place, final = stage.place, stage.states[-1]
    try:
        now = state_in(stage, simulated.image())
        found = frozenset(number for number, state in enumerate(stage.states) if state == now)
        simulated.revive()
        error = perform(place.sync, simulated, "b", lambda: None)
        if error:
            return found, [f"the next sync fails: {error}"]
        if state_in(stage, simulated.image()) != final:
            return found, ["the next sync does not reach the final state"]
        kept = {entry.name for entry in Index.open(place.index).manifest.segments}
        left = {path.name for path in place.index.iterdir()} - kept - {"FORMAT", "LOCK", "manifest.json"}
        if left:
            return found, [f"left behind: {left}"]
        for image in {key_of(image): image for image in simulated.power_cuts()}.values():
            if state_in(stage, image) != final:
                return found, [f"a power cut after the next sync loses it, leaving {shown(image)}"]
    except Exception as error:  # whatever it is, it is what the campaign looks for
        return frozenset(), [f"{type(error).__name__}: {error}"]
    return found, []


def state_in(stage: Stage, image: Image) -> State | None:
    """Return the state of the index in an image; what a reader does not look at makes no difference."""
    content = image.get(".pincite/manifest.json")
    names = set(re.findall(rb"seg-[0-9a-f]+", content or b""))
    orphans = any("seg-" in name and os.path.basename(name).encode() not in names for name in image)
    key = (
        orphans and content is None,
        key_of({name: held for name, held in image.items() if os.path.basename(name).encode() in names}),
        *(image.get(f".pincite/{name}") for name in ("FORMAT", "manifest.json")),
    )
    if key not in stage.seen:
        if image_of(stage.place.disk) != image:
            restore(stage.place.disk, image)
        state = state_of(stage.place)
        index = Index.open(stage.place.index, embedder=stage.place.embedder) if state else None
        if index and any(problem.damage for problem in verify(index)):
            raise AssertionError("verify finds damage")
        stage.seen[key] = state
    return stage.seen[key]


def key_of(image: Image) -> object:
    """Return an image as a key, without who was the last to hold the lock."""
    return tuple((name, content) for name, content in sorted(image.items()) if os.path.basename(name) != "LOCK")


def is_locked(index: Path) -> bool:
    with suppress(FileNotFoundError), open(index / "LOCK") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def shown(image: Image) -> str:
    return ", ".join(f"{name} ({len(content or b'')} bytes)" for name, content in sorted(image.items()))
