"""(sentence, passages that it cites) -> the spans that support it, how well, or why they do not.

The words of a language model are believed only as far as the source bears them out: each number and name must stand in
the cited passages, most of the words in a few neighbouring sentences of them, close in meaning, and a negation on both
sides or on neither. Then the reader is asked the sentence with each name and number taken out, and must not find
another one in its place (as in QAGS, Wang et al. 2020). All is for English; in other languages more is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pincite.index import Span
from pincite.index.interface import SearchIndex
from pincite.index.sentences import outline
from pincite.index.terms import analyze
from pincite.qa.features import covered
from pincite.qa.parts import read_texts
from pincite.qa.span_decoding import best_spans
from pincite.qa.span_model import SpanModel

__all__ = ["MIN_SUPPORT", "Support", "check_support"]

MIN_SUPPORT = 0.55
"""Least mean of the share of words found and of nearness in meaning. Of 44 paraphrases of sentences in seeds/ each has
0.59 or more; of 88 pairs of a sentence and a passage on something else all have less but four, three of them true."""

CONTRADICTED = 1.5
"""Margin, in logits over "no answer", from which on another name or number that the reader finds counts, if the
sentence's own is not found with less than `_AHEAD` below it."""

_SENTENCES = 3  # that support together, one after another
_EMBEDDED = 6  # windows of a passage whose nearness is looked at: those with most of the words
_ASKED = 6  # names and numbers of a sentence for which the reader is asked
_BREVITY = 0.03  # what another sentence must add to be part of the evidence
_AHEAD = 2.0
_SPANS = 3  # of a passage that the reader finds, for each question


@dataclass(frozen=True, slots=True)
class Support:
    """What bears a sentence out.

    Attributes:
        score: in [0, 1]; mean of the share of its words, weighted by idf, and of the cosine (0 for unrelated texts).
        places: of each passage that takes part its number in the call and the span of the evidence in its text.
        problem: why the sentence is not supported; empty if it is.
    """

    score: float
    places: tuple[tuple[int, Span], ...]
    problem: str = ""


def check_support(
    index: SearchIndex,
    reader: SpanModel,
    question: str,
    sentence: str,
    passages: Sequence[str],
    *,
    min_support: float = MIN_SUPPORT,
) -> Support:
    """Return whether passages support a sentence, and where.

    Args:
        index: whose words and embedder count.
        reader: is asked for each name and number.
        question: as asked; less than three words are no statement, but its answer if the reader finds them so.
        sentence: without marks of citation.
        passages: the texts that it cites, one at least.
        min_support: in [0, 1]; below, a sentence is not supported.
    """
    for quoted in _QUOTED.findall(sentence):
        if not any(_verbatim(quoted, text) for text in passages):
            return Support(0.0, (), "its quotation is not in the cited passage")
    whole = " ".join(passages)
    if missing := _missing(sentence, whole):
        return Support(0.0, (), f"not in the cited passage: {missing}")
    statement = sentence
    if len(terms := frozenset(analyze(sentence))) < _STATEMENT:
        statement = f"{question} {sentence}"
        answers = [frozenset(analyze(answer)) for margin, answer in _answers(reader, question, passages) if margin > 0]
        if not any(terms and terms <= answer for answer in answers):
            return Support(0.0, (), "the reader does not find it as an answer")
    windows = [_best_window(index, statement, sentence, text) for text in passages]
    score = max(own for own, _ in windows)
    places = tuple((number, span) for number, (own, span) in enumerate(windows) if own >= min(score, min_support))
    if score < min_support:
        return Support(score, places, "the cited passage does not say so")
    if not _agree_in_negation(sentence, " ".join(span.of(passages[number]) for number, span in places)):
        return Support(score, places, "a negation is not as in the cited passage")
    if other := _contradiction(reader, sentence, [passages[number] for number, _ in places]):
        return Support(score, places, f"the cited passage says {other}")
    return Support(score, places)


_STATEMENT = 3  # terms that a statement has at least
_QUOTED = re.compile(r"[“«\"]((?:[^\W_]+[^“”«»\"\w]{1,3}){2,60}[^\W_]+[^“”«»\"\w]?)[”»\"]")


def _verbatim(quoted: str, text: str) -> Span | None:
    """Return where a quotation stands in a text, however its lines are broken."""
    words = r"\s+".join(map(re.escape, quoted.rstrip(" .,;:!?").split()))
    match = re.search(words, text)
    return Span(*match.span()) if match else None


def _best_window(index: SearchIndex, statement: str, sentence: str, text: str) -> tuple[float, Span]:
    """Return how well a text supports a statement, and where best: a quotation that is in it, or a few sentences."""
    terms = list(dict.fromkeys(analyze(statement)))
    idf = dict(zip(terms, index.idf(terms).tolist(), strict=True))
    found = [(covered(idf, frozenset(analyze(span.of(text)))), -len(span), span) for span in _windows(text)]
    found = sorted(found, reverse=True)[:_EMBEDDED]
    if not found:
        return 0.0, Span(0, len(text))
    unrelated = index.fingerprint.unrelated if index.fingerprint else 0.0
    vectors = index.embedder.embed_passages([span.of(text) for _, _, span in found])
    cosines = (vectors @ index.embedder.embed_query(statement)).tolist()
    windows = [
        ((share + min(max(0.0, cosine - unrelated) / (1 - unrelated), 1.0)) / 2, span)
        for (share, _, span), cosine in zip(found, cosines, strict=True)
    ]
    best, place = max(windows, key=lambda window: window[0] - _BREVITY * len(outline(window[1].of(text)).starts))
    quotes = [span for quoted in _QUOTED.findall(sentence) if (span := _verbatim(quoted, text))]
    return best, max(quotes, key=len, default=place)


def _windows(text: str) -> Iterator[Span]:
    """Yield each run of up to three sentences without a question, which states nothing."""
    layout = outline(text)
    starts, ends = layout.starts.tolist(), layout.ends.tolist()
    for i, start in enumerate(starts):
        for end in ends[i : i + _SENTENCES]:
            if text[end - 1] in "?？؟":
                break
            yield Span(start, end)


# --- numbers, names, negations -----------------------------------------------------------------------------------

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_WORD = re.compile(r"[^\W\d_]+")
_COUNTS = re.findall(r"\S+", "zero - two three four five six seven eight nine ten eleven twelve")
_AMOUNT = re.compile(
    r"\b(?:hundred|thousand|million|billion|trillion|dozen|percent|half|third|quarter)\b", re.IGNORECASE
)
_URL = re.compile(r"(?:https?://|www\.)[^\s<>\"]+")
_NAME = re.compile(r"(?<![\w'’])[^\W\d_a-z][\w&-]*")
_OPENER = re.compile(r"(?:Yes|No|However|Therefore|Thus|Overall|Additionally|Furthermore|Moreover|Also)\b")
_AFTER_NAME = re.compile(r"\s*(?:[A-Z]|,|['’]s\b|(?:and|is|was|has|had|said|says)\b)")
_CLAUSE = re.compile(r"[.,;:!—–]+\s|\s[-—–]\s|\b(?:and|but|although|though|while|because|since|which)\b", re.IGNORECASE)
_YES_OR_NO = re.compile(r"\A\W*(?:yes|no)\b[,.;:!]", re.IGNORECASE)
_NEGATION = re.compile(
    r"\b(?:no|not|never|none|nobody|nothing|neither|nor|without|cannot|refus\w+|\w+n['’]t)\b", re.IGNORECASE
)


def _numbers(text: str) -> set[str]:
    words = [word.lower() for word in _WORD.findall(text)]
    counts = {str(_COUNTS.index(word)) for word in words if word in _COUNTS}
    amounts = {amount.lower() for amount in _AMOUNT.findall(text)}
    return {number.replace(",", "") for number in _NUMBER.findall(text)} | counts | amounts


def _missing(sentence: str, text: str) -> str:
    """Return the first number, address or name of a sentence that a text lacks; empty if it has them all."""
    for url in _URL.findall(sentence):
        if url.rstrip(".,;)") not in text:
            return "an address"
    if numbers := sorted(_numbers(sentence) - _numbers(text)):
        return numbers[0]
    terms = frozenset(analyze(text))
    for match in _NAME.finditer(sentence):
        name = match.group()
        if not name[0].isupper():
            continue
        is_first = not _WORD.search(sentence, 0, match.start())
        if is_first and (_OPENER.match(name) or not _AFTER_NAME.match(sentence, match.end())):
            continue
        if not terms.issuperset(analyze(name)):
            return name
    return ""


def _agree_in_negation(sentence: str, evidence: str) -> bool:
    """Return whether each clause of a sentence is negated as the one of the evidence that shares most words with it."""
    sentence = _YES_OR_NO.sub("", sentence)
    if _is_negated(sentence) and not _is_negated(evidence):
        return False
    clauses = [(frozenset(analyze(part)), _is_negated(part)) for part in _CLAUSE.split(evidence)]
    for part in _CLAUSE.split(sentence):
        terms, negated = frozenset(analyze(part)), _is_negated(part)
        shared, agrees = max(((len(terms & others), negated == other) for others, other in clauses), default=(0, True))
        if 2 * shared >= max(len(terms), 1) and not agrees:
            return False
    return True


def _is_negated(text: str) -> bool:
    return _NEGATION.search(text) is not None


# --- what the reader finds in place of a name or number -----------------------------------------------------------

_PART = rf"(?:(?:Dr|Mr|Mrs|Ms|St|Prof)\.|[A-Z][\w&-]*|\d+(?:[.,]\d+)*%?|\b(?:{'|'.join(_COUNTS[2:])})\b)"
_KEY = re.compile(rf"{_PART}(?:(?:\s+|,\s+(?:and\s+)?|\s+and\s+){_PART})*")
_TIME = re.compile(
    r"\b(?:1\d|20)\d\d\b|January|February|March|April|May|June|July|August|September|October|November|December"
)


def _contradiction(reader: SpanModel, sentence: str, texts: Sequence[str]) -> str:
    """Return the name or number that the texts have where the sentence has another; empty if there is none."""
    whole = " ".join(texts)
    for match in [match for match in _KEY.finditer(sentence) if _may_be_wrong(sentence, match, whole)][:_ASKED]:
        wanted = _items(match.group(), match.group())
        rest = frozenset(analyze(f"{sentence[: match.start()]} {sentence[match.end() :]}"))
        agreeing, best, other = -math.inf, CONTRADICTED, ""
        for margin, answer in _answers(reader, _asked(sentence, match), texts):
            found = _items(answer, match.group())
            if found & wanted and (found <= wanted | rest or wanted <= found):
                agreeing = max(agreeing, margin)
            elif found - wanted - rest and margin > best:
                best, other = margin, answer
        if other and agreeing < best - _AHEAD:
            return " ".join(other.split())
    return ""


def _answers(reader: SpanModel, question: str, texts: Sequence[str]) -> Iterator[tuple[float, str]]:
    """Yield margin and text of the spans of each text that the reader finds likeliest."""
    layouts = [outline(text) for text in texts]
    for text, layout, windows in zip(texts, layouts, read_texts(reader, question, texts, layouts), strict=True):
        for span, margin in best_spans(windows, text, layout, _SPANS):
            yield margin, span.of(text)


def _may_be_wrong(sentence: str, key: re.Match[str], text: str) -> bool:
    """Return whether a key is a name or number, and not only the first word of a sentence in capitals."""
    terms, name = analyze(key.group()), re.escape(key.group())
    if _WORD.search(sentence, 0, key.start()) or " " in key.group() or _AFTER_NAME.match(sentence, key.end()):
        return bool(terms)
    return not frozenset(analyze(text)).issuperset(terms) or re.search(rf"(?<=[a-z,]\s){name}\b", text) is not None


def _items(text: str, key: str) -> set[str]:
    """Return the names in a text, its numbers, or both, whichever a key has."""
    names = {term for name in _NAME.findall(text) for term in analyze(name)}
    return names | _numbers(text) if _TIME.search(key) else _numbers(text) if _numbers(key) else names


def _asked(sentence: str, key: re.Match[str]) -> str:
    """Return the question to which a name or number of a sentence is the answer."""
    before, after = sentence[: key.start()], sentence[key.end() :]
    if _TIME.search(key.group()):
        asked = "when"
        before = re.sub(r"\b(?:in|on|since)\s+$", "", before)
    elif key.group()[-1] == "%":
        asked = "what percentage"
    elif _numbers(key.group()):
        asked = "how many"
    else:
        asked = "what" if before else "who"
    return f"{before}{asked}{after}".rstrip(" .!") + "?"
