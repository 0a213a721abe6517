"""What a compiled span model must agree on with torch before its scores are trusted.

Logits themselves may differ: in bfloat16 those of a peaked model are some 0.1 off, which changes nothing where one
answer is far ahead, and little where two are level. So what is compared is what is made of them: the chances of each
start, each end and of "no answer", and the span that is best.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pincite.index.agreement import check_texts
from pincite.index.network import Agreement
from pincite.qa.span_pairs import Piece

__all__ = ["MAX_LOSS", "MAX_SHIFT", "best_span", "check_pairs", "compare"]

MAX_SHIFT = 0.08
"""Of the chances of starts, or of ends, in one window: total variation, the most by which that of any set changes.
Two answers that are level shift by it if the difference of their logits is 0.32 off. Our reader's int8 shifts by 0.057;
of 1,000 questions of SQuAD 1.1 and 1,000 of 2.0, F1 and AUROC were as in bfloat16 or better."""

MAX_LOSS = 0.2
"""Logits by which the span that is found may be worse than the best one, by the reference: chances of 45 to 55."""

_QUESTIONS = (
    "When does the harbour office close?",
    "who repaired the west gate",
    "How many hectares of meadow did the co-operative buy in 1987, and for how much?",
    "Wie ist der Fluß?",
    "What must be done before the pump is primed?",
    "why",
    "What did she say as she left, and what was late that day? " * 8,
    "What is the pH?",
)


def check_pairs(window: int) -> list[tuple[str, str]]:
    """Return 32 questions, each with a text of 0 tokens to more than the window, some of which answer them."""
    return [(_QUESTIONS[n * 5 % len(_QUESTIONS)], text) for n, text in enumerate(check_texts(window))]


def compare(
    pieces: Sequence[Piece], logits: Sequence[NDArray[np.float32]], reference: Sequence[NDArray[np.float32]]
) -> Agreement:
    """Return how near logits come to those of the reference, shape `(t, 2)` for each piece: starts, ends."""
    shift = loss = 0.0
    for piece, found, right in zip(pieces, logits, reference, strict=True):
        possible = np.r_[piece.null, np.arange(len(piece.ids))[piece.place]]
        ours, theirs = found[possible].astype(np.float64), right[possible].astype(np.float64)
        if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
            return Agreement(False, {"max_shift": 1.0, "max_loss": np.inf})
        apart = np.abs(_chances(ours) - _chances(theirs)).sum(axis=0) / 2
        shift = max(shift, float(apart.max()))
        if len(possible) > 1:
            scores = [
                theirs[1:][start, 0] + theirs[1:][end, 1] for start, end in map(best_span, (theirs[1:], ours[1:]))
            ]
            loss = max(loss, float(scores[0] - scores[1]))
    return Agreement(shift <= MAX_SHIFT and loss <= MAX_LOSS, {"max_shift": shift, "max_loss": loss})


def best_span(logits: NDArray[np.float64]) -> tuple[int, int]:
    """Return the first and the last token of the best span, of any length.

    >>> best_span(np.array([[1.0, 5.0], [4.0, 0.0], [0.0, 3.0]]))
    (1, 2)
    """
    ends = np.maximum.accumulate(logits[::-1, 1])[::-1]
    start = int(np.argmax(logits[:, 0] + ends))
    return start, start + int(np.argmax(logits[start:, 1]))


def _chances(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    raised = np.exp(logits - logits.max(axis=0))
    chances: NDArray[np.float64] = raised / raised.sum(axis=0)
    return chances
