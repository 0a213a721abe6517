"""Question-answer sets -> training examples for the reader: windows of text, and questions that they do not answer.

Every question is drawn once an epoch with a window of its own paragraph, and part of the time once more where there is
no answer to it: with a passage that pincite's own retriever took for the right one (mined), with its paragraph less
the sentences that hold the answer (cut), or with a word exchanged (twisted; `reworded.py`). What is drawn depends on
the seed and the epoch alone. Part of the questions can be put as people type them, in haste or with much around them.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from as_typed import as_typed
from numpy.typing import NDArray
from reworded import reworded
from tokenizers import Tokenizer
from written_questions import read_written

from pincite.index import Index
from pincite.qa.metrics import normalize_answer
from pincite.qa.retriever import retrieve

__all__ = ["SETS", "WRITTEN", "Example", "Question", "Sampler", "mine", "read_sets", "with_written"]

Ids = NDArray[np.int64]

# Set -> how often a question with an answer is drawn in an epoch. wikiqa's answers are whole sentences, subjqa's
# questions name no subject and policyqa's are the same for every paragraph: of these mostly the unanswerable count.
SETS = {
    "squadshifts-amazon": 0.15,
    "squadshifts-reddit": 0.15,
    "qamr-dev": 0.06,
    "qamr-test": 0.06,
    "nq_oracle-dev": 0.4,
    "qed_nq-dev": 0.4,
    "fairytaleqa-train": 0.1,
    "realtimeqa-evidence-2022-2023": 0.4,
    "trecqa-train": 0.3,
    "covidqa-200423": 0.2,
    "timeqa-easy": 0.2,
    "policyqa-dev": 0.05,
    "subjqa-train": 0.05,
    "wikiqa-train": 0.0,
}
WRITTEN = "written"  # the name of the questions of written_questions.jsonl; all of them are drawn
UNANSWERABLE = 0.05  # how often another question without an answer is drawn in an epoch
TWISTED = 0.25  # how often it is tried to exchange a word in both question and window
NEGATIVE = 0.8  # how often a question with an answer is drawn once more, without
NEGATIVE_WRITTEN = 0.25  # the same of the written ones, which have their counterparts without an answer
TYPED = 0.35  # how often a question is put as people type it
KINDS = (("mined", 0.25), ("cut", 0.15), ("twisted", 0.6))
MINED_SETS = frozenset(SETS) - {"qamr-dev", "qamr-test", "policyqa-dev", "subjqa-train", "wikiqa-train"}
HELD_BACK = 0.05  # of the paragraphs, for calibration
WINDOW = 192  # tokens of a training window; of the passages that pincite reads, 254 at most
# Tokens; shorter contexts are mostly put among others: where all long ones lack the answer, the model learns that.
SHORT = 60
AMONG = 0.8
MINED = 4  # passages kept for a question


@dataclass(frozen=True, slots=True)
class Question:
    """A question; `answers` are (start, end) in characters of the context, none if it has no answer."""

    set: str
    text: str
    context: int
    answers: tuple[tuple[int, int], ...]
    is_held_back: bool


@dataclass(frozen=True, slots=True)
class Example:
    """What the model sees: token ids, token types, and the tokens that begin and end the answer, 0 if it has none.

    `soft`, if not None, are a teacher's logits of each token as its start and end, float16, shape `(t, 2)`.
    """

    ids: Ids
    types: Ids
    start: int
    end: int
    soft: NDArray[np.float16] | None = None


def read_sets(folder: Path, names: Sequence[str] = tuple(SETS)) -> tuple[list[str], list[Question]]:
    """Return the contexts and the questions of SQuAD-form files `folder/NAME.json`."""
    contexts: list[str] = []
    questions = []
    for name in names:
        for article in json.loads((folder / f"{name}.json").read_bytes())["data"]:
            for paragraph in article["paragraphs"]:
                text = paragraph["context"]
                held = random.Random(f"{name} {text[:200]}").random() < HELD_BACK
                for qa in paragraph["qas"]:
                    spans = {
                        (a["answer_start"], a["answer_start"] + len(a["text"])) for a in qa["answers"] if a["text"]
                    }
                    questions.append(Question(name, qa["question"], len(contexts), tuple(sorted(spans)), held))
                contexts.append(text)
    return contexts, questions


def with_written(contexts: list[str], questions: list[Question]) -> tuple[list[str], list[Question]]:
    """Return what `read_sets` returned and, behind it, the paragraphs that questions were written for, and these."""
    contexts, questions = contexts.copy(), questions.copy()
    held_back = {contexts[question.context] for question in questions if question.is_held_back}
    for text, asked in read_written([text for text in contexts if text not in held_back]):
        held = random.Random(f"{WRITTEN} {text[:200]}").random() < HELD_BACK
        questions += (Question(WRITTEN, one, len(contexts), answers, held) for one, answers in asked)
        contexts.append(text)
    return contexts, questions


def mine(contexts: Sequence[str], questions: Sequence[Question], work: Path) -> dict[int, list[tuple[int, int, int]]]:
    """Return, for answerable questions, passages that pincite's retriever finds and that lack the answer.

    A passage is (context, start, end) in characters. One is taken to lack the answer if it comes from another context
    and none of the answers' words stand in it in a row.

    Args:
        contexts, questions: as `read_sets` returns them.
        work: folder for the index.
    """
    corpus = work / "corpus.jsonl"
    with corpus.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"_id": str(i), "text": text}) + "\n" for i, text in enumerate(contexts))
    index = Index.sync(work / "index", [corpus])
    asked = [i for i, question in enumerate(questions) if question.answers and question.set in MINED_SETS]
    vectors = index.embedder.embed_passages([questions[i].text for i in asked])
    held_back = {question.context for question in questions if question.is_held_back}
    context_of: dict[str, int] = {}
    found: dict[int, list[tuple[int, int, int]]] = {}
    for i, vector in zip(asked, vectors, strict=True):
        question = questions[i]
        words = [f" {normalize_answer(contexts[question.context][a:b])} " for a, b in question.answers]
        kept = []
        for hit in retrieve(index, question.text, vector, 8):
            passage = hit.passage
            if passage.document_id not in context_of:
                context_of[passage.document_id] = int(hit.path.rpartition("#")[2])
            context = context_of[passage.document_id]
            text = f" {normalize_answer(passage.text)} "
            if context != question.context and context not in held_back and not any(answer in text for answer in words):
                kept.append((context, passage.span.start, passage.span.end))
        if kept:
            found[i] = kept[:MINED]
    return found


class Sampler:
    """Draws examples; contexts and questions are tokenized once.

    Args:
        tokenizer: of the model, without truncation, padding and special tokens.
        contexts, questions: as `read_sets` returns them.
        mined: as `mine` returns it.
        seed: of everything that is drawn.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        contexts: Sequence[str],
        questions: Sequence[Question],
        mined: dict[int, list[tuple[int, int, int]]],
        seed: int,
    ) -> None:
        self.contexts, self.questions, self.mined, self.seed = contexts, questions, mined, seed
        self.tokenizer = tokenizer
        self._cls, self._sep = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
        encodings = tokenizer.encode_batch(list(contexts), add_special_tokens=False)
        self._ids = [np.array(one.ids, np.int64) for one in encodings]
        self._offsets = [np.array(one.offsets, np.int64).reshape(-1, 2) for one in encodings]
        del encodings
        asked = tokenizer.encode_batch([one.text for one in questions], add_special_tokens=False)
        self._asked = [np.array(one.ids[:64], np.int64) for one in asked]
        self._short: dict[str, list[int]] = {}
        self._in_set: dict[str, list[int]] = {}
        self._set_of = {question.context: question.set for question in questions}
        for i, question in enumerate(questions):
            self._in_set.setdefault(question.set, []).append(i)
        held_back = {question.context for question in questions if question.is_held_back}
        for context, name in self._set_of.items():
            if context not in held_back and len(self._ids[context]) <= SHORT:
                self._short.setdefault(name, []).append(context)

    def epoch(self, number: int) -> list[Example]:
        """Return the examples of an epoch, in the order of their drawing."""
        examples = []
        for i, question in enumerate(self.questions):
            draw = random.Random(f"{self.seed} {number} {i}")
            if question.is_held_back or draw.random() >= _share(question):
                continue
            if not question.answers:
                examples.append(self._example(self._asked[i], question.context, None, draw))
                continue
            example = self._twisted(i, draw, is_answered=True) if draw.random() < TWISTED else None
            examples.append(
                example or self._example(self._asked[i], question.context, draw.choice(question.answers), draw)
            )
            if draw.random() < (NEGATIVE_WRITTEN if question.set == WRITTEN else NEGATIVE):
                kind = draw.choices([name for name, _ in KINDS], [share for _, share in KINDS])[0]
                if (negative := self._negative(kind, i, draw)) is not None:
                    examples.append(negative)
        return examples

    def typed(self, examples: Sequence[Example], number: int) -> list[Example]:
        """Return the examples with part of the questions as people type them; answers and a teacher's logits stay.

        A teacher that was asked the plain question so teaches what the other one means.

        Args:
            examples: of any epoch.
            number: of the round; another one draws other questions and other slips.
        """
        draw = random.Random(f"{self.seed} typed {number}")
        return [self._typed(one, draw) if draw.random() < TYPED else one for one in examples]

    def _typed(self, example: Example, draw: random.Random) -> Example:
        front = int(np.flatnonzero(example.types)[0])  # [CLS] question [SEP] come before it
        asked = self._encoded(as_typed(self.tokenizer.decode(example.ids[1 : front - 1].tolist()), draw))[:64]
        moved = len(asked) + 2 - front
        own = self._joined(asked, example.ids[front:-1], -1, -1)
        start, end = (at + moved if at else 0 for at in (example.start, example.end))
        soft = example.soft
        if soft is not None:
            soft = np.concatenate([soft[:1], np.zeros((len(asked) + 1, 2), np.float16), soft[front:]])
        return replace(own, start=start, end=end, soft=soft)

    def _negative(self, kind: str, i: int, draw: random.Random) -> Example | None:
        question = self.questions[i]
        if kind == "mined" and self.mined.get(i):
            context, start, end = draw.choice(self.mined[i])
            offsets = self._offsets[context]
            tokens = np.flatnonzero((offsets[:, 0] >= start) & (offsets[:, 1] <= end))[:WINDOW]
            return self._joined(self._asked[i], self._ids[context][tokens], -1, -1)
        if kind == "mined" and len(self._ids[question.context]) <= SHORT:
            answers = [normalize_answer(self.contexts[question.context][a:b]) for a, b in question.answers]
            drawn = self._others(question.context, WINDOW, answers, draw)
            return self._joined(self._asked[i], np.concatenate(drawn), -1, -1) if drawn else None
        if kind == "cut":
            return self._cut(i, draw)
        if kind == "twisted":
            return self._twisted(i, draw, is_answered=False)
        return None

    def _twisted(self, i: int, draw: random.Random, *, is_answered: bool) -> Example | None:
        """Return an example with a word of the question exchanged: in the question, or in the window, or in both.

        Exchanged in both, the question still has its answer: so the model learns to compare, not to look for odd words.
        """
        question = self.questions[i]
        others = self._in_set[question.set]
        pool = [self.contexts[question.context], *(self.questions[draw.choice(others)].text for _ in range(8))]
        if (change := reworded(question.text, pool, draw)) is None:
            return None
        first, last, start, end = self._window(question.context, draw.choice(question.answers), draw)
        window, offsets = self._ids[question.context][first:last], self._offsets[question.context][first:last]
        asked = self._asked[i]
        is_moved = change.old != "" and draw.random() < 0.5  # the window is changed, not the question
        if is_answered or not is_moved:
            asked = self._encoded(change.question)[:64]
        if is_answered or is_moved:
            if not change.old or start < 0:
                return None
            begin, finish = int(offsets[0, 0]), int(offsets[-1, 1])
            a, b = int(offsets[start, 0]), int(offsets[end, 1])
            text = self.contexts[question.context]
            before, answer, after = text[begin:a], text[a:b], text[b:finish]
            word = re.compile(rf"\b{re.escape(change.old)}\b", re.IGNORECASE)
            if not word.search(before + " " + after) or (is_answered and word.search(answer)):
                return None
            before, after = (word.sub(lambda _: change.new, part) for part in (before, after))
            parts = [self._encoded(part) for part in (before, answer, after)]
            window = np.concatenate(parts)[:WINDOW]
            start, end = len(parts[0]), len(parts[0]) + len(parts[1]) - 1
            if end >= len(window):
                return None
        if not is_answered:
            start = end = -1
        return self._placed(asked, question.context, window, start, end, draw)

    def _encoded(self, text: str) -> Ids:
        return np.array(self.tokenizer.encode(text, add_special_tokens=False).ids, np.int64)

    def _cut(self, i: int, draw: random.Random) -> Example | None:
        """Return an example without the sentences that have the answer's words; None if little is left."""
        question = self.questions[i]
        text, offsets = self.contexts[question.context], self._offsets[question.context]
        answers = {normalize_answer(text[a:b]) for a, b in question.answers} - {""}
        bounds = [0, *(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]
        keep = np.ones(len(offsets), bool)
        for a, b in pairwise(bounds):
            sentence = f" {normalize_answer(text[a:b])} "
            if any(f" {answer} " in sentence for answer in answers) or any(a <= s < b for s, _ in question.answers):
                keep &= (offsets[:, 0] < a) | (offsets[:, 0] >= b)
        left = self._ids[question.context][keep]
        if len(left) < 12:
            return None
        first = draw.randrange(max(1, len(left) - WINDOW + 1))
        return self._joined(self._asked[i], left[first : first + WINDOW], -1, -1)

    def _example(self, asked: Ids, context: int, answer: tuple[int, int] | None, draw: random.Random) -> Example:
        """Return an example with a window of a context; around the answer, if there is one."""
        first, last, start, end = self._window(context, answer, draw)
        return self._placed(asked, context, self._ids[context][first:last], start, end, draw)

    def _window(self, context: int, answer: tuple[int, int] | None, draw: random.Random) -> tuple[int, int, int, int]:
        """Return the tokens of a context where a window begins and ends, and the answer's in the window, -1 if none."""
        ids, offsets = self._ids[context], self._offsets[context]
        start = end = -1
        if answer is not None:
            a, b = answer
            inside = np.flatnonzero((offsets[:, 1] > a) & (offsets[:, 0] < b))
            if len(inside):
                start, end = int(inside[0]), int(inside[-1])
        first = 0
        if len(ids) > WINDOW:
            if start >= 0:
                end = min(end, start + WINDOW - 1)
                earliest, latest = max(0, end - WINDOW + 1), min(start, len(ids) - WINDOW)
            else:
                earliest, latest = 0, len(ids) - WINDOW
            first = draw.randint(earliest, max(earliest, latest))
            # Passages are whole sentences: begin with one where that is possible.
            text = self.contexts[context]
            begins = [j for j in range(first, max(earliest, latest) + 1) if _begins(text, int(offsets[j, 0]))]
            first = begins[0] if begins else first
        if start >= 0:
            start, end = start - first, min(end - first, WINDOW - 1)
        return first, min(first + WINDOW, len(ids)), start, end

    def _placed(self, asked: Ids, context: int, window: Ids, start: int, end: int, draw: random.Random) -> Example:
        """Return an example with a window; a short one mostly among others."""
        if len(window) <= SHORT and draw.random() < AMONG:
            others = self._others(context, WINDOW - len(window), (), draw)
            place = draw.randint(0, len(others))
            before = np.concatenate([*others[:place], window[:0]])
            window = np.concatenate([before, window, *others[place:]])
            if start >= 0:
                start, end = start + len(before), end + len(before)
        return self._joined(asked, window, start, end)

    def _others(self, context: int, room: int, answers: Sequence[str], draw: random.Random) -> list[Ids]:
        """Return a few short contexts of the same set, at most `room` tokens of them, without any of some answers."""
        shorts = self._short.get(self._set_of[context], ())
        others: list[Ids] = []
        for other in draw.sample(shorts, draw.randint(1, 5)) if len(shorts) > 20 else ():
            text = f" {normalize_answer(self.contexts[other])} " if answers else ""
            if other == context or len(self._ids[other]) > room or any(f" {answer} " in text for answer in answers):
                continue
            others.append(self._ids[other])
            room -= len(self._ids[other])
        return others

    def _joined(self, asked: Ids, window: Ids, start: int, end: int) -> Example:
        ids = np.concatenate([[self._cls], asked, [self._sep], window, [self._sep]])
        front = len(asked) + 2
        types = np.zeros(len(ids), np.int64)
        types[front:] = 1
        return Example(ids, types, start + front if start >= 0 else 0, end + front if start >= 0 else 0)


def _share(question: Question) -> float:
    """Return how often a question is drawn in an epoch."""
    if question.set == WRITTEN:
        return 1.0
    return SETS[question.set] if question.answers else UNANSWERABLE


_SENTENCE_END = re.compile(r"[.!?][\"')\]]*\s+")


def _begins(text: str, offset: int) -> bool:
    """Return whether a sentence is likely to begin at `offset`."""
    return offset == 0 or re.search(r"[.!?][\"')\]]*\s+$", text[max(0, offset - 6) : offset]) is not None


def batches(examples: Sequence[Example], tokens: int, draw: random.Random) -> list[list[Example]]:
    """Return batches of examples of like length, in random order.

    Lengths are rounded up to multiples of 16 and a batch has all the examples that `tokens` have room for, so that a
    training run sees few shapes; a CPU prepares itself for each of them.
    """
    order = list(range(len(examples)))
    draw.shuffle(order)
    open_batches: dict[int, list[Example]] = {}
    found = []
    for i in order:
        width = padded(len(examples[i].ids))
        batch = open_batches.setdefault(width, [])
        batch.append(examples[i])
        if len(batch) >= tokens // width:
            found.append(open_batches.pop(width))
    found += open_batches.values()
    draw.shuffle(found)
    return found


def padded(length: int) -> int:
    """Return the width of a batch with an example of that length."""
    return -(-length // 16) * 16
