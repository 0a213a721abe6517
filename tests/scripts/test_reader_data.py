"""Training examples: an answer is where it is said to be, and where there is said to be none, there is none."""

from __future__ import annotations

import doctest
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import as_typed
import numpy as np
import pytest
import reader_data
from reader_data import SHORT, WINDOW, Example, Question, Sampler, batches, mine, padded, read_sets
from tokenizers import Tokenizer

from pincite.index.model_folder import find_model
from pincite.qa.metrics import normalize_answer

Paragraph = tuple[str, dict[str, list[str]]]  # a text, and the answers to each question about it

LONG_SET, SHORT_SET = "nq_oracle-dev", "squadshifts-reddit"
TOWNS = [
    "Aldrin",
    "Brevik",
    "Corvo",
    "Dunmore",
    "Elgin",
    "Fargo",
    "Gorey",
    "Hagen",
    "Istres",
    "Jarrow",
    "Kelso",
    "Lund",
]
TRADES = ["baker", "cooper", "dyer", "fisher", "glazier", "hatter", "mason", "miller", "potter", "tanner", "weaver"]
NAME = re.compile(r"(?:Eva Moss|Ida Roth)\d+")
FILLER = "The old road along the river was closed for some weeks while the bridge was mended. "


def long_paragraph(n: int) -> Paragraph:
    """A text of more tokens than a window has, most of them before or behind what is asked."""
    town, other, year, people = TOWNS[n % 12], TOWNS[(n + 5) % 12], 1801 + n, 900 + 7 * n
    fact = f"In {year} the first mayor of {town} was Eva Moss{n}, who came from {other} with {people} weavers. "
    text = f"Note number {n}. {FILLER * (n % 9)}{fact}{FILLER * (14 - n % 9)}".strip()
    asked = {
        f"Who was the first mayor of {town} in {year}?": [f"Eva Moss{n}"],
        f"How many weavers came to {town} in {year}?": [f"{people}", f"{people} weavers"],
    }
    return text, asked


def short_paragraph(n: int) -> Paragraph:
    """A text of one sentence."""
    town, trade = TOWNS[n % 12], TRADES[n % 11]
    return f"The best {trade} in {town} is Ida Roth{n}.", {f"Who is the best {trade} in {town}?": [f"Ida Roth{n}"]}


def write_set(path: Path, paragraphs: Sequence[Paragraph]) -> None:
    """Write a SQuAD-form file."""
    content = []
    for text, asked in paragraphs:
        qas = [
            {"question": question, "answers": [{"text": one, "answer_start": text.index(one)} for one in answers]}
            for question, answers in asked.items()
        ]
        content.append({"context": text, "qas": qas})
    path.write_text(json.dumps({"data": [{"paragraphs": content}]}), encoding="utf-8")


@pytest.fixture(autouse=True)
def every_question_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (LONG_SET, SHORT_SET):
        monkeypatch.setitem(reader_data.SETS, name, 1.0)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    found = Tokenizer.from_file(str(find_model().path / "tokenizer.json"))
    found.no_truncation()
    found.no_padding()
    return found


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[Question]]:
    """60 long texts with two questions each and 80 short ones with one; a fifth is held back."""
    folder = tmp_path_factory.mktemp("sets")
    write_set(folder / f"{LONG_SET}.json", [long_paragraph(n) for n in range(60)])
    write_set(folder / f"{SHORT_SET}.json", [short_paragraph(n) for n in range(80)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader_data, "HELD_BACK", 0.2)
        return read_sets(folder, [LONG_SET, SHORT_SET])


@pytest.fixture
def sampler(tokenizer: Tokenizer, sets: tuple[list[str], list[Question]]) -> Sampler:
    return Sampler(tokenizer, *sets, {}, seed=3)


def always(patch: pytest.MonkeyPatch, kind: str | None, *, twisted: float = 0.0) -> None:
    """Have a negative of one kind, or none, drawn for every question, and so much of the positive examples twisted."""
    patch.setattr(reader_data, "KINDS", ((kind, 1.0),))
    patch.setattr(reader_data, "NEGATIVE", 0.0 if kind is None else 1.0)
    patch.setattr(reader_data, "TWISTED", twisted)


@dataclass(frozen=True)
class Shown:
    """An example as words, in lower case as the tokenizer has them; `answer` is None if there is none."""

    question: str
    window: str
    answer: str | None


def show(sampler: Sampler, example: Example) -> Shown:
    front = int((example.types == 0).sum())
    parts = (slice(1, front - 1), slice(front, -1), slice(example.start, example.end + 1))
    question, window, answer = (sampler.tokenizer.decode(example.ids[part].tolist()) for part in parts)
    return Shown(question, window, answer if example.start else None)


def plain(sampler: Sampler, text: str) -> str:
    """A text as the tokenizer gives it back."""
    return str(sampler.tokenizer.decode(sampler.tokenizer.encode(text, add_special_tokens=False).ids))


def drawn(sampler: Sampler, epoch: int = 0) -> Iterator[tuple[Question, set[str], Shown, Shown | None]]:
    """Yield each question, its answers normalised, the example with its answer and the one without, if there is one."""
    shown = [show(sampler, example) for example in sampler.epoch(epoch)]
    for question in sampler.questions:
        if not question.is_held_back:
            example = shown.pop(0)
            negative = shown.pop(0) if shown and shown[0].answer is None else None
            texts = [sampler.contexts[question.context][a:b] for a, b in question.answers]
            yield question, set(map(normalize_answer, texts)), example, negative
    assert not shown


def has_any(text: str, answers: set[str]) -> bool:
    return any(f" {answer} " in f" {normalize_answer(text)} " for answer in answers)


def test_the_answer_is_where_the_example_says(sampler: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    always(monkeypatch, None)
    for question, answers, example, _ in drawn(sampler):
        assert example.question == plain(sampler, question.text)
        assert example.answer is not None and normalize_answer(example.answer) in answers


def test_what_is_drawn_depends_on_seed_and_epoch_alone(
    tokenizer: Tokenizer, sets: tuple[list[str], list[Question]]
) -> None:
    def ids(seed: int, epoch: int) -> list[list[int]]:
        return [one.ids.tolist() for one in Sampler(tokenizer, *sets, {}, seed).epoch(epoch)]

    sampler = Sampler(tokenizer, *sets, {}, 3)
    sampler.epoch(1)
    assert ids(3, 0) == ids(3, 0) == [one.ids.tolist() for one in sampler.epoch(0)]
    assert ids(3, 0) != ids(3, 1) and ids(3, 0) != ids(4, 0)


def test_no_question_that_is_held_back_is_ever_drawn(sampler: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    always(monkeypatch, "twisted", twisted=1.0)
    texts = {sampler.contexts[question.context] for question in sampler.questions if question.is_held_back}
    held = {plain(sampler, name) for text in texts for name in NAME.findall(text)}
    answers = {show(sampler, example).answer for epoch in range(3) for example in sampler.epoch(epoch)}
    assert len(held) > 10 and len(answers) > 100
    assert not held & answers


def test_no_text_that_is_held_back_is_ever_drawn(sampler: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    always(monkeypatch, "mined")
    held = {plain(sampler, sampler.contexts[one.context]) for one in sampler.questions if one.is_held_back}
    windows = [show(sampler, example).window for example in sampler.epoch(0)]
    assert len(held) > 10 and not [text for text in held if any(text in window for window in windows)]


def test_a_context_is_held_back_as_a_whole(sets: tuple[list[str], list[Question]]) -> None:
    held = {question.context for question in sets[1] if question.is_held_back}
    assert len(held) > 10
    assert all(question.is_held_back == (question.context in held) for question in sets[1])


@pytest.mark.parametrize("kind", ["cut", "mined", "twisted"])
def test_windows_are_filled_and_no_longer(sampler: Sampler, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    always(monkeypatch, kind, twisted=0.5)
    lengths = []
    for example in sampler.epoch(0):
        assert (example.ids[0], example.ids[-1]) == (101, 102)
        assert example.types.tolist() == sorted(example.types) and len(example.types) == len(example.ids)
        assert 0 <= example.start <= example.end < len(example.ids) - 1
        assert (example.types[example.start] == 1) == (example.start > 0)
        lengths.append(int(example.types.sum()) - 1)
    # A short text stands among at most five others.
    assert max(lengths) <= max(WINDOW, 6 * SHORT) and lengths.count(WINDOW) >= 60


def test_an_answer_longer_than_a_window_is_cut_with_it(tokenizer: Tokenizer, tmp_path: Path) -> None:
    write_set(tmp_path / f"{LONG_SET}.json", [(f"Mark: {FILLER * 20}", {"What does it say?": [FILLER * 20]})])
    sampler = Sampler(tokenizer, *read_sets(tmp_path, [LONG_SET]), {}, seed=1)
    shown = show(sampler, sampler.epoch(0)[0])
    assert shown.answer == shown.window and shown.answer.startswith(plain(sampler, FILLER))


def test_a_cut_context_lacks_the_answer(sampler: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    always(monkeypatch, "cut")
    cut = [(question, answers, negative) for question, answers, _, negative in drawn(sampler) if negative]
    assert len(cut) > 80  # of the short texts nothing is left
    for question, answers, negative in cut:
        assert negative.question == plain(sampler, question.text)
        assert plain(sampler, FILLER) in negative.window and not has_any(negative.window, answers)


def test_a_mined_passage_is_found_elsewhere_and_lacks_the_answer(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = "Who was the first mayor of Corvo?"
    paragraphs: list[Paragraph] = [
        ("The first mayor of Corvo was Eva Moss.", {question: ["Eva Moss"]}),
        ("Eva Moss, the mayor: who was the first mayor of Corvo? Eva Moss was.", {}),
        (f"The first mayor of Lund was Ida Roth. {FILLER * 30} No mayor of Corvo was ever seen here.", {}),
    ]
    write_set(tmp_path / f"{LONG_SET}.json", paragraphs)
    monkeypatch.setattr(reader_data, "HELD_BACK", 0.0)
    contexts, questions = read_sets(tmp_path, [LONG_SET])
    mined = mine(contexts, questions, tmp_path)
    assert mined.keys() == {0} and 1 < len(mined[0]) <= reader_data.MINED
    assert {context for context, _, _ in mined[0]} == {2}
    passages = [contexts[context][start:end] for context, start, end in mined[0]]
    assert any(text.startswith("The first mayor of Lund") for text in passages)
    always(monkeypatch, "mined")
    sampler = Sampler(tokenizer, contexts, questions, mined, seed=1)
    ((_, answers, _, negative),) = drawn(sampler)
    assert negative is not None and not has_any(negative.window, answers)
    assert any(plain(sampler, text).startswith(negative.window) for text in passages)


def test_short_texts_drawn_to_lack_the_answer_lack_it(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(
        tmp_path / f"{SHORT_SET}.json", [(f"Ida Roth is a {one}.", {"Who is?": ["Ida Roth"]}) for one in TRADES * 3]
    )
    always(monkeypatch, "mined")
    sampler = Sampler(tokenizer, *read_sets(tmp_path, [SHORT_SET]), {}, seed=1)
    assert not [answers for _, answers, _, one in drawn(sampler) if one is not None and has_any(one.window, answers)]


def test_a_twisted_question_that_is_answered_keeps_its_answer(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    always(monkeypatch, None, twisted=1.0)
    twisted = [one for one in drawn(sampler) if one[2].question != plain(sampler, one[0].text)]
    assert len(twisted) > 50
    for question, answers, example, _ in twisted:
        assert example.answer is not None and normalize_answer(example.answer) in answers
        # What is asked for now stands in the window, and what was asked for before no longer does.
        old, new = (re.findall(r"\w+", text) for text in (plain(sampler, question.text), example.question))
        assert set(new) - set(old) <= set(re.findall(r"\w+", example.window))
        if question.set == LONG_SET:
            assert not (set(old) - set(new)) & set(re.findall(r"\w+", example.window.replace(example.answer, "")))


def test_a_twisted_question_that_is_not_answered_has_no_answer_any_more(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    always(monkeypatch, "twisted")
    ways = {"question": 0, "window": 0}
    for question, _, example, negative in drawn(sampler):
        if negative is not None:
            is_reworded = negative.question != plain(sampler, question.text)
            assert is_reworded or negative.window not in plain(sampler, sampler.contexts[question.context])
            assert negative.answer is None and example.answer is not None
            ways["question" if is_reworded else "window"] += 1
    assert min(ways.values()) > 20


def test_a_short_text_mostly_stands_among_others(sampler: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    always(monkeypatch, None)
    texts = {plain(sampler, text) for text in sampler.contexts}
    short = [example for question, _, example, _ in drawn(sampler) if question.set == SHORT_SET]
    among = [example for example in short if example.window not in texts]
    assert 0.6 < len(among) / len(short) < 0.95
    assert all(example.answer is not None and example.answer in example.window for example in among)


def test_batches_hold_every_example_once_in_few_widths(sampler: Sampler) -> None:
    examples = sampler.epoch(0)
    found = batches(examples, 2048, random.Random(1))
    assert sorted(id(one) for batch in found for one in batch) == sorted(map(id, examples))
    for batch in found:
        (width,) = {padded(len(one.ids)) for one in batch}
        assert width % 16 == 0 and all(width - 16 < len(one.ids) <= width for one in batch)
        assert len(batch) * width <= 2048
    again, other = (batches(examples, 2048, random.Random(seed)) for seed in (1, 2))
    assert [[id(one) for one in batch] for batch in again] == [[id(one) for one in batch] for batch in found]
    assert [len(batch) for batch in other] != [len(batch) for batch in found]
    assert batches([], 2048, random.Random(1)) == []


def test_a_question_is_typed_in_haste_and_the_answer_stays(sampler: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_data, "TYPED", 1.0)
    examples = sampler.epoch(0)
    taught = [replace(one, soft=np.stack([one.ids, one.ids + 1], axis=1).astype(np.float16)) for one in examples]
    typed = sampler.typed(taught, 0)
    for before, after in zip(map(show, [sampler] * len(examples), examples), typed, strict=True):
        shown = show(sampler, after)
        assert (shown.window, shown.answer) == (before.window, before.answer)
        assert after.soft is not None and after.soft.shape == (len(after.ids), 2)
        told = after.types == 1
        assert (after.soft[told, 0] == after.ids[told].astype(np.float16)).all()
        assert after.soft[0, 0] == np.float16(after.ids[0])  # no answer
    asked = [show(sampler, one).question for one in typed]
    plainly = [show(sampler, one).question for one in examples]
    assert np.mean([a != b for a, b in zip(asked, plainly, strict=True)]) > 0.9
    assert {len(a) > len(b) for a, b in zip(asked, plainly, strict=True)} == {True, False}


def test_part_of_the_questions_is_typed_in_haste_and_other_ones_in_the_next_round(sampler: Sampler) -> None:
    examples = sampler.epoch(0)
    rounds = [[one is two for one, two in zip(examples, sampler.typed(examples, n), strict=True)] for n in (0, 0, 1)]
    assert rounds[0] == rounds[1] != rounds[2]
    assert 0.5 < np.mean(rounds[0]) < 0.8


@pytest.mark.parametrize("text", ["", "Why?", "Who is it?", "Wasn't it 'Ö'?", "no", "?!"])
def test_no_question_is_lost_in_haste(text: str) -> None:
    typed = [as_typed.as_typed(text, random.Random(n)) for n in range(60)]
    assert text in typed
    assert not text or all(typed)


def test_a_telegram_keeps_what_denies() -> None:
    typed = [as_typed.as_typed("Which of the towns has no bridge?", random.Random(n)) for n in range(200)]
    telegrams = [one for one in typed if one.endswith("bridge")]
    assert len(telegrams) > 20 and all("no bridge" in one for one in telegrams)


def test_the_examples_in_the_docstrings_hold() -> None:
    found = doctest.testmod(as_typed)
    assert found.attempted and not found.failed
