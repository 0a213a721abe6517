"""The figures of an evaluation -> a table that says how far to trust them."""

from __future__ import annotations

from typing import Any

from pincite.qa.evaluation import Figure
from pincite.qa.render import count, printable

__all__ = ["evaluation_text"]

_FEW = 100
"""Questions; of fewer, intervals are wider than most differences that one would act upon."""

_SHOWN = 20  # files


def evaluation_text(scores: dict[str, Any]) -> str:
    """Return the figures of `evaluate` as a table, with what it takes to read them rightly."""
    held = f"{count(scores['questions'], 'question')} to {count(scores['documents'], 'document')}"
    lines = [f"{held}; value, 95 % interval"]
    titles = {
        "retrieval": "where files are named",
        "answers": "with an answer (right: F1 over 0.5)",
        "unanswerable": "without an answer",
    }
    for part, title in titles.items():
        if number := scores[part]["questions"]:
            lines += ["", f"{title}: {count(number, 'question')}"]
            lines += [_row(name, figure) for name, figure in scores[part].items() if name != "questions"]
    calibration = scores["calibration"]
    if number := calibration["questions"]:
        lines += ["", f"confidence: {count(number, 'question')}", "  over   up to  questions  confidence  right"]
        lines += [
            f"  {one['low']:4.1f} {one['high']:7.1f} {one['count']:10,} {one['confidence']:11.2f} {one['right']:6.2f}"
            for one in calibration["bins"]
        ]
        lines += [f"  off by {calibration['ECE']:.2f} on average (ECE)", "", *_advice(scores)]
    if lost := scores["never_found"]:
        lines += ["", f"never found: {printable(', '.join(lost[:_SHOWN]))}. Are they in the index?"]
    return "\n".join(lines)


def _row(name: str, figure: Figure) -> str:
    value, low, high = figure
    return f"  {name.replace('_', ' '):36}  {value:.2f}  {low:.2f} to {high:.2f}"


def _advice(scores: dict[str, Any]) -> list[str]:
    """Return which threshold to take, and how far that is to be trusted."""
    answerable, without, best = scores["answers"]["questions"], scores["unanswerable"]["questions"], scores["threshold"]
    if not without or not answerable:
        return ["threshold: to choose one takes both questions that have an answer and questions that have none"]
    few = f"; too few to rely on: it takes {_FEW} and more of each" if min(answerable, without) < _FEW else ""
    return [
        f"best threshold here: --min-confidence {best['best']:.2f}",
        _row("right, or rightly declined, with it", best["right_at_best"]),
        _row(f"the same with {scores['min_confidence']:.2f}", best["right_now"]),
        f"  judged by the questions that it is chosen on: expect less of others{few}",
    ]
