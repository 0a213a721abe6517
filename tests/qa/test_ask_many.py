"""Many questions: in order, a few ahead, and a file of answers that an interrupted run goes on with."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pincite.index import Index, SourceError
from pincite.qa import Pipeline
from pincite.qa.ask_many import answer_file, in_order
from pincite.qa.cli import main
from pincite.qa.question_lines import LONGEST_LINE
from pincite.qa.render_json import answer_json
from tests.conftest import HashingEmbedder, KnowingReader

TOLD = {"Who sits on the board?": "Ann, Bob and Cid", "When does the train leave?": "noon", "Caf\u00e9 \ud83c?": ""}
QUESTIONS = list(TOLD)

Ask = Callable[[str], dict[str, Any]]


@pytest.fixture
def ask(articles: Path, embedder: HashingEmbedder) -> Ask:
    index = Index.sync(articles / ".pincite", [articles], embedder=embedder)
    pipeline = Pipeline(index, reader=KnowingReader(TOLD))
    return lambda question: answer_json(pipeline.ask(question), index.stats()) | {"elapsed_ms": {}}


def printed(ask: Ask, questions: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the objects printed for a file, and how many lines held no question."""
    lines: list[str] = []
    errors = answer_file(ask, str(questions), None, lines.append, None)
    return [json.loads(line) for line in lines], errors


def saved(ask: Ask, questions: Path, answers: Path) -> int:
    """Run a batch into a file; nothing may be printed."""
    return answer_file(ask, str(questions), str(answers), pytest.fail, None)


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps({"question": question, "id": 7}) + "\n" for question in [*QUESTIONS, ""]))
    return path


def test_what_takes_long_does_not_change_the_order() -> None:
    def work(number: int) -> int:
        time.sleep(0.02 if number % 3 == 0 else 0)
        return number

    assert list(in_order(work, range(20))) == list(range(20))


def test_a_stream_of_questions_is_taken_a_few_at_a_time_and_does_not_wait_for_more() -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        while True:
            taken.append(len(taken))
            yield len(taken)
            time.sleep(0.05 if len(taken) == 1 else 0)

    def work(number: int) -> int:
        time.sleep(0.005)
        return number

    stream = in_order(work, numbers())
    assert next(stream) == 1 and len(taken) < 3
    assert [next(stream) for _ in range(20)] == list(range(2, 22)) and len(taken) < 40


def test_each_line_of_text_has_its_object_in_order_whatever_is_on_it(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "q.txt"
    bad = [b"", b"caf\xe9?", b"word " * 1001, b"x" * (LONGEST_LINE + 5)]
    first, second = (question.encode() for question in QUESTIONS[:2])
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join([first, *bad, second]))
    (before, *wrong, after), errors = printed(ask, path)
    assert errors == len(bad) and (before, after) == (ask(QUESTIONS[0]), ask(QUESTIONS[1]))
    assert [list(one) for one in wrong] == [["question", "error"]] * 4
    reasons = ["0 words", "UTF-8", "1,001 words", "too long"]
    assert all(reason in one["error"] for reason, one in zip(reasons, wrong, strict=True))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("no json", "not JSON"),
        ('"Who?"', "not a JSON object"),
        ("{}", "no question"),
        ('{"question": 7}', "no question"),
        ('{"question": " "}', "0 words"),
        ('{"question": "Who?", "id": {"a": 1}}', "id"),
        ("[" * 100_000, "nested"),
        ("", "not JSON"),
    ],
)
def test_a_bad_line_of_json_says_why_and_the_others_are_answered(
    ask: Ask, tmp_path: Path, line: str, reason: str
) -> None:
    path = tmp_path / "q.jsonl"
    good = json.dumps({"id": "a7", "question": QUESTIONS[0], "more": [1]})
    path.write_text(f"{good}\n{line}\n{good}\n")
    (before, wrong, after), errors = printed(ask, path)
    assert errors == 1 and reason in wrong["error"] and "answer" not in wrong
    assert before == after == {"id": "a7"} | ask(QUESTIONS[0])


@pytest.mark.parametrize("lost", [0, 1, 300, 100_000])
def test_an_interrupted_run_goes_on_after_the_last_whole_line(
    ask: Ask, questions: Path, tmp_path: Path, lost: int
) -> None:
    answers, asked = tmp_path / "answers.jsonl", list[str]()

    def noted(question: str) -> dict[str, Any]:
        asked.append(question)
        return ask(question)

    assert saved(ask, questions, answers) == 1
    whole = answers.read_bytes()
    kept = whole[: max(len(whole) - lost, 0)]
    answers.write_bytes(kept)
    assert saved(noted, questions, answers) == 1
    assert answers.read_bytes() == whole and asked == QUESTIONS[kept.count(b"\n") :]


@pytest.mark.parametrize(
    ("old", "new"), [("train", "bus"), ("board?", "board"), ('{"question": "", "id": 7}\n', ""), ("", "")]
)
def test_answers_to_other_questions_are_never_added_to(
    ask: Ask, questions: Path, tmp_path: Path, old: str, new: str
) -> None:
    answers = tmp_path / "answers.jsonl"
    saved(ask, questions, answers)
    if old:
        questions.write_text(questions.read_text().replace(old, new))
    else:
        answers.write_text("Notes that nobody wants to lose, without an end of line")
    before = answers.read_bytes()
    with pytest.raises(SourceError, match="Name another file"):
        saved(ask, questions, answers)
    assert answers.read_bytes() == before


def test_answers_go_to_no_folder_device_or_file_of_questions(ask: Ask, tmp_path: Path) -> None:
    alike = tmp_path / "alike.jsonl"  # its lines begin as their answers do
    alike.write_text("\n".join(json.dumps({"question": question}) for question in QUESTIONS))
    for place in (tmp_path, Path("/dev/null"), alike):
        with pytest.raises(SourceError, match=f"cannot go to .*{place.name}"):
            saved(ask, alike, place)
    with pytest.raises(SourceError, match="cannot be written"):
        saved(ask, alike, tmp_path / "no" / "folder.jsonl")
    with pytest.raises(SourceError, match=r"No such file: .*missing"):
        saved(ask, tmp_path / "missing.txt", tmp_path / "answers.jsonl")


def test_the_exit_code_tells_lines_without_a_question(
    articles: Path, embedder: HashingEmbedder, capsys: pytest.CaptureFixture[str]
) -> None:
    questions, index = articles / "q.jsonl", Index.sync(articles / ".pincite", [articles], embedder=embedder)

    def run(command: str, *arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([command, "--index", index.path, *arguments])
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    questions.write_text("")
    assert run("ask", "--batch", str(questions)) == (0, "", "")
    questions.write_text("{}\nno json\n")
    code, out, err = run("ask", "--batch", str(questions))
    assert code == 2 and err.count("\n") == 1 and "2 lines" in err and len(out.splitlines()) == 2
    for wrong in (["who?", "--batch", str(questions)], [], ["who?", "--output", "x"]):
        code, out, err = run("ask", *wrong)
        assert (code, out, err.count("\n")) == (2, "", 1)
    code, out, err = run("eval", str(questions))
    assert (code, out) == (2, "") and err.count("\n") == 3 and "No question to evaluate" in err
    code, out, err = run("eval", str(questions), "--plot", "x.pdf")
    assert (code, out, err.count("\n")) == (2, "", 1) and ".svg" in err
