"""Decoding: the encoding is found, and gives the same text when it is used again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pincite.index.decoding import decode, encoding_of

FRENCH = "Le conseil d'administration s'est réuni hier à Genève, où l'été fut très « frais ».\n"
RUSSIAN = "Совет директоров собрался вчера в Москве. Председатель заявил, что решение принято единогласно.\n"
POLISH = "Zażółć gęślą jaźń. Rada nadzorcza zebrała się wczoraj w Łodzi, gdzie prezes złożył oświadczenie.\n"
JAPANESE = "取締役会は昨日東京で開かれた。社長は、決定は全会一致であったと述べた。\n"
CHINESE = "董事会昨天在北京召开会议。主席表示，该决定是一致通过的。这是一个简单的测试。\n"
PAIRS = [
    (FRENCH, "utf-8"),
    (FRENCH, "utf-8-sig"),
    (RUSSIAN, "utf-16"),
    (FRENCH, "utf-16-le"),
    (FRENCH, "utf-16-be"),
    (RUSSIAN, "utf-32"),
    (FRENCH, "utf-32-be"),
    (FRENCH, "utf-32-le"),
    (FRENCH, "cp1252"),
    (RUSSIAN, "cp1251"),
    (RUSSIAN, "koi8_r"),
    (POLISH, "cp1250"),
    (POLISH, "iso8859_2"),
    (JAPANESE, "shift_jis"),
    (JAPANESE, "euc_jp"),
    (JAPANESE, "iso2022_jp"),
    (CHINESE, "gb18030"),
]


@pytest.mark.parametrize(("text", "encoding"), PAIRS, ids=lambda value: value if len(value) < 12 else "")
def test_encodings_are_found_and_can_be_used_again(text: str, encoding: str) -> None:
    data = text.encode(encoding)
    found, name = decode(data)
    assert found == text
    assert decode(data, name) == (text, name)


@pytest.mark.parametrize("data", [b"caf\xe9", b"\x80 5", b"na\xefve \x93quoted\x94", b"\xff", b"\xe9"])
def test_short_and_undefined_bytes_become_some_text(data: bytes) -> None:
    text, encoding = decode(data)
    assert len(text) == len(data)
    assert text.encode(encoding) == data


def test_a_few_damaged_bytes_do_not_turn_utf_8_into_another_encoding() -> None:
    data = (RUSSIAN * 3).encode()
    text, encoding = decode(data[:-2] + b"\xff\n")
    assert encoding == "utf-8"
    assert text.count("\ufffd") == 1
    assert text.startswith(RUSSIAN)


def test_accents_far_into_a_long_file_are_still_seen() -> None:
    text = "plain words only\n" * 100_000 + RUSSIAN
    assert decode(text.encode("cp1251")) == (text, "cp1251")


def test_a_long_line_is_decoded() -> None:
    assert encoding_of(b"x" * 3_000_000 + b"\xe9" + b" y" * 1_000_000).startswith(("cp125", "iso8859", "mac"))


@given(st.binary(max_size=300))
def test_decoding_never_fails_and_is_repeatable(data: bytes) -> None:
    text, encoding = decode(data)
    assert decode(data, encoding) == (text, encoding)
    text.encode("utf-8")  # no half of a surrogate pair, which neither tokenizers nor the index can hold


@given(st.text(max_size=200), st.sampled_from(["utf-8-sig", "utf-16", "utf-32"]))
def test_marked_unicode_comes_back_as_it_was(text: str, encoding: str) -> None:
    if encoding != "utf-16" or not text.startswith("\0"):  # a mark and a NUL in UTF-16 may be UTF-32
        assert decode(text.encode(encoding, "replace"))[0] == text.encode(encoding, "replace").decode(encoding)


@given(st.text(st.characters(exclude_characters="\0\x1b\ufeff", codec="utf-8"), max_size=200))
def test_utf_8_is_always_read_as_utf_8(text: str) -> None:
    assert decode(text.encode()) == (text, "utf-8")
