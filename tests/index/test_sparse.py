from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import bm25s
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pincite.index import sparse, terms
from pincite.index.errors import IndexFormatError
from pincite.index.sparse import SparseIndex, build_postings
from pincite.index.terms import analyze

WORDS = ["court", "river", "budget", "vote", "senate", "flood", "bridge", "tax", "mayor", "school"]
Postings = Mapping[str, NDArray[np.generic]]


def make_texts(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    vocabulary = [*WORDS, *(f"w{i}" for i in range(200))]
    weight = 1 / np.arange(1, len(vocabulary) + 1)
    return [" ".join(rng.choice(vocabulary, size=rng.integers(0, 60), p=weight / weight.sum())) for _ in range(n)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("The and of", []),
        ("Café CAFE\u0301 cafe", ["cafe", "cafe", "cafe"]),
        ("U.S. and U.S . and p.m.", ["u.s".replace(".", ""), "us", "pm"]),
        ("Nixon's Nixon’s O'Brien", ["nixon", "nixon", "o", "brien"]),
        ("covid-19 COVID‑19", ["covid", "19", "covid", "19"]),
        ("v2.0 3.14 1,000,000 a.b end.Next", ["v2.0", "3.14", "1000000", "ab", "end", "next"]),
        ("C++ and C# in snake_case", ["c++", "c#", "snake", "case"]),
        ("ﬁnance ＡＢＣ Straße", ["financ", "abc", "strass"]),
        ("東京都 京", ["東京", "京都", "京"]),
        ("한국어", ["한국", "국어"]),
        ("हिन्दी", ["हिन्दी"]),
        ("running runs ran", ["run", "run", "ran"]),
    ],
)
def test_analyze_makes_one_term_of_the_ways_to_write_it(text: str, expected: list[str]) -> None:
    assert analyze(text) == expected


@given(st.text())
def test_analyze_takes_any_text(text: str) -> None:
    assert all(term and len(term) < 600 for term in analyze(text))


def test_scores_are_those_of_bm25s() -> None:
    texts = make_texts(300)
    witness = bm25s.BM25(method="lucene", k1=sparse.K1, b=sparse.B)
    witness.index([analyze(text) for text in texts], show_progress=False)
    index = SparseIndex([build_postings(texts)], [None])
    for query in ["flood bridge", "mayor of the w7 schools", "w150", "tax tax budget", "court court w3 w4 w5 w199"]:
        expected = witness.get_scores(analyze(query))
        rows, bm25 = index.search(query, 300)
        assert bm25 == pytest.approx(expected[rows], rel=1e-5)
        assert set(rows) == set(np.flatnonzero(expected))
        assert np.array_equal(rows, np.lexsort((np.arange(300), -index.scores(query, np.arange(300))))[: len(rows)])


@pytest.mark.parametrize("sort_cost", [0, 10**9])
def test_both_ways_of_adding_up_agree(sort_cost: int, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = make_texts(3000, seed=3)
    index = SparseIndex([build_postings(texts[:1000]), build_postings(texts[1000:])], [None, None])
    monkeypatch.setattr(sparse, "_SORT_COST", sort_cost)
    everything = index.scores("flood w9 w30", np.arange(3000))
    best = np.lexsort((np.arange(3000), -everything))
    for k in (1, 7, 100, 5000):
        rows, bm25 = index.search("flood w9 w30", k)
        assert np.array_equal(rows, best[: min(k, np.count_nonzero(everything))])
        assert np.array_equal(bm25, everything[rows])


texts_and_masks = st.lists(
    st.lists(st.tuples(st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join), st.booleans()), max_size=6),
    max_size=4,
)


@given(texts_and_masks, st.lists(st.sampled_from([*WORDS, "unknown"]), max_size=5).map(" ".join))
def test_deleting_equals_a_fresh_segment(segments: list[list[tuple[str, bool]]], query: str) -> None:
    index = SparseIndex(
        [build_postings(text for text, _ in segment) for segment in segments],
        [np.array([live for _, live in segment], bool) for segment in segments],
    )
    flat = [item for segment in segments for item in segment]
    kept = np.flatnonzero([live for _, live in flat])
    fresh = SparseIndex([build_postings(text for text, live in flat if live)], [None])
    rows, bm25 = index.search(query, 5)
    fresh_rows, fresh_bm25 = fresh.search(query, 5)
    assert rows.tolist() == kept[fresh_rows].tolist()
    assert bm25 == pytest.approx(fresh_bm25, rel=1e-6)
    assert index.scores(query, kept) == pytest.approx(fresh.scores(query, np.arange(len(kept))), rel=1e-6)
    assert not index.scores(query, np.setdiff1d(np.arange(len(flat)), kept)).any()


def test_building_in_small_runs_gives_the_same_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*make_texts(200), "well-known covid-19 U.S. well-known", ""]
    at_once = build_postings(texts)
    monkeypatch.setattr(sparse, "_FLUSH_TERMS", 100)
    for name, array in build_postings(iter(texts)).items():
        assert np.array_equal(array, at_once[name]), name
        assert array.dtype == at_once[name].dtype


def test_postings_hold_what_a_count_by_hand_finds() -> None:
    postings: Postings = build_postings(["b a-b", "", "b b c"])
    assert bytes(postings["bm25_terms"]) == b"bc"  # "a" is a stop word
    assert postings["bm25_posting_offsets"].tolist() == [0, 2, 3]
    assert postings["bm25_rows"].tolist() == [0, 2, 2]
    assert postings["bm25_counts"].tolist() == [2, 2, 1]
    assert postings["bm25_lengths"].tolist() == [2, 0, 3]


def test_a_term_is_counted_to_255() -> None:
    assert build_postings(["flood " * 300])["bm25_counts"].tolist() == [255]


@pytest.mark.parametrize("texts", [[], [""], ["the"]])
@pytest.mark.parametrize("query", ["", "the", "flood", "!?"])
def test_nothing_to_find_gives_an_empty_result(texts: list[str], query: str) -> None:
    for index in (SparseIndex([], []), SparseIndex([build_postings(texts)], [None])):
        rows, bm25 = index.search(query, 10)
        assert rows.shape == bm25.shape == (0,)
        assert rows.dtype == np.int64
        assert bm25.dtype == np.float32


def test_equal_scores_are_in_row_order() -> None:
    index = SparseIndex([build_postings(["flood river"] * 700), build_postings(["flood river"] * 700)], [None, None])
    assert index.search("river flood", 9)[0].tolist() == list(range(9))


def test_threads_find_what_one_thread_finds() -> None:
    texts = make_texts(200)
    index = SparseIndex([build_postings(texts)], [None])
    queries = [f"{a} {b}" for a in WORDS for b in WORDS[:3]]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda q: index.search(q, 10)[0].tolist(), queries))
        assert list(pool.map(analyze, texts)) == [analyze(text) for text in texts]
    one = SparseIndex([build_postings(texts)], [None])
    assert found == [one.search(q, 10)[0].tolist() for q in queries]


@pytest.mark.parametrize("name", list(build_postings([])))
def test_postings_that_do_not_fit_are_refused(name: str) -> None:
    postings = build_postings(make_texts(20))
    with pytest.raises(IndexFormatError, match="rebuild"):
        SparseIndex([{k: v for k, v in postings.items() if k != name}], [None])
    with pytest.raises(IndexFormatError, match="rebuild"):
        SparseIndex([{**postings, name: postings[name].astype(np.float64)}], [None])
    if name != "bm25_lengths":
        with pytest.raises(IndexFormatError, match="rebuild"):
            SparseIndex([{**postings, name: postings[name][:-1]}], [None])


def test_a_callers_mistakes_are_named() -> None:
    index = SparseIndex([build_postings(["flood"])], [None])
    with pytest.raises(ValueError, match="need 0 to 0"):
        index.scores("flood", np.array([1]))
    with pytest.raises(ValueError, match="k must be"):
        index.search("flood", -1)
    with pytest.raises(ValueError, match="mask"):
        SparseIndex([build_postings(["flood"])], [np.zeros(3, bool)])


def test_long_junk_is_cut_into_bounded_terms() -> None:
    assert max(map(len, terms.surfaces("A1b2" * 50_000))) <= 64
