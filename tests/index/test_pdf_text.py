"""Lines on pages -> text: where paragraphs end, what joins over columns and pages, and what is left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pincite.index.pdf_lines import Line, clean_lines, title_of
from pincite.index.pdf_text import text_of

WIDE = "x" * 60  # as wide as the text: 300 points


def line(text: str, y: float, left: float = 50, size: float = 10, *, hyphen: bool = False, turn: int = 0) -> Line:
    """Return a line whose characters are half as wide as high; " | " stands for a wide gap."""
    pieces = []
    for cell in text.split(" | "):
        pieces.append((cell, left, left + len(cell) * size / 2))
        left += 100
    return Line(y, size, tuple(pieces), hyphen=hyphen, turn=turn)


def page(*texts: str, top: float = 700, left: float = 50, size: float = 10) -> list[Line]:
    """Return lines below each other; a "-" at the end is a hyphen, spaces at the beginning are an indent."""
    return [
        line(
            text.strip().removesuffix("-"),
            top - 12 * n,
            left + 5 * (len(text) - len(text.lstrip())),
            size,
            hyphen=text[-1] == "-",
        )
        for n, text in enumerate(texts)
    ]


def text(*pages: list[Line]) -> str:
    return text_of(dict(enumerate(pages)))[0]


FILLED = "The board of the harbour met on Thursday to hear what the old"
ENDED = "keeper had to say about the lamp and the oil that it burns."


def test_lines_are_joined_and_paragraphs_told_by_gaps_and_indents() -> None:
    together = f"{FILLED} {ENDED}"
    assert text(page(FILLED, ENDED)) == together
    assert text([*page(FILLED, ENDED), *page(FILLED, ENDED, top=670)]) == f"{together}\n\n{together}"
    assert text(page(FILLED, ENDED, f"  {FILLED}", ENDED)) == f"{together}\n\n{together}"
    assert text(page(f"  {FILLED}", ENDED)) == together
    assert text([*page("The lamp", size=12), *page(FILLED, ENDED, top=688)]) == f"The lamp\n\n{together}"


def test_a_line_that_ended_early_ends_a_paragraph() -> None:
    assert text(page(FILLED, "keeper said.", FILLED, ENDED)) == f"{FILLED} keeper said.\n\n{FILLED} {ENDED}"
    assert text(page("Ada Byron", "3 Quay Street", "Lund", FILLED, ENDED)).startswith(
        "Ada Byron\n3 Quay Street\nLund\n"
    )
    assert text(page("the lamp was", "out and so", FILLED)) == f"the lamp was out and so\n\n{FILLED}"


def test_items_and_rows_are_lines() -> None:
    items = page(
        "They bought:",
        "• oil for the lamp, of which a barrel had been lost in the storm of",
        "  May;",
        "• rope;",
        "(c) bread.",
    )
    assert text(items) == (
        "They bought:\n• oil for the lamp, of which a barrel had been lost in the storm of May;\n• rope;\n(c) bread."
    )
    table = page(FILLED, ENDED, "Light | Built | Range", "Outer Knoll | 1869 | 21", "Sparre Point | 1902 | 14")
    assert text(table).endswith("burns.\nLight | Built | Range\nOuter Knoll | 1869 | 21\nSparre Point | 1902 | 14")
    assert (
        text(page("The lamp . . . . . . . . . 12", "The oil . . . . . . . . . . 31"))
        == "The lamp ... 12\nThe oil ... 31"
    )
    assert text(page("The board | met.", FILLED, ENDED)).startswith("The board met.\n")  # a gap, but no table


def test_parted_words_are_mended_and_compounds_stay() -> None:
    assert text(page(f"{FILLED} light-", "house keeper said.")) == f"{FILLED} lighthouse keeper said."
    known = page(f"{FILLED} light-", "house keeper said.", "  A light-house keeper.")
    assert "old light-house keeper said." in text(known)
    assert "Thoresen-Vik said" in text(page(f"{FILLED} Thoresen-", "Vik said."))
    unhyphenated = [FILLED] * 80
    assert "old well-kept lamp" in text(page(*unhyphenated, "Kept well.", f"{FILLED} well-", "kept lamp."))
    assert "old wellkept lamp" in text(page(*unhyphenated, "Wellkept, kept well.", f"{FILLED} well-", "kept lamp."))
    assert text(page("It cost 20-", "30 crowns.")) == "It cost 20-30 crowns."
    assert text(page("The end of it was a com-")) == "The end of it was a com-"
    assert (
        text(page("昨日港の理事会が開かれ" * 5, "新しい灯台が承認された。"))
        == "昨日港の理事会が開かれ" * 5 + "新しい灯台が承認された。"
    )


def test_a_sentence_goes_on_in_the_next_column_and_on_the_next_page() -> None:
    columns = [*page(ENDED, FILLED), *page(ENDED, left=400)]
    assert text(columns) == f"{ENDED} {FILLED} {ENDED}"
    two = (page(f"{ENDED} {FILLED}"), page(ENDED, "  A new paragraph."))
    assert text_of(dict(enumerate(two)))[1][1].start == len(ENDED) + len(FILLED) + 2
    assert text(*two) == f"{ENDED} {FILLED} {ENDED}\n\nA new paragraph."
    parted = (page(f"{FILLED} light-"), page("house keeper went."))
    assert text(*parted) == f"{FILLED} lighthouse keeper went."
    assert text(page(FILLED, ENDED), page("They went.")) == f"{FILLED} {ENDED}\n\nThey went."
    assert text(page(FILLED, ENDED, "Figure 1: the lamp"), page(ENDED)).endswith(f"Figure 1: the lamp\n\n{ENDED}")


def test_footnotes_and_captions_do_not_interrupt_a_sentence() -> None:
    note = page("1 Not the one of 1902.", top=600, size=8)
    first, second = [*page(f"{ENDED} {FILLED}"), *note], page(ENDED)
    assert text(first, second) == f"1 Not the one of 1902.\n\n{ENDED} {FILLED} {ENDED}"
    assert text([*page(FILLED, ENDED), *note], second) == f"{FILLED} {ENDED}\n\n1 Not the one of 1902.\n\n{ENDED}"
    caption = [*page("Figure 2: the old lamp.", top=760, size=8), *page(ENDED)]
    assert text(page(f"{ENDED} {FILLED}"), caption) == f"{ENDED} {FILLED} {ENDED}\n\nFigure 2: the old lamp."


@pytest.mark.parametrize(
    "heads",
    [
        ["The Daily Tide 1", "The Daily Tide 2", "The Daily Tide 3", "The Daily Tide 4"],
        ["1", "2", "3", "4"],
        ["- 11 -", "- 12 -", "- 13 -", "- 14 -"],
        ["i", "ii", "iii", "iv"],
        ["The lamp 7", "8 The oil", "The rope 9", "10 Bread"],
        ["A Paper on Lamps", "Ada Byron", "A Paper on Lamps", "Ada Byron"],
    ],
)
def test_running_heads_and_page_numbers_are_left_out(heads: list[str]) -> None:
    bodies = [f"{FILLED} {number} {ENDED}" for number in ("first", "second", "third", "fourth")]
    pages = [[line(head, 780), *page(body)] for head, body in zip(heads, bodies, strict=True)]
    assert text(*pages) == "\n\n".join(bodies)
    feet = [[*page(body), line(head, 30)] for head, body in zip(heads, bodies, strict=True)]
    assert text(*feet) == "\n\n".join(bodies)


def test_what_only_looks_like_a_running_head_stays() -> None:
    slides = [[line("The lamp (1)", 780, size=24), *page(FILLED)], [line("The lamp (2)", 780, size=24), *page(ENDED)]]
    assert "The lamp (1)" in text(*slides) and "The lamp (2)" in text(*slides)
    moved = [[line("Of lamps", 780), *page(FILLED)], [line("Of lamps", 740), *page(ENDED)]]
    assert text(*moved).count("Of lamps") == 2
    assert text(page("Words."), page("Words."), page("Words.")).count("Words.") == 3
    bodies = [f"{FILLED} {word}" for word in ("left", "of", "it")]
    years = [[line(str(year), 780), *page(body)] for year, body in zip((1784, 1851, 1996), bodies, strict=True)]
    assert all(str(year) in text(*years) for year in (1784, 1851, 1996))


def test_text_in_another_direction_comes_after_the_rest() -> None:
    assert text([line("Draft", 20, turn=1), *page(FILLED, ENDED)]) == f"{FILLED} {ENDED}\n\nDraft"


def test_characters_become_what_they_mean() -> None:
    def clean(value: str) -> list[str]:
        return [one.text for one in clean_lines([line(value, 700)])]

    assert clean("ﬁnd the ﬂuﬃest o\ufb00er") == ["find the fluffiest offer"]
    assert clean("\x88 oil") == clean("\uf0b7 oil") == clean("▪ oil") == ["• oil"]
    assert clean("so\xadme\u200b wo\x00rds\ufffe") == ["some words"]
    assert clean("cafe\u0301") == ["café"]
    assert clean("\x93lamp\x94 \x96 oil") == ["“lamp” – oil"]
    assert clean("The lamp . . . . . 12") == clean("The lamp........12") == ["The lamp ... 12"]
    assert clean("Well...") == ["Well..."]
    assert clean("\uf020\uf041\x01") == []


def test_the_title_is_the_largest_type_of_the_first_page() -> None:
    head = [line("The lamp and", 760, size=20), line("its oil", 736, size=20)]
    assert title_of({0: [line("Daily Tide", 790), *head, *page(FILLED, ENDED)]}) == "The lamp and its oil"
    assert title_of({0: page(FILLED, ENDED)}) == ""
    assert title_of({0: [line("T", 700, size=40), *page(FILLED, ENDED)]}) == ""
    assert title_of({3: [], 4: [*head, *page(FILLED)]}) == "The lamp and its oil"
    assert title_of({}) == title_of({0: [line("12", 700, size=0)]}) == ""


def test_type_of_no_size_is_text_too() -> None:
    assert text(page(FILLED, "Short.", ENDED, size=0)).split() == f"{FILLED} Short. {ENDED}".split()


PLACES = st.one_of(st.integers(0, 60).map(lambda n: 12.0 * n), st.floats(-1e9, 1e9))
LINES = st.builds(
    lambda words, baseline, left, size, hyphen, artifact, turn: Line(
        baseline,
        size,
        tuple((word, left + 80 * n, left + 80 * n + 60) for n, word in enumerate(words)),
        hyphen,
        artifact,
        turn,
    ),
    st.lists(
        st.sampled_from(["Lamp", "oil", "• rope", "12", "iv", "(a) x", "end.", "— ", "日本", "-"]),
        min_size=1,
        max_size=4,
    ),
    PLACES,
    PLACES,
    st.sampled_from([0.0, 8.0, 10.0, 10.5, 24.0, 1e4]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0, 0, 0, 1, 2, 3]),
)


@given(st.lists(st.lists(LINES, max_size=12), max_size=5))
def test_no_lines_are_an_error(pages: list[list[Line]]) -> None:
    found, marks = text_of(dict(enumerate(pages)))
    title_of(dict(enumerate(pages)))
    starts = [mark.start for mark in marks]
    assert starts == sorted(set(starts)) and (not starts or starts[-1] < len(found))
    assert "\n\n\n" not in found and found == found.strip()
    assert bool(found) == any(pages)


def test_monstrous_pages_take_no_monstrous_time() -> None:
    many = [line(f"word {n}", 1e6 - 12 * n) for n in range(10_000)]
    assert text(many).count("word") == 10_000
    cells = Line(700, 10, tuple((str(n), 20.0 * n, 20.0 * n + 5) for n in range(10_000)))
    assert text([cells, Line(688, 10, cells.pieces)]).count(" | ") > 15_000
    assert len(text([line("a" * 100_000 + "1", 700, hyphen=True), line("b" * 100_000, 688)])) > 200_000
    assert len(text([line("." * 100_000 + "é" + " ." * 100_000, 700)])) > 5
    assert len(text([line("e" + "\u0301\u0316" * 200_000, 700)])) > 100_000
    pages = {n: [line("·" * 300 + " 12 " * 300, 780), *page(f"{FILLED} {'abcde'[n % 5]}")] for n in range(500)}
    assert text_of(pages)[0].count("harbour") == 500
