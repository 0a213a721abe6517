"""What words tell of a sentence: its neighbours, its terms, and whether it states anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from pincite.index import Index, Span
from pincite.index.sentences import outline
from pincite.qa.features import ask_words, covered, sentence_around, sentences_of
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
