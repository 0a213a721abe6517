"""The benches take turns, and report what they claim to."""

from __future__ import annotations

from pathlib import Path

import bench_embed
from bench_ask import _turn, seed_questions
from timing import interleaved, machine

from pincite.index import Index
from pincite.qa import Pipeline
from tests.conftest import HashingEmbedder, KnowingReader


def test_sides_take_turns() -> None:
    order: list[str] = []
    times = interleaved(3, {"one": lambda: order.append("one"), "two": lambda: order.append("two")})
    assert order == ["one", "two"] * 3
    assert {name: (len(wall), len(cpu)) for name, (wall, cpu) in times.items()} == {"one": (3, 3), "two": (3, 3)}


def test_a_turn_asks_and_embeds_what_was_read(articles: Path) -> None:
    embedder = HashingEmbedder()
    index = Index.sync(articles / ".pincite", [articles], embedder=embedder)
    pipeline = Pipeline(index, reader=KnowingReader({"How many carp?": "three carp"}))
    embedder.embedded.clear()
    turn = _turn(pipeline, "How many carp?", 2)
    assert turn.times.keys() == {"open", "embed", "ask", "all"}
    assert [answer.text for side in ("ask", "all") for answer in turn.answers[side]] == ["three carp"] * 4
    passages = {passage.text for document in index.documents() for passage in index.passages_of(document.id)}
    assert set(embedder.embedded) == passages and len(embedder.embedded) == 3 * len(passages)


def test_without_a_corpus_the_gold_questions_are_asked() -> None:
    questions = seed_questions()
    assert len(questions.questions) > 40 and all(source.is_dir() for source in questions.sources)
    assert any(not question.answers for question in questions.questions)


def test_passages_of_a_corpus_are_its_paragraphs(articles: Path) -> None:
    passages = list(bench_embed.read_passages(articles))
    assert "Roses grow behind the house." in passages
    assert all(len(passage.split()) <= 150 for passage in passages)
    assert bench_embed.seed_passages(5) == bench_embed.seed_passages(5)


def test_the_machine_is_named() -> None:
    assert machine(3).keys() == {"rounds", "cpu", "cores", "load_average"}
