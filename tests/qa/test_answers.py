"""One answer of many spans: the best, all its places, and nothing rather than a guess."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pincite.index import Document, Evidence, Index, Span, examine
from pincite.qa.answers import Answer, compose
from pincite.qa.reader import ScoredSpan
from pincite.qa.retriever import Hit, retrieve
from tests.conftest import HashingEmbedder

Compose = Callable[..., Answer]


@pytest.fixture
def composed(articles: Path, embedder: HashingEmbedder) -> Compose:
    """A function from (file, quote, confidence)... to the answer they add up to."""
    (articles / "copy.txt").write_text("Some more news.\n\nThe train to  Bern leaves at noon.\n")
    index = Index.sync(articles / ".pincite", [articles], embedder=embedder)

    def source(hit: Hit) -> tuple[Document, Evidence]:
        document = index.document(hit.passage.document_id)
        return document, examine(document, index.location(document))

    def compose_spans(*found: tuple[str, str, float], min_confidence: float = 0.5) -> Answer:
        hits = {Path(hit.path).name: hit for hit in retrieve(index, "x", embedder.embed_query("x"), 10)}
        spans = []
        for name, quote, confidence in found:
            start = source(hits[name])[0].text.index(quote)
            span = Span(start, start + len(quote))
            spans.append(ScoredSpan(hits[name], span, span, quote, 1.0, confidence))
        return compose("x?", spans, list(hits.values()), source, min_confidence=min_confidence, elapsed={})

    return compose_spans


def test_best_span_is_the_answer_and_others_are_alternatives(composed: Compose) -> None:
    answer = composed(
        ("garden.md", "Roses grow behind the house.", 0.6), ("train.txt", "It has six cars and a bar.", 0.9)
    )
    assert (answer.text, answer.confidence) == ("It has six cars and a bar.", 0.9)
    assert [(item.text, item.confidence) for item in answer.alternatives] == [("Roses grow behind the house.", 0.6)]


def test_equal_answers_from_several_places_become_one_with_all_citations(composed: Compose) -> None:
    answer = composed(
        ("copy.txt", "The train to  Bern leaves at noon.", 0.7),
        ("train.txt", "The train to Bern leaves at noon.", 0.8),
        ("train.txt", "The train to Bern leaves at noon.", 0.8),
    )
    assert answer.text == "The train to Bern leaves at noon."
    assert [(Path(item.path).name, item.line) for item in answer.citations] == [("train.txt", 1), ("copy.txt", 3)]
    assert all(citation.verified for citation in answer.citations)
    assert answer.alternatives == ()


def test_a_name_in_more_words_is_the_same_answer_and_the_likelier_wording_is_given(composed: Compose) -> None:
    answer = composed(("train.txt", "six cars", 0.8), ("train.txt", "six", 0.7), ("garden.md", "three", 0.6))
    assert answer.text == "six cars"
    assert [citation.quote for citation in answer.citations] == ["six cars"]
    assert [item.text for item in answer.alternatives] == ["three"]


def test_sources_that_say_otherwise_are_told_from_sources_that_agree(composed: Compose) -> None:
    answer = composed(("train.txt", "noon", 0.8), ("copy.txt", "noon", 0.75), ("board.txt", "May", 0.7))
    assert [Path(path).name for path in answer.sources] == ["train.txt", "copy.txt"]
    assert [item.text for item in answer.disagreeing] == ["May"]
    assert composed(("train.txt", "noon", 0.8), ("board.txt", "May", 0.5)).disagreeing == ()
    assert composed(("train.txt", "noon", 0.8), ("train.txt", "six", 0.8)).disagreeing == ()


def test_nothing_certain_enough_is_no_answer(composed: Compose) -> None:
    answer = composed(("train.txt", "It has six cars and a bar.", 0.4))
    assert (answer.text, answer.citations, answer.confidence) == (None, (), 0.4)
    assert len(answer.hits) == 4
    assert composed().text is None and composed().confidence == 0.0
