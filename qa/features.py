"""(question, hits) -> the sentences of the hits and what words alone tell of each: features for the reader.

A model that reads is wrong in its own ways, and words in theirs: the reader weighs both. Kinds of questions and what
offers an answer to them are English; for anything else they are 0 and weigh nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from pincite.index import Span
from pincite.index.interface import SearchIndex
from pincite.index.sentences import Opening, Outline
from pincite.index.terms import analyze
from pincite.qa.retriever import Hit

__all__ = [
    "Asked",
    "Sentence",
    "ask_words",
    "covered",
    "is_question",
    "kind_asked",
    "offers",
    "sentence_around",
    "sentences_of",
]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a question asks by its words: terms with their idf, what kind of thing, its words in lower case."""

    idf: Mapping[str, float]
    kind: str
    words: frozenset[str]


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a hit; `span` is in the document, `around` the terms beside it, those of the title included."""

    span: Span
    text: str
    terms: frozenset[str]
    around: frozenset[str]
    is_furniture: bool


def ask_words(index: SearchIndex, question: str) -> Asked:
    """Return what a question asks by its words, weighted by the index."""
    terms = list(dict.fromkeys(analyze(question)))
    idf = dict(zip(terms, index.idf(terms).tolist(), strict=True))
    return Asked(idf, kind_asked(question), frozenset(_WORD.findall(question.lower())))


def sentences_of(hit: Hit, layout: Outline) -> list[Sentence]:
    """Return the sentences of a hit, in order, without gaps that hold words; `layout` is that of its text."""
    text, first = hit.passage.text, hit.passage.span.start
    spans = [Span(*ends) for ends in zip(layout.starts.tolist(), layout.ends.tolist(), strict=True)]
    terms = [frozenset(analyze(span.of(text))) for span in spans]
    front = _FRONT_MATTER.match(text) if first == 0 else None
    is_heading = [opening == Opening.HEADING for opening in layout.openings.tolist()]
    none = frozenset[str]()
    title = heading = frozenset(analyze(hit.title))
    found = []
    for i, span in enumerate(spans):
        if is_heading[i]:
            heading = terms[i]
        before = terms[i - 1] if i else none
        after = terms[i + 1] if i + 1 < len(spans) and not is_heading[i + 1] else none
        is_front = front is not None and span.start < front.end()
        is_furniture = is_heading[i] or is_front or _FURNITURE.search(span.of(text)) is not None
        place = Span(first + span.start, first + span.end)
        found.append(Sentence(place, span.of(text), terms[i], title | heading | before | after, is_furniture))
    return found


def sentence_around(sentences: Sequence[Sentence], place: Span, hit: Hit) -> Sentence:
    """Return the sentence of a hit in which a span of its document is; the sentences as one, if it touches several.

    Args:
        sentences: of the hit, as `sentences_of` returns them.
        place: in the document, one character at least.
        hit: where both are.
    """
    touched = [one for one in sentences if one.span.start < place.end and place.start < one.span.end]
    if len(touched) == 1:
        return touched[0]
    whole = Span(touched[0].span.start, touched[-1].span.end)
    first = hit.passage.span.start
    text = hit.passage.text[whole.start - first : whole.end - first]
    terms, around = (frozenset().union(*sets) for sets in zip(*((s.terms, s.around) for s in touched), strict=True))
    return Sentence(whole, text, terms, around, all(one.is_furniture for one in touched))


# What stands in an article but is no statement of it: a byline, a date line, a question. Front matter, headings too.
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_FURNITURE = re.compile(
    rf"[?？؟][\W_]{{0,20}}+$|\A\W*+by[ :]\s*+\S[^.!?]{{1,80}}$|"
    rf"\A\W*+(?:published|updated|posted)?\W*+(?:[a-z]{{3,9}},?\s+)?"
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
_YES_NO = re.compile(
    r"\W*(?:and |but |so )?(?:is|are|was|were|am|do|does|did|has|have|had|can|could|will|would|shall|should|may|might"
    r"|must)(?:n['’]t)?\s",
    re.IGNORECASE,
)
_OR = re.compile(r"\bor\b(?! not\b)", re.IGNORECASE)
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


_BEGINS_QUESTION = re.compile(
    r"\W*(?:(?:about|at|by|for|from|in|of|on|since|to|until|with)\s+)?(?:who|whom|whose|what|which|when|where|why|how|is|are|"
    r"was|were|do|does|did|can|could|has|have|had|will|would|should|name)\b",
    re.IGNORECASE,
)


def is_question(text: str) -> bool:
    """Return whether a text asks something, and is not a claim or a list of words.

    >>> is_question("In which year did it open"), is_question("It opened?"), is_question("opening of the bridge")
    (True, True, False)
    """
    return text.rstrip().endswith("?") or _BEGINS_QUESTION.match(text) is not None


def kind_asked(question: str) -> str:
    """Return what `question` asks for: "yes/no", "time", "number", "reason", "place", "name", "" for anything else.

    >>> kind_asked("who sits on the board?"), kind_asked("How many members has it?"), kind_asked("Does it meet?")
    ('name', 'number', 'yes/no')
    """
    if _YES_NO.match(question) and not _OR.search(question):
        return "yes/no"
    return next((kind for kind, pattern in _KINDS.items() if pattern.search(question)), "")


def offers(kind: str, sentence: str, part: Span, asked: frozenset[str]) -> float:
    """Return 1 if a part of `sentence` offers something of a kind, not in the question; -1 if not; 0 if it is unknown.

    Args:
        kind: as `kind_asked` returns it.
        sentence: names are told by capitals; in one without small letters, or with nothing else, they are unknown.
        part: characters of the sentence.
        asked: the words of the question in lower case.

    >>> offers("name", "The board was chosen by Ann Roe.", Span(24, 31), frozenset({"who", "chose", "the", "board"}))
    1.0
    """
    if kind in ("", "yes/no") or (kind in _CASED_KINDS and sentence in (sentence.lower(), sentence.upper())):
        return 0.0
    places = _names(sentence, asked) if kind == "name" else _offered(kind, sentence, asked)
    return 1.0 if any(place.start < part.end and part.start < place.end for place in places) else -1.0


def _offered(kind: str, sentence: str, asked: frozenset[str]) -> Iterator[Span]:
    """Yield where something of a kind stands that is not in the question."""
    for match in _OFFERS[kind].finditer(sentence):
        words = _WORD.findall(match.group().lower())
        if words and words[-1] not in asked:
            yield Span(*match.span())


def _names(sentence: str, asked: frozenset[str]) -> Iterator[Span]:
    """Yield the capitalised words that are not in the question; the first word only if it is used like a name."""
    for match in _CAPITALISED.finditer(sentence):
        name = match.group()
        is_first = _WORD.search(sentence, 0, match.start()) is None
        if (is_first and not _AFTER_NAME.match(sentence, match.end())) or name.lower() in asked or name == "I":
            continue
        if analyze(name):
            yield Span(*match.span())
