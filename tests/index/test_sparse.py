from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import bm25s
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pincite.index import column, posting_codes, sparse, terms
from pincite.index import postings as index_postings
from pincite.index.errors import IndexFormatError
from pincite.index.postings import SegmentPostings, build_postings, merge_postings
from pincite.index.segment import Segment
from pincite.index.sparse import SparseIndex
from pincite.index.terms import analyze
from tests.index.test_column import on_disk

WORDS = ["court", "river", "budget", "vote", "senate", "flood", "bridge", "tax", "mayor", "school"]


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


@pytest.mark.parametrize("sort_cost", [0, sparse._SORT_COST])
@given(texts_and_masks, st.lists(st.sampled_from([*WORDS, "unknown"]), max_size=5).map(" ".join))
def test_deleting_equals_a_fresh_segment(sort_cost: int, segments: list[list[tuple[str, bool]]], query: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse, "_SORT_COST", sort_cost)
        check_deleting(segments, query)


def test_a_few_deleted_among_many_are_not_counted() -> None:
    texts = make_texts(3000, seed=3)
    live = np.arange(3000) % 500 > 0
    index = SparseIndex([build_postings(texts)], [live])
    fresh = SparseIndex([build_postings(text for text, keep in zip(texts, live, strict=True) if keep)], [None])
    assert any("court" in texts[row] for row in np.flatnonzero(~live))
    terms_of_all = [*WORDS, *(f"w{i}" for i in range(30)), "unknown"]
    assert np.array_equal(index.idf(terms_of_all), fresh.idf(terms_of_all))


@pytest.mark.parametrize("sort_cost", [0, 10**9])
@pytest.mark.parametrize("share", [0.5, 0.01, 0.0])
def test_the_best_of_some_rows_have_the_scores_that_they_have_among_all(
    sort_cost: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse, "_SORT_COST", sort_cost)
    rng = np.random.default_rng(5)
    texts, live, within = make_texts(3000, seed=3), rng.random(3000) < 0.9, rng.random(3000) < share
    halves = [build_postings(texts[:1000]), build_postings(texts[1000:])]
    index = SparseIndex(halves, [live[:1000], live[1000:]])
    for query in ("flood w9 w30", "court", "unknown"):
        every, of_every = index.search(query, 3000)
        expected = within[every]
        for k in (1, 10, 3000):
            rows, bm25 = index.search(query, k, within)
            assert np.array_equal(rows, every[expected][:k])
            assert np.array_equal(bm25, of_every[expected][:k])
        assert np.array_equal(index.search(query, 3000)[0], every)  # what is kept of a question has no filter


def check_deleting(segments: list[list[tuple[str, bool]]], query: str) -> None:
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
    monkeypatch.setattr(index_postings, "_FLUSH_TERMS", 100)
    monkeypatch.setattr(index_postings, "_CHUNK", 30)
    for name, array in build_postings(iter(texts)).items():
        assert np.array_equal(array, at_once[name]), name
        assert array.dtype == at_once[name].dtype


def rows_and_counts(postings: posting_codes.TermPostings) -> tuple[list[int], list[int]]:
    counts = np.ones(len(postings.rows), np.uint8)
    counts[postings.many] = postings.counts
    return postings.rows.tolist(), counts.tolist()


def test_postings_hold_what_a_count_by_hand_finds() -> None:
    postings = SegmentPostings(build_postings(["b a-b", "", "b b c"]))
    assert postings.terms() == [b"b", b"c"]  # "a" is a stop word
    assert [rows_and_counts(postings.postings(number)) for number in (0, 1)] == [([0, 2], [2, 2]), ([2], [1])]
    assert postings.frequencies().tolist() == [2, 1]
    assert postings.lengths().tolist() == [2, 0, 3]


def test_a_term_is_counted_to_255() -> None:
    assert rows_and_counts(SegmentPostings(build_postings(["flood " * 300])).postings(0)) == ([0], [255])


def make_postings(seed: int, n_terms: int) -> tuple[list[NDArray[np.int64]], list[NDArray[np.uint8]]]:
    rng = np.random.default_rng(seed)
    most = [1, 100, 126, 127, 128, 129, 70_000, posting_codes.MOST_ROWS]
    rows = [np.unique(rng.integers(0, most[seed % 8], rng.integers(1, 300))) for _ in range(n_terms)]
    return rows, [np.maximum(rng.integers(-250, 256, len(r)), 1).astype(np.uint8) for r in rows]


@pytest.mark.parametrize("seed", range(16))
def test_postings_are_decoded_to_what_was_encoded(seed: int) -> None:
    rows, counts = make_postings(seed, 40)
    sizes = np.array([len(r) for r in rows])
    data, lengths = posting_codes.encode_postings(np.concatenate(rows), np.concatenate(counts), sizes)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    assert len(data) == offsets[-1]
    for number in range(40):
        part = data[offsets[number] : offsets[number + 1]]
        found = rows_and_counts(posting_codes.decode_postings(part, sizes[number]))
        assert found == (rows[number].tolist(), counts[number].tolist())
        for wrong in (part[:-1], np.append(part, np.uint8(1))):
            with pytest.raises(IndexFormatError):
                posting_codes.decode_postings(wrong, sizes[number])
    for first, last in ((0, 40), (7, 8), (30, 40)):
        part = data[offsets[first] : offsets[last]]
        every, count = posting_codes.decode_terms(part, offsets[first : last + 1] - offsets[first], sizes[first:last])
        assert np.array_equal(every, np.concatenate(rows[first:last]))
        assert np.array_equal(count, np.concatenate(counts[first:last]))


@given(texts_and_masks, st.randoms(use_true_random=False), st.sampled_from([1, 3, 10**6]))
def test_merging_equals_building_from_what_is_left(
    segments: list[list[tuple[str, bool]]], random: Random, chunk: int
) -> None:
    flat = [text for segment in segments for text, live in segment if live]
    order = list(range(len(flat)))
    random.shuffle(order)
    places = iter(order)
    moved = [np.array([next(places) if live else -1 for _, live in segment], np.int64) for segment in segments]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_postings, "_CHUNK", chunk)
        merged = merge_postings([build_postings(text for text, _ in segment) for segment in segments], moved)
    texts = [""] * len(flat)
    for place, text in zip(order, flat, strict=True):
        texts[place] = text
    expected = build_postings(texts)
    assert merged.keys() == expected.keys()
    for name, array in merged.items():
        assert array.dtype == expected[name].dtype and np.array_equal(array, expected[name]), name


def test_postings_in_a_file_are_searched_like_those_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column, "_LARGE", 1)
    monkeypatch.setattr(column, "_BLOCK", 64)
    postings = [build_postings(make_texts(300, seed)) for seed in (0, 1)]
    stored = [on_disk(tmp_path / f"seg-{number}", one) for number, one in enumerate(postings)]
    live = [None, np.arange(300) % 3 > 0]
    for query in ("flood bridge", "mayor w7 w150 school", "w3"):
        for k in (5, 600):
            rows, bm25 = SparseIndex(stored, live).search(query, k)
            expected, expected_bm25 = SparseIndex(postings, live).search(query, k)
            assert np.array_equal(rows, expected) and np.array_equal(bm25, expected_bm25)


def test_damaged_postings_are_an_error_for_whoever_asks_for_their_term(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(column, "_LARGE", 1)
    monkeypatch.setattr(column, "_BLOCK", 64)
    postings = build_postings(make_texts(300))
    intact = on_disk(tmp_path / "seg", postings)
    data = bytearray((tmp_path / "seg").read_bytes())
    number = SegmentPostings(postings).find(b"flood")
    assert number is not None
    data[data.index(postings["bm25_postings"].tobytes()) + int(postings["bm25_posting_offsets"][number]) + 65] ^= 2
    (tmp_path / "seg").write_bytes(data)
    index = SparseIndex([Segment(intact.path, len(data), intact.checksum)], [None])
    assert len(index.search("court", 5)[0]) == 5
    with pytest.raises(IndexFormatError, match="bm25_postings is damaged"):
        index.search("flood", 5)


def test_a_question_asked_again_has_the_same_answer() -> None:
    index = SparseIndex([build_postings(make_texts(300))], [None])
    first = index.search("flood bridge", 9)
    index.search("mayor", 9)
    again = index.search("flood bridge", 9)
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert np.array_equal(index.scores("flood bridge", first[0]), first[1])
    assert not np.array_equal(index.scores("mayor", first[0]), first[1])


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
    with pytest.raises(IndexFormatError, match="pincite repair"):
        SparseIndex([{k: v for k, v in postings.items() if k != name}], [None])
    with pytest.raises(IndexFormatError, match="pincite repair"):
        SparseIndex([{**postings, name: postings[name].astype(np.float64)}], [None])
    if name != "bm25_lengths":
        with pytest.raises(IndexFormatError, match="pincite repair"):
            SparseIndex([{**postings, name: postings[name][:-1]}], [None])


def test_a_callers_mistakes_are_named() -> None:
    index = SparseIndex([build_postings(["flood"])], [None])
    with pytest.raises(ValueError, match="need 0 to 0"):
        index.scores("flood", np.array([1]))
    with pytest.raises(ValueError, match="k must be"):
        index.search("flood", -1)
    with pytest.raises(ValueError, match="need bool"):
        index.search("flood", 1, np.ones(2, np.bool_))
    with pytest.raises(ValueError, match="mask"):
        SparseIndex([build_postings(["flood"])], [np.zeros(3, bool)])


def test_long_junk_is_cut_into_bounded_terms() -> None:
    assert max(map(len, terms.surfaces("A1b2" * 50_000))) <= 64
