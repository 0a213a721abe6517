"""What reaches a terminal: text, marks and links, and never a control code of the sources."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pincite.index import Document, IndexStats, Passage, Skipped, Span, SyncReport
from pincite.index.overview import Overview
from pincite.qa.answers import Answer
from pincite.qa.citations import Citation
from pincite.qa.render import Style, answer_text, hits_text, report_text, source_text, stats_text
from pincite.qa.render_json import answer_json, hits_json
from pincite.qa.retriever import Hit

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
    found = replace(found, author=HOSTILE, date=HOSTILE, unit="page", mark=HOSTILE)
    for style in (Style(), Style(colour=True)):
        text = re.sub(r"\x1b\[[0-9;]*m|\x1b\]8;;[^\x1b]*\x1b\\", "", answer_text(answer(found), style))
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    document = Document("0" * 32, "a\x1b.txt", "", HOSTILE, "0" * 64)
    shown = source_text(document, [Passage("0" * 32, Span(0, len(HOSTILE)), HOSTILE)], None, Style())
    assert "\x1b" not in shown and "\x07" not in shown and "\u202e" not in shown


@pytest.mark.parametrize(
    ("unit", "mark", "shown"),
    [
        ("", "", "report.pdf:3:16  Light"),
        ("page", "12", "report.pdf:3:16, page 12  Light"),
        ("time", "00:01:02", "report.pdf:3:16, at 00:01:02  Light"),
        ("chapter", "II. The harbour", "report.pdf:3:16, chapter II. The harbour  Light"),
        ("chapter", "Chapter II", "report.pdf:3:16, Chapter II  Light"),
    ],
)
def test_citation_says_where_in_the_document_and_who_wrote_it_when(unit: str, mark: str, shown: str) -> None:
    found = citation(path="report.pdf", unit=unit, mark=mark)
    assert shown in answer_text(answer(found), Style()).splitlines()[3]
    named = replace(found, author="Jane Roe", date="2021-05-17T10:30:00+02:00")
    assert answer_text(answer(named), Style()).splitlines()[3] == f"[1] {shown}, by Jane Roe, 2021-05-17"


def test_hit_says_where_in_the_document_and_who_wrote_it_when() -> None:
    passage = Passage("0" * 32, Span(0, 4), "Text")
    metadata = {"author": "Jane\x1b Roe", "date": "some day in May"}
    hit = Hit(passage, "report.pdf", "Light", 3, 0.5, 1, None, unit="page", mark="12", metadata=metadata)
    head = hits_text([hit], Style()).splitlines()[0]
    assert (
        head
        == " 1. report.pdf:3, page 12  Light, by Jane\N{REPLACEMENT CHARACTER} Roe, some day in May  0.500  (dense 1)"
    )


def test_status_groups_what_was_skipped_by_reason() -> None:
    stats = IndexStats(1, 5, 9, 1, 2_500_000, "some-model", ())
    assert "skipped" not in stats_text(stats, ".pincite", {}, Overview({}, []))
    reasons = ["no text"] * 5 + ["binary"] * 2 + [f"reason {number}" for number in range(12)]
    skipped = [Skipped(f"{number}.txt", reason) for number, reason in enumerate(reasons)]
    lines = stats_text(stats, ".pincite", {"new": 2}, Overview({"pdf": 3, "": 2}, skipped)).splitlines()
    assert "documents  5  (3 pdf, 2 unknown)" in lines
    assert "skipped    5: no text: 0.txt, 1.txt, 2.txt and 2 more" in lines
    assert "           2: binary: 5.txt, 6.txt" in lines
    assert lines[-2:] == [
        "           4 for other reasons; --json lists them all",
        "since then 2 new (update: pincite index)",
    ]


def test_unverified_citation_says_why() -> None:
    text = answer_text(answer(citation(verified=False, problem="the file is no longer there")), Style())
    assert "not verified: the file is no longer there" in text


def test_summary_lists_a_few_skipped_files_and_counts_the_rest() -> None:
    skipped = tuple(Skipped(f"{number}.txt", "binary") for number in range(25))
    text = report_text(SyncReport(1, 2, 3, 4, skipped, 50, 6, 1.5, 7), ".pincite")
    assert "skipped 0.txt: binary" in text and "skipped 15 more" in text
    assert "1 added, 2 changed, 3 removed, 4 unchanged, 25 skipped: 50 passages in .pincite" in text


def test_copies_of_a_citation_are_listed_below_it_and_count_once() -> None:
    copies = [replace(citation(path=f"copy{number}.txt"), line=number) for number in range(1, 12)]
    copies[0] = replace(copies[0], path="copy.pdf", unit="page", mark="3", page=3)
    copies[1] = replace(copies[1], verified=False, problem="the file has\nchanged")
    found = replace(citation(), also=tuple(copies))
    lines = answer_text(answer(found), Style()).splitlines()
    assert lines[1] == "confidence 0.90"
    assert lines[5:] == [
        "    also in copy.pdf:1:16, page 3",
        "    also in copy2.txt:2:16 (not verified: the file has changed)",
        "    also in copy3.txt:3:16",
        "    and in 8 more files",
    ]
    independent, repeated = citation(path="own.txt"), citation(path="copy3.txt")
    several = replace(answer(found), citations=(found, independent, repeated))
    assert answer_text(several, Style()).splitlines()[1] == "confidence 0.90, 2 sources agree"
    three = replace(found, also=tuple(copies[:3]))
    assert answer_text(answer(three), Style()).splitlines()[-1] == "    also in copy3.txt:3:16"


def test_copies_of_a_citation_are_in_the_json_with_all_that_is_known_of_them() -> None:
    copy = citation(path="copy.pdf", unit="page", mark="3", page=3, verified=False, problem="gone")
    stats = IndexStats(1, 5, 9, 1, 2_500_000, "some-model", ())
    body = answer_json(answer(replace(citation(), also=(copy,))), stats)
    (shown,) = body["citations"]
    (also,) = shown["also"]
    assert set(also) == set(shown) - {"also"}
    assert (also["path"], also["page"], also["mark"], also["verified"]) == ("copy.pdf", 3, "3", False)
    assert answer_json(answer(citation()), stats)["citations"][0]["also"] == []


def test_copies_of_a_hit_are_listed_below_it_each_file_once() -> None:
    def hit(path: str, start: int, **changes: str) -> Hit:
        return Hit(Passage(path, Span(start, start + 4), "Text"), path, "Light", start + 1, 0.5, 1, None, **changes)  # type: ignore[arg-type]  # of str only

    copies = (hit("a.pdf", 3, unit="page", mark="2"), hit("a.pdf", 7), hit("b\x1b.txt", 0))
    found = replace(hit("top.txt", 0), also=copies)
    assert hits_text([found], Style()).splitlines()[2:] == [
        "    also in a.pdf:4, page 2",
        "    also in b\N{REPLACEMENT CHARACTER}.txt:1",
    ]
    (shown,) = hits_json("light", [found])["hits"]
    assert [(one["path"], one["start"], one["line"], one["mark"]) for one in shown["also"]] == [
        ("a.pdf", 3, 4, "2"),
        ("a.pdf", 7, 8, None),
        ("b\x1b.txt", 0, 1, None),
    ]
    assert hits_json("light", [hit("top.txt", 0)])["hits"][0]["also"] == []
