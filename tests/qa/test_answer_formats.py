"""Answers for machines: what is hostile in a source stays text, and every format says the same."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import html  # type: ignore[import-untyped, unused-ignore]  # has no type information of its own
from markdown_it import MarkdownIt

from pincite.index import Index, IndexStats, Span
from pincite.qa import Answer, Citation, Pipeline
from pincite.qa.annotations import answer_annotations, path_of_iri
from pincite.qa.answer_formats import FORMATS, HIT_FORMATS
from pincite.qa.answers import Alternative
from pincite.qa.cli import ask, main, search
from pincite.qa.links import web_address, web_link
from pincite.qa.render import printable
from pincite.qa.render_json import answer_json
from tests.conftest import HashingEmbedder, KnowingReader

STATS = IndexStats(1, 5, 9, 1, 2_500_000, "some-model", ())
NASTY = (
    "<script>alert(1)</script>", "](javascript:alert(1))", "![x](http://evil.example/x.png)", "<img src=x onerror=y>",
    "**", "__", "`", "\\", "&lt;b&gt;", "&#60;", '" onclick="x', "' x='", "\n\n# head", "\n- item", "1. ", "- ", "$x$",
    "http://evil.example", "www.evil.example", "~~", "|", "[^1]", "[a]: http://evil.example", "===", "---", "US$5",
    "\x1b[31m", "\u202e", "é", "(", "“", "€", "e\u0301", " ", "word",
)  # fmt: skip
TEXT = st.lists(st.sampled_from(NASTY) | st.text(max_size=3), min_size=1, max_size=6).map("".join)


def cited(before: str, quote: str, after: str, **changes: object) -> Citation:
    sentence, span = before + quote + after, Span(7 + len(before), 7 + len(before + quote))
    fields: dict[str, object] = {
        "path": "notes/light house.txt", "title": "Light", "span": span, "line": 3, "column": 16, "end_line": 3,
        "quote": quote, "sentence": sentence, "sentence_span": Span(7, 7 + len(sentence)), "score": 0.9,
        "verified": True,
    }  # fmt: skip
    return Citation(**(fields | changes))  # type: ignore[arg-type]  # one place for all fields


def keeper(**changes: object) -> Citation:
    return cited("The keeper was ", "Ida Moss", ", I hear.", **changes)


def answer(*citations: Citation) -> Answer:
    return Answer("Who?", citations[0].quote, 0.9, citations, ())


@settings(max_examples=60)
@given(TEXT, TEXT, TEXT, TEXT)
def test_markdown_shows_hostile_text_as_it_is(before: str, quote: str, after: str, title: str) -> None:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    found = cited(before, f"x{quote}", after, title=f"T{title}", url="https://example.org/a(b)?c&copy;")
    shown = FORMATS["markdown"](answer(found, found), STATS)
    tokens = parser.parse(shown)
    inlines = [token.children or [] for token in tokens if token.type == "inline"]
    assert not {token.type for token in tokens} - {
        "paragraph_open", "paragraph_close", "inline", "ordered_list_open", "ordered_list_close", "list_item_open",
        "list_item_close",
    }  # fmt: skip
    unlinked = re.sub(r"\]\([^ )]+\)", "", shown)  # some renderers make links of bare addresses
    assert "http://evil" not in unlinked and "www.evil" not in unlinked
    kinds = {token.type for one in inlines for token in one}
    assert kinds <= {"text", "text_special", "strong_open", "strong_close", "link_open", "link_close"}
    links = [str(token.attrs["href"]) for one in inlines for token in one if token.type == "link_open"]
    assert [link.partition("#")[0] for link in links] == 2 * [
        "notes/light%20house.txt", "https://example.org/a%28b%29?c&copy;"
    ]  # fmt: skip
    head, *texts = ["".join(token.content for token in one) for one in inlines]
    assert head == f"{printable('x' + quote)} (confidence 0.90)" and len(texts) == 2
    sentence = printable(f"{before}x{quote}{after}")
    for text in texts:
        said = f"notes/light house.txt:3 {printable(f'T{title}')}: {sentence}"
        assert re.sub("[«»\\s]", "", text) == re.sub("[«»\\s]", "", said)


@settings(max_examples=60)
@given(TEXT, TEXT, TEXT)
def test_html_shows_hostile_text_as_it_is(before: str, quote: str, title: str) -> None:
    found = cited(before, quote, " and so on", title=title, path=f"a{title}.txt".replace("\0", ""), url=title)
    page = html.document_fromstring(FORMATS["html"](answer(found), STATS))
    assert {element.tag for element in page.iter()} <= {
        "html", "head", "body", "meta", "title", "article", "h1", "p", "strong", "figure", "blockquote", "mark",
        "figcaption", "a",
    }  # fmt: skip
    for name, value in [item for element in page.iter() for item in element.items()]:
        assert name in {"charset", "http-equiv", "content", "cite", "href"}
        if name in {"cite", "href"}:
            assert urlsplit(value).scheme in {"", "http", "https"} and not value.startswith("//")
    assert printable(quote) in page.text_content() and printable(title) in page.text_content()


def test_markdown_and_html_mark_the_quote_and_link_to_line_and_page() -> None:
    copy = keeper(path="copy.pdf", unit="page", mark="3", line=9, verified=False, problem="the file has changed")
    found = keeper(url="https://example.org/light", also=(copy,), author="Jane Roe")
    first = replace(
        answer(found, cited("It was ", "(Ida", "!", path="b.txt")),
        alternatives=(Alternative("1831", 0.88, (keeper(path="c.md"),)),),
    )
    fragment = "https://example.org/light#:~:text=The%20keeper%20was-,Ida%20Moss,-%2C%20I%20hear."
    assert FORMATS["markdown"](first, STATS).split("\n\n") == [
        "**Ida Moss (confidence 0.90)**",
        f"1. [notes/light house.txt:3](notes/light%20house.txt#L3) [Light, by Jane Roe]({fragment})"
        " (also in [copy.pdf:9](copy.pdf#L9), page 3 (not verified: the file has changed)):"
        " The keeper was **Ida Moss**, I hear.",
        "2. [b.txt:3](b.txt#L3) Light: It was «(Ida»!",
        "Other sources say otherwise: 1831 (c.md)",
    ]
    page = FORMATS["html"](first, STATS)
    assert f'<blockquote cite="{fragment}"><p>The keeper was <mark>Ida Moss</mark>, I hear.</p>' in page
    assert '<a href="copy.pdf#L9">copy.pdf:9</a>, page 3 (not verified: the file has changed)' in page
    assert "Other sources say otherwise: 1831 (c.md)" in page
    every = FORMATS["markdown"](first, STATS, all_answers=True)
    assert "**1831 (confidence 0.88)**" in every and "otherwise" not in every


@pytest.mark.parametrize(
    ("citation", "directive"),
    [
        (cited("", "Ida Moss", ""), ["Ida Moss"]),
        (cited("A, b-c & ", "d, e-f & g", "; h-i"), ["A, b-c &-", "d, e-f & g", "-; h-i"]),
        (cited("(", "2 + 2", ")"), ["2 + 2"]),
        (cited("one\ntwo ", "three\nfour", " five\nsix"), ["two-", "three", "four", "-five"]),
        (cited("", " ".join(f"word{n}" for n in range(60)), ""), [
            "word0 word1 word2 word3 word4", "word55 word56 word57 word58 word59"
        ]),
        (cited("long before this and all of that other thing ", "x", ""), ["this and all of that other thing-", "x"]),
    ],
)  # fmt: skip
def test_text_fragment_names_the_words_on_the_page(citation: Citation, directive: Sequence[str]) -> None:
    link = web_link(replace(citation, url="https://example.org/a#top:~:text=old"))
    address, _, text = link.partition(":~:text=")
    parts = text.split(",")
    assert address == "https://example.org/a#top" and [unquote(part) for part in parts] == directive
    for part in parts:
        assert not re.search(r"[-,& ]", part.removeprefix("-") if part is parts[-1] else part.removesuffix("-"))


@pytest.mark.parametrize(
    "url", ["", "javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "//evil.example", "https://", "http://[x",
            "https://example.org/\n<x>", "https://a b", " https://example.org"],
)  # fmt: skip
def test_only_addresses_of_the_web_become_links(url: str) -> None:
    assert web_address(url) == "" and answer_json(answer(keeper(url=url)), STATS)["citations"][0]["link"] == ""


def test_csl_is_a_bibliography_of_the_cited_documents() -> None:
    first = keeper(author="Jane Roe; Bo Li", date="2021-05", url="https://example.org/é")
    pdf = keeper(path="r.pdf", format="pdf", unit="page", mark="12", page=12, date="last week", url="javascript:x")
    mail = keeper(path="m.eml", format="eml", title="<b>", date="2021-05-17T10:30:00Z")
    # Types and properties are among those of csl-data.json 1.0, which allows no others.
    assert json.loads(FORMATS["csl"](answer(first, pdf, keeper(path="r.pdf", page=13), mail), STATS)) == [
        {
            "id": "notes/light house.txt", "type": "webpage", "title": "Light", "URL": "https://example.org/%C3%A9",
            "author": [{"literal": "Jane Roe"}, {"literal": "Bo Li"}], "issued": {"date-parts": [[2021, 5]]},
        },
        {"id": "r.pdf", "type": "document", "title": "Light", "issued": {"literal": "last week"}, "locator": "12"},
        {"id": "m.eml", "type": "personal_communication", "title": "<b>", "issued": {"date-parts": [[2021, 5, 17]]}},
    ]  # fmt: skip


def test_annotations_select_the_quote_in_the_text_of_the_document(tmp_path: Path, embedder: HashingEmbedder) -> None:
    text = "Ann rows. All know that the keeper of the small light was Ida Moss. So it is."
    (tmp_path / "all.jsonl").write_text(json.dumps({"_id": "ré#1", "text": text, "url": "https://example.org/1"}))
    (tmp_path / "a b#c.txt").write_text("Bo rows here. The keeper was Ida Moss, \U0001f411 they say.")
    index = Index.sync(tmp_path / ".pincite", [tmp_path], embedder=embedder)
    found = Pipeline(index, reader=KnowingReader({"Who kept it?": "Ida Moss"})).ask("Who kept it?", read_all=True)
    body = answer_annotations(found)
    assert body["type"] == "AnnotationCollection" and body["total"] == len(found.citations) == 2
    targets = [annotation["target"] for annotation in body["first"]["items"]]
    for target, citation in zip(targets, found.citations, strict=True):
        quote, position = target["selector"]
        (document,) = index.documents_of(citation.path)
        assert document.text[position["start"] : position["end"]] == quote["exact"] == "Ida Moss"
        before, _, after = citation.sentence.partition("Ida Moss")
        assert (quote["prefix"], quote["suffix"]) == (before[-32:], after[:32]) and before
        assert path_of_iri(target["state"]["cached"] if "state" in target else target["source"]) == citation.path
    assert {target["source"] for target in targets} >= {"https://example.org/1"}
    copies = answer_annotations(answer(keeper(also=(keeper(path="copy.txt"),))))
    assert len(copies["first"]["items"][0]["target"]) == 2


def test_every_format_says_that_there_is_no_answer() -> None:
    shown = {name: form(Answer("Who?", None, 0.1, (), ()), STATS) for name, form in FORMATS.items()}
    assert json.loads(shown["csl"]) == [] and json.loads(shown["annotations"])["total"] == 0
    assert json.loads(shown["json"])["answered"] is json.loads(shown["jsonl"])["answered"] is False
    assert "do not say" in shown["markdown"] and "do not say" in shown["html"]


def test_hits_come_in_every_format(
    articles: Path, embedder: HashingEmbedder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(Index.sync(articles / ".pincite", [articles], embedder=embedder).path)

    def shown(*arguments: str) -> str:
        with pytest.raises(SystemExit):
            main(["search", "--index", folder, "--mode", "sparse", *arguments])
        return capsys.readouterr().out

    forms = {name: shown("--format", name, "carp of the train") for name in HIT_FORMATS}
    assert shown("--json", "carp of the train") == forms["json"]
    hits = json.loads(forms["json"])["hits"]
    lines = [json.loads(line) for line in forms["jsonl"].splitlines()]
    assert lines == [{"query": "carp of the train"} | hit for hit in hits] and len(lines) > 1
    assert [item["id"] for item in json.loads(forms["csl"])] == [hit["path"] for hit in hits]
    for name in ("markdown", "html"):
        assert "The pond holds three carp." in forms[name] and not re.search(r"\*\*|<mark>", forms[name])
    assert shown("--format", "jsonl", "zebra") == ""


def test_the_command_line_offers_the_formats_that_there_are() -> None:
    for command, formats in ((ask, FORMATS), (search, HIT_FORMATS)):
        (option,) = [one for one in command.params if one.name == "form"]
        assert list(option.type.choices) == ["text", *formats]  # type: ignore[attr-defined]  # a Choice
