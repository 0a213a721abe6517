"""Sentences: boundaries on tricky text, spans that cover every character, time linear in the text."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pincite.index.sentences import Opening, outline, split_sentences

# "¦" stands before each sentence but the first.
PUNCTUATION = [
    "Dr. Smith met Mr. and Mrs. Jones at 3 p.m. on Friday. ¦They talked for an hour.",
    "Lt. Col. James Hart spoke first. ¦Prof. Ada Klein replied. ¦Adm. John Kirby was there.",
    "J. R. R. Tolkien wrote it. ¦C.S. Lewis read it first.",
    "The suspect, John F. Kelly, fled. ¦Police followed.",
    "He moved to the U.S. in 1990. ¦She stayed in the U.K. until 2001.",
    "The firm left the U.S. ¦It moved to Canada instead.",
    "The U.S. Senate passed the bill. ¦The U.N. Security Council met.",
    "Inflation hit 8.5 percent. ¦Rates rose to 3.75%. ¦It costs $1.5 million.",
    "Apple Inc. reported earnings. ¦Alphabet Inc. and Acme Corp. fell.",
    "The vote was on Dec. 28. ¦The law took effect on Jan. 1, 1964.",
    "Use fruit, e.g. apples, i.e. sweet ones, etc. for the pie. ¦Bake it.",
    "Smith et al. (2009) showed it. ¦See Fig. 3 and Eq. 4 for details.",
    "See No. 5 on p. 33 and pp. 40-45 of vol. 2. ¦The rest is in ch. 9.",
    "Goodwin (2005) p. 91.  ¦Holzer pg. 232.  ¦Writing of the speech, he notes it.",
    '"We won," he said. ¦"It was hard." ¦She nodded.',
    "“Is it true?” she asked. ¦“Yes.” ¦He left.",
    "He asked 'why?' and left. ¦Nobody answered.",
    "“He said, ‘Where to?’ ” Ann Lee said. ¦Then he went.",
    "It was late (about 11 p.m.) when they came. ¦No one saw.",
    "He waited … and waited. ¦Nothing came. ¦He said . . . nothing at all. ¦We left.",
    "What?! ¦No way! ¦Really?? ¦Yes.",
    "Yahoo! said it would merge. ¦Jeopardy! is on at 7.",
    "Visit www.example.com. ¦Mail joe.b@site.co.uk or see https://a.b/c.html?q=1.2. ¦Thanks.",
    "He uses an iPhone. ¦iPhone sales fell. ¦2021 was worse. ¦10 stores closed.",
    "The cell divides.[1] ¦It then grows.[2][3] ¦This is known.[note 4] ¦We saw it.",
    "She has a Ph.D. in physics. ¦He has an M.B.A. ¦They met at M.I.T. in 1999.",
    "Martin Luther King Jr. spoke there. ¦Sammy Davis Jr. sang.",
    "THE ALLIES MET IN PARIS . ¦THEY AGREED ON A PLAN . ¦THEN WHAT ? ¦NOBODY KNEW .",
    "IN 1960, THE U.S . FIRST PROPOSED TO HELP NATO . ¦BUT EUROPE MADE NO PLAN .",
    'SAID MR . MACMILLAN : " THE TERMS ARE VERY GOOD . " ¦MANY WERE NOT SURE .',
    "THE OFFER (TIME, DEC . 28) CAME LATE . ¦JOHN F . KENNEDY AND MME . DE GAULLE AGREED .",
    "İSTANBUL IS BİG. ¦İT IS OLD. ¦THE END.",  # lower() has another length
    "The first is done. ¦The second is not",
    "Il est arrivé. ¦« Bonjour ! » dit-il. ¦Elle partit.",
    "¿Qué pasa? ¦¡Nada! ¦El Sr. López llegó.",
    "今天天气很好。¦我们去公园吧！¦你来吗？¦好的。",
    "彼は「行く。」と言った。¦それから出た。",
    "वह आया। ¦फिर वह गया। ¦कहाँ गया?",
    "ذهب الولد. ¦أين هو؟ ¦في البيت.",
]
LAYOUT = [
    "Title Of Piece\n\n¦First para ends. ¦Second one\n\n¦Third para",
    "The quick brown fox jumped over the lazy dog in New\nYork City on a day in June, said Mr.\n"
    "Smith, who saw it happen. ¦It was a fine day in\r\nJune and everybody was glad to be outside.",
    "Board of the company\n¦The board has five members and meets every month in the main hall of\n"
    "the town. ¦Ann Lee is the chair.",
    "Ann Brown\n¦12 Main Street\n¦Springfield",
    "Ann Brown\r¦12 Main Street\u2028¦Springfield",
    "# Heading one\n¦Text begins here. ¦More text.\n\n¦## Sub\n\n¦- item one\n¦- item two\n  goes on\n¦- item three\n\n"
    "¦1. first\n¦2. second",
    "We need:\n¦• eggs\n¦• milk from the\n  farm\n¦• bread",
    "Intro text:\n\n¦| a | b |\n¦|---|---|\n¦| 1. x | 2 |\n\n¦After.",
    "one\ttwo\tthree\n¦four\tfive\tsix",
    "My Title\n========\n\n¦Some text here. ¦More.\n\n¦Part\n----\n¦Body.",
    "========\nMy Title\n========\n¦Body.",
    "Run this:\n\n¦```sh\n¦pip install x\n\n¦pincite index .\n¦```\n\n¦Done.",
    "An open fence\n\n¦```\ndoes not turn the rest of the document into code,\nso that wrapped lines stay whole.",
    "Head Line\r\n\r\n¦One two. ¦Three\r\nfour.",
    "\ufeffHi. ¦There.\n \t\n¦You.",
]


@pytest.mark.parametrize("marked", PUNCTUATION + LAYOUT)
def test_boundaries_are_where_a_reader_puts_them(marked: str) -> None:
    expected = [part.strip() for part in marked.split("¦")]
    text = marked.replace("¦", "")
    assert [span.of(text) for span in split_sentences(text)] == expected


def test_openings_say_what_begins() -> None:
    text = "# One\nText here. More.\n\nPara.\n- item\n\nWhy so?\n\nBecause."
    heading, nothing, line, paragraph = Opening.HEADING, Opening.NOTHING, Opening.LINE, Opening.PARAGRAPH
    expected = [heading, paragraph, nothing, paragraph, line, heading, paragraph]
    assert outline(text).openings.tolist() == expected


NASTY = [
    "\r\n", "\n", "\n\n", "\r", "\t", " ", "\u00a0", "\u2028", "\x1c", "\x85", ".", ". ", "! ", "?", "…", " . ", '"',
    "”", "。", "」", "।", "[1]", "```\n", "# ", "- ", "1. ", "|", "---", "===\n", "\0", "\ufeff", "e\u0301", "\u200d",
    "👩‍👩‍👧", "👍🏽", "שלום", "\u202e", "U.S.", "Mr.", "İ", "ẞ", "word", "Word", "WORD", "x" * 300, "今天", "42",
]  # fmt: skip
texts = st.lists(st.sampled_from(NASTY) | st.text(max_size=5), max_size=40).map("".join)


@given(texts)
def test_every_character_is_in_one_sentence_and_no_white_space_around_it(text: str) -> None:
    spans = split_sentences(text)
    end = 0
    for span in spans:
        assert not text[end : span.start].strip()
        assert span.start >= end
        assert span.of(text) == span.of(text).strip() != ""
        end = span.end
    assert not text[end:].strip()
    assert spans == split_sentences(text)


@given(texts)
def test_upper_case_keeps_its_offsets(text: str) -> None:
    upper = text.upper()
    assert all(span.of(upper).strip() for span in split_sentences(upper))


@pytest.mark.parametrize(
    "unit",
    [
        "x", ".", "!", "! ", ". ", "'.", "a.\n", "\n", " \n", "a\n\n", "- x\n", "# H\n", "```\n", "。", "a, ",
        "」", "[1]", "a" + " " * 999, "![" * 3_999 + "\n\n",
    ],
    ids=lambda unit: repr(unit[:9]),
)  # fmt: skip
def test_time_is_linear_on_text_without_mercy(unit: str) -> None:
    text = unit * (60_000 // len(unit))
    begin = time.process_time()
    sentences = outline(text)
    # 0.01 to 0.3 s; work that grows with the square of the length takes far longer.
    assert time.process_time() - begin < 3
    assert np.all(sentences.ends - sentences.starts <= 8_000)
