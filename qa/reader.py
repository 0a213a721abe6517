"""(question, passages) -> sentences that may answer it, each with the probability that it does.

A sentence is as good as a logistic regression on six features finds it. Over all paragraphs of SQuAD dev v1.1 the
first sentence holds the answer for 76 % of the questions; the nearest by embedding for 60 %, the one with most of the
question's words for 72 %. With a third of the paragraphs left out, the score of the first tells questions that are
answered from those that are not with an AUROC of .87, the cosine with .79 (`scripts/fit_sentences.py report`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pincite.index import Index, Span
from pincite.index.sentences import Opening, outline
from pincite.index.terms import analyze
from pincite.qa.retriever import Hit

__all__ = ["MIN_CONFIDENCE", "PASSAGES", "SENTENCES", "WEIGHTS", "Candidate", "ScoredSpan", "measure", "read_sentences"]

PASSAGES = 5
"""Passages that are read. Ten found no more answers."""

SENTENCES = 8
"""Sentences that are embedded: those best by the other features. All of them, 23 on average, found no more answers."""

MIN_CONFIDENCE = 0.3
"""Below, there is no answer. It declines 13 % of the questions that SQuAD's paragraphs answer and 68 % of those whose
paragraph is left out; of the gold questions on the example articles 14 % and 85 %."""

# Fitted and calibrated by: python scripts/fit_sentences.py fit QA_TRAIN
WEIGHTS: Mapping[str, float] = {
    "cosine": 2.94,  # of the question's and the sentence's vectors
    "covered": 1.212,  # share of the question's terms, weighted by idf, that are in the sentence
    "covered_around": 1.892,  # the same, with the sentences beside it, its heading and the title
    "behind": 13.125,  # score of the passage less that of the best passage
    "kind": 0.404,  # 1 if it offers what "who", "when", "how many" ... asks for, -1 if not, 0 if that is unknown
    "terms": 0.562,  # logarithm of 1 + terms in the question
}
BIAS = -5.29


@dataclass(frozen=True, slots=True)
class ScoredSpan:
    """A span of a document that may be the answer.

    `span` and `sentence_span` count characters of the document; `confidence` is in [0, 1].
    """

    hit: Hit
    span: Span
    sentence_span: Span
    text: str
    confidence: float


def read_sentences(index: Index, question: str, vector: NDArray[np.float32], hits: Sequence[Hit]) -> list[ScoredSpan]:
    """Return the likeliest sentences of the best passages, best first: at most `SENTENCES`, each place once.

    Args:
        index: whose embedder made the vectors.
        question: as asked.
        vector: its embedding, float32, shape `(dim,)`.
        hits: passages, best first.
    """
    candidates, features = measure(index, question, hits[:PASSAGES])
    if not candidates:
        return []
    weights = np.array(list(WEIGHTS.values()))
    best = np.argsort(-(features @ weights), kind="stable")[:SENTENCES]
    features = features[best]
    features[:, 0] = index.embedder.embed_passages([candidates[i].text for i in best]) @ vector
    confidence = 1 / (1 + np.exp(-(features @ weights + BIAS)))
    order = np.argsort(-confidence, kind="stable").tolist()
    found = [(candidates[best[i]], float(confidence[i])) for i in order]
    return [ScoredSpan(one.hit, one.span, one.span, one.text, probability) for one, probability in found]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence of a passage; `span` is in the document, `around` the terms beside it, `title` included."""

    hit: Hit
    span: Span
    text: str
    terms: frozenset[str]
    around: frozenset[str]


def measure(index: Index, question: str, hits: Sequence[Hit]) -> tuple[list[Candidate], NDArray[np.float64]]:
    """Return the sentences of some passages and their features, shape `(n, len(WEIGHTS))`, "cosine" left 0."""
    terms = list(dict.fromkeys(analyze(question)))
    idf = dict(zip(terms, index.idf(terms).tolist(), strict=True))
    words = frozenset(_WORD.findall(question.lower()))
    kind = kind_asked(question)
    sentences: dict[tuple[str, int], Candidate] = {}
    rows = []
    for hit in hits:
        is_cased = hit.passage.text.lower() != hit.passage.text != hit.passage.text.upper()
        for sentence in _sentences(hit):
            place = (hit.passage.document_id, sentence.span.start)
            if place not in sentences:
                sentences[place] = sentence
                rows.append(
                    (
                        0.0,
                        covered(idf, sentence.terms),
                        covered(idf, sentence.terms | sentence.around),
                        hit.score - hits[0].score,
                        offers(kind, sentence.text, words) if is_cased or kind not in _CASED_KINDS else 0.0,
                        np.log1p(len(terms)),
                    )
                )
    return list(sentences.values()), np.array(rows, np.float64).reshape(-1, len(WEIGHTS))


def _sentences(hit: Hit) -> Iterator[Candidate]:
    """Yield the sentences of a passage; headings and the like only if it has nothing else."""
    text, first = hit.passage.text, hit.passage.span.start
    layout = outline(text)
    spans = [Span(*ends) for ends in zip(layout.starts.tolist(), layout.ends.tolist(), strict=True)]
    terms = [frozenset(analyze(span.of(text))) for span in spans]
    front = _FRONT_MATTER.match(text) if first == 0 else None
    is_heading = [opening == Opening.HEADING for opening in layout.openings.tolist()]
    is_furniture = [
        heading or (front is not None and span.start < front.end()) or _FURNITURE.search(span.of(text)) is not None
        for heading, span in zip(is_heading, spans, strict=True)
    ]
    none = frozenset[str]()
    title = heading = frozenset(analyze(hit.title))
    for i, span in enumerate(spans):
        if is_heading[i]:
            heading = terms[i]
        if not is_furniture[i] or all(is_furniture):
            before = terms[i - 1] if i else none
            after = terms[i + 1] if i + 1 < len(spans) and not is_heading[i + 1] else none
            around = title | heading | before | after
            yield Candidate(hit, Span(first + span.start, first + span.end), span.of(text), terms[i], around)


# What stands in an article but is no statement of it: a byline, a date line, a question. Front matter, headings too.
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_FURNITURE = re.compile(
    rf"[?？؟][\W_]*$|\A\W*by[ :]\s*\S[^.!?]{{1,80}}$|\A\W*(?:published|updated|posted)?\W*(?:[a-z]{{3,9}},?\s+)?"
    rf"(?:\d{{4}}-\d\d?-\d\d?|\d\d?[./]\d\d?[./]\d{{2,4}}|\d\d?\.?\s+{_MONTH},?\s+\d{{4}}|{_MONTH}\s+\d\d?,?\s+\d{{4}})"
    r"\b[^a-z]{0,30}$",
    re.IGNORECASE,
)
_FRONT_MATTER = re.compile(r"---[ \t]*\r?\n(?:[^\r\n]*\r?\n){0,40}?(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)")


def covered(idf: Mapping[str, float], terms: Set[str]) -> float:
    """Return the share of the question's terms that are in `terms`, weighted by idf; 0 if the question has none.

    >>> covered({"board": 3.0, "sit": 1.0}, {"board", "member"})
    0.75
    """
    total = sum(idf.values())
    return sum(weight for term, weight in idf.items() if term in terms) / total if total else 0.0


# --- what a question asks for, and whether a sentence offers it; English, and 0 for anything else ---------------

_WORD = re.compile(r"\w+")
_ASKED = {
    "time": r"when|(?:what|which)\s(?:\w+\s)?(?:years?|dates?|days?|months?|decades?|century|time)|how long ago",
    "number": r"how (?:many|much|old|long|tall|large|big|far|high|fast|often|deep|heavy|wide)|number of"
    r"|(?:what|which) (?:(?:is|was|were|are) )?(?:the )?(?:\w+ )?(?:percentage|percent|share|number|proportion|price"
    r"|amount|population|size|cost|height|length|age|temperature|speed|distance)",
    "reason": r"why|how come|what (?:\w+ )?(?:reason|caused?|causes)",
    "place": r"where|(?:what|which)\s(?:\w+\s)?(?:city|cities|country|countries|states?|places?|town|county|region"
    r"|continent|river|island|province|village)",
    "name": r"who(?:m|se)?|which|names?"
    r"|what (?:company|team|group|band|organi[sz]ation|school|university|actor|person)",
}
_KINDS = {kind: re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE) for kind, pattern in _ASKED.items()}
_CASED_KINDS = ("place", "name")
_OFFERED = {
    "time": r"\b(?:1\d\d\d|20\d\d)s?\b|\b(?:january|february|march|april|june|july|august|september|october|november"
    r"|december|(?:mon|tues|wednes|thurs|fri|satur|sun)day|yesterday|today|tomorrow|tonight|spring|summer|autumn|winter"
    r"|century|after|before|during|until|since)\b|\b(?:centuries|decades?|years?|months?|weeks?|days?) (?:ago|later"
    rf"|earlier)\b|\b{_MONTH}(?=\s+\d)|\b\d{{1,4}} (?:BCE?|AD|CE)\b|\b\d\d?(?::\d\d)? ?[ap]\.?m\b",
    "number": r"\d[\d.,]*|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six"
    r"|seven|eigh|nine)teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|(?:hundred|thousand|million|billion|trillion|dozen)s?"
    r"|half|third|quarter|once|twice|double|single|both|none|percent)\b",
    "reason": r"\b(?:because|so that|in order to|due to|since|therefore|thus|hence|as a result|caus(?:e|es|ed|ing)"
    r"|owing to|thanks to|reasons?|leads? to|led to|resulted|results)\b|, so\b|\bto (?!the\b|an?\b)\w+",
    "place": r"\b(?:in|at|from|to|near|of|on|between|across|around|outside|into|off|through|towards?|via|and|,)\s+"
    r"(?:the\s+)?(?-i:[A-Z])[\w'’-]+",
}
_OFFERS = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in _OFFERED.items()}
_CAPITALISED = re.compile(r"(?<![\w'’])[A-Z][\w&-]*")
_AFTER_NAME = re.compile(r"\s*(?:[A-Z]|,|['’]s\b|(?:and|is|was|has|had|said|says)\b)")


def kind_asked(question: str) -> str:
    """Return what `question` asks for: "time", "number", "reason", "place", "name", or "" for anything else.

    >>> kind_asked("who sits on the board?"), kind_asked("How many members has it?"), kind_asked("Does it meet?")
    ('name', 'number', '')
    """
    return next((kind for kind, pattern in _KINDS.items() if pattern.search(question)), "")


def offers(kind: str, sentence: str, asked: frozenset[str]) -> float:
    """Return 1 if `sentence` offers something of a kind that is not in the question, -1 if not, 0 if nothing is asked.

    Args:
        kind: as `kind_asked` returns it.
        sentence: with capitals where its language has them, for the kinds that are told by them.
        asked: the words of the question in lower case.

    >>> offers("name", "The board was chosen by Ann Roe.", frozenset({"who", "chose", "the", "board"}))
    1.0
    """
    if not kind:
        return 0.0
    if kind == "name":
        return 1.0 if any(_names(sentence, asked)) else -1.0
    found = (_WORD.findall(match.group().lower()) for match in _OFFERS[kind].finditer(sentence))
    return 1.0 if any(words and words[-1] not in asked for words in found) else -1.0


def _names(sentence: str, asked: frozenset[str]) -> Iterator[str]:
    """Yield the capitalised words that are not in the question; the first word only if it is used like a name."""
    for match in _CAPITALISED.finditer(sentence):
        name = match.group()
        is_first = _WORD.search(sentence, 0, match.start()) is None
        if (is_first and not _AFTER_NAME.match(sentence, match.end())) or name.lower() in asked or name == "I":
            continue
        if analyze(name):
            yield name
