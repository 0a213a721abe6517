"""How long a question takes: in a fresh process, and in one that has answered before."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from question_sets import Question, QuestionSet, read_jsonl, read_questions, sample, sources_of
from timing import interleaved, machine, p50_and_p95, spread

if TYPE_CHECKING:
    from pincite.qa import Answer, Pipeline

ROOT = Path(__file__).resolve().parent.parent
SEEDS = ROOT / "seeds"
GOLD = ROOT / "tests/gold/questions.jsonl"
K = 10  # passages that an answer is looked for in by default

PLAIN_BUILD = """
import json, sys
import faiss, numpy as np
from sentence_transformers import SentenceTransformer
model, folder, passages = sys.argv[1], sys.argv[2], json.load(open(sys.argv[2] + "/passages.json"))
vectors = SentenceTransformer(model, device="cpu").encode(passages, normalize_embeddings=True, show_progress_bar=False)
index = faiss.IndexFlatIP(vectors.shape[1])
index.add(vectors)
faiss.write_index(index, folder + "/plain.faiss")
"""

PLAIN_ASK = """
import json, sys
import faiss
from sentence_transformers import SentenceTransformer
model, folder, question = sys.argv[1:]
passages, index = json.load(open(folder + "/passages.json")), faiss.read_index(folder + "/plain.faiss")
vector = SentenceTransformer(model, device="cpu").encode([question], normalize_embeddings=True, show_progress_bar=False)
_, rows = index.search(vector, 1)
print(passages[rows[0][0]])
"""

QUESTION = "who sits on the board?"


def run_process(arguments: Sequence[str], folder: str, accepted: Collection[int] = (0,)) -> str:
    """Run a command to its end and return what it printed; its exit code has to be one of `accepted`."""
    done = subprocess.run(
        arguments, cwd=folder, capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"}
    )
    if done.returncode not in accepted:
        sys.exit(f"{arguments[0]} failed: {done.stderr[-500:]}")
    return done.stdout


def cold(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compare a fresh process that answers a question with a plain sentence-transformers + FAISS script."""
    from pincite.index import Index
    from pincite.index.model_folder import find_model

    model = str(find_model(None).path)
    steps: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        index = Index.sync(f"{folder}/.pincite", [SEEDS])
        passages = [passage.text for document in index.documents() for passage in index.passages_of(document.id)]
        Path(folder, "passages.json").write_text(json.dumps(passages), encoding="utf-8")
        run_process([sys.executable, "-c", PLAIN_BUILD, model, folder], folder)
        ours = [str(Path(sys.executable).with_name("pincite")), "ask", QUESTION, "--json"]

        def run_plain() -> None:
            run_process([sys.executable, "-c", PLAIN_ASK, model, folder, QUESTION], folder)

        def run_pincite() -> None:
            steps.append(json.loads(run_process(ours, folder, accepted=(0, 1)))["elapsed_ms"])  # 1 is "no answer"

        run_pincite()
        run_plain()
        steps.clear()
        times = interleaved(arguments.rounds, {"plain": run_plain, "pincite": run_pincite})
    ratios = [mine / theirs for mine, theirs in zip(times["pincite"][0], times["plain"][0], strict=True)]
    return {
        "bench": "cold",
        **spread(ratios, 3),
        "pincite_s": round(statistics.median(times["pincite"][0]), 3),
        "plain_s": round(statistics.median(times["plain"][0]), 3),
        "steps_ms": {step: round(statistics.median(row[step] for row in steps), 1) for step in steps[0]},
        **machine(arguments.rounds),
    }


def warm(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compare a question in a running process with embedding, once, the passages in which its answer is looked for.

    Each question is asked as by default, which stops reading when an answer is all but certain, and made to read all
    passages (`all`). `open` is the opening of the index, its models loaded. Each question is asked once before the
    clock starts: that compiles models and shows them the shapes of their batches.
    """
    from pincite.index import Index
    from pincite.qa import Pipeline
    from pincite.qa.span_model import load_reader

    questions = read_questions(arguments.corpus) if arguments.corpus else seed_questions()
    chosen = sample(questions.questions, arguments.limit)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.work or Path(temporary)) / questions.name
        index = Index.sync(folder / ".pincite", sources_of(questions, folder))
        pipeline = Pipeline(index, reader=load_reader(arguments.reader))
        turns = [_turn(pipeline, question.text, arguments.rounds) for question in chosen]
        stats = index.stats()
    answers = {side: [answer for turn in turns for answer in turn.answers[side]] for side in ("ask", "all")}
    wall = {side: [1000 * value for turn in turns for value in turn.times[side][0]] for side in turns[0].times}
    cpu = {side: sum(value for turn in turns for value in turn.times[side][1]) for side in turns[0].times}
    result: dict[str, Any] = {"bench": "warm"}
    for side, of in (("ask", answers["ask"]), ("all", answers["all"])):
        ratios = [mine / embed for mine, embed in zip(wall[side], wall["embed"], strict=True)]
        steps = {step: [answer.elapsed[step] for answer in of] for step in of[0].elapsed}
        read = [mine / embed for mine, embed in zip(steps["read"], wall["embed"], strict=True)]
        result[side] = {
            "ratio": p50_and_p95(ratios, 2),
            "ratio_read": p50_and_p95(read, 2),
            "ratio_cpu_seconds": round(cpu[side] / cpu["embed"], 2),
            "ms": {step: p50_and_p95(values) for step, values in steps.items()},
        }
    return result | {
        "open_ms": p50_and_p95(wall["open"]),
        "embed_passages_ms": p50_and_p95(wall["embed"]),
        "k": K,
        "corpus": questions.name,
        "passages": stats.passages,
        "questions": len(chosen),
        "reader": pipeline.reader.name,
        **machine(arguments.rounds),
    }


@dataclass(frozen=True, slots=True)
class _Turn:
    """The wall and CPU seconds of each side of one question, and the answers."""

    times: dict[str, tuple[list[float], list[float]]]
    answers: dict[str, list[Answer]]


def _turn(pipeline: Pipeline, question: str, rounds: int) -> _Turn:
    """Return how long one question takes, and its passages to embed."""
    from pincite.index import Index

    index, embedder = pipeline.index, pipeline.index.embedder
    passages = [hit.passage.text for hit in pipeline.ask(question, K, read_all=True).hits]
    embedder.embed_passages(passages)
    answers: dict[str, list[Answer]] = {"ask": [], "all": []}
    sides = {
        "open": lambda: Index.open(index.path, embedder=embedder),
        "embed": lambda: embedder.embed_passages(passages),
        "ask": lambda: answers["ask"].append(pipeline.ask(question, K)),
        "all": lambda: answers["all"].append(pipeline.ask(question, K, read_all=True)),
    }
    return _Turn(interleaved(rounds, sides), answers)


def seed_questions() -> QuestionSet:
    """Return the gold questions on the example articles."""
    asked = tuple(Question(row["question"], tuple(row["answers"])) for row in read_jsonl(GOLD))
    return QuestionSet("seeds", asked, (SEEDS,))
