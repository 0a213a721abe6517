from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pincite.index import column, dense
from pincite.index.dense import DenseIndex, candidates
from pincite.index.dense_codes import build_codes, import_faiss
from pincite.index.errors import IndexFormatError
from pincite.index.segment import Segment, row_checksums
from tests.index.test_column import on_disk

DIM = 64


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
    return rows


def make_vectors(n: int, *, seed: int = 0, dim: int = DIM) -> NDArray[np.float16]:
    """Clusters of clusters around a common direction, with fewer strong dimensions than there are: as text has."""
    rng = np.random.default_rng(seed)
    strength = 1 / np.sqrt(np.arange(1, dim + 1, dtype=np.float32))
    topics = rng.standard_normal((40, dim), np.float32) * strength
    stories = (
        topics[rng.integers(40, size=n // 20 + 1)]
        + 0.7 * rng.standard_normal((n // 20 + 1, dim), np.float32) * strength
    )
    rows = stories[rng.integers(len(stories), size=n)] + 0.7 * rng.standard_normal((n, dim), np.float32) * strength
    return unit(rows + strength).astype(np.float16)


def brute_force(
    vectors: NDArray[np.floating], live: NDArray[np.bool_], query: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    cosine = (_WIDE64 if vectors is WIDE else np.asarray(vectors, np.float64)) @ query.astype(np.float64)
    order = np.lexsort((np.arange(len(vectors)), -cosine))
    best = order[live[order]][:k]
    return best, cosine[best]


def recall(found: NDArray[np.int64], expected: NDArray[np.int64]) -> float:
    return len(np.intersect1d(found, expected)) / len(expected)


VECTORS = make_vectors(6000)
QUERIES = unit(make_vectors(40, seed=0)[:20].astype(np.float32) + VECTORS[:20].astype(np.float32) * 0.5)
NO_MASK = np.ones(len(VECTORS), bool)
WIDE = make_vectors(8000, dim=384)  # as many dimensions as the default model, for the codes
_WIDE64 = WIDE.astype(np.float64)
WIDE_CODES = build_codes(WIDE)
WIDE_QUERIES = unit(WIDE[:20].astype(np.float32) + unit(np.random.default_rng(1).random((20, 384)) - 0.5) * 0.7)


@cache
def codes_between(start: int, end: int) -> NDArray[np.uint8]:
    return build_codes(WIDE[start:end])


@pytest.mark.parametrize("k", [1, 10, 100, 2000, 9999])
def test_exact_search_is_a_brute_force(k: int) -> None:
    index = DenseIndex([VECTORS[:100], VECTORS[100:100], VECTORS[100:]], [None] * 3, [None] * 3)
    for query in QUERIES[:5]:
        rows, cosine = index.search(query, k)
        expected, expected_cosine = brute_force(VECTORS, NO_MASK, query, k)
        assert cosine == pytest.approx(expected_cosine, abs=1e-6)
        assert VECTORS[rows].astype(np.float64) @ query == pytest.approx(expected_cosine, abs=1e-6)
        if k <= 100:  # further down, float32 cannot tell some apart
            assert np.array_equal(rows, expected)
        assert np.array_equal(cosine, index.scores(query, rows))


def test_codes_and_re_ranking_find_what_a_brute_force_finds() -> None:
    n, first, second = 6_000, 3_500, 5_750
    vectors = make_vectors(n, seed=2, dim=384)
    noise = unit(np.random.default_rng(1).random((20, 384)) - 0.5)
    queries = unit(vectors[:: n // 20].astype(np.float32) + 0.7 * noise)
    parts = [vectors[:first], vectors[first:second], vectors[second:]]
    codes = [build_codes(parts[0]), build_codes(parts[1]), None]
    mask, exact = np.random.default_rng(4).random(n) < 0.6, vectors.astype(np.float64)
    for live in (np.ones(n, bool), mask):
        index = DenseIndex(parts, codes, [live[:first], live[first:second], live[second:]], exact_rows=1000)
        found = [index.search(query, 10) for query in queries]
        expected = [brute_force(exact, live, query, 10) for query in queries]
        assert np.mean([recall(f[0], e[0]) for f, e in zip(found, expected, strict=True)]) >= 0.98
        for query, (rows, cosine) in zip(queries, found, strict=True):
            assert live[rows].all()
            assert len(rows) == 10
            assert np.array_equal(cosine, index.scores(query, rows))
            assert np.array_equal(np.lexsort((rows, -cosine)), np.arange(10))


@given(st.lists(st.lists(st.booleans(), max_size=30), max_size=4), st.integers(0, 50), st.booleans(), st.booleans())
def test_deleting_equals_a_fresh_index(masks: list[list[bool]], k: int, coded: bool, exact: bool) -> None:
    starts = np.cumsum([0, *map(len, masks)])
    parts = [VECTORS[a:b] for a, b in pairwise(starts)]
    live = [np.array(mask, bool) for mask in masks]
    codes = [build_codes(part) if coded else None for part in parts]
    index = DenseIndex(parts, codes, live, exact_rows=10**6 if exact else 0)
    kept = np.flatnonzero(np.concatenate([*live, np.empty(0, bool)]))
    rows, cosine = index.search(QUERIES[0], k)
    fresh_rows, fresh_cosine = DenseIndex([VECTORS[kept]], [None], [None]).search(QUERIES[0], k)
    assert rows.tolist() == kept[fresh_rows].tolist()
    assert np.array_equal(cosine, fresh_cosine)


@pytest.mark.parametrize("share", [0.5, 0.05, 0.002])
def test_deleted_rows_are_replaced_by_live_ones(share: float) -> None:
    live = np.random.default_rng(0).random(len(WIDE)) < share
    for exact_rows in (0, 10**6):
        index = DenseIndex([WIDE], [WIDE_CODES], [live], exact_rows=exact_rows)
        for query in WIDE_QUERIES[:5]:
            rows, _ = index.search(query, 10)
            assert recall(rows, brute_force(WIDE, live, query, 10)[0]) >= 0.9
            assert live[rows].all()
            assert len(rows) == min(10, live.sum())


@pytest.mark.parametrize("exact_rows", [0, 10**6])
@pytest.mark.parametrize(
    "share", [pytest.param(0.9, marks=pytest.mark.slow), 0.4, pytest.param(0.2, marks=pytest.mark.slow), 0.01, 0.0005]
)
@pytest.mark.parametrize("kind", ["chance", "near", "run"])
def test_the_best_of_some_rows_are_found_as_well_as_those_of_all(
    share: float, kind: str, exact_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dense, "_BLOCK", 1000)
    n, size = len(WIDE), max(1, round(share * len(WIDE)))
    rng = np.random.default_rng(7)
    dead = rng.random(n) < 0.1
    bounds = [0, 5000, 5010, n]
    live = [~dead[a:b] for a, b in pairwise(bounds)]
    codes = [codes_between(0, 5000), None, codes_between(5010, n)]
    index = DenseIndex([WIDE[a:b] for a, b in pairwise(bounds)], codes, live, exact_rows=exact_rows)
    missed = 0
    for query in WIDE_QUERIES[:8]:
        order = {
            "chance": rng.permutation(n),
            "near": np.argsort(-(_WIDE64 @ query) + rng.normal(0, 0.05, n)),
            "run": np.roll(np.arange(n), 4000),
        }[kind]
        within = np.zeros(n, np.bool_)
        within[order[:size]] = True
        rows, cosine = index.search(query, 10, within)
        expected, _ = brute_force(WIDE, within & ~dead, query, 10)
        assert len(rows) == len(expected) and (within & ~dead)[rows].all()
        assert np.array_equal(cosine, index.scores(query, rows))
        missed += len(np.setdiff1d(rows, expected))
    assert missed <= (2 if exact_rows == 0 else 0)


def test_codes_choose_among_many_rows_of_some_and_few_are_all_looked_at() -> None:
    index = DenseIndex([WIDE], [WIDE_CODES], [None], exact_rows=0)
    many, few = (index._chosen(np.arange(len(WIDE)) % step == 0) for step in (2, 100))
    chosen = index._candidates(WIDE_QUERIES[0], 10, many)
    assert chosen is not None and len(chosen) == candidates(len(WIDE), 10, 384) and (chosen % 2 == 0).all()
    assert index._candidates(WIDE_QUERIES[0], 10, few) is None


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60), st.integers(0, 60), st.booleans())
def test_some_rows_give_what_an_index_of_only_these_gives(rows: list[tuple[bool, bool]], k: int, exact: bool) -> None:
    live, within = (np.array([row[i] for row in rows], np.bool_) for i in range(2))
    half = len(rows) // 2
    parts, masks = [VECTORS[:half], VECTORS[half : len(rows)]], [live[:half], live[half:]]
    codes = [None if exact else build_codes(part) for part in parts]
    index = DenseIndex(parts, codes, masks, exact_rows=10**6 if exact else 0)
    kept = np.flatnonzero(live & within)
    fresh, fresh_cosine = DenseIndex([VECTORS[kept]], [None], [None]).search(QUERIES[0], k)
    found, cosine = index.search(QUERIES[0], k, within)
    assert found.tolist() == kept[fresh].tolist() and np.array_equal(cosine, fresh_cosine)
    zero = np.zeros(DIM, np.float32)
    assert index.search(zero, k, within)[0].tolist() == kept[:k].tolist()


@pytest.mark.parametrize("n_same", [3, 40, 3000])
def test_equal_cosines_are_in_row_order(n_same: int) -> None:
    vectors = VECTORS.copy()
    same = np.sort(np.random.default_rng(n_same).choice(len(vectors), n_same, replace=False))
    vectors[same] = QUERIES[0].astype(np.float16)
    index = DenseIndex([vectors[:2000], vectors[2000:]], [None, None], [None, None])
    for k in (1, 2, 10):
        rows, _ = index.search(QUERIES[0], k)
        assert rows[:n_same].tolist() == same[:k].tolist()


@pytest.mark.parametrize("sizes", [[], [0], [0, 0], [3]])
def test_nothing_to_find_gives_an_empty_result(sizes: list[int]) -> None:
    index = DenseIndex([VECTORS[:n] for n in sizes], [None] * len(sizes), [np.zeros(n, bool) for n in sizes])
    rows, cosine = index.search(QUERIES[0], 5)
    assert rows.shape == cosine.shape == (0,)
    assert rows.dtype == np.int64
    assert cosine.dtype == np.float32


@pytest.mark.parametrize("exact_rows", [0, 10**6])
def test_a_row_that_is_not_finite_is_never_found(exact_rows: int) -> None:
    vectors = WIDE.copy()
    vectors[5], vectors[9] = np.nan, np.inf
    index = DenseIndex([vectors], [build_codes(vectors)], [None], exact_rows=exact_rows)
    for k in (10, len(WIDE)):
        rows, cosine = index.search(WIDE_QUERIES[0], k)
        assert not {5, 9} & set(rows.tolist())
        assert len(rows) == min(k, len(WIDE) - 2)
        assert np.isfinite(cosine).all()


def test_a_zero_query_finds_the_first_rows() -> None:
    live = np.arange(len(WIDE)) > 4
    index = DenseIndex([WIDE], [WIDE_CODES], [live], exact_rows=0)
    rows, cosine = index.search(np.zeros(384, np.float32), 3)
    assert rows.tolist() == [5, 6, 7]
    assert not cosine.any()


def test_memory_mapped_rows_are_searched(tmp_path: Path) -> None:
    WIDE.tofile(tmp_path / "rows")
    WIDE_CODES.tofile(tmp_path / "codes")
    rows = np.memmap(tmp_path / "rows", np.float16, "r", shape=WIDE.shape)
    codes = np.memmap(tmp_path / "codes", np.uint8, "r")
    for exact_rows in (0, 10**6):
        found = DenseIndex([rows], [codes], [None], exact_rows=exact_rows).search(WIDE_QUERIES[0], 10)[0]
        assert recall(found, brute_force(WIDE, np.ones(len(WIDE), bool), WIDE_QUERIES[0], 10)[0]) >= 0.9


@pytest.mark.parametrize("exact_rows", [0, 10**6])
def test_threads_find_what_one_thread_finds(exact_rows: int) -> None:
    def make() -> DenseIndex:
        return DenseIndex(
            [WIDE], [WIDE_CODES], [np.ones(len(WIDE), bool) & (np.arange(8000) % 7 > 0)], exact_rows=exact_rows
        )

    index = make()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda q: index.search(q, 10)[0].tolist(), [*WIDE_QUERIES] * 5))
    one = make()
    assert found == [one.search(q, 10)[0].tolist() for q in WIDE_QUERIES] * 5


def test_codes_are_the_same_whenever_they_are_built() -> None:
    assert np.array_equal(build_codes(VECTORS), build_codes(VECTORS.copy()))
    assert build_codes(VECTORS[:0]).dtype == np.uint8


def test_codes_of_other_vectors_are_refused() -> None:
    codes = WIDE_CODES
    wrong_start = codes.copy()
    wrong_start[0] ^= 1
    for bad in (codes[:-1], codes[:3], codes[:0], wrong_start, build_codes(WIDE[:-1])):
        index = DenseIndex([WIDE], [bad], [None], exact_rows=0)
        with pytest.raises(IndexFormatError, match="pincite repair"):
            index.search(WIDE_QUERIES[0], 10)


def test_rows_in_a_file_are_found_like_those_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column, "_LARGE", 1)
    arrays: dict[str, NDArray[Any]] = {"vectors": WIDE, "codes": WIDE_CODES, "crc": row_checksums(WIDE)}
    segment = on_disk(tmp_path / "seg", arrays)
    for exact_rows in (0, 10**6):
        stored = DenseIndex(
            [segment.column("vectors")],
            [segment.column("codes")],
            [None],
            checksums=[segment.column("crc")],
            exact_rows=exact_rows,
        )
        held = DenseIndex([WIDE], [WIDE_CODES], [None], exact_rows=exact_rows)
        for query in WIDE_QUERIES[:5]:
            for k in (3, len(WIDE)):
                found, expected = stored.search(query, k), held.search(query, k)
                assert np.array_equal(found[0], expected[0]) and np.array_equal(found[1], expected[1])


def test_a_damaged_row_is_an_error_when_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column, "_LARGE", 1)
    arrays: dict[str, NDArray[Any]] = {"vectors": WIDE, "codes": WIDE_CODES, "crc": row_checksums(WIDE)}
    on_disk(tmp_path / "seg", arrays)
    data = bytearray((tmp_path / "seg").read_bytes())
    data[data.index(WIDE[7].tobytes()) + 5] ^= 1
    (tmp_path / "seg").write_bytes(data)
    segment = Segment(str(tmp_path / "seg"), len(data), on_disk(tmp_path / "other", arrays).checksum)
    index = DenseIndex(
        [segment.column("vectors")], [segment.column("codes")], [None], checksums=[segment.column("crc")], exact_rows=0
    )
    assert len(index.scores(WIDE_QUERIES[0], np.array([6, 8]))) == 2
    for read in (
        lambda: index.scores(WIDE_QUERIES[0], np.array([6, 7])),
        lambda: index.search(WIDE[7].astype(np.float32), 3),
        lambda: index.search(WIDE_QUERIES[0], len(WIDE)),
    ):
        with pytest.raises(IndexFormatError, match="vectors is damaged"):
            read()


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_candidates_of_many_segments_are_the_best_estimates_of_all(share: float) -> None:
    sizes = [2500, 200, 4000, 1300]
    bounds = np.cumsum([0, *sizes])
    live = np.random.default_rng(5).random(len(WIDE)) < share
    parts = [WIDE[a:b] for a, b in pairwise(bounds)]
    masks = [live[a:b] for a, b in pairwise(bounds)]
    index = DenseIndex(parts, [build_codes(part) for part in parts], masks, exact_rows=0)
    for query in WIDE_QUERIES[:5]:
        estimates = np.full(len(WIDE), -np.inf)
        for part in index._faiss_parts():
            options = import_faiss().RaBitQSearchParameters(qb=dense._QUERY_BITS)
            estimate, at = part.index.search(query[None], part.index.ntotal, params=options)
            estimates[part.start + at[0]] = estimate[0]
        estimates[~live] = -np.inf
        found = index._candidates(query, 10, index._every)
        assert found is not None and len(found) == candidates(int(live.sum()), 10, 384)
        assert live[found].all() and len(np.unique(found)) == len(found)
        worst = np.sort(estimates)[-len(found)]
        assert (estimates[found] >= worst).all()


def test_candidates_grow_with_the_index_and_with_k() -> None:
    assert candidates(1, 10, 64) > candidates(1, 10, 384)
    assert candidates(1, 10, 384) == candidates(100_000, 10, 768) == 300
    assert candidates(10**5, 10, 384) < candidates(10**6, 10, 384) < candidates(10**6, 100, 384)


def test_a_callers_mistakes_are_named() -> None:
    index = DenseIndex([VECTORS], [None], [None])
    with pytest.raises(ValueError, match="need \\(64,\\)"):
        index.search(np.ones(3, np.float32), 1)
    with pytest.raises(ValueError, match="not finite"):
        index.search(np.full(DIM, np.nan, np.float32), 1)
    with pytest.raises(ValueError, match="k must be"):
        index.search(QUERIES[0], -1)
    for within in (np.ones(5999, np.bool_), np.ones(6000, np.uint8)):
        with pytest.raises(ValueError, match="need bool \\(6000,\\)"):
            index.search(QUERIES[0], 1, within)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(ValueError, match="need 0 to 5999"):
        index.scores(QUERIES[0], np.array([6000]))
    with pytest.raises(ValueError, match="float16"):
        DenseIndex([VECTORS.astype(np.float32)], [None], [None])
    with pytest.raises(ValueError, match="mask"):
        DenseIndex([VECTORS], [None], [np.ones(3, bool)])
    with pytest.raises(ValueError, match="one per segment"):
        DenseIndex([VECTORS], [], [None])
