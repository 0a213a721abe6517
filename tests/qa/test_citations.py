"""A citation is exact, and says so when its file does not hold it any more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pincite.index import Index, Span, examine
from pincite.qa.citations import cite, line_and_column
from tests.conftest import HashingEmbedder

UNICODE = st.text(
    st.one_of(st.sampled_from("ab .\r\n\t\u0301\u200d👩🏽é漢\u0000\ufeff"), st.characters(exclude_categories=["Cs"])),
    max_size=60,
)


def naive_line_and_column(text: str, offset: int) -> tuple[int, int]:
    line = column = 1
    for place in range(offset):
        ends = text[place] == "\n" or (text[place] == "\r" and text[place + 1 : place + 2] != "\n")
        line, column = (line + 1, 1) if ends else (line, column + 1)
    return line, column


@settings(max_examples=100)
@given(UNICODE, st.data())
def test_line_and_column_count_as_an_editor_does(text: str, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, len(text)))
    if text[offset - 1 : offset + 1] == "\r\n":
        offset -= 1  # an offset between CR and LF is on no line of its own
    assert line_and_column(text, offset) == naive_line_and_column(text, offset)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=UNICODE.filter(lambda text: text.strip(" \r\n\t\0\ufeff\u0301\u200d") != ""))
def test_place_of_a_passage_is_that_of_its_first_character(
    tmp_path: Path, embedder: HashingEmbedder, text: str
) -> None:
    article = tmp_path / "any.txt"
    more = "And more, much more of them.\r\n" * 60
    article.write_text(f"Some words first.\n\n{text}\n\n{more}", encoding="utf-8", newline="")
    index = Index.sync(tmp_path / ".pincite", [article], embedder=embedder)
    (document,) = index.documents()
    rows, _ = index.search_dense(embedder.embed_query("more"), 1_000)
    assert len(rows) == len(index.passages_of(document.id)) > 1
    for row, passage in zip(rows.tolist(), index.passages(rows), strict=True):
        assert index.place_of(row).line == line_and_column(document.text, passage.span.start)[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_editor_at_line_and_column_shows_the_quote(
    tmp_path: Path, embedder: HashingEmbedder, encoding: str, newline: str
) -> None:
    lines = ["Über die Brücke", "", "Zwei Männer trugen\teinen Schrank über die Brücke.", "Niemand half."]
    article = tmp_path / "brücke.txt"
    article.write_bytes(newline.join(lines).encode(encoding))
    index = Index.sync(tmp_path / ".pincite", [article], embedder=embedder)
    (document,) = index.documents()
    start = document.text.index("einen Schrank")
    span = Span(start, start + len("einen Schrank"))
    citation = cite(document, span, span, 1.0, examine(document, index.location(document)))
    assert citation.verified and citation.quote == "einen Schrank"
    with open(article, encoding=encoding, newline="") as file:
        line = file.read().split(newline)[citation.line - 1]
    assert line[citation.column - 1 :].startswith(citation.quote)


def test_changed_or_vanished_file_is_not_verified(articles: Path, embedder: HashingEmbedder) -> None:
    index = Index.sync(articles / ".pincite", [articles], embedder=embedder)
    (document,) = index.documents_of(str(articles / "train.txt"))
    location, span = index.location(document), Span(0, 9)
    assert cite(document, span, span, 1.0, examine(document, location)).verified
    (articles / "train.txt").write_text("The train is late.")
    changed = cite(document, span, span, 1.0, examine(document, location))
    assert not changed.verified and "changed" in changed.problem and changed.quote == "The train"
    (articles / "train.txt").unlink()
    gone = cite(document, span, span, 1.0, examine(document, location))
    assert not gone.verified and "no longer there" in gone.problem


def test_record_is_cited_on_its_line_also_after_the_file_grew(tmp_path: Path, embedder: HashingEmbedder) -> None:
    corpus = tmp_path / "corpus.jsonl"
    rows = [
        json.dumps({"_id": str(n), "text": f'Record {n} says "hé{n}" aloud.'}, ensure_ascii=False) for n in range(3)
    ]
    corpus.write_text("\n".join(rows), encoding="utf-8")
    index = Index.sync(tmp_path / ".pincite", [corpus], embedder=embedder)
    (document,) = index.documents_of(f"{corpus}#2")
    start = document.text.index("says")
    span = Span(start, len(document.text))
    first = cite(document, span, span, 1.0, examine(document, index.location(document)))
    assert (first.line, first.verified) == (3, True)
    assert rows[2][first.column - 1 :].startswith("says")
    corpus.write_text("\n".join(['{"_id": "new", "text": "Before."}', *rows]), encoding="utf-8")
    second = cite(document, span, span, 1.0, examine(document, index.location(document)))
    assert (second.line, second.verified) == (4, True)
    corpus.write_text("\n".join(rows[:2]), encoding="utf-8")
    assert not cite(document, span, span, 1.0, examine(document, index.location(document))).verified
