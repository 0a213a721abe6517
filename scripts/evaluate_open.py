"""A question set, all that it has indexed and its questions asked blind -> right answers, citations and abstaining.

Each question is asked once and made to answer (`min_confidence=0`). What it has by default follows from that: the same
answer, or none if its confidence is below the default threshold.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from question_sets import Json, Question, QuestionSet, document_name, read_questions, sample

from pincite.qa import Answer, Pipeline
from pincite.qa.evaluation import CITED, cited_sentences
from pincite.qa.metrics import any_has_words, auroc, exact_match, expected_calibration_error, f1, has_words
from pincite.qa.reader import MIN_CONFIDENCE


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and the answer that it was made to have; `is_given` if it has it by default, too."""

    question: Question
    answer: Answer
    is_given: bool

    @property
    def text(self) -> str:
        """The answer; the empty one if there is none at all."""
        return self.answer.text or ""

    @property
    def is_right(self) -> bool:
        """Whether the answer has an F1 over 0.5: more than half of its words and the gold answer's agree."""
        return bool(self.question.answers) and f1(self.text, self.question.answers) > 0.5

    @property
    def is_exact(self) -> bool:
        """Whether the answer is a gold answer, normalised as SQuAD does."""
        return bool(self.question.answers) and exact_match(self.text, self.question.answers) == 1


def with_unanswerable(answered: QuestionSet, other: Path | None) -> QuestionSet:
    """Return a set with the unanswerable questions of another file, and that file's paragraphs, each once."""
    if other is None:
        return answered
    added = read_questions(other)
    questions = (*answered.questions, *(question for question in added.questions if not question.answers))
    sources = tuple(dict.fromkeys(answered.sources + added.sources))
    return QuestionSet(answered.name, questions, sources, added.paragraphs | answered.paragraphs)


def ask_all(pipeline: Pipeline, questions: Sequence[Question], k: int) -> list[Asked]:
    """Return the answers to questions, in their order."""

    def ask(question: Question) -> Asked:
        answer = pipeline.ask(question.text, k, min_confidence=0.0)
        return Asked(question, answer, answer.text is not None and answer.confidence >= MIN_CONFIDENCE)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(ask, questions))


def evaluate_open(questions: QuestionSet, pipeline: Pipeline, k: int = 10, limit: int | None = None) -> Json:
    """Return the figures of one set.

    Args:
        questions: the set; some may have no answer.
        pipeline: of an index that has what the set has.
        k: passages to look for an answer in.
        limit: only so many of the answerable questions and so many of the others, drawn at random.
    """
    answerable = sample(tuple(one for one in questions.questions if one.answers), limit)
    unanswerable = sample(tuple(one for one in questions.questions if not one.answers), limit)
    asked = ask_all(pipeline, answerable + unanswerable, k)
    stats = pipeline.index.stats()
    scores: Json = {
        "evaluate": "open",
        "set": questions.name,
        "documents": stats.documents,
        "passages": stats.passages,
        "k": k,
        "min_confidence": MIN_CONFIDENCE,
    }
    if answerable:
        scores["answerable"] = answering_scores(asked[: len(answerable)])
    if unanswerable:
        declined = _mean(not one.is_given for one in asked[len(answerable) :])
        scores["unanswerable"] = {"questions": len(unanswerable), "declined": declined}
    if answerable and unanswerable:
        confidences = [one.answer.confidence for one in asked]
        scores["AUROC"] = round(auroc(confidences, [bool(one.question.answers) for one in asked]), 4)
    return scores | calibration_scores(asked)


def answering_scores(asked: Sequence[Asked]) -> Json:
    """Return how well questions that have an answer are answered.

    - EM, F1: as the product answers by default, a declined question counting as an empty answer.
    - forced_EM, forced_F1: each question made to have an answer. All figures below are of these answers, but for
      `declined`, `wrong_given` (share of the questions that get an answer of an F1 of 0.5 or less) and `right_given`.
    - right_document_cited: the answer's first citation is in the document (of SQuAD's sets, the paragraph) that the
      question is about; of the `with_gold` questions of which it is known.
    - words_in_answer, _in_citation, _in_5_citations: the words of a gold answer stand in a row in the answer, in the
      sentences around its first citation, or around the first five citations, other answers' included.
    """
    given = [one.text if one.is_given else "" for one in asked]
    with_gold = [one for one in asked if one.question.gold]
    sentences = [cited_sentences(one.answer) for one in asked]
    answers = [one.question.answers for one in asked]
    return {
        "questions": len(asked),
        "EM": _mean(map(exact_match, given, answers)),
        "F1": _mean(map(f1, given, answers)),
        "forced_EM": _mean(one.is_exact for one in asked),
        "forced_F1": _mean(f1(one.text, one.question.answers) for one in asked),
        "declined": _mean(not one.is_given for one in asked),
        "right_given": _mean(one.is_given and one.is_right for one in asked),
        "wrong_given": _mean(one.is_given and not one.is_right for one in asked),
        "with_gold": len(with_gold),
        "right_document_cited": _mean(cites_gold(one) for one in with_gold),
        "words_in_answer": _mean(has_words(one.text, one.question.answers) for one in asked),
        "words_in_citation": _mean(map(any_has_words, (found[:1] for found in sentences), answers)),
        f"words_in_{CITED}_citations": _mean(map(any_has_words, (found[:CITED] for found in sentences), answers)),
    }


def calibration_scores(asked: Sequence[Asked]) -> Json:
    """Return the expected calibration error of the confidences, unanswerable questions included, none of them right.

    By two definitions of a right answer: an exact match, and an F1 over 0.5.
    """
    confidences = [one.answer.confidence for one in asked]
    return {
        "ECE_exact": round(expected_calibration_error(confidences, [one.is_exact for one in asked]), 4),
        "ECE_F1_over_half": round(expected_calibration_error(confidences, [one.is_right for one in asked]), 4),
    }


def cites_gold(asked: Asked) -> bool:
    """Return whether the first citation of an answer is in a document that the question is about."""
    citations = asked.answer.citations
    return bool(citations) and document_name(citations[0].path) in asked.question.gold


def _mean(values: Iterable[float]) -> float | None:
    rows = [float(value) for value in values]
    return round(fmean(rows), 4) if rows else None
