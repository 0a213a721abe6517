"""Many questions: in order, a few ahead, and a file of answers that an interrupted run goes on with."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pincite.index import Index, QuestionError, SourceError
from pincite.qa import Pipeline
from pincite.qa.ask_many import ask_many, in_order
from pincite.qa.batch_files import answer_file
from pincite.qa.cli import main
from pincite.qa.question_lines import LONGEST_LINE
from pincite.qa.span_model import Window
from tests.conftest import HashingEmbedder, KnowingReader

TOLD = {"Who sits on the board?": "Ann, Bob and Cid", "When does the train leave?": "noon", "How deep is it?": ""}
QUESTIONS = list(TOLD)


@pytest.fixture
def pipeline(articles: Path, embedder: HashingEmbedder) -> Pipeline:
    return Pipeline(Index.sync(articles / ".pincite", [articles], embedder=embedder), reader=KnowingReader(TOLD))


def printed(pipeline: Pipeline, questions: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the objects printed for a file, and how many lines held no question."""
    lines: list[str] = []
    errors = answer_file(pipeline, str(questions), None, lines.append, None)
    return [json.loads(line) for line in lines], errors


def saved(pipeline: Pipeline, questions: Path, answers: Path) -> int:
    """Run a batch into a file; nothing may be printed."""
    return answer_file(pipeline, str(questions), str(answers), pytest.fail, None)


def read(answers: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.txt"
    path.write_text("".join(f"{question}\n" for question in QUESTIONS))
    return path


def test_answers_come_in_the_order_of_the_questions_and_are_those_of_ask(pipeline: Pipeline) -> None:
    found = [(answer.question, answer.text, answer.citations) for answer in ask_many(pipeline, QUESTIONS * 10)]
    expected = [pipeline.ask(question) for question in QUESTIONS]
    assert found == [(answer.question, answer.text, answer.citations) for answer in expected] * 10
    assert [text for _, text, _ in found[:3]] == ["Ann, Bob and Cid", "noon", None]


def test_what_takes_long_does_not_change_the_order() -> None:
    def work(number: int) -> int:
        time.sleep(0.02 if number % 3 == 0 else 0)
        return number

    assert list(in_order(work, range(20))) == list(range(20))


def test_an_endless_stream_of_questions_is_taken_a_few_at_a_time() -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        while True:
            taken.append(len(taken))
            yield len(taken)

    stream = in_order(str, numbers())
    assert [next(stream) for _ in range(100)] == [str(number) for number in range(1, 101)]
    assert len(taken) < 120


def test_what_is_done_does_not_wait_for_a_dozen() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        time.sleep(0.2)
        yield 2
        raise AssertionError("the first could have been given back")

    assert next(in_order(str, numbers())) == "1"


def test_a_question_that_is_none_ends_the_answers_at_its_place(pipeline: Pipeline) -> None:
    answers = ask_many(pipeline, [QUESTIONS[0], "", QUESTIONS[1]])
    assert next(answers).text == "Ann, Bob and Cid"
    with pytest.raises(QuestionError):
        next(answers)
    with pytest.raises(QuestionError, match="condition"):
        ask_many(pipeline, QUESTIONS, where="no condition")


def test_each_line_of_text_has_its_object_whatever_is_on_it(pipeline: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "q.txt"
    bad = [b"", b"caf\xe9?", b"word " * 1001, b"x" * (LONGEST_LINE + 5)]
    first, second = (question.encode() for question in QUESTIONS[:2])
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join([first, *bad, second]))
    found, errors = printed(pipeline, path)
    assert errors == len(bad) and len(found) == len(bad) + 2
    assert [one.get("answer") for one in found] == ["Ann, Bob and Cid", None, None, None, None, "noon"]
    assert [list(one) for one in found[1:-1]] == [["question", "error"]] * 4
    words = ["empty", "UTF-8", "1,001 words", "MiB"]
    assert all(word in one["error"] for word, one in zip(words, found[1:-1], strict=True))
    assert found[0]["question"] == QUESTIONS[0] and found[0]["citations"][0]["path"].endswith("board.txt")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("no json", "not JSON"),
        ('"Who?"', "not a JSON object"),
        ("{}", "no question"),
        ('{"question": 7}', "not a string"),
        ('{"question": " "}', "empty"),
        ('{"question": "Who?", "id": {"a": 1}}', "id"),
        ("[" * 100_000, "nested"),
        ("", "empty"),
    ],
)
def test_a_bad_line_of_json_says_why_and_the_others_are_answered(
    pipeline: Pipeline, tmp_path: Path, line: str, reason: str
) -> None:
    path = tmp_path / "q.jsonl"
    good = json.dumps({"id": "a7", "question": QUESTIONS[0], "more": [1]})
    path.write_text(f"{good}\n{line}\n{good}\n")
    (before, wrong, after), errors = printed(pipeline, path)
    assert errors == 1 and reason in wrong["error"] and "answer" not in wrong
    assert before["id"] == after["id"] == "a7" and after["answer"] == "Ann, Bob and Cid"


@pytest.mark.parametrize("lost", [1, 300, 100_000])
def test_an_interrupted_run_goes_on_after_the_last_whole_line(
    pipeline: Pipeline, questions: Path, tmp_path: Path, lost: int
) -> None:
    answers = tmp_path / "answers.jsonl"
    assert saved(pipeline, questions, answers) == 0
    whole = read(answers)
    answers.write_bytes(answers.read_bytes()[:-lost])
    kept = answers.read_bytes().rpartition(b"\n")[0]
    assert saved(pipeline, questions, answers) == 0
    assert answers.read_bytes().startswith(kept)
    assert [one | {"elapsed_ms": 0} for one in read(answers)] == [one | {"elapsed_ms": 0} for one in whole]


class NoReader:
    name = "none"
    fingerprint = "0" * 64

    def read(self, question: str, texts: Sequence[str]) -> list[Window]:
        raise AssertionError("nothing is to be read")


def test_a_second_run_of_a_finished_file_does_nothing(pipeline: Pipeline, tmp_path: Path) -> None:
    questions, answers = tmp_path / "q.jsonl", tmp_path / "answers.jsonl"
    questions.write_text('{"question": "caf\\u00e9 \\ud83c?", "id": 1}\n{"question": ""}\n')
    pipeline = Pipeline(pipeline.index, reader=KnowingReader({"café \ud83c?": ""}))
    assert saved(pipeline, questions, answers) == 1
    before = answers.read_bytes()
    assert saved(Pipeline(pipeline.index, reader=NoReader()), questions, answers) == 1
    assert answers.read_bytes() == before


def change_a_question(questions: Path, answers: Path) -> None:
    questions.write_text(questions.read_text().replace("train", "bus"))


def drop_a_question(questions: Path, answers: Path) -> None:
    questions.write_text(f"{QUESTIONS[0]}\n{QUESTIONS[1]}\n")


def shorten_a_question(questions: Path, answers: Path) -> None:
    questions.write_text(questions.read_text().replace("board?", "board"))


def write_something_else(questions: Path, answers: Path) -> None:
    answers.write_text("Notes that nobody wants to lose, without an end of line")


@pytest.mark.parametrize("harm", [change_a_question, drop_a_question, shorten_a_question, write_something_else])
def test_answers_to_other_questions_are_never_added_to(
    pipeline: Pipeline, questions: Path, tmp_path: Path, harm: Callable[[Path, Path], None]
) -> None:
    answers = tmp_path / "answers.jsonl"
    saved(pipeline, questions, answers)
    harm(questions, answers)
    before = answers.read_bytes()
    with pytest.raises(SourceError, match="Name another file"):
        saved(pipeline, questions, answers)
    assert answers.read_bytes() == before


def test_answers_go_to_no_folder_device_or_file_of_questions_nor_where_another_run_writes(
    pipeline: Pipeline, questions: Path, tmp_path: Path
) -> None:
    alike = tmp_path / "alike.jsonl"  # its lines begin as their answers do
    alike.write_text("".join(json.dumps({"question": question}) + "\n" for question in QUESTIONS))
    for place in (tmp_path, Path("/dev/null"), alike):
        with pytest.raises(SourceError, match=f"cannot go to .*{place.name}"):
            saved(pipeline, alike, place)
    with pytest.raises(SourceError, match="cannot be written"):
        saved(pipeline, alike, tmp_path / "no" / "folder.jsonl")
    answers = tmp_path / "answers.jsonl"
    with answers.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(SourceError, match="Another process"):
            saved(pipeline, questions, answers)
    with pytest.raises(SourceError, match="missing"):
        saved(pipeline, tmp_path / "missing.txt", answers)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_the_exit_code_tells_lines_without_a_question(
    pipeline: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions, index = tmp_path / "q.jsonl", ("--index", pipeline.index.path)
    questions.write_text("")
    assert run(capsys, "ask", *index, "--batch", str(questions)) == (0, "", "")
    questions.write_text("{}\nno json\n")
    code, out, err = run(capsys, "ask", *index, "--batch", str(questions))
    assert code == 2 and err.count("\n") == 1 and "2 lines" in err
    assert [json.loads(line)["error"] for line in out.splitlines()] == ["no question", "not JSON"]
    for wrong in (["who?", "--batch", str(questions)], [], ["who?", "--output", "x"]):
        code, out, err = run(capsys, "ask", *index, *wrong)
        assert (code, out, err.count("\n")) == (2, "", 1)
    code, out, err = run(capsys, "eval", *index, str(questions))
    assert (code, out) == (2, "") and err.count("\n") == 3 and "No question to evaluate" in err
    assert run(capsys, "eval", *index, str(questions), "--plot", "x.pdf")[0] == 2
