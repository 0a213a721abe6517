"""What words tell of a sentence: its neighbours, its kind, and whether it offers what is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from pincite.index import Index, Span
from pincite.index.sentences import outline
from pincite.qa.features import ask_words, covered, kind_asked, offers, sentence_around, sentences_of
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
    ("question", "kind"),
    [
        ("When did it end?", "time"),
        ("In what year was it built", "time"),
        ("how many seats are there", "number"),
        ("What is the price of a ticket?", "number"),
        ("Where does she live?", "place"),
        ("In which city is it?", "place"),
        ("Why did he go?", "reason"),
        ("To whom was it given?", "name"),
        ("Does it rain?", "yes/no"),
        ("isn't it late", "yes/no"),
        ("Is it red or blue?", ""),
        ("Isolde sings?", ""),
        ("Wo liegt Bern?", ""),
        ("", ""),
    ],
)
def test_kind_asked(question: str, kind: str) -> None:
    assert kind_asked(question) == kind


@pytest.mark.parametrize(
    ("kind", "sentence", "found"),
    [
        ("time", "It opened in 1931.", 1.0),
        ("time", "It opened with music.", -1.0),
        ("time", "The 2022 race was won.", -1.0),
        ("number", "Some forty people came.", 1.0),
        ("number", "In 2022 many came.", -1.0),
        ("place", "She lives in Bern.", 1.0),
        ("place", "She lives in hope.", -1.0),
        ("place", "SHE LIVES IN HOPE.", 0.0),
        ("reason", "It closed because nobody came.", 1.0),
        ("name", "The race was won by Ann.", 1.0),
        ("name", "Anna won the race.", -1.0),
        ("name", "Roses won.", -1.0),
        ("name", "Eva Roth won.", 1.0),
        ("", "Eva Roth won.", 0.0),
        ("yes/no", "Eva Roth won.", 0.0),
    ],
)
def test_offers_only_what_is_not_in_the_question(kind: str, sentence: str, found: float) -> None:
    asked = frozenset({"2022", "race", "anna"})
    assert offers(kind, sentence, Span(0, len(sentence)), asked) == found


def test_offers_only_what_is_in_the_part() -> None:
    sentence = "Eva Roth won in 1931."
    assert offers("time", sentence, Span(0, 8), frozenset()) == -1.0
    assert offers("time", sentence, Span(16, 20), frozenset()) == 1.0
    assert offers("name", sentence, Span(0, 8), frozenset()) == 1.0
