"""Questions that the reader never saw -> the weights of `qa/reader.py`: prints one JSON object.

    python scripts/fit_reader.py QA_TRAIN WORK

All contexts stay indexed, in WORK as `train_reader.py mine` left it, but for a third of those held back from training;
questions on those held back are asked blind, and where they have an answer once more, reworded so that they have none;
besides, the questions of written_questions.jsonl that were held back, half of which have no answer.
How well the answers do on other sets: `scripts/evaluate.py open`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from reader_data import Question, read_sets, with_written
from reworded import reworded

from pincite.index import Index
from pincite.qa.features import ask_words
from pincite.qa.metrics import f1
from pincite.qa.parts import parts_of
from pincite.qa.reader import RERANKED, WEIGHTS, measure
from pincite.qa.retriever import retrieve
from pincite.qa.span_model import SpanModel, load_reader

Floats = NDArray[np.float64]

# Set -> questions at most. Few of those whose questions are mostly about one text that they do not name ("what does
# the poster want?"): blind, nobody could answer them. None where answers are sentences, or one question is for all.
SETS = {
    "nq_oracle-dev": 200,
    "qed_nq-dev": 200,
    "realtimeqa-evidence-2022-2023": 200,
    "trecqa-train": 200,
    "timeqa-easy": 80,
    "covidqa-200423": 80,
    "qamr-dev": 40,
    "qamr-test": 40,
    "squadshifts-amazon": 40,
    "squadshifts-reddit": 40,
    "fairytaleqa-train": 20,
}
ABSENT = 0.36  # share of the contexts held back that are not indexed
RIDGE = 3.0
PASSAGES = 10


@dataclass(frozen=True, slots=True)
class Asked:
    """The spans found for one question: features, and whether each is right (1), wrong (0) or perhaps right (-1).

    `is_absent` if no text answers it, because its context is not indexed or it was reworded.
    `ranking` has a row for each passage: its score, the margin of its best span, and whether it is of the context.
    """

    question: Question
    answers: tuple[str, ...]
    is_absent: bool
    features: Floats
    labels: NDArray[np.int64]
    is_right: NDArray[np.bool_]
    ranking: Floats


def ask(index: Index, model: SpanModel, question: Question, answers: tuple[str, ...], is_absent: bool) -> Asked:
    """Return what the reader finds for a question, before it is weighed."""
    vector = index.embedder.embed_query(question.text)
    hits = retrieve(index, question.text, vector, RERANKED)
    words = ask_words(index, question.text)
    readings = measure(words, model, question.text, parts_of(words, hits))
    margins: dict[tuple[str, int], float] = {}
    for one in readings:
        key = (one.hit.path, one.hit.passage.span.start)
        margins[key] = max(margins.get(key, -np.inf), one.features["margin"])
    gold = f"#{question.context}"
    ranking = [
        (hit.score, margins.get((hit.path, hit.passage.span.start), 0.0), hit.path.endswith(gold)) for hit in hits
    ]
    read = {(hit.path, hit.passage.span.start) for hit in hits[:PASSAGES]}
    readings = [one for one in readings if (one.hit.path, one.hit.passage.span.start) in read]
    features = np.array([[one.features[name] for name in WEIGHTS] for one in readings]).reshape(-1, len(WEIGHTS))
    right = np.array([f1(one.text, answers) >= 0.5 for one in readings], np.bool_) & (not is_absent)
    is_gold = np.array([one.hit.path.endswith(gold) for one in readings], np.bool_)
    # The same words elsewhere may answer or not: such a span teaches nothing.
    labels = np.where(right & is_gold, 1, np.where(right, -1, 0))
    rows = np.array(ranking, np.float64).reshape(-1, 3)
    return Asked(question, answers, is_absent, features, labels, right, rows)


def held_back_written(contexts: list[str], questions: list[Question]) -> list[Question]:
    """Return the written questions that were held back, as questions about the contexts that `read_sets` returned."""
    every, asked = with_written(contexts, questions)
    found = []
    for question in asked[len(questions) :]:
        if question.is_held_back:
            paragraph = every[question.context]
            context, at = next((i, text.find(paragraph)) for i, text in enumerate(contexts) if paragraph in text)
            answers = tuple((at + start, at + end) for start, end in question.answers)
            found.append(replace(question, context=context, answers=answers))
    return found


def fit_ranking(asked: Sequence[Asked]) -> dict[str, Any]:
    """Return the weight and scale that rank contexts best by the reciprocal rank, chosen on half, and both halves."""
    answerable = [one for one in asked if not one.is_absent]
    halves = answerable[::2], answerable[1::2]

    def quality(part: Sequence[Asked], weight: float, scale: float) -> float:
        total = 0.0
        for one in part:
            scores = one.ranking[:, 0] + weight / (1 + np.exp(-one.ranking[:, 1] / scale))
            places = np.flatnonzero(one.ranking[np.argsort(-scores, kind="stable"), 2])
            total += 1 / (places[0] + 1) if len(places) else 0.0
        return total / len(part)

    grid = [(weight, scale) for weight in (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6) for scale in (1.0, 2.0, 3.0, 5.0)]
    best = max(grid, key=lambda pair: quality(halves[0], *pair))
    rows = {f"{weight} {scale}": round(quality(answerable, weight, scale), 4) for weight, scale in grid}
    before, after = (round(quality(halves[1], *pair), 4) for pair in ((0.0, 1.0), best))
    return {"weight": best[0], "scale": best[1], "other half": [before, after], "all": rows}


def logistic(features: Floats, labels: Floats, ridge: float) -> tuple[Floats, float]:
    """Return coefficients and bias by Newton's method; the ridge is on standardised features, not on the bias."""
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
    rows = np.c_[(features - mean) / spread, np.ones(len(features))]
    penalty = np.full(rows.shape[1], ridge)
    penalty[-1] = 0
    found = np.zeros(rows.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-(rows @ found)))
        gradient = rows.T @ (chance - labels) + penalty * found
        step = np.linalg.solve((rows.T * (chance * (1 - chance))) @ rows + np.diag(penalty), gradient)
        found -= step
        if np.abs(step).max() < 1e-8:
            break
    coefficients = found[:-1] / spread
    return coefficients, float(found[-1] - coefficients @ mean)


def fit_spans(asked: Sequence[Asked]) -> tuple[Floats, float]:
    """Return the weights that tell right spans from others."""
    clear = [one.labels >= 0 for one in asked]
    features = np.concatenate([one.features[keep] for one, keep in zip(asked, clear, strict=True)])
    labels = np.concatenate([one.labels[keep] for one, keep in zip(asked, clear, strict=True)])
    return logistic(features, labels.astype(np.float64), RIDGE)


def best(one: Asked, weights: Floats, bias: float) -> tuple[float, bool]:
    """Return the logit of the best span, and whether it is right."""
    if not len(one.features):
        return -20.0, False
    place = int(np.argmax(one.features @ weights))
    return float(one.features[place] @ weights) + bias, bool(one.is_right[place])


def calibrate(asked: Sequence[Asked]) -> tuple[float, float, Floats, Floats]:
    """Return slope and bias that make the best span's chance true (Platt 1999), and the held-out pairs."""
    logits, right = [], []
    for fold in range(5):
        weights, bias = fit_spans([one for n, one in enumerate(asked) if n % 5 != fold])
        for one in asked[fold::5]:
            logit, is_right = best(one, weights, bias)
            logits.append(logit)
            right.append(is_right)
    x, y = np.array(logits), np.array(right, np.float64)
    slope, bias = logistic(x[:, None], y, 0.0)
    return float(slope[0]), bias, 1 / (1 + np.exp(-(slope[0] * x + bias))), y


def summary(chance: Floats, right: Floats, absent: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the figures of answering and of abstaining."""
    bins = np.minimum((chance * 10).astype(int), 9)
    error = sum(abs((chance - right)[bins == n].sum()) for n in range(10)) / len(chance)
    difference = chance[~absent][:, None] - chance[absent][None, :]
    result: dict[str, Any] = {
        "answerable": int((~absent).sum()),
        "unanswerable": int(absent.sum()),
        "right": round(float(right[~absent].mean()), 3),
        "calibration_error": round(float(error), 3),
        "auroc": round(float(((difference > 0) + (difference == 0) / 2).mean()), 3),
    }
    for threshold in (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5):
        given = chance >= threshold
        row = {
            "answerable_declined": (~given)[~absent].mean(),
            "unanswerable_declined": (~given)[absent].mean(),
            "right_if_given": right[given].mean(),
        }
        result[f"at {threshold}"] = {name: round(float(value), 3) for name, value in row.items()}
    return result


def main() -> None:
    """Fit, and print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder of sets")
    parser.add_argument("work", type=Path, help="folder of the index, made if it is not there")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    contexts, questions = read_sets(arguments.source)
    held = sorted({question.context for question in questions if question.is_held_back})
    absent = {context for context in held if draw.random() < ABSENT}
    by_set: dict[str, list[Question]] = {}
    for question in questions:
        if question.is_held_back and question.answers and question.set in SETS:
            by_set.setdefault(question.set, []).append(question)
    asked_of = [one for name, found in by_set.items() for one in draw.sample(found, min(SETS[name], len(found)))]
    asked_of += held_back_written(contexts, questions)
    draw.shuffle(asked_of)
    arguments.work.mkdir(parents=True, exist_ok=True)
    corpus = arguments.work / "corpus.jsonl"
    records = (json.dumps({"_id": str(i), "text": text}) + "\n" for i, text in enumerate(contexts) if i not in absent)
    corpus.write_text("".join(records), encoding="utf-8")
    index = Index.sync(arguments.work / "index", [corpus])
    model = load_reader()
    asked = []
    for one in asked_of:
        answers = tuple(contexts[one.context][a:b] for a, b in one.answers)
        is_absent = one.context in absent or not answers
        asked.append(ask(index, model, one, answers, is_absent))
        if not is_absent and (change := reworded(one.text, [contexts[one.context]], draw)) is not None:
            asked.append(ask(index, model, replace(one, text=change.question), answers, True))
    weights, bias = fit_spans(asked)
    slope, offset, chance, right = calibrate(asked)
    order = [one for fold in range(5) for one in asked[fold::5]]
    result = {
        "questions": len(asked),
        "weights": dict(zip(WEIGHTS, (slope * weights).round(3).tolist(), strict=True)),
        "bias": round(slope * bias + offset, 3),
        "ranking": fit_ranking(asked),
        "held out": summary(chance, right, np.array([one.is_absent for one in order])),
    }
    json.dump(result, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
