"""Questions with a word exchanged: what was exchanged, and when nothing can be."""

from __future__ import annotations

import doctest
import random

import pytest
import reworded as module
from reworded import Change, reworded


@pytest.mark.parametrize(
    ("question", "pool", "olds"),
    [
        (
            "When did the mayor of Corvo retire?",
            ["He met the Duke of Lund and the mayor of Corvo."],
            {"Corvo": "Duke of Lund"},
        ),
        ("Which house was sold in 1987?", ["In 1987 or 1990."], {"1987": "1990", "sold": "bought"}),
        ("Who lost the Battle of Lund?", [], {"lost": "won"}),
    ],
)
def test_a_reworded_question_says_what_it_exchanged(question: str, pool: list[str], olds: dict[str, str]) -> None:
    changes = [reworded(question, pool, random.Random(n)) for n in range(30)]
    assert set(changes) == {Change(question.replace(old, new), old, new) for old, new in olds.items()}


def test_a_question_without_anything_to_exchange_is_denied_or_left() -> None:
    changes = {reworded("Where was it found?", ["Lund, 1987"], random.Random(n)) for n in range(30)}
    assert changes == {None, Change("Where wasn't it found?", "", "")}
    for question in ("Why so?", "", "Why wasn't it found?"):
        assert {reworded(question, ["Lund, 1987"], random.Random(n)) for n in range(30)} == {None}


def test_the_example_in_the_docstring_holds() -> None:
    found = doctest.testmod(module)
    assert found.attempted and not found.failed
