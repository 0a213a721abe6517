"""The library: many threads, one generation, and questions of every kind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from pincite.index import Index, QuestionError
from pincite.qa import Answer, Pipeline
from tests.conftest import HashingEmbedder

QUESTIONS = ["Who sits on the board?", "When does the train leave?", "how many carp are there", "rosés?", "\u202e??"]


def without_times(answer: Answer) -> Answer:
    return replace(answer, elapsed={})


def test_threads_get_the_answers_of_one_generation_while_it_is_replaced(
    articles: Path, embedder: HashingEmbedder
) -> None:
    index = Index.sync(articles / ".pincite", [articles], embedder=embedder)
    expected = [without_times(Pipeline(index).ask(question, min_confidence=0)) for question in QUESTIONS]
    fresh = Index.open(articles / ".pincite", embedder=embedder)
    pipeline = Pipeline(fresh)

    def ask(number: int) -> bool:
        answer = without_times(pipeline.ask(QUESTIONS[number % 5], min_confidence=0))
        return [citation.quote for citation in answer.citations] == [
            citation.quote for citation in expected[number % 5].citations
        ] and answer.hits == expected[number % 5].hits

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(ask, number) for number in range(200)]
        for turn in range(5):
            (articles / "train.txt").write_text(f"The train leaves at {turn}.")
            (articles / f"new{turn}.txt").write_text("On the board sit other people now.")
            Index.sync(articles / ".pincite", embedder=embedder)
        assert all(answer.result() for answer in answers)
    renewed = Pipeline(fresh.refresh()).ask("When does the train leave?", min_confidence=0)
    assert any("leaves at 4" in hit.passage.text for hit in renewed.hits)


@pytest.mark.parametrize("question", ["", "  \n", "word " * 1001])
def test_no_question_is_refused_and_so_is_a_book(articles: Path, embedder: HashingEmbedder, question: str) -> None:
    pipeline = Pipeline(Index.sync(articles / ".pincite", [articles], embedder=embedder))
    with pytest.raises(QuestionError):
        pipeline.ask(question)
    with pytest.raises(QuestionError):
        pipeline.search(question)
    with pytest.raises(ValueError, match="k must be"):
        pipeline.ask("who?", k=0)


@pytest.mark.parametrize("question", [*QUESTIONS, "word " * 900, "???", "\0", "漢字", "'; DROP TABLE", "a" * 5000])
def test_any_other_question_has_an_answer_or_none(articles: Path, embedder: HashingEmbedder, question: str) -> None:
    index = Index.sync(articles / ".pincite", [articles], embedder=embedder)
    answer = Pipeline(index).ask(question, min_confidence=0)
    for citation in answer.citations:
        (document,) = index.documents_of(citation.path)
        assert citation.span.of(document.text) == citation.quote
        assert citation.sentence_span.of(document.text) == citation.sentence
        assert citation.verified
    assert set(answer.elapsed) == {"embed", "retrieve", "read", "total"}


def test_index_without_documents_has_no_answer(articles: Path, embedder: HashingEmbedder) -> None:
    Index.sync(articles / ".pincite", [articles], embedder=embedder)
    for path in articles.glob("*.*"):
        if path.is_file():
            path.unlink()
    index = Index.sync(articles / ".pincite", embedder=embedder)
    assert index.stats().passages == 0
    answer = Pipeline(index).ask("Who sits on the board?")
    assert (answer.text, answer.hits) == (None, ())
    assert Pipeline(index).search("board") == []
