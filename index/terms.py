"""Text -> the terms that BM25 counts: the same for passages and for queries.

Case and diacritics are folded, compounds taken apart, words stemmed (Snowball English, Porter 2001) and stop
words left out. Scripts written without spaces become overlapping pairs of characters, as in Lucene's CJKAnalyzer.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Sequence
from typing import Any

__all__ = ["analyze", "expand", "surfaces"]

# Function words, question words among them. nDCG@10, mean of time, cranfield, cacm, scifact and trecqa_ir: .588 without
# a list, .590 with Lucene's 33 words, .599 with these; .578, .582 and .593 on passages of 150 words.
_FUNCTION_WORDS = """
    a an the this that these those such same some any all both each few more most other own no nor not only
    i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers herself
    it its itself they them their theirs themselves what which who whom whose when where why how here there
    am is are was were be been being have has had having do does did doing would should could ought cannot
    and but if or because as until while than so then once of at by for with about against between into through
    during before after above below to from up down in out on off over under again further too very
    """
_STOP_WORDS = frozenset(_FUNCTION_WORDS.split())

# Letters and digits, with single joiners inside. Bounds keep a line of base64 from becoming one huge word.
_JOINED = r"(?:[-'.,]{word}{{1,64}}){{0,8}}(?:\+\+|\#)?"
_MARKS = r"\u05b0-\u05bd\u0900-\u0963\u0971-\u0dff\u0e31-\u0e4e\u0eb1-\u0ece\u0f18-\u0fc6\u102b-\u109d\u17b4-\u17d3"
_ASCII = re.compile("[a-z0-9]{1,64}" + _JOINED.format(word="[a-z0-9]"))
_UNICODE = re.compile(f"(?:[^\\W_]|[{_MARKS}]){{1,64}}" + _JOINED.format(word=f"(?:[^\\W_]|[{_MARKS}])"))

# Accents on Latin, Greek and Cyrillic letters, Hebrew points, Arabic vowel signs and tatweel, invisible characters.
# Not the vowel signs of Indic scripts, which are combining marks too, but not optional.
_DROPPED = re.compile(
    r"[\u00ad\u0300-\u036f\u0483-\u0489\u0591-\u05af\u05b0-\u05bd\u05bf-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670"
    r"\u1ab0-\u1aff\u1dc0-\u1dff\u200b-\u200f\u2060\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f\ufeff]"
)
_UNSPACED = re.compile(
    r"[\u0e01-\u0eff\u1000-\u109f\u1780-\u17d3\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]+"
)

_TYPOGRAPHIC = (("’‘ʼ", "'"), ("–‐‑", "-"), ("“”—…\u00a0", " "))
_ACRONYM = re.compile(r"[^\W\d_](?:\.[^\W\d_])+")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_SPLIT = re.compile(r"[-',]|\.(?!\d)|(?<!\d)\.")  # a full stop stays between two digits only

_stemmers = threading.local()


def analyze(text: str) -> list[str]:
    """Return the terms of `text` in order, repeats included.

    >>> analyze("The U.S. Senate's 1,000 well-known cafés, v2.0")
    ['us', 'senat', '1000', 'well', 'known', 'cafe', 'v2.0']
    """
    return [term for surface in surfaces(text) for term in expand(surface)]


def surfaces(text: str) -> list[str]:
    """Return the folded words of `text` as written, compounds whole: few distinct ones, so `expand` can be cached."""
    text = text.casefold()
    if text.isascii():
        return _ASCII.findall(text)
    # Typographic quotes and dashes are most of what is not ASCII in English: 96 % of news passages end here.
    for characters, plain in _TYPOGRAPHIC:
        for character in characters:
            text = text.replace(character, plain)
    if text.isascii():
        return _ASCII.findall(text)
    # Compatibility forms may be upper case (ℌ), hence the second casefold; composing again is for Hangul and kana.
    text = unicodedata.normalize("NFC", _DROPPED.sub("", unicodedata.normalize("NFKD", text))).casefold()
    if text.isascii():
        return _ASCII.findall(text)
    return _UNICODE.findall(_UNSPACED.sub(_pairs, text))


def expand(surface: str) -> Sequence[str]:
    """Return the terms of one of `surfaces`: none for a stop word, several for a compound."""
    if surface.isalpha():
        return [] if surface in _STOP_WORDS else [_stem(surface)]
    if surface.endswith(("++", "#")):
        if len(surface.rstrip("+#")) == 1:  # C++, C#
            return [surface]
        surface = surface.rstrip("+#")
    if surface.endswith("'s"):
        surface = surface[:-2]
    if _ACRONYM.fullmatch(surface):
        return [surface.replace(".", "")]
    parts = _SPLIT.split(_THOUSANDS.sub("", surface))
    return [_stem(part) for part in parts if part and part not in _STOP_WORDS]


def _stem(word: str) -> str:
    # A stemmer of PyStemmer keeps state in C: one for each thread.
    stemmer: Any = getattr(_stemmers, "english", None)
    if stemmer is None:
        import Stemmer

        stemmer = _stemmers.english = Stemmer.Stemmer("english")
    stem: str = stemmer.stemWord(word)
    return stem


def _pairs(run: re.Match[str]) -> str:
    text = run[0]
    if len(text) == 1:
        return f" {text} "
    return f" {' '.join(text[i : i + 2] for i in range(len(text) - 1))} "
