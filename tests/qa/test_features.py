"""What words tell of a sentence and of a question: its neighbours, its terms, and whether yes or no would do."""

from __future__ import annotations

from pathlib import Path

import pytest

from pincite.index import Index, Span
from pincite.index.sentences import outline
from pincite.qa.features import ask_words, asks_for_one, covered, is_yes_no, sentence_around, sentences_of
from pincite.qa.retriever import retrieve
from tests.conftest import HashingEmbedder


def test_terms_weigh_by_rarity(articles: Path, embedder: HashingEmbedder) -> None:
    index = Index.sync(articles.parent / ".pincite", [articles], embedder=embedder)
    idf = ask_words(index, "Is it the house, the carp or the zebra?").idf
    assert idf["hous"] <= idf["carp"] < idf["zebra"]
    assert covered(idf, {"hous", "carp", "zebra"} | idf.keys()) == pytest.approx(1.0)
    assert covered({}, {"carp"}) == 0.0


def test_sentences_are_exact_and_know_heading_title_and_neighbours(tmp_path: Path, embedder: HashingEmbedder) -> None:
    text = "# Ulm\n\nIt lies in a wood. \U0001f600 It is old.\n\n# Bern\n\nIt lies\ton a river. It is young.\n"
    (tmp_path / "towns.md").write_text(text, encoding="utf-8")
    index = Index.sync(tmp_path / ".pincite", [tmp_path], embedder=embedder)
    (hit,) = retrieve(index, "Bern", embedder.embed_query("Bern"), 1)
    sentences = sentences_of(hit, outline(hit.passage.text))
    assert all(one.span.of(text) == one.text for one in sentences)
    by_text = {one.text.strip(): one for one in sentences}
    river = by_text["It lies\ton a river."]
    assert {"bern", "ulm", "young"} <= river.around and "old" not in river.around
    assert "bern" not in by_text["It lies in a wood."].around
    assert by_text["# Bern"].is_furniture and not river.is_furniture
    start = text.index("wood")
    assert sentence_around(sentences, Span(start, start + 4), hit) == by_text["It lies in a wood."]
    both = sentence_around(sentences, Span(start, text.index("old")), hit)
    assert both.span.of(text) == both.text == "It lies in a wood. \U0001f600 It is old."
    assert both.terms == {"lie", "wood", "old"} and {"ulm"} <= both.around and not both.is_furniture


@pytest.mark.parametrize(
    "furniture",
    [
        "By Mayor Ulm",
        "Ulm, the mayor?",
        "---\ntitle: The mayor of Ulm\nmayor: Ulm\n---",
        "## Who is the mayor of Ulm",
        "May 3, 2021",
    ],
)
def test_headings_bylines_dates_and_questions_are_furniture(
    tmp_path: Path, embedder: HashingEmbedder, furniture: str
) -> None:
    (tmp_path / "ulm.md").write_text(f"{furniture}\n\nOn the third day the council chose Eva Roth.\n")
    index = Index.sync(tmp_path / ".pincite", [tmp_path], embedder=embedder)
    (hit,) = retrieve(index, "Ulm", embedder.embed_query("Ulm"), 1)
    *front, last = sentences_of(hit, outline(hit.passage.text))
    assert front and all(one.is_furniture for one in front)
    assert not last.is_furniture


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Does it rain?", True),
        ("isn't it late", True),
        ("But can they win?", True),
        ("Is it red or blue?", False),
        ("Is it red or not?", True),
        ("In what year was it built", False),
        ("Isolde sings?", False),
        ("Wo liegt Bern?", False),
        ("", False),
    ],
)
def test_is_yes_no(question: str, expected: bool) -> None:
    assert is_yes_no(question) == expected


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Which company agreed to end the case?", True),
        ("In which other country is French taught?", True),
        ("How many minors does it grant?", True),
        ("What kind of engine drove it?", True),
        ("Which companies agreed?", False),
        ("Which three museum halls closed?", False),
        ("What kind of companies agreed?", False),
        ("What musical duo opened the evening?", False),
        ("What analysis of the companies was made?", False),
        ("Who sits on the board?", False),
        ("What is made in Ulm?", False),
        ("Where is it taught?", False),
        ("", False),
    ],
)
def test_asks_for_one(question: str, expected: bool) -> None:
    assert asks_for_one(question) == expected
