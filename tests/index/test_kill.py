"""A writer that is killed, and one whose disk is really full: what was acknowledged is there, and all of it whole."""

from __future__ import annotations

import os
import random
import resource
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from pincite.index import Index, PinciteError, build, merge, verify
from tests.conftest import HashingEmbedder
from tests.index.children import Children, mount_privately


@pytest.fixture(scope="module")
def children() -> Iterator[Children]:
    with Children(__name__) as started:
        yield started


def texts_of(version: int) -> dict[str, str]:
    """Return the articles of a version: of six a third is changed from one to the next, one comes and one goes."""
    texts = {}
    for number in range(6):
        since = version - (version + number) % 3
        texts[f"{number}.txt"] = f"Article {number} is of version {since}.\n\n" + f"It has thing{since}. " * (since % 4)
    return texts | {f"extra{version % 4}.txt": f"This article is in version {version} only.\n"}


def legal_texts(version: int) -> list[dict[str, str]]:
    """Return what an index may hold if the sync of a version was acknowledged and that of the next was not."""
    old, new = texts_of(version), texts_of(version + 1)
    legal = [dict(old)]
    for name in [*sorted(new), *sorted(old.keys() - new.keys())]:
        texts = dict(legal[-1])
        texts.pop(name, None)
        legal.append(texts | ({name: new[name]} if name in new else {}))
    return legal


def write_articles(folder: Path, texts: Mapping[str, str]) -> None:
    for path in folder.glob("*.txt"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        if not (folder / name).exists() or (folder / name).read_text() != text:
            (folder / name).write_text(text)


def sync_for_ever(folder: Path, version: int, acknowledged: int) -> NoReturn:
    """Sync one version after the other, in several commits each, with merges, and now and then a rebuild."""
    build.COMMIT_EVERY = 3
    merge._SIZES = (4, 12, 12, 12)
    merge._TOGETHER = 3
    embedder = HashingEmbedder()
    while True:
        version += 1
        write_articles(folder, texts_of(version))
        Index.sync(folder / ".pincite", [folder], rebuild=version % 5 == 0, embedder=embedder)
        if version % 7 == 0:
            Index.compact(folder / ".pincite")
        os.write(acknowledged, b"%d\n" % version)


def killed_writer(folder: str, version: int, share: float) -> tuple[int, int]:
    """Kill a writer after its first sync and a share of the time that it took.

    Returns:
        The last version that was acknowledged, and the signal that ended the writer.
    """
    reading, writing = os.pipe()
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            sync_for_ever(Path(folder), version, writing)
        finally:
            os._exit(1)
    os.close(writing)
    with open(reading) as acknowledged:
        version = int(acknowledged.readline() or -1)
        time.sleep(share * (time.monotonic() - started))
        os.kill(child, signal.SIGKILL)
        versions = [version, *map(int, acknowledged)]
    return versions[-1], os.WTERMSIG(os.waitpid(child, 0)[1])


def held(folder: Path) -> dict[str, str]:
    """Return the texts of an index, which is whole: it finds just their passages, by meaning and by words."""
    index = Index.open(folder / ".pincite", embedder=HashingEmbedder())
    assert not [problem for problem in verify(index) if problem.damage]
    documents = list(index.documents())
    passages = {passage for document in documents for passage in index.passages_of(document.id)}
    dense = index.search_dense(HashingEmbedder().embed_query("article"), 1000)[0]
    sparse = index.search_sparse("article version", 1000)[0]
    assert len(dense) == len(passages) and set(index.passages(dense)) == passages
    assert set(index.passages(sparse)) == {passage for passage in passages if "rticle" in passage.text}
    return {Path(document.path).name: document.text for document in documents}


def kill_again_and_again(children: Children, folder: Path, rounds: int) -> None:
    numbers = random.Random(rounds)
    version = 0
    for _ in range(rounds):
        version, ended_by = children.call(killed_writer, str(folder), version, numbers.uniform(0, 1.5))
        assert ended_by == signal.SIGKILL
        assert held(folder) in legal_texts(version)
    index = Index.sync(folder / ".pincite", [folder], embedder=HashingEmbedder())
    texts = {path.name: path.read_text() for path in folder.glob("*.txt")}
    # The last kill may have come between the opening of an article and its writing.
    assert held(folder) == {name: text for name, text in texts.items() if text}
    kept = {entry.name for entry in index.manifest.segments}
    assert {path.name for path in (folder / ".pincite").iterdir()} == kept | {"FORMAT", "LOCK", "manifest.json"}


def test_killed_writer_loses_nothing_that_was_acknowledged(children: Children, tmp_path: Path) -> None:
    kill_again_and_again(children, tmp_path, 6)


@pytest.mark.slow
def test_writer_that_is_killed_often_loses_nothing_that_was_acknowledged(children: Children, tmp_path: Path) -> None:
    kill_again_and_again(children, tmp_path, 300)


def sync_with_small_files(folder: str, size: int) -> str:
    """Sync where no file may be larger than `size` bytes; return the error, empty if there was none."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return sync_error(Path(folder))


def sync_error(folder: Path, index: Path | None = None) -> str:
    try:
        Index.sync(index or folder / ".pincite", [folder], embedder=HashingEmbedder())
    except PinciteError as error:
        return str(error)
    return ""


def test_index_survives_files_that_cannot_grow(children: Children, tmp_path: Path) -> None:
    write_articles(tmp_path, texts_of(1))
    Index.sync(tmp_path / ".pincite", [tmp_path], embedder=HashingEmbedder())
    write_articles(tmp_path, texts_of(2))
    size = max(path.stat().st_size for path in (tmp_path / ".pincite").iterdir())
    for limit in (0, 30, 300, size // 2):
        error = children.call(sync_with_small_files, str(tmp_path), limit)
        assert error.endswith("File too large. Free some space and run again; what was committed is intact."), limit
        assert held(tmp_path) == texts_of(1)
    assert children.call(sync_with_small_files, str(tmp_path), 10 * size) == ""
    assert held(tmp_path) == texts_of(2)


def fill_a_small_disk(articles: str, mount_point: str) -> list[object]:
    """Return what an index on a full disk holds before, at and after a sync that needs more than there is."""
    try:
        mount_privately("tmpfs", mount_point, "tmpfs", options="size=128k")
    except OSError:
        return []
    folder, disk = Path(articles), Path(mount_point)
    found: list[object] = []
    for extra in (0, 20_000, 1):
        words = np.random.default_rng(extra).integers(0, 10**6, extra)
        write_articles(folder, texts_of(extra) | {"extra.txt": f"This article has {' '.join(map(str, words))}."})
        error = sync_error(folder, disk / "index")
        index = Index.open(disk / "index", embedder=HashingEmbedder())
        found += [error, sorted(Path(document.path).name for document in index.documents())]
    return found


def test_index_on_a_full_disk_stays_as_it_was(children: Children, tmp_path: Path) -> None:
    articles, mount_point = tmp_path / "articles", tmp_path / "disk"
    articles.mkdir()
    mount_point.mkdir()
    found = children.call(fill_a_small_disk, str(articles), str(mount_point))
    if not found:
        pytest.skip("a file system may not be mounted here")
    before, full, after = found[1], found[2], found[5]
    assert full.endswith("No space left on device. Free some space and run again; what was committed is intact.")
    assert (found[0], found[3], found[4]) == ("", before, "")
    assert before == sorted([*texts_of(0), "extra.txt"]) and after == sorted([*texts_of(1), "extra.txt"])
