"""Whatever happens to the files of an index: the right answer, or one line that names the command to mend it."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pincite.index import Index, PinciteError, repair, segment_columns, store, verify
from tests.conftest import HashingEmbedder

QUERIES = ("who sits on the board", "roses behind the house", "the train to Bern")
Result = dict[str, object]


@pytest.fixture(params=["exact", "codes"])
def sound(request: pytest.FixtureRequest, articles: Path, embedder: HashingEmbedder, tmp_path: Path) -> Path:
    """A folder with articles and an index of several segments, with and without search codes."""
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    if request.param == "codes":
        monkeypatch.setattr(segment_columns, "CODES_FROM", 1)
        monkeypatch.setattr(store, "EXACT_ROWS", 0)
    for n in range(30):
        (articles / f"more{n:02}.txt").write_text(f"Ärger number {n}. The train number {n} waits {n * n} minutes. " * 3)
    Index.sync(articles / ".pincite", [articles], embedder=embedder)
    (articles / "train.txt").write_text("The train to Bern leaves at one.\n")
    (articles / "more07.txt").unlink()
    Index.sync(articles / ".pincite", embedder=embedder)
    (articles / "last.md").write_text("# Last\n\nThis came last.\n")
    Index.sync(articles / ".pincite", embedder=embedder)
    return articles


def everything(path: Path, embedder: HashingEmbedder) -> Result:
    """Return all that an index says: what is found, where, and every text."""
    index = Index.open(path, embedder=embedder)
    said: Result = {}
    for query in QUERIES:
        dense, cosine = index.search_dense(embedder.embed_query(query), 5)
        sparse, bm25 = index.search_sparse(query, 5)
        rows = np.concatenate([dense, sparse])
        places = [
            (index.place_of(int(row)), passage.text) for row, passage in zip(rows, index.passages(rows), strict=True)
        ]
        said[query] = (cosine.tolist(), bm25.tolist(), places)
    said["texts"] = sorted((document.path, document.text, document.title) for document in index.documents())
    said["stats"] = index.stats()
    return said


def damaged(folder: Path, draw: random.Random) -> Path:
    """Do something to a file of the index; return which."""
    path = draw.choice(sorted(folder.iterdir()))
    others = [other for other in folder.iterdir() if other != path]
    data = path.read_bytes()
    place = draw.randrange(len(data))
    ways: list[Callable[[], object]] = [
        lambda: path.write_bytes(data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]),
        lambda: path.write_bytes(data[:place] + bytes(draw.randrange(256) for _ in range(40)) + data[place + 40 :]),
        lambda: path.write_bytes(data[:place] + bytes(len(data) - place)),
        lambda: path.write_bytes(data[:place]),
        lambda: path.write_bytes(data + data[:place]),
        lambda: path.unlink(),
        lambda: shutil.copyfile(draw.choice(others), path),
    ]
    # Flips are the most likely, and have the most places.
    draw.choices(ways, [6, 3, 1, 2, 1, 1, 2])[0]()
    return path


def try_damages(sound: Path, embedder: HashingEmbedder, cases: int, seed: int, tmp_path: Path) -> None:
    wanted = everything(sound / ".pincite", embedder)
    draw = random.Random(seed)
    shutil.copytree(sound / ".pincite", tmp_path / "saved")
    refused = 0
    for case in range(cases):
        shutil.rmtree(sound / ".pincite")
        shutil.copytree(tmp_path / "saved", sound / ".pincite")
        path = damaged(sound / ".pincite", draw)
        name = f"case {case}: {path.name}"
        try:
            assert everything(sound / ".pincite", embedder) == wanted, name
            problems = list(verify(Index.open(sound / ".pincite")))
            is_changed = path.name != "LOCK" and (
                not path.exists() or path.read_bytes() != (tmp_path / "saved" / path.name).read_bytes()
            )
            assert not is_changed or problems or path.name == "manifest.json", name
        except PinciteError as error:
            refused += 1
            assert "\n" not in str(error), name
            assert "pincite repair" in str(error) or "pincite index" in str(error), name
            if case % 5 == 0:
                repair(sound / ".pincite", [sound], embedder=embedder)
                assert everything(sound / ".pincite", embedder)["texts"] == wanted["texts"], name
                assert list(verify(Index.open(sound / ".pincite"))) == [], name
                for aside in sound.glob(".pincite.aside-*"):
                    shutil.rmtree(aside)
    assert refused > cases / 2


def test_damage_never_gives_a_wrong_answer(sound: Path, embedder: HashingEmbedder, tmp_path: Path) -> None:
    try_damages(sound, embedder, 40, 1, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 6))
def test_thousands_of_damages_never_give_a_wrong_answer(
    sound: Path, embedder: HashingEmbedder, tmp_path: Path, seed: int
) -> None:
    try_damages(sound, embedder, 500, seed, tmp_path)
