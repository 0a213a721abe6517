"""A user's own questions, with what they should give -> figures, their intervals and on how many questions they rest.

Each question is asked once and made to answer; what it has at a threshold follows from its confidence. An answer is
called right if its F1 with an expected one is over 0.5: people seldom word an answer just as the article does.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from math import floor
from statistics import fmean, quantiles
from typing import IO, Any, TypeAlias

from pincite.index.build import Progress
from pincite.index.errors import SourceError
from pincite.index.filters import Condition, parse_wheres
from pincite.qa import metrics
from pincite.qa.answers import Answer
from pincite.qa.ask_many import in_order
from pincite.qa.pipeline import Pipeline
from pincite.qa.question_lines import parse_object, sound_lines, sound_question
from pincite.qa.retriever import Hit

__all__ = ["CITED", "Expected", "Figure", "cited_sentences", "evaluate", "read_expected"]

CITED = 5
"""Citations that are looked at for the answer's words."""

_RANKED = 100
"""Passages by which files are ranked; of ten different files there are next to always some in them."""

_RESAMPLES = 200

Figure: TypeAlias = tuple[float, float, float]
"""A mean and the ends of its 95 % interval."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A question, what answers it and which files say so: None and () where that is not known; `end` as in `Asked`."""

    question: str
    answers: tuple[str, ...]
    files: tuple[str, ...]
    is_answerable: bool | None
    end: int = 0


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a question gave, made to answer."""

    expected: Expected
    confidence: float
    text: str
    ranking: tuple[str, ...]
    cites_file: bool
    in_citations: bool

    @property
    def f1(self) -> float:
        return metrics.f1(self.text, self.expected.answers) if self.expected.answers else 0.0

    def given(self, threshold: float) -> str:
        """The answer that the question has at a threshold; the empty one if it is declined."""
        return self.text if self.confidence >= threshold else ""


def read_expected(stream: IO[bytes], path: str, report: Callable[[str], None]) -> Iterator[Expected]:
    """Yield the questions of a `.jsonl` file of `{"question", "answers"?, "files"?, "answerable"?}`.

    No answers say that there is none, unless the line says "answerable". Lines of no use are reported and left out.

    Raises:
        SourceError: the file cannot be read on.
    """
    end = 0
    for number, (line, size) in enumerate(sound_lines(stream, path), 1):
        end += size
        try:
            yield _expected(line, end)
        except ValueError as error:
            report(f"{path}:{number}: {error}; left out")


def _expected(line: bytes | None, end: int) -> Expected:
    row = parse_object(line)
    question = sound_question(row.get("question"))
    answers, files = _strings(row, "answers"), _strings(row, "files") or ()
    answerable = row.get("answerable")
    if not isinstance(answerable, bool | None):
        raise ValueError('its "answerable" is neither true nor false')
    if answerable is None and answers is not None:
        answerable = bool(answers)
        if files and not answers:
            raise ValueError('it has "files" and no answer: leave "answers" out, or say "answerable"')
    if answerable is False and answers:
        raise ValueError('it has answers and is not "answerable"')
    if answerable is not False and not answers and not files:
        raise ValueError('it has neither "answers" nor "files"')
    if answers and not any(map(metrics.normalize_answer, answers)):
        raise ValueError("its answers have no words")
    return Expected(question, answers or (), files if answerable is not False else (), answerable, end)


def _strings(row: dict[str, Any], key: str) -> tuple[str, ...] | None:
    value = row.get(key)
    values = [value] if isinstance(value, str) else value
    if values is None:
        return None
    if not isinstance(values, list) or not all(isinstance(one, str) and one.strip() for one in values):
        raise ValueError(f'its "{key}" are no list of strings')
    return tuple(values)


def evaluate(
    pipeline: Pipeline,
    expected: Iterable[Expected],
    *,
    size: int = 0,
    k: int = 10,
    min_confidence: float,
    where: str | Sequence[str | Condition] = (),
    progress: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Return the figures that `pincite eval --json` prints; a mean is a `Figure`, None if no question tells it.

    Args:
        pipeline: answers.
        expected: the questions.
        size: bytes of their file, for `progress`.
        k: passages to read.
        min_confidence: below, there is no answer.
        where: as for `Pipeline.ask`.
        progress: told how far it has come.

    Raises:
        SourceError: there is no question.
        QuestionError: a condition cannot be read.
    """
    outcomes = []
    for outcome in in_order(partial(_judge, pipeline, k, parse_wheres(where)), expected):
        outcomes.append(outcome)
        if progress and size:
            progress(Progress(outcome.expected.end, size, len(outcomes), len(outcomes)))
    if not outcomes:
        raise SourceError('No question to evaluate. A line of them: {"question": "...", "answers": ["..."]}')
    stats = pipeline.index.stats()
    filed = [one for one in outcomes if one.expected.files]
    worded = [one for one in outcomes if one.expected.answers]
    unanswerable = [one for one in outcomes if one.expected.is_answerable is False]
    return {
        "questions": len(outcomes),
        "documents": stats.documents,
        "passages": stats.passages,
        "k": k,
        "min_confidence": min_confidence,
        "retrieval": _retrieval(filed),
        "answers": _answers(worded, min_confidence),
        "unanswerable": {
            "questions": len(unanswerable),
            "declined": metrics.with_interval([not one.given(min_confidence) for one in unanswerable]),
        },
        "calibration": _calibration(worded + unanswerable),
        "threshold": _threshold(worded + unanswerable, min_confidence),
        "never_found": _never_found(pipeline, filed),
    }


def _judge(pipeline: Pipeline, k: int, where: Sequence[Condition], one: Expected) -> _Outcome:
    answer = pipeline.ask(one.question, k, min_confidence=0.0, where=where)
    hits = pipeline.search(one.question, max(k, _RANKED), where=where) if one.files else []
    cited = [place.path for citation in answer.citations[:1] for place in (citation, *citation.also)]
    return _Outcome(
        expected=one,
        confidence=answer.confidence,
        text=answer.text or "",
        ranking=tuple(dict.fromkeys(name for hit in hits for name in _named(hit, one.files))),
        cites_file=any(_is_of(name, path) for name in one.files for path in cited),
        in_citations=metrics.any_has_words(cited_sentences(answer)[:CITED], one.answers),
    )


def cited_sentences(answer: Answer) -> list[str]:
    """Return the sentences around the citations of an answer, and then of its alternatives, the best first."""
    every = (answer.citations, *(other.citations for other in answer.alternatives))
    return [citation.sentence for citations in every for citation in citations]


def _named(hit: Hit, files: Sequence[str]) -> list[str]:
    """Return which of the expected files a hit is of, or of which it is a copy; its path if of none."""
    paths = [place.path for place in (hit, *hit.also)]
    return [name for name in files if any(_is_of(name, path) for path in paths)] or [f"\0{hit.path}"]


def _is_of(name: str, path: str) -> bool:
    """Return whether a path is what a user named, in full or by its end; a file's name is of all its records."""
    own, end = os.path.abspath(name), f"/{os.path.normpath(name)}"
    return any(os.path.abspath(one) == own or one.endswith(end) for one in (path, path.rpartition("#")[0]) if one)


def _retrieval(outcomes: Sequence[_Outcome]) -> dict[str, Any]:
    judged = [(one.ranking, dict.fromkeys(one.expected.files, 1)) for one in outcomes]
    first = [metrics.reciprocal_rank(*one) for one in judged]
    figures = {f"hit@{k}": metrics.with_interval([score >= 1 / k for score in first]) for k in (1, 5, 10)}
    figures["MRR@10"] = metrics.with_interval(first)
    figures["nDCG@10"] = metrics.with_interval([metrics.ndcg(*one) for one in judged])
    return {"questions": len(outcomes)} | figures


def _answers(outcomes: Sequence[_Outcome], threshold: float) -> dict[str, Any]:
    given = [one.given(threshold) for one in outcomes]
    answers = [one.expected.answers for one in outcomes]
    filed = [one for one in outcomes if one.expected.files]
    rows: dict[str, list[Any]] = {  # Any: bool or float
        "EM": list(map(metrics.exact_match, given, answers)),
        "F1": list(map(metrics.f1, given, answers)),
        "right": [one.f1 > 0.5 and bool(text) for one, text in zip(outcomes, given, strict=True)],
        "wrong": [one.f1 <= 0.5 and bool(text) for one, text in zip(outcomes, given, strict=True)],
        "declined": [not text for text in given],
        "words_in_answer": [metrics.has_words(one.text, one.expected.answers) for one in outcomes],
        f"words_in_{CITED}_citations": [one.in_citations for one in outcomes],
        "right_file_cited": [one.cites_file for one in filed],
    }
    figures = {name: metrics.with_interval(values) for name, values in rows.items()}
    return {"questions": len(outcomes)} | figures


def _calibration(outcomes: Sequence[_Outcome]) -> dict[str, Any]:
    """Return the calibration error, and what chance alone would make of it if every confidence were exact."""
    confidences, right = [one.confidence for one in outcomes], [one.f1 > 0.5 for one in outcomes]
    ece, rng = metrics.expected_calibration_error, random.Random(0)
    chance = [ece(confidences, [rng.random() < one for one in confidences]) for _ in range(_RESAMPLES)]
    return {
        "questions": len(outcomes),
        "ECE": round(ece(confidences, right), 4),
        "ECE_of_exact_confidences": round(fmean(chance), 4),
        "bins": [asdict(one) for one in metrics.calibration_table(confidences, right)],
    }


def _threshold(outcomes: Sequence[_Outcome], current: float) -> dict[str, Any]:
    """Return which threshold gives most questions what they should have: a right answer, or none if there is none."""
    rows = [(one.confidence, float(one.f1 > 0.5), bool(one.expected.answers)) for one in outcomes]

    def best_of(chosen: Sequence[tuple[float, float, bool]]) -> float:
        return min(metrics.best_threshold(*zip(*chosen, strict=True))[1], 1.0) if chosen else 0.0

    def at(threshold: float) -> Figure | None:
        return metrics.with_interval([right if sure >= threshold else not has for sure, right, has in rows])

    best, rng = best_of(rows), random.Random(0)
    resampled = sorted(best_of(rng.choices(rows, k=len(rows)) if rows else []) for _ in range(_RESAMPLES))
    return {
        "questions": len(rows),
        "unanswerable": sum(not has for _, _, has in rows),
        "best": tuple(floor(1e4 * one) / 1e4 for one in (best, *quantiles(resampled, n=40)[::38])),
        "right_at_best": at(best),
        "right_now": at(current),
    }


def _never_found(pipeline: Pipeline, outcomes: Sequence[_Outcome]) -> list[str]:
    """Return the expected files that no question found, and that are not in the index by that path."""
    found = {name for one in outcomes for name in one.ranking}
    named = dict.fromkeys(name for one in outcomes for name in one.expected.files if name not in found)
    return [name for name in named if not pipeline.index.documents_of(name)]
