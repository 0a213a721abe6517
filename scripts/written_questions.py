"""Questions that a language model wrote for pincite about paragraphs of the training sets, half of them unanswerable.

What the sets have of questions without an answer is about something else, or is a question with a word exchanged;
SQuAD 2.0's are asked by people who look for a question that sounds answered and is not (Rajpurkar, Jia & Liang 2018,
"Know what you don't know"). written_questions.jsonl has such questions, and as many answered ones of the same kind, so
that their wording alone tells nothing. A line is a paragraph; of its text there is only where it stands:

    {"context": "9a0f...", "start": 0, "end": 512, "questions": [["Who led it?", 14, 31], ["Who paid for it?"]]}

`context` begins the sha256 of the context's text, `start` and `end` are the paragraph's characters in it, and an answer
is given by its characters in the paragraph.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

__all__ = ["FILE", "Written", "read_written"]

FILE = Path(__file__).with_suffix(".jsonl")

Answers = tuple[tuple[int, int], ...]
Written = tuple[str, list[tuple[str, Answers]]]
"""A paragraph, and its questions, each with its answers: (start, end) in characters of the paragraph, none if none."""


def read_written(contexts: Sequence[str], path: Path = FILE) -> list[Written]:
    """Return the paragraphs of some contexts, as `read_sets` returns them, that questions were written for."""
    known = {sha256(text.encode()).hexdigest()[:16]: text for text in contexts}
    found: list[Written] = []
    with path.open(encoding="utf-8") as file:
        for line in file:
            one = json.loads(line)
            if (text := known.get(one["context"])) is not None:
                found.append((text[one["start"] : one["end"]], [_question(*asked) for asked in one["questions"]]))
    return found


def _question(asked: str, *span: int) -> tuple[str, Answers]:
    return asked, ((span[0], span[1]),) if span else ()
