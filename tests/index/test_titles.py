"""Titles: what an author wrote as one is found, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pincite.index.titles import title_and_metadata


@pytest.mark.parametrize(
    ("name", "text", "title"),
    [
        ("a.txt", "Harbour board named\n\nThe board met.\n", "Harbour board named"),
        ("a.txt", "\n\nHarbour board named\nBy Jane Roe\nThe board met.\n", "Harbour board named"),
        ("a.txt", "Harbour board named\r\n12 March 2021\r\nThe board met.\n", "Harbour board named"),
        ("a.txt", "Who sits on the board?\n\nFive people.\n", "Who sits on the board?"),
        ("a.txt", "Deal signed by Foo Inc.\n\nFive people.\n", "Deal signed by Foo Inc."),
        ("a.txt", "The board met today.\n\nIt named a chair.\n", ""),
        ("a.txt", "The board met today in\nGeneva and named a chair.\n", ""),
        ("a.txt", "word " * 40 + "\n\nText.\n", ""),
        ("a.txt", "One line and nothing else", ""),
        ("a.md", "intro\n\n## Second\n\n# The *real* [title](x.md) #\n", "The real title"),
        ("a.md", "```\n# not me\n```\n\n## Only second\n", "Only second"),
        ("a.md", "Set in\nSetext title\n============\n\ntext", "Setext title"),
        ("a.md", "Setext two\n---\n\ntext", "Setext two"),
        ("a.md", "---\ntitle: 'Front: matter'\n---\n# Heading\n", "Front: matter"),
        ("a.md", "---\nno end\n\n# Heading\n", "Heading"),
        ("a.md", "#hashtag and text\n\nmore", ""),
        ("a.markdown", "plain", ""),
        ("a.rst", "=====\nTitle\n=====\n\ntext", "Title"),
        ("a.rst", ".. _label:\n\nTitle\n-----\n\ntext", "Title"),
        ("a.rst", "text\n\nLater title\n~~~~~~~~~~~\n", "Later title"),
        ("a.rst", "text only\n", ""),
    ],
)
def test_titles_come_from_the_content(name: str, text: str, title: str) -> None:
    assert title_and_metadata(text, name[1:])[0] == title


def test_metadata_comes_from_the_head() -> None:
    front = "---\ntitle: T\nauthor: Jane \"JR\" Roe # me\ndate: 2021-03-04\ntags: [a, 'b']\nlist:\n  - x\n  - y\n"
    front += "nested:\n  deep: no\nsummary: >\n  two\n  lines\nempty:\n---\ntext\n"
    assert title_and_metadata(front, ".md")[1] == {
        "author": 'Jane "JR" Roe',
        "date": "2021-03-04",
        "tags": "a, b",
        "list": "x, y",
        "summary": "two lines",
    }
    assert title_and_metadata("T\n=\n\nTitle\n=====\n\n:Author: Jo\n:Date: 2020\n\nx", ".rst")[1] == {
        "author": "Jo",
        "date": "2020",
    }
    text = "Board named\nBy Jane Roe\nMarch 4, 2021\n\nText here.\n"
    assert title_and_metadata(text, ".txt")[1] == {"author": "Jane Roe", "date": "2021-03-04"}


@given(st.text(st.sampled_from("-=# \n:a'\"[]`~|>."), max_size=120), st.sampled_from([".md", ".rst", ".txt"]))
def test_no_head_of_a_text_is_an_error(text: str, extension: str) -> None:
    title, metadata = title_and_metadata(text, extension)
    assert all("\n" not in value for value in [title, *metadata, *metadata.values()])


@pytest.mark.parametrize("piece", ["[", "# ", "#", " ", "[a](", "`", "*a", "a: ", "-", "1 ", "By "])
@pytest.mark.parametrize("extension", [".md", ".rst", ".txt"])
def test_titles_of_hostile_texts_are_short_or_none(piece: str, extension: str) -> None:
    for prefix in ("", "# ", "---\n"):  # a pattern that goes back and forth over the text would not come to an end
        title, metadata = title_and_metadata(prefix + piece * 1_000_000, extension)
        assert len(title) < 1_000 and len(metadata) < 100


def test_metadata_has_its_usual_names_too_and_dates_in_one_form() -> None:
    front = "---\nauthors: [Jo, Mo]\npublished: 4 March 2021\nlink: https://example.org/a\n---\ntext\n"
    assert title_and_metadata(front, ".md")[1] == {
        "authors": "Jo, Mo",
        "published": "4 March 2021",
        "link": "https://example.org/a",
        "author": "Jo, Mo",
        "date": "2021-03-04",
        "url": "https://example.org/a",
    }
    both = "---\nyear: 2020\ncreated: 2021-03-04T10:00:00Z\ndate: last week\n---\ntext\n"
    assert title_and_metadata(both, ".md")[1]["date"] == "last week"
    assert title_and_metadata(both.replace("date: last week\n", ""), ".md")[1]["date"] == "2021-03-04T10:00:00Z"
