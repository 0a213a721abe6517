"""What reaches a terminal: text, marks and links, and never a control code of the sources."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pincite.index import Document, Passage, Skipped, Span, SyncReport
from pincite.qa.answers import Answer
from pincite.qa.citations import Citation
from pincite.qa.render import Style, answer_text, report_text, source_text

HOSTILE = "The \x1b]0;owned\x07keeper\u202e was\nIda\tMoss."


def citation(**changes: object) -> Citation:
    sentence = "The keeper was Ida Moss."
    fields: dict[str, object] = {
        "path": "notes/light house.txt", "title": "Light", "span": Span(15, 23), "line": 3, "column": 16, "end_line": 3,
        "quote": "Ida Moss", "sentence": sentence, "sentence_span": Span(0, 24), "score": 0.9, "verified": True,
    }  # fmt: skip
    return Citation(**(fields | changes))  # type: ignore[arg-type]  # one place for all fields


def answer(found: Citation) -> Answer:
    return Answer("Who?", found.quote, 0.9, (found,), ())


def test_pipe_gets_plain_text_with_the_quote_marked() -> None:
    text = answer_text(answer(citation()), Style())
    assert text.splitlines()[0] == "Ida Moss"
    assert "[1] notes/light house.txt:3:16  Light" in text
    assert "    The keeper was «Ida Moss»." in text


def test_terminal_gets_colours_and_a_link_to_the_file() -> None:
    text = answer_text(answer(citation()), Style(colour=True))
    assert re.search(r"\x1b\]8;;file:///\S*/notes/light%20house\.txt\x1b\\", text)
    assert "\x1b[1;32mIda Moss\x1b[0m" in text


def test_link_leads_to_the_file_of_a_record_and_to_a_file_with_a_hash_in_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a#b.txt").write_text("text")
    style = Style(colour=True)
    assert f"{tmp_path.as_uri()}/many.jsonl\x1b" in style.place("many.jsonl#r1", 3)
    assert f"{tmp_path.as_uri()}/a%23b.txt\x1b" in style.place("a#b.txt", 3)


def test_control_codes_of_a_source_never_get_through() -> None:
    found = citation(quote=HOSTILE, sentence=HOSTILE, title=HOSTILE, path=HOSTILE, sentence_span=Span(15, 23))
    for style in (Style(), Style(colour=True)):
        text = re.sub(r"\x1b\[[0-9;]*m|\x1b\]8;;[^\x1b]*\x1b\\", "", answer_text(answer(found), style))
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    document = Document("0" * 32, "a\x1b.txt", "", HOSTILE, "0" * 64)
    shown = source_text(document, [Passage("0" * 32, Span(0, len(HOSTILE)), HOSTILE)], None, Style())
    assert "\x1b" not in shown and "\x07" not in shown and "\u202e" not in shown


def test_unverified_citation_says_why() -> None:
    text = answer_text(answer(citation(verified=False, problem="the file is no longer there")), Style())
    assert "not verified: the file is no longer there" in text


def test_summary_lists_a_few_skipped_files_and_counts_the_rest() -> None:
    skipped = tuple(Skipped(f"{number}.txt", "binary") for number in range(25))
    text = report_text(SyncReport(1, 2, 3, 4, skipped, 50, 6, 1.5, 7), ".pincite")
    assert "skipped 0.txt: binary" in text and "skipped 15 more" in text
    assert "1 added, 2 changed, 3 removed, 4 unchanged, 25 skipped: 50 passages in .pincite" in text
