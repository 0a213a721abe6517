"""A SQuAD-form set, each question beside the paragraph that it was asked about -> exact match, F1 and abstaining.

A context that is longer than the model's window is read in several; spans come from the decoder that the product uses.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from statistics import fmean

from question_sets import Json, Question, read_squad, sample

from pincite.index.sentences import outline
from pincite.qa.metrics import auroc, best_threshold, exact_match, f1
from pincite.qa.parts import read_texts
from pincite.qa.span_decoding import best_spans
from pincite.qa.span_model import SpanModel


@dataclass(frozen=True, slots=True)
class Prediction:
    """The likeliest span for a question, by how much the model prefers it to none, and in how many windows it read."""

    question: Question
    text: str
    margin: float
    windows: int


def predict(model: SpanModel, question: Question, context: str) -> Prediction:
    """Return what the model finds in the context; nothing in one that has no words."""
    layout = outline(context)
    (windows,) = read_texts(model, question.text, [context], [layout])
    spans = best_spans(windows, context, layout, question=question.text)
    text, margin = (spans[0][0].of(context), spans[0][1]) if spans else ("", -inf)
    return Prediction(question, text, margin, len(windows))


def evaluate_reader(path: Path, model: SpanModel, limit: int | None = None) -> Json:
    """Return the figures of one set.

    EM and F1 are of the questions that have an answer, the model made to give one. Where some have none, AUROC says how
    well the margin over "no answer" tells the two apart, and the rest scores answering and declining together.

    Args:
        path: a SQuAD-form file.
        model: reads.
        limit: only so many questions, drawn at random.
    """
    every = read_squad(path)
    questions = sample(every.questions, limit)

    def read(question: Question) -> Prediction:
        (name,) = question.gold
        return predict(model, question, every.paragraphs[name].text)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        predictions = list(pool.map(read, questions))
    return {
        "evaluate": "reader",
        "set": every.name,
        "reader": model.name,
        "questions": len(questions),
        "of": len(every.questions),
        "read_in_several_windows": sum(prediction.windows > 1 for prediction in predictions),
        **reading_scores(predictions),
    }


def reading_scores(predictions: Sequence[Prediction]) -> Json:
    """Return the figures of predictions: of the answerable, and of all if some are not."""
    answerable = [bool(prediction.question.answers) for prediction in predictions]
    exact = [exact_match(prediction.text, prediction.question.answers) for prediction in predictions]
    overlap = [f1(prediction.text, prediction.question.answers) for prediction in predictions]
    scores: Json = {"answerable": sum(answerable)}
    if any(answerable):
        scores |= {"EM": _mean_where(exact, answerable), "F1": _mean_where(overlap, answerable)}
    if all(answerable):
        return scores
    margins = [prediction.margin for prediction in predictions]
    best_f1, f1_threshold = best_threshold(margins, overlap, answerable)
    best_em, em_threshold = best_threshold(margins, exact, answerable)
    scores["unanswerable"] = len(predictions) - sum(answerable)
    if any(answerable):
        scores["AUROC"] = round(auroc(margins, answerable), 4)
    return scores | {
        "best_F1": round(best_f1, 4),
        "best_F1_threshold": round(f1_threshold, 4) if isfinite(f1_threshold) else None,
        "best_EM": round(best_em, 4),
        "best_EM_threshold": round(em_threshold, 4) if isfinite(em_threshold) else None,
        "at_best_F1": abstaining_scores(predictions, f1_threshold),
        "at_0": abstaining_scores(predictions, 0.0),
    }


def abstaining_scores(predictions: Sequence[Prediction], threshold: float) -> Json:
    """Return EM and F1 of all questions and of those with an answer (HasAns) and without one (NoAns), at a threshold.

    The parts are those of the SQuAD 2.0 evaluation; of NoAns, EM and F1 are the same: the share that is declined.
    """
    answerable = [bool(prediction.question.answers) for prediction in predictions]
    given = [prediction.text if prediction.margin >= threshold else "" for prediction in predictions]
    exact, overlap = (
        [measure(text, one.question.answers) for text, one in zip(given, predictions, strict=True)]
        for measure in (exact_match, f1)
    )
    return {
        "EM": round(fmean(exact), 4),
        "F1": round(fmean(overlap), 4),
        "HasAns_EM": _mean_where(exact, answerable),
        "HasAns_F1": _mean_where(overlap, answerable),
        "NoAns": _mean_where(overlap, [not has_answer for has_answer in answerable]),
    }


def _mean_where(values: Sequence[float], chosen: Sequence[bool]) -> float | None:
    kept = [value for value, is_chosen in zip(values, chosen, strict=True) if is_chosen]
    return round(fmean(kept), 4) if kept else None
