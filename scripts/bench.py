"""Speed beside a baseline run in the same call: `python scripts/bench.py NAME [options]` prints one JSON object.

Rounds of both sides are interleaved and medians compared, because a machine's speed drifts by more than what is
measured. CPU seconds are given too: on a busy machine they say more than the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pincite.index.compiled import CompiledEmbedder

SEEDS = Path(__file__).resolve().parent.parent / "seeds"


def read_passages(corpus: Path) -> Iterator[str]:
    """Yield the paragraphs of a folder of text files, of a `.jsonl` corpus, or of a SQuAD-form `.json`."""
    if corpus.is_dir():
        for file in sorted(corpus.rglob("*")):
            if file.suffix in {".txt", ".md", ".rst"}:
                yield from _paragraphs(file.read_text(encoding="utf-8", errors="replace"))
    elif corpus.suffix == ".jsonl":
        with corpus.open(encoding="utf-8") as lines:
            for line in filter(str.strip, lines):
                record = json.loads(line)
                yield from _paragraphs(f"{record.get('title', '')}. {record['text']}")
    else:
        for article in json.loads(corpus.read_bytes())["data"]:
            yield from (paragraph["context"] for paragraph in article["paragraphs"])


def _paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of a text, at most 150 words each."""
    for block in re.split(r"\n\s*\n", text):
        words = block.split()
        yield from (" ".join(words[start : start + 150]) for start in range(0, len(words), 150))


def seed_passages(count: int) -> list[str]:
    """Return passages of 20 to 200 words made of sentences of `seeds/`, drawn with a fixed seed."""
    text = " ".join(read_passages(SEEDS))
    sentences = re.split(r"(?<=[.!?])\s+", text) if text else [f"Line {n} of no article." for n in range(50)]
    draw = random.Random(20240501)
    passages = []
    for _ in range(count):
        length, words = draw.randint(20, 200), list[str]()
        while len(words) < length:
            words += draw.choice(sentences).split()
        passages.append(" ".join(words))
    return passages


def interleaved(rounds: int, sides: dict[str, Callable[[], Any]]) -> dict[str, tuple[list[float], list[float]]]:
    """Return the wall and CPU seconds of each round of each side, the sides taking turns."""
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            times[name][0].append(time.perf_counter() - wall)
            times[name][1].append(time.process_time() - cpu)
    return times


def cpu_name() -> str:
    """Return the processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def in_float32(embedder: CompiledEmbedder) -> CompiledEmbedder:
    """Return the embedder as it would be on a CPU without bfloat16."""
    precision = embedder.precision
    embedder._plan = replace(embedder._plan, precision="f32") if embedder._plan else None  # no user needs a switch
    embedder._blob = None  # holds the network as compiled for the other precision
    assert embedder.precision == "f32" or precision == "f32"
    return embedder


def embed(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compare passages per second with plain `SentenceTransformer(...).encode(batch_size=32)` in float32."""
    from pincite.index.compiled import CompiledEmbedder
    from pincite.index.embedder import SentenceTransformerEmbedder, load_embedder
    from pincite.index.model_folder import find_model

    if arguments.corpus:
        passages = [passage for passage in read_passages(arguments.corpus) if passage.strip()]
        random.Random(20240501).shuffle(passages)
        passages = passages[: arguments.limit]
    else:
        passages = seed_passages(arguments.limit)
    embedder = load_embedder(arguments.model)
    if arguments.float32 and isinstance(embedder, CompiledEmbedder):
        embedder = in_float32(embedder)
    plain = SentenceTransformerEmbedder(find_model(arguments.model), device="cpu").model
    vectors: dict[str, Any] = {}

    def run_plain() -> None:
        vectors["plain"] = plain.encode(passages, batch_size=32, normalize_embeddings=True, show_progress_bar=False)

    def run_pincite() -> None:
        vectors["pincite"] = embedder.embed_passages(passages)

    # Both see each of their batch shapes once before the clock starts.
    plain.encode(passages[:64], batch_size=32, show_progress_bar=False)
    embedder.embed_passages(passages[: max(64, len(passages) // 4)])
    times = interleaved(arguments.rounds, {"plain": run_plain, "pincite": run_pincite})
    cosine = (vectors["plain"] * vectors["pincite"]).sum(axis=1)
    tokens = sum(min(len(offsets), embedder.max_tokens) for offsets in embedder.token_offsets(passages))
    speed = {name: [len(passages) / seconds for seconds in wall] for name, (wall, _) in times.items()}
    cpu = {name: len(passages) / statistics.median(seconds) for name, (_, seconds) in times.items()}
    ratios = [ours / theirs for ours, theirs in zip(speed["pincite"], speed["plain"], strict=True)]
    return {
        "bench": "embed",
        "ratio": round(statistics.median(ratios), 2),
        "ratio_min": round(min(ratios), 2),
        "ratio_max": round(max(ratios), 2),
        "ratio_cpu_seconds": round(cpu["pincite"] / cpu["plain"], 2),
        "pincite_passages_per_s": round(statistics.median(speed["pincite"]), 1),
        "plain_passages_per_s": round(statistics.median(speed["plain"]), 1),
        "cosine_min": round(float(cosine.min()), 6),
        "cosine_mean": round(float(cosine.mean()), 6),
        "precision": embedder.precision if isinstance(embedder, CompiledEmbedder) else "f32",
        "embedder": type(embedder).__name__,
        "model": embedder.name,
        "passages": len(passages),
        "tokens_mean": round(tokens / len(passages), 1),
        **machine(arguments.rounds),
    }


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


def run_process(arguments: Sequence[str], folder: str) -> None:
    """Run a command to its end; it has to succeed."""
    done = subprocess.run(
        arguments, cwd=folder, capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"}
    )
    if done.returncode:
        sys.exit(f"{arguments[0]} failed: {done.stderr[-500:]}")


def cold(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compare a fresh process that answers a question with a plain sentence-transformers + FAISS script."""
    from pincite.index import Index
    from pincite.index.model_folder import find_model

    model = str(find_model(None).path)
    with tempfile.TemporaryDirectory() as folder:
        index = Index.sync(f"{folder}/.pincite", [SEEDS])
        passages = [passage.text for document in index.documents() for passage in index.passages_of(document.id)]
        Path(folder, "passages.json").write_text(json.dumps(passages), encoding="utf-8")
        run_process([sys.executable, "-c", PLAIN_BUILD, model, folder], folder)
        ours = [str(Path(sys.executable).with_name("pincite")), "ask", QUESTION]
        plain = [sys.executable, "-c", PLAIN_ASK, model, folder, QUESTION]
        run_process(ours, folder)
        run_process(plain, folder)
        sides = {"plain": lambda: run_process(plain, folder), "pincite": lambda: run_process(ours, folder)}
        times = interleaved(arguments.rounds, sides)
        steps = subprocess.run([*ours, "--json"], cwd=folder, capture_output=True, text=True, check=True)
    ratios = [mine / theirs for mine, theirs in zip(times["pincite"][0], times["plain"][0], strict=True)]
    return {
        "bench": "cold",
        "ratio": round(statistics.median(ratios), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        "pincite_s": round(statistics.median(times["pincite"][0]), 3),
        "plain_s": round(statistics.median(times["plain"][0]), 3),
        "steps_ms": json.loads(steps.stdout)["elapsed_ms"],
        **machine(arguments.rounds),
    }


def update(arguments: argparse.Namespace) -> dict[str, Any]:
    """Sync a folder of small articles: at first, without any change, and after a change of one of them."""
    from pincite.index import Index

    steps: dict[str, list[float]] = {"no change": [], "one changed": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.files):
            place = Path(folder, "articles", f"{number % 100:02}")
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number}.txt").write_text(f"Note {number}\n\nParcel {number} weighs {number * 7} grams.\n")
        started = time.perf_counter()
        index = Index.sync(f"{folder}/.pincite", [f"{folder}/articles"])
        first = time.perf_counter() - started
        embedder = index.embedder
        embedder.embed_passages(["loaded before the clock starts"])
        for turn in range(arguments.rounds):
            started = time.perf_counter()
            Index.sync(f"{folder}/.pincite")
            steps["no change"].append(time.perf_counter() - started)
            Path(folder, "articles", "07", "7.txt").write_text(f"Note 7\n\nParcel 7 weighs {turn} tons.\n")
            started = time.perf_counter()
            index = Index.sync(f"{folder}/.pincite", embedder=embedder)
            steps["one changed"].append(time.perf_counter() - started)
        assert index.report is not None and index.report.changed == index.report.embedded == 1
    return {
        "bench": "update",
        "files": arguments.files,
        "first_s": round(first, 2),
        "no_change_s": round(statistics.median(steps["no change"]), 3),
        "one_changed_s": round(statistics.median(steps["one changed"]), 3),
        **machine(arguments.rounds),
    }


def machine(rounds: int) -> dict[str, Any]:
    """Return what the figures were measured with."""
    return {
        "rounds": rounds,
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run one bench and print its JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    benches = parser.add_subparsers(required=True)
    command = benches.add_parser("embed", help=embed.__doc__)
    command.add_argument("corpus", nargs="?", type=Path, help="folder, .jsonl or SQuAD .json; default: from seeds/")
    command.add_argument("--limit", type=int, default=512, help="passages (512)")
    command.add_argument("--rounds", type=int, default=3, help="of each side (3)")
    command.add_argument("--model", help="folder or name of a sentence-transformers model")
    command.add_argument("--float32", action="store_true", help="as on a CPU without bfloat16")
    command.set_defaults(run=embed)
    command = benches.add_parser("cold", help=cold.__doc__)
    command.add_argument("--rounds", type=int, default=7, help="of each side (7)")
    command.set_defaults(run=cold)
    command = benches.add_parser("update", help=update.__doc__)
    command.add_argument("--files", type=int, default=10_000, help="articles (10,000)")
    command.add_argument("--rounds", type=int, default=5, help="of each step (5)")
    command.set_defaults(run=update)
    arguments = parser.parse_args(argv)
    json.dump(arguments.run(arguments), sys.stdout)
    print()


if __name__ == "__main__":
    main()
