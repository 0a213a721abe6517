"""What the words of a question tell: whether it is one, whether yes or no would do, and what could answer it."""

from __future__ import annotations

import pytest

from pincite.qa.question_kind import asks_for_one, could_answer, is_yes_no


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
        ("Which firm makes the pumps?", True),
        ("Which bank owns it?", True),
        ("Which oil firms make the pumps?", False),
        ("Which firms own it?", False),
        ("How many minors does it grant?", True),
        ("What kind of engine drove it?", True),
        ("Which companies agreed?", False),
        ("Which three museum halls closed?", False),
        ("What kind of companies agreed?", False),
        ("What musical duo opened the evening?", False),
        ("What analysis of the companies was made?", False),
        ("What inspired the composer?", False),
        ("Who sits on the board?", False),
        ("What is made in Ulm?", False),
        ("Where is it taught?", False),
        ("", False),
    ],
)
def test_asks_for_one(question: str, expected: bool) -> None:
    assert asks_for_one(question) == expected


@pytest.mark.parametrize(
    ("question", "text", "expected"),
    [
        ("How many members has the council?", "the council of Ulm", False),
        ("How many members has the council?", "Seventeen", True),
        ("How many members has the council?", "hundreds", True),
        ("In what year did it open?", "the following spring", False),
        ("In what year did it open?", "in 1987", True),
        ("What is the mayor's phone number?", "Lucie Amstad", False),
        ("What is the mayor's phone number?", "+41 61 555 01 01", True),
        ("Give me the telephone numbers", "Lucie Amstad", False),
        ("How many came to the party?", "nobody", True),
        ("How many came to the party?", "the city", False),
        ("what is her email address", "the town hall", False),
        ("what is her email address", "mayor@ulm.example", True),
        ("When did it open?", "the following spring", True),
        ("Wie viele kamen?", "niemand", True),
    ],
)
def test_could_answer(question: str, text: str, expected: bool) -> None:
    assert could_answer(question, text) == expected
