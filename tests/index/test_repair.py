"""Repair: what is damaged comes back from the sources, the rest stays, and nothing is deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from pincite.index import Index, IndexFormatError, IndexNotFoundError, SourceError, build, verify
from pincite.index.repair import repair
from tests.conftest import HashingEmbedder


def damage(path: Path, place: int) -> bytes:
    """Flip a bit of a file, which may be mapped, by putting another in its place; return what was there."""
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
    return data


def texts(index: Index) -> list[tuple[str, str]]:
    return sorted((document.path, document.text) for document in index.documents())


@pytest.fixture
def index(articles: Path, embedder: HashingEmbedder) -> Index:
    """An index of three segments; the last two replace and remove documents of the first."""
    Index.sync(articles / ".pincite", [articles], embedder=embedder)
    (articles / "train.txt").write_text("The train to Bern leaves at one.\n")
    Index.sync(articles / ".pincite", embedder=embedder)
    (articles / "garden.md").unlink()
    return Index.sync(articles / ".pincite", embedder=embedder)


def test_sound_index_needs_no_repair(index: Index, articles: Path) -> None:
    assert repair(articles / ".pincite") is None
    assert Index.open(articles / ".pincite").manifest == index.manifest


@pytest.mark.parametrize("step", [499, pytest.param(97, marks=pytest.mark.slow)])
@pytest.mark.parametrize("number", range(3))
def test_every_damage_of_a_segment_is_mended_without_embedding_what_is_left(
    index: Index, articles: Path, embedder: HashingEmbedder, number: int, step: int
) -> None:
    wanted = texts(index)
    path = articles / ".pincite" / index.manifest.segments[number].name
    for place in range(0, index.manifest.segments[number].size, step):
        before = {entry.name: (articles / ".pincite" / entry.name).read_bytes() for entry in index.manifest.segments}
        damaged = damage(path, place)
        embedder.embedded.clear()
        report = repair(articles / ".pincite", embedder=embedder)
        assert report is not None and report.set_aside is not None
        assert (Path(report.set_aside) / path.name).read_bytes() != damaged
        mended = Index.open(articles / ".pincite", embedder=embedder)
        assert texts(mended) == wanted
        assert list(verify(mended)) == []
        assert len(embedder.embedded) <= index.segments[number].passages
        for entry in mended.manifest.segments:
            (articles / ".pincite" / entry.name).unlink()
        for name, data in before.items():
            (articles / ".pincite" / name).write_bytes(data)
        (articles / ".pincite" / path.name).write_bytes(damaged)
        (articles / ".pincite" / "manifest.json").write_text(manifest_of(index))


def manifest_of(index: Index) -> str:
    return (Path(index.path).parent / "manifest.saved").read_text()


@pytest.fixture(autouse=True)
def saved_manifest(request: pytest.FixtureRequest) -> None:
    if "index" in request.fixturenames:
        index = request.getfixturevalue("index")
        (Path(index.path).parent / "manifest.saved").write_text((Path(index.path) / "manifest.json").read_text())


def test_flipped_bit_in_a_text_costs_no_embedding(index: Index, articles: Path, embedder: HashingEmbedder) -> None:
    path = articles / ".pincite" / index.manifest.segments[0].name
    damage(path, path.read_bytes().index(b"They meet in May"))
    with pytest.raises(IndexFormatError, match="pincite repair"):
        texts(Index.open(articles / ".pincite"))
    embedder.embedded.clear()
    repair(articles / ".pincite", embedder=embedder)
    assert embedder.embedded == []
    assert texts(Index.open(articles / ".pincite")) == texts(index)


def test_missing_segment_is_read_from_the_sources_again(
    index: Index, articles: Path, embedder: HashingEmbedder
) -> None:
    wanted = texts(index)
    (articles / ".pincite" / index.manifest.segments[1].name).unlink()
    with pytest.raises(IndexFormatError, match=r"is missing\. Repair it: pincite repair"):
        Index.open(articles / ".pincite")
    repair(articles / ".pincite", embedder=embedder)
    assert texts(Index.open(articles / ".pincite")) == wanted


def test_damaged_format_line_is_written_anew(index: Index, articles: Path) -> None:
    damage(articles / ".pincite" / "FORMAT", 3)
    with pytest.raises(IndexFormatError, match="pincite repair"):
        Index.open(articles / ".pincite")
    assert repair(articles / ".pincite") is None
    assert Index.open(articles / ".pincite").manifest == index.manifest


def test_damaged_manifest_needs_the_sources_named_and_sets_the_index_aside(
    index: Index, articles: Path, embedder: HashingEmbedder
) -> None:
    wanted = texts(index)
    damage(articles / ".pincite" / "manifest.json", 40)
    for use in (Index.open, repair):
        with pytest.raises(IndexFormatError, match=r"manifest\.json .*pincite repair SOURCE"):
            use(articles / ".pincite")
    damage(articles / ".pincite" / "FORMAT", 3)
    with pytest.raises(IndexFormatError, match="pincite repair SOURCE"):
        repair(articles / ".pincite", embedder=embedder)
    report = repair(articles / ".pincite", [articles], embedder=embedder)
    assert report is not None and report.set_aside == f"{articles}/.pincite.aside-1"
    assert (articles / ".pincite.aside-1" / index.manifest.segments[0].name).exists()
    assert texts(Index.open(articles / ".pincite")) == wanted


def test_repair_is_refused_while_a_source_is_away(articles: Path, embedder: HashingEmbedder) -> None:
    folder = articles.parent / "index"
    Index.sync(folder, [articles], embedder=embedder)
    segment = folder / Index.open(folder).manifest.segments[0].name
    damage(segment, segment.stat().st_size // 2)
    articles.rename(articles.parent / "unplugged")
    with pytest.raises(SourceError, match="is not there"):
        repair(folder, embedder=embedder)
    (articles.parent / "unplugged").rename(articles)
    assert repair(folder, embedder=embedder) is not None
    assert len(texts(Index.open(folder))) == 3


def test_failed_repair_leaves_everything_as_it_was(
    index: Index, articles: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = articles / ".pincite" / index.manifest.segments[0].name
    damage(path, path.stat().st_size // 2)
    before = {one.name: one.read_bytes() for one in (articles / ".pincite").iterdir() if one.name != "LOCK"}
    with monkeypatch.context() as patch:
        patch.setattr(build, "encode", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            repair(articles / ".pincite", embedder=embedder)
    assert {one.name: one.read_bytes() for one in (articles / ".pincite").iterdir() if one.name != "LOCK"} == before
    assert not list(articles.glob("*aside*")) and not list(articles.glob(".*aside*"))
    assert repair(articles / ".pincite", embedder=embedder) is not None


def test_repair_that_was_cut_short_is_taken_up_again(index: Index, articles: Path, embedder: HashingEmbedder) -> None:
    wanted = texts(index)
    (articles / ".pincite").rename(articles / ".pincite.aside-1")
    assert repair(articles / ".pincite", [articles], embedder=embedder) is not None
    assert texts(Index.open(articles / ".pincite")) == wanted


def test_repair_of_no_index_says_so(tmp_path: Path) -> None:
    with pytest.raises(IndexNotFoundError):
        repair(tmp_path / ".pincite")
    assert not (tmp_path / ".pincite").exists()
