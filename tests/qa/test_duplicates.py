"""Copies are folded under one passage, what differs in a fact stays apart, and nothing is lost."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pincite.index import Index, Passage, Span
from pincite.qa import Hit, Pipeline, duplicates
from pincite.qa.duplicates import fold
from pincite.qa.wording import Wording, words_of
from tests.conftest import HashingEmbedder

STORY = (
    "The harbour board met on Tuesday and named Ida Moss its new director. She begins in May.\n\n"
    "The board has seven members, who voted in private. The office of the port handled 3.2 million tonnes last year, "
    "and its first crane is to be replaced before the winter."
)
WEEKLY = (
    "Landings at the port were {} tonnes of herring in week {}. The cranes stood still on two days because of wind."
)


def hits_of(*texts: str | tuple[str, str]) -> list[Hit]:
    """Return hits, best first: each a document of its own, or with those of the same name a passage of one."""
    hits: list[Hit] = []
    begins: dict[str, int] = {}
    for number, given_text in enumerate(texts):
        name, text = given_text if isinstance(given_text, tuple) else (f"{number:02}", given_text)
        begin = begins.get(name, 0)
        begins[name] = begin + len(text) + 2
        passage = Passage(name, Span(begin, begin + len(text)), text)
        hits.append(Hit(passage, f"{name}.txt", name, 1, 1 - number / 100, number + 1, None))
    return hits


def places(hits: Sequence[Hit]) -> list[tuple[str, list[str]]]:
    return [(hit.title, [copy.title for copy in hit.also]) for hit in hits]


def test_same_text_under_two_names_is_one_hit_with_both() -> None:
    first, second, other = hits_of(
        STORY, STORY, "Roses grow behind the house of the keeper, and carp live in the pond."
    )
    assert fold([first, second, other]) == [replace(first, also=(second,)), other]


@pytest.mark.parametrize(
    "copy",
    [
        STORY.upper(),
        STORY.replace(" ", "\n"),
        STORY.replace("\n\n", " ").replace("director", "direc-\ntor").replace("private", "pri\u00advate"),
        STORY.replace("ffi", "\ufb03").replace("fi", "\ufb01").replace("office", "o\ufb03ce"),
        STORY.replace("3.2 million", "3.2\u00a0million").replace("Ida Moss", "“Ida\u2009Moss”"),
        STORY.replace("Ida Moss", "[Ida Moss](https://example.org/moss)").replace("private.", "private.[3]"),
        STORY.replace("The harbour", "Theharbour"),
        "# Harbour news\n\nBy Jane Roe\n\n" + STORY,
        "Harbour news — " + STORY,
        "HARBOUR TOWN, May 3 (AFP) - " + STORY,
        STORY + "\n\nReporting by Jane Roe; editing by John Doe",
    ],
)
def test_another_format_or_headline_or_credits_make_no_other_text(copy: str) -> None:
    assert len(fold(hits_of(STORY, copy))) == 1
    assert len(fold(hits_of(copy, STORY))) == 1


def test_reprints_with_their_own_headline_and_dateline_are_one_hit() -> None:
    papers = ["Courier", "Gazette", "Herald", "Post", "Times", "Tribune"]
    reprints = [
        f"{paper}: harbour news\n\nHARBOUR TOWN, May {day} (ETN) — {STORY}" for day, paper in enumerate(papers, 1)
    ]
    (hit,) = fold(hits_of(*reprints))
    assert len(hit.also) == 5


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seven", "nine"),
        ("3.2", "3.4"),
        ("3.2 million", "$3.2 million"),
        ("Ida Moss", "Ada Moss"),
        ("voted", "did not vote"),
        ("handled", "lost"),
        ("is to be", "is not to be"),
        ("on Tuesday ", ""),
        ("She begins in May. ", "She begins in June. "),
        ("The harbour board", "Of the old harbour board"),
        ("before the winter.", "before the winter of next year."),
        ("in private.", "in private. The mayor was absent."),
    ],
)
def test_text_that_differs_within_a_sentence_or_has_one_more_is_not_hidden(old: str, new: str) -> None:
    altered = STORY.replace("May.\n\n", "May. ").replace(old, new)
    text = STORY.replace("May.\n\n", "May. ")
    found = fold(hits_of(text, altered))
    assert {altered} <= {hit.passage.text for hit in found}
    if "mayor" not in new and old != "on Tuesday ":
        assert len(found) == 2


def test_reports_of_one_form_stay_apart() -> None:
    reports = [WEEKLY.format(340 + week, week) for week in range(12, 20)]
    assert fold(hits_of(*reports)) == hits_of(*reports)
    headlines = [f"Report of week {week}\n\n{STORY}" for week in (12, 13)]
    assert len(fold(hits_of(*headlines))) == 2


MORE = (
    "\n\nIn the evening there was a concert on the quay, and the boats were lit. Nobody could say how many people came "
    "from the villages around, but the last ferry was full, and the baker had sold all of his bread by noon."
)


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        ("The mayor has left.\n\n", ""),  # a sentence, no headline
        ("A headline that goes on and on for more words than any headline of any paper ever had\n\n", ""),
        ("", "\n\nThe new crane lifts 90 tonnes"),
        ("", " The baker disagrees"),
    ],
)
def test_nothing_but_a_headline_or_credits_is_hidden(before: str, behind: str) -> None:
    copy = before + STORY + behind
    assert copy in {hit.passage.text for hit in fold(hits_of(STORY + MORE, copy))}


def test_heading_within_a_document_is_no_headline() -> None:
    hits = hits_of(
        ("x", STORY + MORE), ("y", "Roses grow behind the house. " * 4), ("y", f"The fish market\n\n{STORY}")
    )
    assert fold(hits) == hits
    assert len(fold(hits_of(STORY + MORE, f"The fish market\n\n{STORY}"))) == 1


def test_last_lines_that_say_otherwise_keep_texts_apart() -> None:
    assert len(fold(hits_of(f"{STORY}\n\nThe outlook is good", f"{STORY}\n\nThe outlook is bad"))) == 2
    assert len(fold(hits_of(f"{STORY}\n\nReporting by Jane Roe, Tide", f"{STORY}\n\nText: John Doe, Tide"))) == 1


def test_what_only_one_document_has_in_the_middle_is_not_hidden() -> None:
    first, _, last = STORY.partition("\n\n")
    hits = hits_of(("x", first), ("x", last), ("x", MORE.strip()), ("y", f"{first}\n\nNo one objected.\n\n{last}"))
    assert hits[3] in fold(hits)


def test_phrase_that_stands_elsewhere_as_well_does_not_mislead() -> None:
    phrase = "the old bus station behind the harbour office"
    before, behind = f"Many people slept in {phrase} on Friday.", f"A fire in {phrase} was put out by noon."
    original = [("x", f"{MORE.strip()} {before}"), ("x", f"{STORY} {behind}")]
    assert places(fold(hits_of(*original, ("y", f"{before} {STORY}")))) == [("x", []), ("x", ["y"])]


def test_every_sentence_of_a_text_is_found_in_it() -> None:
    draw = random.Random(1)
    names = ["boat", "quay", "crane", "mayor", "harbour", "ferry", "winter", "office", "director", "herring", "board"]
    sentences = [f"The {' and the '.join(draw.sample(names, 3))} had come home." for _ in range(60)]
    for sentence in dict.fromkeys(sentences):
        assert places(fold(hits_of(" ".join(dict.fromkeys(sentences)), sentence))) == [("00", ["01"])]


@pytest.mark.parametrize("text", ["Ann Lee, chair", "漢字。", "5"])
def test_short_texts_that_are_the_same_are_copies(text: str) -> None:
    assert len(fold(hits_of(text, text))) == 1


def test_characters_that_are_no_text_do_not_shift_the_texts() -> None:
    assert places(fold(hits_of("\0" * 70 + " x", STORY, STORY))) == [("00", []), ("01", ["02"])]


def test_sentence_that_another_one_only_reports_is_no_copy() -> None:
    said = "Ida Moss has sold the old dry dock to the company of her brother."
    assert len(fold(hits_of(said, f"The board denied that {said}"))) == 2
    assert len(fold(hits_of(said, f"The board met. {said} It met again."))) == 1


def test_passages_cut_otherwise_are_folded_under_the_document_that_has_all_of_them() -> None:
    sentences = [
        f"Sentence number {word} tells of the harbour and its {word} cranes." for word in ["one", "two", "six", "ten"]
    ]
    whole = [("x", " ".join(sentences[:2])), ("x", " ".join(sentences[2:]))]
    between = ("y", " ".join(sentences[1:3]))
    assert places(fold(hits_of(*whole, between))) == [("x", ["y"]), ("x", [])]
    first, second = fold(hits_of(between, *whole))
    assert {first.title, second.title} == {"x"}
    assert (first.score, second.score) == (1.0, 1.0)  # both have half of the best hit


def test_passage_that_says_more_takes_the_place_of_its_copy() -> None:
    short, other, long = hits_of(STORY.partition("\n\n")[0], "Roses grow behind the house of the keeper.", STORY)
    assert fold([short, other, long]) == [replace(long, score=short.score, also=(short,)), other]


def test_passages_of_one_document_are_no_copies_of_each_other() -> None:
    hits = hits_of(("x", STORY), ("x", STORY))
    assert fold(hits) == hits


@pytest.mark.parametrize(
    "texts", [[], ["a"], ["a", "a"], ["", ""], ["???", "!!!"], ["\0", "\0 a"], ["漢字。", "漢字。"]]
)
def test_next_to_no_words_are_no_trouble(texts: list[str]) -> None:
    found = fold(hits_of(*texts))
    assert sum(1 + len(hit.also) for hit in found) == len(texts)


def test_nothing_is_lost_where_the_comparing_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_MOST_COMPARED", 0)
    assert fold(hits_of(STORY, STORY)) == hits_of(STORY, STORY)


POOL = [
    "The harbour board met on Tuesday and named a new director.",
    "The harbour board met on Friday and named a new director.",
    "Its seven members voted in private, and by five to two.",
    "Its nine members voted in private, and by five to two.",
    "The port handled 3.2 million tonnes last year.",
    "Two cranes are to be replaced before the winter, said the mayor.",
    "Roses grow behind the house.",
    "No one came.",
]


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.lists(st.sampled_from(POOL), min_size=1, max_size=6)), max_size=12
    ),
    st.randoms(use_true_random=False),
)
def test_each_hit_is_in_one_group_and_groups_do_not_depend_on_the_order(
    drawn: list[tuple[str, list[str]]], shuffler: random.Random
) -> None:
    hits = hits_of(*((name, " ".join(sentences)) for name, sentences in drawn))
    shuffled = shuffler.sample(hits, len(hits))

    def groups(found: Sequence[Hit]) -> list[list[tuple[str, Span]]]:
        each = [[one.passage for one in (hit, *hit.also)] for hit in found]
        return sorted(sorted((one.document_id, one.span) for one in group) for group in each)

    found = fold(hits)
    assert sorted(key for group in groups(found) for key in group) == sorted(
        (hit.passage.document_id, hit.passage.span) for hit in hits
    )
    assert groups(fold(shuffled)) == groups(found)
    for hit in found:
        standing = {one.passage.text for one in found if one.passage.document_id == hit.passage.document_id}
        said = set(re.findall(r"[^.]+\.", " ".join(standing)))
        for copy in hit.also:
            assert copy.passage.document_id != hit.passage.document_id
            assert {sentence.strip() for sentence in re.findall(r"[^.]+\.", copy.passage.text)} <= {
                sentence.strip() for sentence in said
            }


@given(st.text(st.sampled_from("ab1 .,-\n[](3)é\u0301ﬁß½−€–漢का\u00ad"), max_size=40))
def test_wording_has_the_words_with_their_places(text: str) -> None:
    wording = Wording.of(text)
    assert "".join(words_of(text)) == wording.letters
    for number, span in enumerate(wording.spans):
        part = wording.letters[wording.offsets[number] : wording.offsets[number + 1]]
        assert "".join(words_of(span.of(text))) in (part, "")
    assert list(wording.spans) == sorted(wording.spans)


def test_search_gives_as_many_different_passages_as_asked_for(tmp_path: Path, embedder: HashingEmbedder) -> None:
    for number in range(20):
        (tmp_path / f"copy{number:02}.txt").write_text(f"Paper {'abcdefghijklmnopqrst'[number]} reports\n\n{STORY}\n")
    others = [
        "The board of the port met.",
        "A director of the harbour.",
        "Moss and herring.",
        "The crane of the harbour.",
    ]
    for number, text in enumerate(others):
        (tmp_path / f"other{number}.txt").write_text(text)
    index = Index.sync(tmp_path / ".pincite", [tmp_path], embedder=embedder)
    hits = Pipeline(index).search("harbour board director", 5)
    assert len(hits) == 5
    assert {Path(hit.path).name[:5] for hit in hits} == {"copy0", "other"} or len({hit.path for hit in hits}) == 5
    (story,) = [hit for hit in hits if hit.also]
    assert len(story.also) == 19
    assert len({hit.passage.text for hit in hits}) == 5


def test_more_is_retrieved_where_copies_take_all_candidates(tmp_path: Path, embedder: HashingEmbedder) -> None:
    (tmp_path / "many.jsonl").write_text(
        "".join(f'{{"_id": "{n}", "text": "{STORY.partition(chr(10))[0]}"}}\n' for n in range(130))
    )
    (tmp_path / "other.txt").write_text("Roses grow behind the house of the harbour.")
    index = Index.sync(tmp_path / ".pincite", [tmp_path], embedder=embedder)
    hits = Pipeline(index).search("harbour board director Ida Moss", 2)
    assert [len(hit.also) for hit in hits] == [129, 0]
