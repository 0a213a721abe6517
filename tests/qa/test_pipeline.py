"""The library: many threads, one generation, and questions of every kind."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pincite.index import Index, QuestionError
from pincite.qa import Answer, Pipeline
from pincite.qa.pipeline import DECISIVE
from pincite.qa.reader import RERANKED
from pincite.qa.span_model import Window
from tests.conftest import HashingEmbedder, KnowingReader

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
        answers = [pool.submit(ask, number) for number in range(40)]
        for turn in range(5):
            (articles / "train.txt").write_text(f"The train leaves at {turn}.")
            (articles / f"new{turn}.txt").write_text("On the board sit other people now.")
            Index.sync(articles / ".pincite", embedder=embedder)
        assert all(answer.result() for answer in answers)
    renewed = Pipeline(fresh.refresh()).ask("When does the train leave?", min_confidence=0)
    assert any("leaves at 4" in hit.passage.text for hit in renewed.hits)


class NotingReader(KnowingReader):
    """A KnowingReader that notes what it is given to read."""

    def __init__(self, question: str, answer: str) -> None:
        super().__init__({question: answer})
        self.texts: list[str] = []

    def read(self, question: str, texts: Sequence[str]) -> list[Window]:
        self.texts += texts
        return super().read(question, texts)


@pytest.fixture
def keepers(tmp_path: Path, embedder: HashingEmbedder) -> Index:
    """Six articles of one passage each; the first fits "Who keeps the lamp?" best."""
    for n, name in enumerate(["Ann", "Bob", "Cid", "Dan", "Eve", "Fay"]):
        (tmp_path / f"{n}.txt").write_text(f"{name} keeps the lamp{' of the old light house by the sea' * n}.\n")
    return Index.sync(tmp_path / ".pincite", [tmp_path], embedder=embedder)


def test_reading_stops_where_the_first_passages_decide(keepers: Index) -> None:
    question = "Who keeps the lamp?"
    reader = NotingReader(question, "Ann")
    answer = Pipeline(keepers, reader=reader).ask(question)
    assert answer.text == "Ann" and answer.confidence >= DECISIVE
    assert 0 < len(reader.texts) < len(answer.hits) == 6
    assert any("Ann" in text for text in reader.texts)
    thorough = NotingReader(question, "Ann")
    assert Pipeline(keepers, reader=thorough).ask(question, read_all=True).text == "Ann"
    assert len(thorough.texts) == 6


@pytest.mark.parametrize("answer", ["Fay", ""])
def test_every_passage_is_read_once_where_the_first_ones_leave_doubt(keepers: Index, answer: str) -> None:
    question = "Who keeps the lamp?"
    reader = NotingReader(question, answer)
    found = Pipeline(keepers, reader=reader).ask(question)
    assert found.text == (answer or None)
    assert sorted(reader.texts) == sorted(hit.passage.text for hit in found.hits)
    thorough = Pipeline(keepers, reader=reader).ask(question, read_all=True)
    assert without_times(thorough) == without_times(found)


def test_of_long_passages_the_parts_that_share_words_with_the_question_are_read(
    tmp_path: Path, embedder: HashingEmbedder
) -> None:
    for n in range(3):
        idle = " ".join(f"Nothing of note took place in week {week} of year {n}." for week in range(12))
        (tmp_path / f"{n}.txt").write_text(f"{idle} Keeper {n} kept the lamp. {idle}\n")
    question = "Who kept the lamp?"
    reader = NotingReader(question, "")
    pipeline = Pipeline(Index.sync(tmp_path / ".pincite", [tmp_path], embedder=embedder), reader=reader)
    assert len(pipeline.ask(question).hits) < 10
    read, reader.texts = reader.texts, []
    pipeline.ask(question, read_all=True)
    assert len(read) == 8 < len(reader.texts) / 3
    assert set(read) < set(reader.texts)
    assert all("kept the lamp" in text for text in read[:3])
    assert {text for text in reader.texts if "kept the lamp" in text} <= set(read)


def test_full_search_orders_more_hits_than_are_read(tmp_path: Path, embedder: HashingEmbedder) -> None:
    for n in range(RERANKED + 5):
        (tmp_path / f"{n:02}.txt").write_text(f"Keeper {n} keeps the lamp{' of the old light house by the sea' * n}.\n")
    index = Index.sync(tmp_path / ".pincite", [tmp_path], embedder=embedder)
    reader = NotingReader("which lamp?", "Keeper 9")
    hits = Pipeline(index, reader=reader).search("which lamp?", RERANKED + 5, mode="full")
    assert len(reader.texts) == RERANKED
    assert {hit.path for hit in hits} == {str(path) for path in tmp_path.glob("*.txt")}
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    before = {hit.path: hit.score for hit in Pipeline(index).search("which lamp?", RERANKED + 5)}
    gained = {Path(hit.path).name: hit.score - before[hit.path] for hit in hits}
    assert gained["09.txt"] == max(gained.values()) > 0.2
    assert sum(gain == 0 for gain in gained.values()) >= 5


def test_a_reranker_chooses_what_is_read_and_its_order_stays(keepers: Index) -> None:
    class Longest:
        name = "longest"

        def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
            return np.array([len(text) for text in texts], np.float32)

    question = "Who keeps the lamp?"
    reader = NotingReader(question, "Ann")
    answer = Pipeline(keepers, reader=reader, reranker=Longest()).ask(question, k=4)
    lengths = [len(hit.passage.text) for hit in answer.hits]
    assert lengths == sorted(lengths, reverse=True) and len(lengths) == 4
    assert answer.text is None and not any("Ann" in text for text in reader.texts)


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


def test_lists_of_questions_are_not_read_unless_there_is_nothing_else(
    articles: Path, embedder: HashingEmbedder
) -> None:
    question = "When did the ferry to Horta first sail?"
    guides = [articles / f"guide{number}.txt" for number in range(40)]
    for number, guide in enumerate(guides):
        guide.write_text(f"Guide for day {number}\n\n1. {question}\n2. Who paid in {number}?\n3. Was it worth it?\n")
    (articles / "faq.txt").write_text(f"{question}\nIn May 1987.\n")
    index = Index.sync(articles.parent / ".pincite", [articles], embedder=embedder)
    pipeline = Pipeline(index, reader=KnowingReader({question: "May 1987"}))
    answer = pipeline.ask(question, 3)
    assert answer.text == "May 1987" and answer.hits[0].path.endswith("faq.txt") and len(answer.hits) == 3
    assert not {hit.path for hit in answer.hits} & set(map(str, guides))
    assert {hit.path for hit in pipeline.search(question, 3)} & set(map(str, guides))
    for other in set(articles.iterdir()) - set(guides):
        other.unlink()
    only = Index.sync(articles.parent / ".pincite", [articles], embedder=embedder)
    assert len(Pipeline(only, reader=KnowingReader({question: ""})).ask(question, 3).hits) == 3
