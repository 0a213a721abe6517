"""An index in a folder beside one in Milvus: `python scripts/bench_milvus.py [CORPUS] [options]` prints a JSON object.

Both hold the same passages, of articles varied from real ones, with vectors varied from real ones (corpora.py), and are
asked the same questions in turns. Without `--milvus` it is milvus-lite, whose work is part of the CPU time given; that
of a server is not.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from corpora import Material, PreparedEmbedder, article_path, prepare_material, vary, write_corpus
from timing import machine, p50_and_p95

from pincite.index.embedder import load_embedder
from pincite.index.filters import parse_where
from pincite.index.location import open_index, sync_index
from pincite.qa.retriever import retrieve

Json = dict[str, Any]

SEEDS = Path(__file__).resolve().parent.parent / "seeds"
K = 10
_FIRST = """
import json, sys, time
started = time.perf_counter()
from pincite.index.location import open_index
import numpy as np
from pincite.qa.retriever import retrieve
index = open_index(sys.argv[1])
retrieve(index, sys.argv[2], np.array(json.loads(sys.argv[3]), np.float32), 10)
print(time.perf_counter() - started, time.process_time())
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure both and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", nargs="?", type=Path, default=SEEDS, help="folder or .jsonl of articles; seeds/")
    parser.add_argument("--passages", type=int, default=10_000, help="about how many (10,000)")
    parser.add_argument("--sample", type=int, default=20_000, help="passages to be embedded at first (20,000)")
    parser.add_argument("--rounds", type=int, default=100, help="questions (100)")
    parser.add_argument("--milvus", metavar="ADDRESS", help="milvus://HOST:PORT/COLLECTION, made anew (milvus-lite)")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        json.dump(measure(Path(folder), arguments), sys.stdout)
    print()


def measure(work: Path, arguments: argparse.Namespace) -> Json:
    """Return the figures of both sides."""
    model = load_embedder()
    material = prepare_material(arguments.corpus, work, model, arguments.sample)
    articles = work / "articles"
    files = write_corpus(articles, material, arguments.passages)
    sides = {"folder": str(work / ".pincite"), "milvus": arguments.milvus or str(work / "articles.db")}
    embedders = {name: PreparedEmbedder(model, material.vectors) for name in sides}
    figures: dict[str, Json] = {name: {} for name in sides}
    for name, place in sides.items():
        report, wall, cpu = timed(partial(sync_index, place, [articles], embedder=embedders[name], rebuild=True))
        embedding, embedding_cpu = embedders[name].seconds, embedders[name].cpu_seconds
        figures[name] |= {
            "build_s": round(wall / 1e3 - embedding, 1),
            "build_cpu_s": round(cpu / 1e3 - embedding_cpu, 1),
        }
        passages = report.passages
    same = ask(sides, embedders, material, arguments.rounds, figures)
    for name, place in sides.items():
        figures[name]["mb"] = round(open_index(place).stats().bytes / 1e6, 1)
        figures[name] |= change(place, articles, files, material, embedders[name])
    if not arguments.milvus:
        from pincite.index.milvus_store import stop_lite

        stop_lite()  # it serves one process at a time
    vector = json.dumps(material.query_vectors[0].tolist())
    for name, place in sides.items():
        command = [sys.executable, "-c", _FIRST, place, material.queries[0], vector]
        runs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() for _ in range(5)]
        figures[name]["fresh_process_ms"] = p50_and_p95([1e3 * float(run[0]) for run in runs])
        figures[name]["fresh_process_cpu_ms"] = p50_and_p95([1e3 * float(run[1]) for run in runs])
    return {"bench": "milvus", "passages": passages, "files": files, **figures, **same, **machine(arguments.rounds)}


def ask(
    sides: dict[str, str],
    embedders: dict[str, PreparedEmbedder],
    material: Material,
    rounds: int,
    figures: dict[str, Json],
) -> Json:
    """Ask both sides the same questions in turns; return how often their best passages are the same."""
    indexes = {name: open_index(place, embedder=embedders[name]) for name, place in sides.items()}
    where = [parse_where("path=000*1.txt")]
    times: dict[str, dict[str, list[float]]] = {name: {} for name in sides}
    same = wanted = 0
    for number in range(-1, rounds):
        at = number % len(material.queries)
        query, vector = material.queries[at], material.query_vectors[at]
        found = {}
        for name, index in indexes.items():
            for kind, conditions in (("query", []), ("where", where)):
                hits, wall, cpu = timed(partial(retrieve, index, query, vector, K, where=conditions))
                if number >= 0:  # the first question opens files
                    times[name].setdefault(f"{kind}_ms", []).append(wall)
                    times[name].setdefault(f"{kind}_cpu_ms", []).append(cpu)
                found[name, kind] = {(hit.path, hit.passage.span) for hit in hits}
        same += len(found["folder", "query"] & found["milvus", "query"])
        wanted += len(found["folder", "query"])
    for name in sides:
        figures[name] |= {kind: p50_and_p95(values, 2) for kind, values in times[name].items()}
    return {"same_hits": round(same / wanted, 4)}


def change(place: str, articles: Path, files: int, material: Material, embedder: PreparedEmbedder) -> Json:
    """Replace ten articles one by one, with a sync after each, then sync without a change."""
    draw = random.Random(1)
    sync_index(place, embedder=embedder)  # what changed for the other side
    walls, cpus = [], []
    for _ in range(10):
        number = draw.randrange(files)
        article_path(articles, number).write_text(vary(material.articles, number, time.time_ns()), encoding="utf-8")
        report, wall, cpu = timed(partial(sync_index, place, embedder=embedder))
        assert report.changed >= 1, report
        walls.append(wall)
        cpus.append(cpu)
    _, unchanged, _ = timed(partial(sync_index, place, embedder=embedder))
    return {"change_ms": p50_and_p95(walls), "change_cpu_ms": p50_and_p95(cpus), "unchanged_ms": round(unchanged, 1)}


def timed(run: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what a function returns, and its wall and CPU milliseconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    return result, 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)


if __name__ == "__main__":
    main()
