"""Question-answer sets -> the weights of `qa/reader.py`, and how well it does: prints one JSON object.

    python scripts/fit_sentences.py fit QA_TRAIN
    python scripts/fit_sentences.py report squad-dev-v1.1.json --absent 0.33
    python scripts/fit_sentences.py report cmu_qad.json --paragraphs 30
    python scripts/fit_sentences.py report tests/gold/questions.jsonl --articles seeds

Sets are SQuAD v2.0 JSON; the public originals are at the homes of squadshifts, nq_oracle, qed, wikiqa and so on. The
paragraphs are indexed, part of them left out so that some questions have no answer, and the questions asked blind.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pincite.index import Index
from pincite.qa.metrics import normalize_answer
from pincite.qa.reader import BIAS, MIN_CONFIDENCE, PASSAGES, SENTENCES, WEIGHTS, Candidate, measure, read_sentences
from pincite.qa.retriever import Hit, retrieve

Floats = NDArray[np.float64]

# Set -> paragraphs, questions a paragraph, whether its titles are such as an article has. Left out: policyqa, whose
# one question has another answer in each paragraph, and subjqa, whose questions name no subject.
SETS = {
    "nq_oracle-dev": (450, 2, True),
    "qed_nq-dev": (250, 2, True),
    "wikiqa-train": (400, 2, True),
    "squadshifts-reddit": (180, 1, False),
    "squadshifts-amazon": (180, 1, False),
    "realtimeqa-evidence-2022-2023": (350, 1, False),
    "trecqa-train": (150, 1, False),
    "covidqa-200423": (14, 20, False),
    "timeqa-easy": (36, 5, True),
    "fairytaleqa-train": (150, 2, True),
    "qamr-dev": (90, 2, False),
}
LONGEST = 25_000  # characters of a paragraph
ABSENT = 0.36  # share of the paragraphs that are not indexed
RIDGE = 3.0


@dataclass(frozen=True, slots=True)
class Question:
    """A question; `spans` are its gold answers as (start, text) in paragraph `paragraph`, `answers` the texts."""

    set: str
    text: str
    paragraph: str
    spans: tuple[tuple[int, str], ...]
    answers: tuple[str, ...]
    is_absent: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """The candidates for one question: features, 1 for an answer, 0 for none, -1 for perhaps; the same by text."""

    question: Question
    features: Floats
    labels: NDArray[np.int64]
    holds: NDArray[np.bool_]


def read_set(path: Path, titled: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (title, paragraph) of a SQuAD-form file."""
    for article in json.loads(path.read_bytes())["data"]:
        title = re.sub(r"^/wiki/", "", article.get("title") or "").replace("_", " ") if titled else ""
        yield from ((title, paragraph) for paragraph in article["paragraphs"])


def sample(
    path: Path, paragraphs: int, each: int, titled: bool, absent: float, draw: random.Random, longest: int = LONGEST
) -> tuple[list[dict[str, str]], list[Question]]:
    """Return records for a `.jsonl` corpus, and the questions on them and on those left out."""
    found = [item for item in read_set(path, titled) if len(item[1]["context"]) <= longest]
    draw.shuffle(found)
    records: list[dict[str, str]] = []
    questions: list[Question] = []
    for number, (title, paragraph) in enumerate(found[:paragraphs]):
        name, context = f"{path.stem}-{number}", paragraph["context"]
        is_absent = draw.random() < absent
        if not is_absent:
            records.append({"_id": name, "title": title, "text": context})
        for qa in draw.sample(paragraph["qas"], min(each, len(paragraph["qas"]))):
            spans = tuple((answer["answer_start"], answer["text"]) for answer in qa["answers"])
            exact = tuple(span for span in spans if context.startswith(span[1], span[0]))
            texts = tuple(text for _, text in spans)
            questions.append(Question(path.stem, qa["question"], name, exact, texts, is_absent or not texts))
    return records, questions


def build(records: Sequence[dict[str, str]], work: Path) -> Index:
    """Return an index of some records."""
    corpus = work / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return Index.sync(work / ".pincite", [corpus])


def overlap(candidate: Candidate, start: int, text: str) -> float:
    """Return the share of an answer that is in a candidate; half of a long one will do."""
    shared = min(candidate.span.end, start + len(text)) - max(candidate.span.start, start)
    return max(shared, 0) / len(text)


def holds(text: str, answers: Sequence[str]) -> bool:
    """Return whether a text has one of the answers, or is the greater part of one, normalised as SQuAD does."""
    whole = f" {normalize_answer(text)} "
    normal = [f" {answer} " for answer in map(normalize_answer, answers) if answer]
    return any(answer in whole or (whole in answer and 2 * len(whole) >= len(answer)) for answer in normal)


def read(index: Index, questions: Sequence[Question]) -> list[Reading]:
    """Return the candidates for each question, all of them embedded."""
    known: dict[str, NDArray[np.float32]] = {}
    found: list[Reading] = []
    for question in questions:
        vector = index.embedder.embed_query(question.text)
        hits = retrieve(index, question.text, vector, 10)
        candidates, features = measure(index, question.text, hits[:PASSAGES])
        new = list(dict.fromkeys(one.text for one in candidates if one.text not in known))
        known.update(zip(new, index.embedder.embed_passages(new), strict=True))
        features[:, 0] = [known[one.text] @ vector for one in candidates]
        labels = np.zeros(len(candidates), np.int64)
        has = np.array([holds(one.text, question.answers) for one in candidates], np.bool_)
        for number, one in enumerate(candidates):
            gold = one.hit.path.endswith(f"#{question.paragraph}")
            share = max((overlap(one, *span) for span in question.spans), default=0.0) if gold else 0.0
            # Elsewhere the same words may answer or not: such a sentence teaches nothing.
            labels[number] = 1 if share >= 0.5 else -1 if share or has[number] else 0
        found.append(Reading(question, features, labels, has | (labels == 1)))
    return found


def logistic(features: Floats, labels: Floats, weights: Floats, ridge: float) -> tuple[Floats, float]:
    """Return coefficients and bias by Newton's method; the ridge is on standardised features, not on the bias."""
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-9
    rows = np.c_[(features - mean) / spread, np.ones(len(features))]
    penalty = np.full(rows.shape[1], ridge)
    penalty[-1] = 0
    found = np.zeros(rows.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-(rows @ found)))
        gradient = rows.T @ (weights * (chance - labels)) + penalty * found
        step = np.linalg.solve((rows.T * (weights * chance * (1 - chance))) @ rows + np.diag(penalty), gradient)
        found -= step
        if np.abs(step).max() < 1e-8:
            break
    coefficients = found[:-1] / spread
    return coefficients, float(found[-1] - coefficients @ mean)


def fit_sentences(readings: Sequence[Reading]) -> tuple[Floats, float]:
    """Return the weights that tell answering sentences from others; each set counts the same."""
    sizes = Counter(reading.question.set for reading in readings)
    each = len(readings) / len(sizes)
    clear = [reading.labels >= 0 for reading in readings]
    counts = [np.full(keep.sum(), each / sizes[r.question.set]) for r, keep in zip(readings, clear, strict=True)]
    features = np.concatenate([r.features[keep] for r, keep in zip(readings, clear, strict=True)])
    labels = np.concatenate([r.labels[keep] for r, keep in zip(readings, clear, strict=True)])
    return logistic(features, labels.astype(np.float64), np.concatenate(counts), RIDGE)


def best(reading: Reading, weights: Floats, bias: float) -> tuple[float, bool]:
    """Return the logit of the best candidate, and whether it holds the answer."""
    if not len(reading.features):
        return -20.0, False
    place = int(np.argmax(reading.features @ weights))
    return float(reading.features[place] @ weights) + bias, bool(reading.holds[place])


def calibrate(readings: Sequence[Reading]) -> tuple[float, float, Floats, Floats]:
    """Return slope and bias that make the best candidate's chance true (Platt 1999), and the held-out pairs."""
    logits, right, counts = [], [], []
    sizes = Counter(reading.question.set for reading in readings)
    for fold in range(5):
        weights, bias = fit_sentences([r for n, r in enumerate(readings) if n % 5 != fold])
        for reading in readings[fold::5]:
            logit, is_right = best(reading, weights, bias)
            logits.append(logit)
            right.append(is_right and not reading.question.is_absent)
            counts.append(len(readings) / len(sizes) / sizes[reading.question.set])
    x, y = np.array(logits), np.array(right, np.float64)
    slope, bias = logistic(x[:, None], y, np.array(counts), 0.0)
    return float(slope[0]), bias, 1 / (1 + np.exp(-(slope[0] * x + bias))), y


def calibration_error(chance: Floats, right: Floats) -> float:
    """Return the expected calibration error over ten bins of equal width (Guo et al. 2017, equation 3)."""
    bins = np.minimum((chance * 10).astype(int), 9)
    return float(sum(abs((chance - right)[bins == n].sum()) for n in range(10)) / len(chance))


def auroc(positive: Floats, negative: Floats) -> float:
    """Return the chance that a positive scores above a negative; half for ties."""
    difference = positive[:, None] - negative[None, :]
    return float(((difference > 0) + (difference == 0) / 2).mean())


def summary(chance: Floats, right: Floats, absent: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the figures of answering and of abstaining."""
    result: dict[str, Any] = {"answerable": int((~absent).sum()), "right": round(float(right[~absent].mean()), 3)}
    result["calibration_error"] = round(calibration_error(chance, right), 3)
    if absent.any():
        result |= {"unanswerable": int(absent.sum()), "auroc": round(auroc(chance[~absent], chance[absent]), 3)}
    for threshold in (0.2, 0.25, 0.3, 0.35, 0.4, 0.5):
        given = chance >= threshold
        row = {"answerable_declined": (~given)[~absent].mean(), "right_if_given": right[given].mean()}
        if absent.any():
            row["unanswerable_declined"] = (~given)[absent].mean()
        result[f"at {threshold}"] = {name: round(float(value), 3) for name, value in row.items()}
    return result


def fit(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Fit the weights on a folder of sets."""
    draw = random.Random(arguments.seed)
    records: list[dict[str, str]] = []
    questions: list[Question] = []
    for name, (paragraphs, each, titled) in SETS.items():
        new = sample(arguments.source / f"{name}.json", paragraphs, each, titled, ABSENT, draw)
        records += new[0]
        questions += new[1]
    draw.shuffle(questions)
    readings = read(build(records, work), questions)
    weights, bias = fit_sentences(readings)
    slope, offset, chance, right = calibrate(readings)
    order = [reading for fold in range(5) for reading in readings[fold::5]]
    absent = np.array([reading.question.is_absent for reading in order])
    return {
        "questions": len(questions),
        "weights": dict(zip(WEIGHTS, (slope * weights).round(3).tolist(), strict=True)),
        "bias": round(slope * bias + offset, 3),
        "held out": summary(chance, right, absent),
    }


def report(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Ask the questions of one set, beside two baselines; absent ones too."""
    draw = random.Random(arguments.seed)
    if arguments.articles:
        lines = [json.loads(line) for line in arguments.source.read_text(encoding="utf-8").splitlines()]
        questions = [
            Question("gold", one["question"], "", (), tuple(one["answers"]), not one["answerable"]) for one in lines
        ]
        index = Index.sync(work / ".pincite", [arguments.articles])
    else:
        every = arguments.paragraphs, 10**6, True, arguments.absent, draw, 10**9
        records, questions = sample(arguments.source, *every)
        questions = draw.sample(questions, min(arguments.questions, len(questions)))
        index = build(records, work)
    readings = read(index, questions)
    weights = np.array(list(WEIGHTS.values()))
    absent = np.array([question.is_absent for question in questions])
    bars: dict[str, Callable[[Reading], Floats]] = {
        "cosine": lambda reading: reading.features[:, 0],
        "words": lambda reading: reading.features[:, 1] + reading.features[:, 3],
    }
    result: dict[str, Any] = {}
    for name, score in bars.items():
        right = [bool(len(r.holds)) and bool(r.holds[int(np.argmax(score(r)))]) for r in readings]
        tops = np.array([max(score(r), default=-9.0) for r in readings])
        result[name] = {"right": round(float(np.array(right)[~absent].mean()), 3)}
        if absent.any():
            result[name]["auroc"] = round(auroc(tops[~absent], tops[absent]), 3)
    chosen = [best(reading, weights, BIAS) for reading in readings]
    result["all sentences embedded"] = {
        "right": round(float(np.mean([is_right for _, is_right in chosen], where=~absent)), 3)
    }
    chances, rights = [], []
    for question in questions:
        vector = index.embedder.embed_query(question.text)
        hits: list[Hit] = retrieve(index, question.text, vector, 10)
        spans = read_sentences(index, question.text, vector, hits)
        chances.append(spans[0].confidence if spans else 0.0)
        rights.append(bool(spans) and not question.is_absent and holds(spans[0].text, question.answers))
    result["reader"] = summary(np.array(chances), np.array(rights, np.float64), absent)
    return result | {"sentences": SENTENCES, "passages": PASSAGES, "min_confidence": MIN_CONFIDENCE}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and print its JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("fit", "report"))
    parser.add_argument("source", type=Path, help="fit: folder of sets; report: a set")
    parser.add_argument("--articles", type=Path, help="folder of the articles of a .jsonl set")
    parser.add_argument("--paragraphs", type=int, default=10**6, help="at most so many are indexed (all)")
    parser.add_argument("--questions", type=int, default=1_000, help="at most so many are asked (1000)")
    parser.add_argument("--absent", type=float, default=0.0, help="share of the paragraphs left out (0)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as work:
        json.dump((fit if arguments.command == "fit" else report)(arguments, Path(work)), sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
