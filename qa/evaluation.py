"""A user's own questions, with what they should give -> figures, their intervals and on how many questions they rest.

Each question is asked once and made to answer; what it has at a threshold follows from its confidence. An answer is
called right if its F1 with an expected one is over 0.5: people seldom word an answer just as the article does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from math import floor
from typing import Any, TypeAlias

from pincite.index.errors import SourceError
from pincite.index.filters import Condition, parse_wheres
from pincite.index.reports import Progress
from pincite.qa import metrics
from pincite.qa.answers import Answer
from pincite.qa.ask_many import in_order
from pincite.qa.pipeline import Pipeline
from pincite.qa.question_lines import Position, parse_object, read_lines, sound_question
from pincite.qa.render import count
from pincite.qa.retriever import Hit

__all__ = ["CITED", "Expected", "Figure", "cited_sentences", "evaluate", "read_expected"]

CITED = 5
"""Citations that are looked at for the answer's words."""

_RANKED = 100
"""Passages by which files are ranked; of ten different files there are next to always some in them."""

_REPORTED = 20
"""Lines without a question that are named, each with what is wrong; a file of something else has no other."""

Figure: TypeAlias = tuple[float, float, float]
"""A mean and the ends of its 95 % interval."""


@dataclass(frozen=True, slots=True)
class Expected:
    """A question, what answers it (None if that is not known, () if nothing does) and which files say so."""

    question: str
    answers: tuple[str, ...] | None
    files: tuple[str, ...]
    end: Position


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a question gave, made to answer, and its figures; `found` are the expected files among the passages."""

    expected: Expected
    confidence: float
    is_right: bool
    figures: dict[str, float]
    file_figures: dict[str, float]
    found: tuple[str, ...]


def read_expected(path: str, report: Callable[[str], None]) -> Iterator[Expected]:
    """Yield the questions of a `.jsonl` file of `{"question", "answers"?, "files"?}`; no answers: there is none.

    Lines of no use are left out; the first of them are reported one by one, and then how many more there are.

    Raises:
        SourceError: the file cannot be read.
    """
    left_out = 0
    for number, (line, end) in enumerate(read_lines(path), 1):
        try:
            expected = _expected(parse_object(line), end)
        except ValueError as error:
            left_out += 1
            if left_out <= _REPORTED:
                report(f"{path}:{number}: {error}; left out")
        else:
            yield expected
    if left_out > _REPORTED:
        report(f"{path}: {count(left_out - _REPORTED, 'more line')} left out")


def _expected(row: dict[str, Any], end: Position) -> Expected:
    question = sound_question(row.get("question"))
    answers, files = (_strings(row, key) for key in ("answers", "files"))
    if not answers and (answers is None) != bool(files):
        raise ValueError('it needs "answers" or "files", or "answers": [] and no "files" if there is no answer')
    if answers and not any(map(metrics.normalize_answer, answers)):
        raise ValueError("its answers have no words")
    return Expected(question, answers, files or (), end)


def _strings(row: dict[str, Any], key: str) -> tuple[str, ...] | None:
    values = row.get(key)
    if values is None:
        return None
    if not isinstance(values, list) or not all(isinstance(one, str) and one.strip() for one in values):
        raise ValueError(f'its "{key}" are no list of strings')
    return tuple(values)


def evaluate(
    pipeline: Pipeline,
    expected: Iterable[Expected],
    *,
    k: int = 10,
    min_confidence: float,
    where: str | Sequence[str | Condition] = (),
    progress: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Return the figures that `pincite eval --json` prints; a mean is a `Figure`, None if no question tells it.

    Args: as of `Pipeline.ask`; `progress` is told how far it has come, if the questions are in a file.

    Raises:
        SourceError: there is no question.
        QuestionError: a condition cannot be read.
    """
    outcomes: list[_Outcome] = []
    for one in in_order(partial(_judge, pipeline, k, min_confidence, parse_wheres(where)), expected):
        outcomes.append(one)
        if progress and one.expected.end[1]:
            progress(Progress(*one.expected.end, len(outcomes), len(outcomes)))
    if not outcomes:
        raise SourceError('No question to evaluate. A line of them: {"question": "...", "answers": ["..."]}')
    stats = pipeline.index.stats()
    told = [one for one in outcomes if one.expected.answers is not None]
    sure, right = [one.confidence for one in told], [one.is_right for one in told]
    found = {name for one in outcomes for name in one.found}
    lost = dict.fromkeys(name for one in outcomes for name in one.expected.files if name not in found)
    return {
        "questions": len(outcomes),
        "documents": stats.documents,
        "passages": stats.passages,
        "k": k,
        "min_confidence": min_confidence,
        "retrieval": _means([one.file_figures for one in outcomes if one.expected.files]),
        "answers": _means([one.figures for one in told if one.expected.answers]),
        "unanswerable": _means(
            [{"declined": one.confidence < min_confidence} for one in told if not one.expected.answers]
        ),
        "calibration": {
            "questions": len(told),
            "ECE": round(metrics.expected_calibration_error(sure, right), 4),
            "bins": [asdict(one) for one in metrics.calibration_table(sure, right)],
        },
        "threshold": _threshold(told, min_confidence),
        "never_found": list(lost),
    }


def _judge(pipeline: Pipeline, k: int, threshold: float, where: Sequence[Condition], one: Expected) -> _Outcome:
    answer = pipeline.ask(one.question, k, min_confidence=0.0, where=where)
    hits = pipeline.search(one.question, max(k, _RANKED), where=where) if one.files else []
    ranking = list(dict.fromkeys(name for hit in hits for name in _named(hit, one.files)))
    first = metrics.reciprocal_rank(ranking, dict.fromkeys(one.files, 1))
    cited = [place.path for citation in answer.citations[:1] for place in (citation, *citation.also)]
    file_figures = {f"hit@{k}": float(first >= 1 / k) for k in (1, 5, 10)} | {
        "MRR@10": first,
        "nDCG@10": metrics.ndcg(ranking, dict.fromkeys(one.files, 1)),
        "right_file_cited": any(_is_of(name, path) for name in one.files for path in cited),
    }
    best, answers = answer.text or "", one.answers or ()
    text = best if answer.confidence >= threshold else ""
    is_right = bool(answers) and metrics.f1(best, answers) > 0.5
    figures = {
        "EM": metrics.exact_match(text, answers),
        "F1": metrics.f1(text, answers),
        "right": bool(text) and is_right,
        "wrong": bool(text) and not is_right,
        "declined": not text,
        "words_in_answer": metrics.has_words(best, answers),
        f"words_in_{CITED}_citations": metrics.any_has_words(cited_sentences(answer)[:CITED], answers),
    }
    found = tuple(name for name in ranking if name in one.files)
    return _Outcome(one, answer.confidence, is_right, figures, file_figures, found)


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


def _means(rows: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Return how many questions there are, and the mean of each of their figures with its interval."""
    names = rows[0] if rows else ()
    return {"questions": len(rows)} | {name: metrics.with_interval([row[name] for row in rows]) for name in names}


def _threshold(outcomes: Sequence[_Outcome], current: float) -> dict[str, Any]:
    """Return which threshold gives most questions what they should have: a right answer, or none if there is none."""
    rows = [(one.confidence, float(one.is_right), bool(one.expected.answers)) for one in outcomes]
    best = floor(1e4 * min(metrics.best_threshold(*zip(*rows, strict=True))[1], 1.0)) / 1e4 if rows else 0.0

    def at(threshold: float) -> Figure | None:
        return metrics.with_interval([right if sure >= threshold else not has for sure, right, has in rows])

    return {"best": best, "right_at_best": at(best), "right_now": at(current)}
