"""Question -> of what kind it is and what could answer it, as far as its words tell.

In English; in other languages a question is told by its mark alone, and anything could answer it.
"""

from __future__ import annotations

import re
from itertools import takewhile

__all__ = ["asks_for_one", "could_answer", "is_question", "is_yes_no"]

_YES_NO = re.compile(
    r"\W*(?:and |but |so )?(?:is|are|was|were|am|do|does|did|has|have|had|can|could|will|would|shall|should|may|might"
    r"|must)(?:n['’]t)?\s",
    re.IGNORECASE,
)
_OR = re.compile(r"\bor\b(?! not\b)", re.IGNORECASE)
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


def is_yes_no(question: str) -> bool:
    """Return whether yes or no would answer a question.

    >>> is_yes_no("Does it meet?"), is_yes_no("Does it meet in May or June?"), is_yes_no("When does it meet?")
    (True, False, False)
    """
    return _YES_NO.match(question) is not None and _OR.search(question) is None


# "Which company", but not "which companies", "which two companies", "which company's owners are".
_NAMED_KIND = re.compile(r"\b(?:what|which)((?:[ ][\w'’-]+){1,6})", re.IGNORECASE)
_HOW_MANY = re.compile(r"\bhow (?:many|much)\b", re.IGNORECASE)
_SEVERAL = re.compile(
    r"\b(?:are|were|all|both|two|three|four|five|six|seven|eight|nine|ten|several|names|kinds|types|people|men|women"
    r"|children|staff|cast|crew|pair|couple|duo|trio)\b",
    re.IGNORECASE,
)
_ENDS_KIND = re.compile(
    r"(?:is|was|did|does|do|has|have|had|can|could|will|would|shall|should|may|might|must"
    r"|in|to|for|that|from|by|on|with|at|\w+ed)",
    re.IGNORECASE,
)
_PLURAL = re.compile(r"[^siu'’]s$", re.IGNORECASE)
# What looks like a plural before one of these is a verb: "which firm makes the pumps".
_OBJECT = re.compile(
    r"(?:the|an?|this|that|these|those|my|your|his|her|its|our|their|it|him|them|us|me|you)", re.IGNORECASE
)


def asks_for_one(question: str) -> bool:
    """Return whether a question asks for a number, or for one thing of a kind that it names; in English.

    "Which firm makes pumps" is taken to ask for several, as "which oil firms" does.

    >>> asks_for_one("Which firm made it?"), asks_for_one("Which firms made it?"), asks_for_one("Who made it?")
    (True, False, False)
    """
    if _HOW_MANY.search(question):
        return True
    if _SEVERAL.search(question) or not (named := _NAMED_KIND.search(question)):
        return False
    kind = list(takewhile(lambda word: not _ENDS_KIND.fullmatch(word), named[1].split()))
    verbs = [n for n in range(1, len(kind) - 1) if _PLURAL.search(kind[n]) and _OBJECT.fullmatch(kind[n + 1])]
    if verbs:
        del kind[verbs[0] :]
    return bool(kind) and not any(map(_PLURAL.search, kind))


# Digits, words for numbers, and for how many without a number. Of 367 questions of SQuAD that ask for one, every answer
# has one of these.
_NUMBER = re.compile(
    r"\d|\b(?:no|none|nobody|nothing|zero|first|second|another|(?:thir|four|fif|six|seven|eigh|nine)teen"
    r"|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
    r"|dozen|hundred|thousand|million|billion|third|quarter|double|lot)s?|doubled|half|halves|twice|once|single|several"
    r"|multiple|numerous|countless|many|few|majority|most|all|both|every|pair|couple|infinite(?:ly)?)\b",
    re.IGNORECASE,
)
_NEEDED = (
    (re.compile(r"\bhow many\b|\b(?:what|which) (?:year|percent(?:age)?)\b", re.IGNORECASE), _NUMBER),
    (re.compile(r"\b(?:(?:tele)?phone|fax|mobile) numbers?\b", re.IGNORECASE), re.compile(r"\d\D?\d")),
    (re.compile(r"\be-?mail address(?:es)?\b", re.IGNORECASE), re.compile("@")),
)


def could_answer(question: str, text: str) -> bool:
    """Return whether a text has what an answer must have: a number for "how many", an @ for an e-mail address.

    >>> could_answer("How many came?", "by bus"), could_answer("How many came?", "a dozen"), could_answer("Who?", "Ann")
    (False, True, True)
    """
    return all(needed.search(text) for kind, needed in _NEEDED if kind.search(question))
