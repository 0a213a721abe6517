"""The example articles are news pages of the agreed form, and the gold questions agree with them."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TypedDict

import pytest

TESTS = Path(__file__).parent
SEEDS = TESTS.parent / "seeds"
ARTICLES = sorted(path.name for path in SEEDS.iterdir() if path.suffix in {".txt", ".md", ".html"})
DATE = re.compile(r"\bSeptember \d{1,2}, 2022\b")


class Question(TypedDict):
    _id: str
    question: str
    answers: list[str]
    files: list[str]
    answerable: bool


class ArticleText(HTMLParser):
    """Collects the text inside <article>, one piece for each text node."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = False
        self.pieces: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "article":
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "article":
            self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.pieces.append(data)


def article(name: str) -> str:
    text = (SEEDS / name).read_text(encoding="utf-8")
    if not name.endswith(".html"):
        return text
    parser = ArticleText()
    parser.feed(text)
    parser.close()
    return "".join(parser.pieces)


def folded(text: str) -> str:
    return " ".join(text.split())


def read_questions() -> list[Question]:
    lines = (TESTS / "gold" / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


QUESTIONS = read_questions()
TEXTS = {name: folded(article(name)) for name in ARTICLES}


def holds(text: str, answer: str) -> bool:
    """Whole words only: "2000" is not in "12000"."""
    return re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text) is not None


@pytest.mark.parametrize("name", ARTICLES)
def test_article_opens_with_headline_byline_and_date(name: str) -> None:
    first, *rest = [line.strip() for line in article(name).splitlines() if line.strip()]
    assert len(first.lstrip("# ")) > 10
    assert name.endswith((".txt", ".html")) or first.startswith("# ")
    assert "By pincite examples" in rest[0]
    assert DATE.search(" ".join(rest[:2]))


@pytest.mark.parametrize("name", ARTICLES)
def test_article_has_250_to_700_words(name: str) -> None:
    assert 250 <= len(TEXTS[name].split()) <= 700


def test_html_article_repeats_the_text_article() -> None:
    assert TEXTS["kubernetes-and-the-cncf.html"] == TEXTS["kubernetes-and-the-cncf.txt"]


def test_articles_of_every_layout_are_present() -> None:
    assert {Path(name).suffix for name in ARTICLES} == {".txt", ".md", ".html"}
    longest = {name: max(map(len, article(name).splitlines())) for name in ARTICLES if not name.endswith(".html")}
    assert min(longest.values()) <= 78  # hard-wrapped
    assert max(longest.values()) > 200  # a paragraph a line


def test_questions_start_with_the_quick_start_and_are_unique() -> None:
    assert QUESTIONS[0]["question"] == "who sits on the board?"
    assert len(QUESTIONS) >= 40
    assert len({entry["_id"] for entry in QUESTIONS}) == len(QUESTIONS)
    assert len({entry["question"].lower() for entry in QUESTIONS}) == len(QUESTIONS)


def test_a_fifth_of_the_questions_has_no_answer() -> None:
    unanswerable = [entry for entry in QUESTIONS if not entry["answerable"]]
    assert 5 * len(unanswerable) >= len(QUESTIONS)
    assert all(entry["answers"] == [] and entry["files"] == [] for entry in unanswerable)


@pytest.mark.parametrize("entry", [entry for entry in QUESTIONS if entry["answerable"]], ids=lambda e: e["_id"])
def test_answers_stand_verbatim_in_the_named_files(entry: Question) -> None:
    assert entry["answers"] and len(set(entry["answers"])) == len(entry["answers"])
    assert entry["files"] and len(set(entry["files"])) == len(entry["files"])
    for answer in entry["answers"]:
        holders = {name for name in ARTICLES if holds(TEXTS[name], answer)}
        assert holders & set(entry["files"]), answer
        if len(answer.split()) >= 6:  # long enough that it cannot stand elsewhere by chance
            assert holders <= set(entry["files"]), answer
    for name in entry["files"]:
        assert any(holds(TEXTS[name], answer) for answer in entry["answers"]), name


def test_every_article_answers_a_question() -> None:
    assert {name for entry in QUESTIONS for name in entry["files"]} == set(ARTICLES)


def test_one_pair_of_articles_disagrees_on_a_year() -> None:
    entry = next(entry for entry in QUESTIONS if entry["question"] == "When was the Linux Foundation founded?")
    assert set(entry["files"]) == {"inside-the-linux-foundation.md", "why-neutral-ground-matters.md"}
    assert "The Linux Foundation was founded in 2000." in TEXTS["inside-the-linux-foundation.md"]
    assert "Formed in 2007 by the merger" in TEXTS["why-neutral-ground-matters.md"]
    assert [name for name in ARTICLES if holds(TEXTS[name], "2000")] == ["inside-the-linux-foundation.md"]
    assert [name for name in ARTICLES if holds(TEXTS[name], "2007")] == ["why-neutral-ground-matters.md"]
