"""Questions as people type them: what casing, accents, typos and a telegram's style cost in quality.

Each question is changed in one way at a time, by a fixed seed, and asked again. A loss is relative to the questions as
they stand in the set: of nDCG@10 of documents for a set with judgments, of F1 and of the right document cited for a
set with answers.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from as_typed import with_typo
from evaluate_open import ask_all, cites_gold
from question_sets import Json, QuestionSet, sample

from pincite.index.terms import analyze
from pincite.qa import Pipeline
from pincite.qa.metrics import f1, retrieval_scores

__all__ = ["PERTURBATIONS", "evaluate_answers", "evaluate_ranking"]

_ACCENTED = str.maketrans("aceinouyACEINOUY", "áçéíñöüýÁÇÉÍÑÖÜÝ")


def as_telegram(text: str, draw: random.Random) -> str:
    """Return the words of a text that tell something, without the others."""
    return " ".join(word for word in re.findall(r"[\w'-]+", text) if analyze(word)) or text


def shortened(text: str, draw: random.Random) -> str:
    """Return the three longest of the telling words, in their order."""
    words = [word for word in re.findall(r"[\w'-]+", text) if analyze(word)]
    kept = sorted(sorted(range(len(words)), key=lambda i: -len(words[i]))[:3])
    return " ".join(words[i] for i in kept) or text


def wordy(text: str, draw: random.Random) -> str:
    """Return a question with much around it that asks nothing."""
    before = "Hello, I have been reading through all of this for a while now and would be glad of some help, please:"
    after = "Any pointer to where that stands would be very welcome indeed, and thank you in advance for your trouble."
    return f"{before} {text} {after}"


PERTURBATIONS: Mapping[str, Callable[[str, random.Random], str]] = {
    "upper case": lambda text, draw: text.upper(),
    "lower case": lambda text, draw: text.lower(),
    "accents added": lambda text, draw: text.translate(_ACCENTED),
    "no punctuation": lambda text, draw: " ".join(re.findall(r"[\w'-]+", text)),
    "one typo": with_typo,
    "telegram": as_telegram,
    "three words": shortened,
    "wordy": wordy,
}


def perturbed(texts: Sequence[str], name: str) -> list[str]:
    """Return texts changed in one way; the same each time."""
    return [PERTURBATIONS[name](text, random.Random(f"{name} {text}")) for text in texts]


def evaluate_ranking(
    queries: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, int]],
    ranked: Callable[[str], Sequence[str]],
) -> Json:
    """Return nDCG@10 of the queries as they are and changed, and the relative losses.

    Args:
        queries: judged queries, by id.
        qrels: judgments of each, by document.
        ranked: the documents for a query, best first.
    """
    scores = {}
    for name in ("as asked", *PERTURBATIONS):
        texts = list(queries.values()) if name == "as asked" else perturbed(list(queries.values()), name)
        run = {query: list(ranked(text)) for query, text in zip(queries, texts, strict=True)}
        scores[name] = {"nDCG@10": round(retrieval_scores(run, qrels)["nDCG@10"], 4)}
    return {"queries": len(queries), "scores": with_losses(scores)}


def evaluate_answers(questions: QuestionSet, pipeline: Pipeline, limit: int | None) -> Json:
    """Return F1 of forced answers, and the share that cites the right document, as asked and changed, with losses."""
    asked = sample(tuple(one for one in questions.questions if one.answers), limit)
    scores = {}
    for name in ("as asked", *PERTURBATIONS):
        texts = [one.text for one in asked] if name == "as asked" else perturbed([one.text for one in asked], name)
        changed = [replace(one, text=text) for one, text in zip(asked, texts, strict=True)]
        found = ask_all(pipeline, changed, 10)
        scores[name] = {
            "F1": round(fmean(f1(one.text, one.question.answers) for one in found), 4),
            "right_document_cited": round(fmean(cites_gold(one) for one in found), 4),
        }
    return {"questions": len(asked), "scores": with_losses(scores)}


def with_losses(scores: Mapping[str, Mapping[str, float]]) -> Json:
    """Return scores, each with what it lost of the one as asked, relative to that."""
    whole = scores["as asked"]
    return {
        name: {
            **own,
            "loss": {measure: round(1 - score / whole[measure], 4) for measure, score in own.items() if whole[measure]},
        }
        for name, own in scores.items()
    }
