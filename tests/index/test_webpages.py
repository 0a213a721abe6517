"""Web pages: the main text is found, and no page is hostile enough to stop the others."""

from __future__ import annotations

import logging
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pincite.index.extracted import Extracted, UnreadableError
from pincite.index.webpages import read_html

FRENCH = "Le conseil d'administration s'est réuni hier à Genève, où l'été fut très « frais ».\n"
RUSSIAN = "Совет директоров собрался вчера в Москве. Председатель заявил, что решение принято единогласно.\n"


def read(markup: bytes | str) -> Extracted:
    return read_html(markup.encode() if isinstance(markup, str) else markup)


PAGE = """<!DOCTYPE html><html><head><meta charset="utf-8"><title>Harbour board named | The Daily Tide</title>
<meta property="og:title" content="Harbour board named"><meta name="author" content="Jane Roe">
<meta property="article:published_time" content="2021-03-04T10:00:00Z"><style>p {color: red}</style></head>
<body><nav><ul><li><a href="/">Home</a></li><li><a href="/n">News</a></li></ul></nav>
<article><h1>Harbour board named</h1>
<p>The harbour board was named on Thursday
   after a vote of all <b>twelve</b> member&nbsp;towns&mdash;a&nbsp;first.</p><p>Its chair is <a href="x">Ada Byron</a>,
who led the port of Lund for nine years and before that its fleet of forty ferries.</p>
<ul><li>Ada Byron, chair</li><li>Cy Twombly, treasurer</li></ul>
<table><tr><th>Town</th><th>Votes</th></tr><tr><td>Lund</td><td>12</td></tr></table>
</article><footer>Copyright 2021 The Daily Tide. All rights reserved. Terms of use.</footer>
<script>track("everything")</script></body></html>"""


def test_a_page_gives_its_main_text_in_paragraphs() -> None:
    page = read(PAGE)
    paragraphs = page.text.split("\n\n")
    assert "The harbour board was named on Thursday after a vote of all twelve member towns—a first." in paragraphs
    assert any(paragraph.startswith("Its chair is Ada Byron, who led") for paragraph in paragraphs)
    assert "Ada Byron, chair\nCy Twombly, treasurer" in page.text
    assert "Lund | 12" in page.text
    for boilerplate in ("Home", "Copyright", "track", "color", "|---"):
        assert boilerplate not in page.text
    assert page.title == "Harbour board named"
    assert dict(page.metadata) == {"author": "Jane Roe", "date": "2021-03-04"}


@pytest.mark.parametrize(
    ("head", "url"),
    [
        ('<link rel="canonical" href="https://tide.example/board">', "https://tide.example/board"),
        ('<meta property="og:url" content="http://tide.example/b">', "http://tide.example/b"),
        ('<link rel="canonical" href="/board"><link rel="canonical" href="javascript:alert(1)">', None),
    ],
)
def test_a_page_tells_its_own_address(head: str, url: str | None) -> None:
    assert read(PAGE.replace("<style>", f"{head}<style>")).metadata.get("url") == url


def test_a_page_with_an_xml_declaration_is_read() -> None:
    page = '<?xml version="1.0" encoding="iso-8859-1"?>\n' + PAGE
    assert "towns—a first" in read(page).text


@pytest.mark.parametrize(
    ("declared", "actual"),
    [("iso-8859-1", "utf-8"), ("utf-8", "cp1252"), ("bogus-7", "utf-8"), ("windows-1251", "cp1251"), ("hex", "utf-8")],
)
def test_a_wrong_charset_does_no_harm(declared: str, actual: str) -> None:
    text = RUSSIAN if actual == "cp1251" else FRENCH
    page = f'<html><head><meta charset="{declared}"><title>T</title></head><body><p>{text}</p></body></html>'
    assert read(page.encode(actual)).text == text.strip()


def test_a_page_without_an_article_still_gives_its_text() -> None:
    assert read("<p>Tiny.").text == "Tiny."
    assert read("no tags at all").text == "no tags at all"
    assert read("<nav>Everything is in <b>here</b>, unclosed").text
    assert not read("<html><head><title>Only a title</title></head><body></body></html>").text
    assert not read("<script>only()</script>").text


def test_a_page_of_many_sections_is_not_cut_to_one() -> None:
    sections = "".join(
        f"<section id=s{n}><h2>Part {n}</h2><div class=sidebar><p>In part {n} the council of town {n} says that it"
        f" will, after {n} years of waiting, open the bridge.</p></div></section>"
        for n in range(9)
    )
    text = read(f"<html><body><div class=body>{sections}</div></body></html>").text
    assert [n for n in range(9) if f"In part {n} the council" not in text] == []


HOSTILE = {
    "divs": "<div>" * 100_000 + "deep text",
    "closed divs": "<div>" * 100_000 + "deep text" + "</div>" * 100_000,
    "paragraphs": "<p>deep text" * 31_000,
    "rows": "<table>" + "<tr><td>deep text</td><td>1</td></tr>" * 5_000,
    "tables": "<table><tr><td>deep text" * 20_000,
    "comments": "deep text" + "<!--" * 100_000,
    "scripts": "deep text" + "<script>" * 50_000,
    "attributes": "<p " + "a=b " * 100_000 + ">deep text",
    "long attribute": '<p title="' + "x" * 3_000_000 + '">deep text',
    "entities": "deep text" + "&lt;" * 50_000 + "&bogus;&#0;&#xD800;&#99999999;",
    "brackets": "deep text" + "<" * 100_000,
    "closings": "deep text" + "</div>" * 100_000,
    "lists": "deep text" + "<ul><li>" * 30_000,
    "formatting": "<b><i><u>deep text" * 4_000,
    "nul": "<p>deep\0 text</p><p>\0\0</p>",
    "cut": PAGE.replace("harbour", "deep text")[:900],
    "doctype": "<!DOCTYPE html [<!ENTITY a 'b'><!ENTITY c '&a;&a;'>]><p>deep text &c;",
    "external": '<!DOCTYPE x SYSTEM "file:///etc/passwd"><p>deep text',
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_pages_give_their_text(
    kind: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    page = read(f"<html><body>{HOSTILE[kind]}")
    assert "deep text" in page.text or kind == "entities"
    assert "\0" not in page.text
    assert "root:" not in page.text
    assert capfd.readouterr() == ("", "")


def test_libraries_stay_silent_without_losing_their_log() -> None:
    read("<p>Tiny.")
    logger = logging.getLogger("trafilatura")
    assert logger.handlers
    assert logger.propagate


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(["<p>", "</p>", "<div", ">", "<nav>", "<!--", "-->", "a b", "\0", "&", "<pre>\n", "é"]))
)
def test_no_markup_is_an_error(pieces: list[str]) -> None:
    with suppress(UnreadableError):  # binary
        read("".join(pieces))


def test_a_row_of_a_table_is_a_line() -> None:
    rows = "<tr><th>Town</th><th>Votes</th></tr><tr><td>Lund</td><td>12</td></tr>"
    page = read(f"<html><body><table>{rows}</table></body></html>")
    assert page.text.split("\n") == ["Town | Votes", "Lund | 12"]
