"""The figures of an evaluation -> a table that says how far to trust them."""

from __future__ import annotations

from typing import Any

from pincite.qa.evaluation import CITED, Figure
from pincite.qa.render import count

__all__ = ["evaluation_text"]

_FEW = 100
"""Questions; of fewer, intervals are wider than most differences that one would act upon."""

_ROWS = {
    "hit@1": "right file first",
    "hit@5": "right file in the first 5",
    "hit@10": "right file in the first 10",
    "MRR@10": "MRR@10",
    "nDCG@10": "nDCG@10",
    "EM": "exact match",
    "F1": "F1",
    "right": "answered, and right (F1 over 0.5)",
    "wrong": "answered, and wrong",
    "declined": "declined",
    "words_in_answer": "best guess has the answer's words",
    f"words_in_{CITED}_citations": f"first {CITED} cited sentences have them",
    "right_file_cited": "best guess is from a right file",
}


def evaluation_text(scores: dict[str, Any]) -> str:
    """Return the figures of `evaluate` as a table, with what it takes to read them rightly."""
    lines = [
        f"{count(scores['questions'], 'question')} to {count(scores['documents'], 'document')}; value, 95 % interval"
    ]
    titles = {"retrieval": "where files are named", "answers": "with an answer", "unanswerable": "without an answer"}
    for part, title in titles.items():
        if number := scores[part]["questions"]:
            lines += ["", f"{title}: {count(number, 'question')}"]
            lines += [_row(name, scores[part][key]) for key, name in _ROWS.items() if scores[part].get(key)]
    if number := scores["calibration"]["questions"]:
        calibration = scores["calibration"]
        lines += ["", f"confidence: {count(number, 'question')}", "  over   up to  questions  confidence  right"]
        lines += [
            f"  {one['low']:4.1f} {one['high']:7.1f} {one['count']:10,} {one['confidence']:11.2f} {one['right']:6.2f}"
            for one in calibration["bins"]
        ]
        lines.append(
            f"  off by {calibration['ECE']:.2f} on average (ECE); exact confidences would seem to be by "
            f"{calibration['ECE_of_exact_confidences']:.2f} with so many questions"
        )
        lines += ["", *_advice(scores["threshold"], scores["min_confidence"])]
    return "\n".join(lines)


def _row(name: str, figure: Figure) -> str:
    value, low, high = figure
    return f"  {name:36}  {value:.2f}  {low:.2f} to {high:.2f}"


def _advice(scores: dict[str, Any], current: float) -> list[str]:
    """Return which threshold to take, and how far that is to be trusted."""
    without = scores["unanswerable"]
    answerable = scores["questions"] - without
    if not without or not answerable:
        return ["threshold: to choose one takes both questions that have an answer and questions that have none"]
    best, low, high = scores["best"]
    lines = [
        f"best threshold here: --min-confidence {best:.2f} ({low:.2f} to {high:.2f} in 95 % of resamples)",
        _row("right, or rightly declined, with it", scores["right_at_best"]),
        _row(f"the same with {current:.2f}", scores["right_now"]),
        f"  chosen on the {count(answerable, 'question')} with an answer and {without:,} without that it is judged by: "
        "expect less of others",
    ]
    if min(answerable, without) < _FEW:
        lines.append(f"  too few to rely on: it takes {_FEW} and more of each")
    return lines
