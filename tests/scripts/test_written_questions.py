"""Questions written for pincite: each is told apart by where its answer stands, and the sampler draws them all."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from pathlib import Path

import pytest
import reader_data
from reader_data import WRITTEN, Question, Sampler, with_written
from tokenizers import Tokenizer
from written_questions import FILE, read_written

from pincite.index.model_folder import find_model

TEXT = "Rain fell for a week. The bridge of Elgin was built by Ann Kerr in 1804. It carries carts and costs nothing."
START, END = TEXT.index("The bridge"), len(TEXT)
ASKED = "Who built the bridge of Elgin?"
UNANSWERED = "Who paid for the bridge of Elgin?"


def identity(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two paragraphs: one of TEXT, and one of a text that is not at hand."""
    at = TEXT.index("Ann Kerr") - START
    lines = [
        {"context": identity(TEXT), "start": START, "end": END, "questions": [[ASKED, at, at + 8], [UNANSWERED]]},
        {"context": identity("Another text."), "start": 0, "end": 7, "questions": [["Which text is meant?", 0, 7]]},
    ]
    path = tmp_path / "written.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_paragraphs_are_found_by_the_text_they_are_of(file: Path) -> None:
    [(text, questions)] = read_written(["Some other text.", TEXT], file)
    assert text == TEXT[START:END]
    [(asked, [(start, end)]), (unanswered, none)] = questions
    assert (asked, text[start:end]) == (ASKED, "Ann Kerr")
    assert (unanswered, none) == (UNANSWERED, ())


def test_nothing_is_read_of_texts_that_are_not_at_hand(file: Path) -> None:
    assert read_written(["Rain fell for a week."], file) == []


def with_file(monkeypatch: pytest.MonkeyPatch, file: Path, is_held_back: bool) -> tuple[list[str], list[Question]]:
    """One context of a set, of which a question is held back or not, and what was written about it."""
    monkeypatch.setattr(reader_data, "read_written", lambda contexts: read_written(contexts, file))
    monkeypatch.setattr(reader_data, "HELD_BACK", 0.0)
    return with_written([TEXT], [Question("nq_oracle-dev", "How long did it rain?", 0, ((14, 20),), is_held_back)])


def test_written_questions_come_behind_those_of_the_sets(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    contexts, questions = with_file(monkeypatch, file, is_held_back=False)
    assert contexts == [TEXT, TEXT[START:END]]
    assert [(one.set, one.context) for one in questions[1:]] == [(WRITTEN, 1)] * 2
    assert [one.text for one in questions[1:]] == [ASKED, UNANSWERED]
    [(start, end)] = questions[1].answers
    assert contexts[1][start:end] == "Ann Kerr" and questions[2].answers == ()


def test_nothing_written_about_a_text_held_back_is_learned(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    contexts, questions = with_file(monkeypatch, file, is_held_back=True)
    assert contexts == [TEXT] and len(questions) == 1


def test_all_written_questions_are_drawn_in_every_epoch(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    contexts, questions = with_file(monkeypatch, file, is_held_back=False)
    monkeypatch.setattr(reader_data, "NEGATIVE_WRITTEN", 0.0)
    monkeypatch.setattr(reader_data, "TWISTED", 0.0)
    tokenizer = Tokenizer.from_file(str(find_model().path / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    sampler = Sampler(tokenizer, contexts, questions[1:], {}, seed=1)
    for epoch in range(20):
        answered, unanswered = sampler.epoch(epoch)
        assert tokenizer.decode(answered.ids[answered.start : answered.end + 1].tolist()) == "ann kerr"
        assert unanswered.start == unanswered.end == 0
        assert tokenizer.decode(unanswered.ids[1:9].tolist()).startswith("who paid for the bridge")


def test_the_file_has_what_it_should() -> None:
    """Half of the questions have an answer, spans lie in their paragraph, and no paragraph has one twice."""
    counts = {True: 0, False: 0}
    for line in FILE.read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        assert re.fullmatch("[0-9a-f]{16}", one["context"]) and 0 <= one["start"] < one["end"]
        texts = [asked for asked, *_ in one["questions"]]
        assert len(texts) == len(set(texts)), texts
        for asked, *answer in one["questions"]:
            counts[bool(answer)] += 1
            assert asked == " ".join(asked.split()) and "|" not in asked
            if answer:
                start, end = answer
                assert 0 <= start < end <= one["end"] - one["start"], asked
    assert 0.45 < counts[True] / sum(counts.values()) < 0.6, counts
