"""Conditions: what they say, and that the documents found by them are those that a plain reading of them gives."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pincite.index import Index, PinciteError, catalogue
from pincite.index.dates import iso_date, read_date
from pincite.index.filters import Condition, matches, parse_where, parse_wheres, path_pattern
from tests.conftest import HashingEmbedder


@pytest.mark.parametrize(
    ("text", "key", "operator", "value"),
    [
        ("author=Roe", "author", "=", "Roe"),
        ("author!=Jane Roe", "author", "!=", "Jane Roe"),
        (" Date >= 2021-05 ", "date", ">=", "2021-05"),
        ("date<2022", "date", "<", "2022"),
        ("year>1998", "year", ">", "1998"),
        ("pages<=1,200", "pages", "<=", "1,200"),
        ("path=reports/**", "path", "=", "reports/**"),
        ("url=https://example.org/?a=b&c<d", "url", "=", "https://example.org/?a=b&c<d"),
        ("First Published==2003", "first published", "=", "2003"),
    ],
)
def test_a_condition_is_a_key_an_operator_and_a_value(text: str, key: str, operator: str, value: str) -> None:
    assert parse_where(text) == Condition(key, operator, value)
    assert str(parse_where(text)).startswith(key)


@pytest.mark.parametrize(
    "text",
    [
        "", "author", "=Roe", "author=", "author= ", "!=", "author!Roe", "date=>2021", "date<>2021", "a\0b=\0", "x===y",
        "date>=yesterday", "date<2021-13", "date>2021-02-30", "year>nan", "year>inf", "year>1e9", "title<M",
        "path>=a", "format<2", "author=" + "x" * 1000, "x>" + "9" * 400, "ключ", "\n=\n",
    ],
)  # fmt: skip
def test_what_is_no_condition_is_one_clear_line(text: str) -> None:
    with pytest.raises(PinciteError) as error:
        parse_where(text)
    message = str(error.value)
    assert "\n" not in message and "condition" in message and len(message) < 400


def test_hundreds_of_conditions_are_refused_and_repeats_count_once() -> None:
    assert parse_wheres("author=Roe") == (Condition("author", "=", "Roe"),)
    assert len(parse_wheres(["author=Roe", "author=Roe", Condition("year", ">", "3")])) == 2
    with pytest.raises(PinciteError, match="at most"):
        parse_wheres([f"year>{n}" for n in range(300)])


@given(st.text("ab*, ;", max_size=8), st.text("ab,; ", max_size=10))
def test_stars_match_as_a_regular_expression_would(pattern: str, value: str) -> None:
    expression = ".*".join(map(re.escape, pattern.split("*")))
    items = [value, *(item.strip() for item in re.split("[,;]", value))]
    assert matches(pattern, value) == any(re.fullmatch(expression, item) is not None for item in items)
    assert matches(pattern, value, listed=False) == (re.fullmatch(expression, value) is not None)


def fits(glob: list[str], path: list[str]) -> bool:
    """Whether a path of names is what a list of names with wildcards says: slow, but as the manual of git has it."""
    if not glob:
        return True  # what is in a folder that fits, fits
    if glob[0] == "**":
        return any(fits(glob[1:], path[n:]) for n in range(len(path) + 1 if glob[1:] else len(path)))
    return bool(path) and like(glob[0], path[0]) and fits(glob[1:], path[1:])


def like(glob: str, name: str) -> bool:
    if not glob or not name:
        return glob.strip("*") == "" if not name else False
    if glob[0] == "*":
        return like(glob[1:], name) or like(glob, name[1:])
    return glob[0] in ("?", name[0]) and like(glob[1:], name[1:])


names = st.text("ab?*", min_size=1, max_size=4).filter(lambda name: "**" not in name)
globs = st.lists(st.just("**") | names, min_size=1, max_size=5)
paths = st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=5)


@given(globs, paths, st.booleans())
def test_globs_match_paths_as_in_a_gitignore(glob: list[str], path: list[str], leading: bool) -> None:
    text = "/" * leading + "/".join(glob)
    anchored = leading or len(glob) > 1
    expected = fits(glob if anchored else ["**", *glob], path)
    assert (path_pattern(text).fullmatch("/".join(path)) is not None) == expected


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        ("reports/**", "reports/2021/a.pdf", True),
        ("reports/**", "reports", False),
        ("reports/", "x/reports/a.pdf", True),
        ("reports/", "x/reports", False),
        ("./reports/*.pdf", "reports/a.pdf", True),
        ("../articles", "../articles/a.pdf", True),
        ("/data/**", "/data/a.pdf", True),
        ("/a.pdf", "x/a.pdf", False),
        ("[1] a.pdf", "x/[1] a.pdf", True),
        ("a\nb.txt", "a\nb.txt", True),
        ("**", "a/b", True),
        ("*.PDF", "a.pdf", False),
    ],
)
def test_globs_of_paths(glob: str, path: str, expected: bool) -> None:
    assert (path_pattern(glob).fullmatch(path) is not None) == expected


def test_no_pattern_takes_long() -> None:
    for glob in ["*?" * 60 + "x", "**/" * 100 + "x", "*a" * 100 + "b", "/".join(["**/a"] * 80) + "/x", "?*" * 100]:
        for path in ["a" * 4000, "a/" * 2000 + "a"]:
            path_pattern(glob).fullmatch(path)  # with a pattern that backtracks this does not end
            matches(glob, path)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2021", "2021-01-01", "2021-12-31"),
        ("2020-02", "2020-02-01", "2020-02-29"),
        ("2021-12", "2021-12-01", "2021-12-31"),
        ("2021-5-7", "2021-05-07", "2021-05-07"),
        ("2021/05/07", "2021-05-07", "2021-05-07"),
        ("20210507", "2021-05-07", "2021-05-07"),
        ("2021-05-07T23:59:59+02:00", "2021-05-07", "2021-05-07"),
        ("7 May 2021", "2021-05-07", "2021-05-07"),
        ("Friday, May 7th, 2021 at noon", "2021-05-07", "2021-05-07"),
        ("Fri, 7 May 2021 10:00:00 GMT", "2021-05-07", "2021-05-07"),
        ("Sept. 2021", "2021-09-01", "2021-09-30"),
        ("7.5.2021", "2021-05-07", "2021-05-07"),
        ("17/5/2021", "2021-05-17", "2021-05-17"),
        ("5/17/2021", "2021-05-17", "2021-05-17"),
        ("3/5/2021", "2021-03-05", "2021-05-03"),
        ("9999", "9999-01-01", "9999-12-31"),
    ],
)
def test_a_date_names_all_days_that_it_may_mean(text: str, first: str, last: str) -> None:
    period = read_date(text)
    assert period is not None
    days = [date.fromordinal(second // 86_400).isoformat() for second in (period.first, period.last)]
    assert days == [first, last]
    assert first.startswith(period.iso) and iso_date(text) == period.iso


@pytest.mark.parametrize(
    "text", ["", "0000", "2021-13", "2021-02-30", "31 June 2021", "marble 2021", "Jane Roe", "32/13/2021", "2" * 10**6]
)
def test_what_is_no_date_is_none(text: str) -> None:
    assert read_date(text) is None and iso_date(text) == ""


DATES = ["2019-03-04", "2021", "2021-05", "2021-05-17", "2021-05-17T10:30", "2021-06", "May 20, 2021", "soon"]
VALUES: dict[str, list[str]] = {
    "author": ["Roe", "roe", "Jane Roe", "Ann Lee, Roe", "Lee; Jane Roe", "Zo\u00eb", "Zoe\u0308", "R*e", "Roehm"],
    "date": DATES,
    "seen": DATES,
    "year": ["1997", "1998", "1998.0", "2003", "12,000", "c. 1998", "-3", "20210517"],
    "url": [f"https://example.org/{n}" for n in range(30)],
}
TITLES = ["", "The harbour", "Harbour, board", "1998", "Roses"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Index, list[dict[str, str]]]:
    """An index of several segments, part of it replaced and removed, and what each of its documents says of itself."""
    folder = tmp_path_factory.mktemp("corpus")
    draw = Random(4)
    embedder = HashingEmbedder()
    for turn in range(4):
        for name in draw.sample(["a.jsonl", "sub/b.jsonl", "sub/deep/c.jsonl", "d#1.jsonl"], 2 if turn else 4):
            lines = []
            for number in draw.sample(range(60), 50):
                said = {key: draw.choice(values) for key, values in VALUES.items() if draw.random() < 0.6}
                record = {"_id": f"{number}", "title": draw.choice(TITLES), "text": f"Text {draw.random()}. " * 3}
                lines.append(json.dumps(record | said))
            (folder / name).parent.mkdir(exist_ok=True, parents=True)
            (folder / name).write_text("\n".join(lines))
        (folder / f"{turn}.txt").write_text(f"Note {turn}\n\nBy Jane Roe\n\nSome text.\n")
        (folder / f"{turn - 2}.txt").unlink(missing_ok=True)
        index = Index.sync(folder / ".pincite", [folder], embedder=embedder)
    assert len(index.segments) > 1 and not all(live.all() for live in index.live_documents)
    every = [
        dict(one.metadata) | {"title": one.title, "format": one.format, "path": one.path} for one in index.documents()
    ]
    return index, [{key: value for key, value in one.items() if value} for one in every]


def day_range(text: str) -> tuple[date, date] | None:
    """The first and the last day that a date of `DATES` names."""
    text = {"May 20, 2021": "2021-05-20"}.get(text, text).partition("T")[0]
    if not re.fullmatch(r"\d{4}(-\d\d(-\d\d)?)?", text):
        return None
    parts = [int(part) for part in text.split("-")]
    first = date(parts[0], *[*parts[1:], 1, 1][:2])
    if len(parts) == 3:
        return first, first
    after = date(first.year + 1, 1, 1) if len(parts) == 1 or first.month == 12 else date(first.year, first.month + 1, 1)
    return first, after - timedelta(1)


def as_number(text: str) -> float | None:
    try:
        return float(text.replace(",", "")) if re.match(r"[-\d]", text) and "-" not in text[1:] else None
    except ValueError:
        return None


def plain(text: str) -> str:
    return text.replace("e\u0308", "\u00eb").lower()


def plainly(said: Mapping[str, str], condition: Condition, keys: set[str]) -> bool:
    """Whether a condition holds, worked out one document at a time."""
    if condition.key not in keys:
        return False
    if condition.operator == "!=":
        return not plainly(said, Condition(condition.key, "=", condition.value), keys)
    value = said.get(condition.key)
    if value is None:
        return False
    if condition.operator == "=":
        items = [value] if condition.key in ("title", "format") else [value, *re.split("[,;] *", value)]
        expression = ".*".join(map(re.escape, plain(condition.value).split("*")))
        if any(re.fullmatch(expression, plain(item)) for item in items):
            return True
    if condition.key in ("title", "format"):
        return False
    ours, theirs = as_number(value), as_number(condition.value)
    if ours is not None and theirs is not None:
        return holds(condition.operator, (ours, ours), (theirs, theirs))
    days, asked = day_range(value), day_range(condition.value)
    if days is None or asked is None:
        return False
    return holds(condition.operator, (days[0].toordinal(), days[1].toordinal()), [day.toordinal() for day in asked])


def holds(operator: str, ours: Sequence[float], theirs: Sequence[float]) -> bool:
    (low, high), (first, last) = ours, theirs
    answers = {"<": high < first, "<=": high <= last, ">": low > last, ">=": low >= first}
    return answers.get(operator, first <= low and high <= last)


def some_conditions() -> st.SearchStrategy[Condition]:
    texts = {
        "author": [*VALUES["author"], "*roe", "*e*", "*", "lee", "nobody", "roe*", "ZO\u00cb"],
        "title": [*TITLES[1:], "*harbour*", "board", "*"],
        "format": ["jsonl", "text", "*", "t*"],
        "url": ["https://example.org/1*", "*/7", "*"],
        "nothing": ["*", "1"],
    }
    days = ["2021", "2021-05", "2021-05-17", "2019-03-04", "2022", "2021-06"]
    ranges = {"date": days, "seen": days, "year": ["1998", "12000", "2021"]}
    exact = [Condition(key, sign, value) for key, values in texts.items() for value in values for sign in ("=", "!=")]
    ordered = [
        Condition(key, sign, value)
        for key, values in ranges.items()
        for value in values
        for sign in ("=", "!=", "<", "<=", ">", ">=")
    ]
    return st.sampled_from(exact) | st.sampled_from(ordered)


@given(wanted=st.lists(some_conditions(), max_size=3))
def test_documents_found_are_those_that_fit_one_by_one(
    corpus: tuple[Index, list[dict[str, str]]], wanted: list[Condition]
) -> None:
    index, documents = corpus
    keys = {key for said in documents for key in said}
    expected = {said["path"] for said in documents if all(plainly(said, one, keys) for one in wanted)}
    assert found_paths(index, *wanted) == expected


def found_paths(index: Index, *wanted: str | Condition) -> set[str]:
    mask = index.rows_where(parse_wheres(wanted))
    assert mask.dtype == np.bool_ and mask.shape == (sum(contents.passages for contents in index.segments),)
    return {index.place_of(row).path for row in np.flatnonzero(mask).tolist()}


def test_paths_fit_as_shown_and_as_stored_and_records_behind_a_hash(
    corpus: tuple[Index, list[dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(corpus[0].path).parent
    monkeypatch.chdir(folder.parent)
    index = Index.open(Path(folder.name) / ".pincite", embedder=HashingEmbedder())
    every = {document.path for document in index.documents()}

    def where(*globs: str) -> set[str]:
        return found_paths(index, *(f"path={glob}" for glob in globs))

    def under(*starts: str) -> set[str]:
        return {path for path in every if path.startswith(starts)}

    name = folder.name
    assert where("sub/**") == where(f"{name}/sub/**") == where("sub") == under(f"{name}/sub/") != set()
    assert where("*.txt") == {path for path in every if path.endswith(".txt")} != set()
    assert where("a.jsonl") == where(f"{folder.name}/a.jsonl") == under(f"{name}/a.jsonl#")
    assert where("a.jsonl#1*") == under(f"{name}/a.jsonl#1") != where("a.jsonl")
    assert where("#7") == {path for path in every if path.endswith("#7")} != set()
    assert where("d#1.jsonl") == under(f"{name}/d#1.jsonl") != set()
    assert where("sub/*", "*/c.jsonl") == set() and where("sub/**", "**/c.jsonl") == under(f"{name}/sub/deep/")
    assert found_paths(index, "path!=sub") == every - under(f"{name}/sub/")
    monkeypatch.chdir(folder / "sub")
    inside = Index.open("../.pincite", embedder=HashingEmbedder())
    assert found_paths(inside, "path=../a.jsonl") == found_paths(inside, "path=a.jsonl") != set()
    assert found_paths(inside, "path=b.jsonl") == {one.path for one in inside.documents_of("b.jsonl")} != set()


texts = st.lists(st.sampled_from(["path", "date", "author", "=", "!=", "<", ">=", "*", "#", "/", "?", "2021", "-"]))


@given(texts.map("".join) | st.text(max_size=20) | st.text(st.characters(categories=["Cs", "Cc", "Nd"]), max_size=5))
def test_any_text_is_a_condition_or_one_clear_line(corpus: tuple[Index, list[dict[str, str]]], text: str) -> None:
    for wanted in (text, f"path={text}", f"author!={text}", f"date<={text}"):
        try:
            condition = parse_where(wanted)
        except PinciteError as error:
            assert "\n" not in str(error)
        else:
            assert parse_where(str(condition)) == condition
            corpus[0].rows_where([condition])


def test_threads_find_what_one_thread_finds(corpus: tuple[Index, list[dict[str, str]]]) -> None:
    wanted = ["author=roe", "date>2020", "year>1", "url=*1", "path=a*", "path=#1", "x=1", "seen<2021-06"] * 5
    index = Index.open(corpus[0].path)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda one: found_paths(index, one), wanted))
    assert found == [found_paths(corpus[0], one) for one in wanted]


def test_an_index_without_documents_has_none_that_fit(tmp_path: Path, embedder: HashingEmbedder) -> None:
    (tmp_path / "a.txt").write_text("Some text.")
    Index.sync(tmp_path / ".pincite", [tmp_path], embedder=embedder)
    (tmp_path / "a.txt").unlink()
    index = Index.sync(tmp_path / ".pincite", embedder=embedder)
    for condition in ("path=*", "path=#1", "title!=x", "author=*", "date<2020"):
        assert found_paths(index, condition) == set()
    assert index.keys() == ["path", "title", "format"]


def test_keys_are_listed_and_one_that_no_document_has_finds_nothing(
    corpus: tuple[Index, list[dict[str, str]]],
) -> None:
    index = Index.open(corpus[0].path)
    assert found_paths(index, "autor!=Roe") == found_paths(index, "autor=Roe") == set()
    assert index.keys()[:3] == ["path", "title", "format"] and {"author", "date", "year", "url"} <= set(index.keys())
    assert "title" not in index.keys()[3:]
    fresh = Index.open(corpus[0].path)
    assert fresh.keys() == index.keys()
    assert found_paths(fresh, "autor!=Roe") == set() != found_paths(fresh, "path=a.jsonl", "author=*")


@pytest.fixture
def small_catalogue(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(catalogue, "_MOST_COLUMNS", 3)
    monkeypatch.setattr(catalogue, "_MOST_MASKS", 2)
    monkeypatch.setattr(catalogue, "_MOST_NAMES", 2)
    yield


@pytest.mark.usefixtures("small_catalogue")
def test_what_is_kept_of_metadata_is_bounded_and_found_again(corpus: tuple[Index, list[dict[str, str]]]) -> None:
    index = Index.open(corpus[0].path)
    wanted = ["author=roe", "date>2020", "year>1", "url=*1", "title=*", "path=a*", "path=#1", "format=text", "x=1"]
    expected = [found_paths(corpus[0], condition) for condition in wanted]
    assert expected[0] and expected[3]
    for _ in range(2):
        assert [found_paths(index, condition) for condition in wanted] == expected
        kept = index._catalogue
        assert len(kept._columns) <= 3 and len(kept._masks) <= 2 and len(index.keys()) <= 3 + 2
