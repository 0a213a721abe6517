"""Hits: the weighted sum of both sides, in a certain order, whatever is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pincite.index import Index
from pincite.index.terms import analyze
from pincite.qa.retriever import DENSE_WEIGHT, Mode, retrieve
from tests.conftest import HashingEmbedder


@pytest.fixture
def index(tmp_path: Path, embedder: HashingEmbedder) -> Index:
    words = ["fish", "bird", "train", "pond", "rose", "bank", "river", "noon", "Bern", "Thun"]
    for number in range(40):
        some = [words[(number * step) % 10] for step in range(1, 8)]
        (tmp_path / f"{number:02}.txt").write_text(f"Note {number} speaks of {' and '.join(some)}.")
    return Index.sync(tmp_path / ".pincite", [tmp_path], embedder=embedder)


def test_hybrid_score_is_the_weighted_sum_of_both_sides(index: Index, embedder: HashingEmbedder) -> None:
    query = "the train and the river at noon"
    vector = embedder.embed_query(query)
    rows = np.arange(index.stats().passages)
    assert index.fingerprint is not None
    unrelated = index.fingerprint.unrelated
    nearness = (index.cosine(vector, rows) - unrelated) / (1 - unrelated)
    share = np.sqrt(index.bm25(query, rows) / index.idf(analyze(query)).sum())
    expected = DENSE_WEIGHT * nearness + (1 - DENSE_WEIGHT) * share
    hits = retrieve(index, query, vector, len(rows))
    assert [hit.score for hit in hits] == pytest.approx(sorted(expected.tolist(), reverse=True), abs=1e-5)
    by_text = {passage.text: float(score) for passage, score in zip(index.passages(rows), expected, strict=True)}
    for hit in hits:
        assert hit.score == pytest.approx(by_text[hit.passage.text], abs=1e-5)


@pytest.mark.parametrize("mode", ["dense", "sparse", "hybrid"])
def test_fewer_hits_are_the_beginning_of_more(index: Index, embedder: HashingEmbedder, mode: Mode) -> None:
    query = "rose bank Thun"
    vector = embedder.embed_query(query)
    many = retrieve(index, query, vector, 20, mode=mode)
    assert [hit.score for hit in many] == sorted((hit.score for hit in many), reverse=True)
    for k in (1, 3, 10):
        assert retrieve(index, query, vector, k, mode=mode) == many[:k]


def test_ranks_are_those_of_each_side(index: Index, embedder: HashingEmbedder) -> None:
    query = "fish in the pond"
    vector = embedder.embed_query(query)
    dense = retrieve(index, query, vector, 40, mode="dense")
    sparse = retrieve(index, query, vector, 40, mode="sparse")
    assert [hit.dense_rank for hit in dense] == list(range(1, len(dense) + 1))
    assert all(hit.sparse_rank is None for hit in dense)
    assert sorted(hit.sparse_rank or 0 for hit in sparse) == list(range(1, len(sparse) + 1))


def test_words_that_no_article_has_find_by_meaning_only(index: Index, embedder: HashingEmbedder) -> None:
    vector = embedder.embed_query("zyzzyva")
    assert retrieve(index, "zyzzyva", None, 5, mode="sparse") == []
    assert len(retrieve(index, "zyzzyva", vector, 5)) == 5
    assert len(retrieve(index, "?!", embedder.embed_query("?!"), 5)) == 5


def test_titles_and_lines_are_those_of_the_passage(articles: Path, embedder: HashingEmbedder) -> None:
    index = Index.sync(articles / ".pincite", [articles], embedder=embedder)
    (hit,) = retrieve(index, "carp in the pond", embedder.embed_query("carp in the pond"), 1)
    assert (Path(hit.path).name, hit.title, hit.line) == ("garden.md", "The garden", 1)
    assert "three carp" in hit.passage.text
