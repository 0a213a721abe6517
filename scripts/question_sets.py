"""Public question sets in their several forms -> what to index, and questions with their answers.

- SQuAD form: `.json`; the answers are spans of a paragraph. What to index are the paragraphs, each under its article's
  title and named after its text, so that a paragraph that two files share is one.
- BEIR layout: a folder with corpus.jsonl; answers.jsonl has the answer strings and the articles that were meant.
- Articles: a folder with articles/*.txt and questions_all.jsonl, whose "article" names the right one.
- Questions alone: `.jsonl` of questions that nothing answers.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

Json = dict[str, Any]  # Any: what json.dumps takes

_NO_SPAN = frozenset({"yes", "no"})


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A text to index, and the title of its article."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question; without `answers` it has none.

    `gold` are the documents that it is about, as `document_name` names them; empty where that is not known.
    """

    text: str
    answers: tuple[str, ...]
    gold: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Questions, and what to index: `sources` where they lie, `paragraphs` by name."""

    name: str
    questions: tuple[Question, ...]
    sources: tuple[Path, ...] = ()
    paragraphs: dict[str, Paragraph] = field(default_factory=dict)


def read_jsonl(path: Path) -> Iterator[Json]:
    """Yield the objects of a file of JSON lines."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line)


def read_questions(path: Path) -> QuestionSet:
    """Return the set at `path`, whichever form it has."""
    if path.is_dir():
        return _read_corpus(path) if (path / "answers.jsonl").exists() else _read_articles(path)
    return _read_unanswerable(path) if path.suffix == ".jsonl" else read_squad(path)


def read_squad(path: Path) -> QuestionSet:
    """Return the set in a SQuAD-form file, of version 1.1 or 2.0."""
    paragraphs: dict[str, Paragraph] = {}
    questions = []
    for article in json.loads(path.read_bytes())["data"]:
        title = (article.get("title") or "").replace("_", " ")
        for paragraph in article["paragraphs"]:
            text = paragraph["context"]
            name = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
            paragraphs.setdefault(name, Paragraph(title, text))
            for qa in paragraph["qas"]:
                answers = () if qa.get("is_impossible") else tuple(answer["text"] for answer in qa["answers"])
                questions.append(Question(qa["question"], answers, frozenset({name})))
    return QuestionSet(path.stem, tuple(questions), paragraphs=paragraphs)


def _read_corpus(folder: Path) -> QuestionSet:
    questions = [
        Question(row["text"], tuple(row["answers"]), frozenset(row.get("gold") or ()))
        for row in read_jsonl(folder / "answers.jsonl")
    ]
    return QuestionSet(folder.name, tuple(questions), (folder / "corpus.jsonl",))


def _read_articles(folder: Path) -> QuestionSet:
    """Return the questions that the articles answer in words: no span says yes or no, and some have no answer."""
    questions = []
    for row in read_jsonl(folder / "questions_all.jsonl"):
        answers = tuple(answer for answer in row["answers"] if answer.strip(" .!,").lower() not in {*_NO_SPAN, ""})
        if answers:
            questions.append(Question(row["text"], answers, frozenset({article_file(row["article"])})))
    return QuestionSet(folder.name, tuple(questions), (folder / "articles",))


def _read_unanswerable(path: Path) -> QuestionSet:
    return QuestionSet(path.stem, tuple(Question(row["text"], ()) for row in read_jsonl(path)))


def article_file(article: str) -> str:
    """Return the name of an article's file, without its extension."""
    return article.replace(" ", "_").replace(".", "").replace("-", "_")


def document_name(path: str) -> str:
    """Return how sets name a document that the index has at `path`: its `_id`, or its file without the extension.

    >>> document_name("sets/corpus.jsonl#d42"), document_name("articles/Alan_Turing.txt")
    ('d42', 'Alan_Turing')
    """
    file, _, record = path.partition("#")
    return record or Path(file).stem


def sources_of(questions: QuestionSet, folder: Path) -> list[Path]:
    """Return the files and folders to index for a set; its paragraphs are written to `folder` as records."""
    folder.mkdir(parents=True, exist_ok=True)
    if not questions.paragraphs:
        return list(questions.sources)
    file = folder / "paragraphs.jsonl"
    rows = ({"_id": name, "title": one.title, "text": one.text} for name, one in questions.paragraphs.items())
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return [*questions.sources, file]


def sample(questions: tuple[Question, ...], limit: int | None) -> tuple[Question, ...]:
    """Return `limit` of the questions, the same ones each time, in their order; all if there are no more."""
    if limit is None or limit >= len(questions):
        return questions
    chosen = sorted(random.Random(20221122).sample(range(len(questions)), limit))
    return tuple(questions[number] for number in chosen)
