"""The corpora are as varied and as large as they should be, and the steps measure what they claim to."""

from __future__ import annotations

import json
import os
from pathlib import Path

import bench_scale
import numpy as np
import pytest
from bench_scale import ask, build, exact, project, replace
from corpora import Material, PreparedEmbedder, article_path, prepare_material, read_articles, vary, write_corpus
from timing import memory, peak_memory, written_bytes

from pincite.index import Index, verify
from pincite.index import build as index_build
from tests.conftest import HashingEmbedder

WORDS = [
    "The",
    "river",
    "rose",
    "and",
    "Mayor",
    "Winters",
    "closed",
    "both",
    "bridges",
    "of",
    "Northfield",
    "on",
    "Sunday",
]


@pytest.fixture
def material(tmp_path: Path) -> Material:
    draw = np.random.default_rng(0)
    corpus = tmp_path / "corpus.jsonl"
    with corpus.open("w") as file:
        for number in range(40):
            sentences = [" ".join(draw.permutation(WORDS)) + f", {number} times." for _ in range(12)]
            file.write(json.dumps({"title": f"Flood {number}", "text": "\n\n".join(sentences)}) + "\n")
        file.write(json.dumps({"title": "", "text": "Nothing."}) + "\n")
    return prepare_material(corpus, tmp_path / "work", HashingEmbedder(), sample=50)


@pytest.fixture
def work(tmp_path: Path, material: Material) -> Path:
    write_corpus(tmp_path / "work/100/articles", material, 100)
    return tmp_path / "work"


@pytest.fixture
def embedder(material: Material) -> PreparedEmbedder:
    return PreparedEmbedder(HashingEmbedder(), material.vectors)


def test_articles_vary_and_can_be_had_again(material: Material) -> None:
    texts = [vary(material.articles, number, version) for number in range(30) for version in (0, 1)]
    assert len(set(texts)) == 60
    assert vary(material.articles, 3) == texts[6]
    sentences = {sentence for article in material.articles for block in article.paragraphs for sentence in block}
    assert all(
        sentence in sentences for sentence in texts[0].split("\n\n")[1].splitlines() if "Mayor Winters" in sentence
    )
    words = [len({word for text in texts[:count] for word in text.split()}) for count in (10, 60)]
    assert words[1] > words[0]


def test_a_corpus_has_about_as_many_passages_as_it_should(
    work: Path, material: Material, embedder: PreparedEmbedder
) -> None:
    report = index_build.sync(work / "100/.pincite", [work / "100/articles"], embedder=embedder)
    assert report.passages == pytest.approx(100, rel=0.15)
    assert report.embedded == report.passages


def test_articles_of_a_folder_are_read_like_those_of_a_file(articles: Path) -> None:
    (articles / "long.md").write_text("# Long\n\n" + " ".join(f"Sentence {n} is here." for n in range(6)))
    assert [(article.title, len(article.paragraphs[0])) for article in read_articles(articles)] == [("Long", 6)]


def test_vectors_are_near_real_ones_and_the_same_for_the_same_text(
    material: Material, embedder: PreparedEmbedder
) -> None:
    texts = [f"text {number}" for number in range(50)]
    vectors = embedder.embed_passages(texts)
    assert np.array_equal(embedder.embed_passages(texts[7:9]), vectors[7:9])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(50), abs=1e-5)
    assert len(np.unique(vectors, axis=0)) == 50
    nearest = (vectors @ material.vectors.T).max(axis=1)
    assert nearest.min() > 0.6 and nearest.mean() < 0.9999
    assert embedder.passages == 52 and embedder.seconds > 0
    assert len(material.queries) == len(material.query_vectors) >= 4


def test_a_killed_build_goes_on_and_what_is_done_twice_is_counted(
    work: Path, material: Material, embedder: PreparedEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_build, "COMMIT_EVERY", 20)

    def die(process: int, signal: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "kill", die)
    with pytest.raises(KeyboardInterrupt):
        build(work, material, embedder, 100, stop=True)
    lost = int(np.fromfile(sorted((work / "100/embedded").iterdir())[-1], np.uint64).size)
    assert 20 <= lost < 40
    again = build(work, material, PreparedEmbedder(HashingEmbedder(), material.vectors), 100, stop=False)
    found = bench_scale._resumed(work / "100/embedded", again)
    assert found["embedded_twice"] == lost
    index = Index.open(work / "100/.pincite", embedder=embedder)
    assert found["embedded"] == index.stats().passages + 12  # and the texts by which unrelated ones are known
    assert again["embedded"] < index.stats().passages
    assert list(verify(index)) == []


def test_an_index_is_asked_and_compared_with_looking_at_all_of_it(
    work: Path, material: Material, embedder: PreparedEmbedder
) -> None:
    build(work, material, embedder, 100, stop=False)
    for number in range(0, 20, 4):
        article_path(work / "100/articles", number).unlink()
    index_build.sync(work / "100/.pincite", embedder=embedder)
    rows = exact(work, material, embedder, 100)["rows"]
    index = Index.open(work / "100/.pincite", embedder=embedder)
    assert any(live is not None for live in index._live_passages)
    for vector, expected in zip(material.query_vectors, rows, strict=True):
        assert set(index.search_dense(vector, 10)[0].tolist()) == set(expected)
    found = ask(work, material, embedder, 100, rows)
    assert found["recall_at_10"] == 1.0
    assert ask(work, material, embedder, 100, [[-1] * 10 for _ in rows])["recall_at_10"] == 0.0
    assert found["passages"] == index.stats().passages
    assert found["index_mb"] + found["text_mb"] == pytest.approx(index.stats().bytes / 1e6, abs=0.2)
    assert found["query_cpu_ms"].keys() == {"p50", "p95"}


def test_replacing_articles_leaves_the_index_in_step(
    work: Path, material: Material, embedder: PreparedEmbedder
) -> None:
    build(work, material, embedder, 100, stop=False)
    before = {document.sha256 for document in Index.open(work / "100/.pincite").documents()}
    found = replace(work, material, embedder, 100, rounds=4)
    index = Index.open(work / "100/.pincite", embedder=embedder)
    after = {document.sha256 for document in index.documents()}
    assert 1 <= len(after - before) <= 7
    assert list(verify(index)) == []
    assert found["files"] == index.stats().documents == len(before)
    assert found["named_kb"]["max"] > 0 or written_bytes() == 0
    assert article_path(work / "100/articles", 3).exists()


def test_a_projection_is_a_straight_line() -> None:
    def figures(passages: int) -> dict[str, object]:
        cpu = {"p50": 1 + passages / 1e5, "p95": 2 + passages / 1e5}
        names = ("index_mb", "text_mb", "open_ms", "first_query_ms", "query_anonymous_mb")
        times = {"dense_cpu_ms": cpu, "bm25_cpu_ms": cpu, "query_cpu_ms": cpu}
        return {
            "passages": passages,
            "build_passages_a_cpu_s": 1000,
            **dict.fromkeys(names, 5 + passages / 1e3),
            **times,
        }

    projected = project([figures(10), figures(100_000), figures(1_000_000)])
    assert projected is not None
    assert projected["index_mb"] == pytest.approx(10_005) and projected["query_cpu_ms"] == {"p50": 101.0, "p95": 102.0}
    assert projected["build_cpu_h"] == 2.8
    assert project([figures(10)]) is None


def test_the_most_memory_is_remembered() -> None:
    if memory().anonymous_mb == 0:
        pytest.skip("the system does not tell anonymous memory")
    before = memory()
    with peak_memory() as peak:
        block = np.ones(10_000_000)
    assert block.sum() == 10_000_000
    del block
    assert peak.anonymous_mb >= before.anonymous_mb + 70
    assert peak.resident_mb >= before.resident_mb + 70


def test_written_bytes_are_counted(tmp_path: Path) -> None:
    before = written_bytes()
    (tmp_path / "file").write_bytes(bytes(300_000))
    assert written_bytes() == 0 or written_bytes() - before >= 300_000
