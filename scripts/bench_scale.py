"""What an index costs as it grows: to build, to keep, to ask and to change; each step in a process of its own.

The corpora are varied from real articles and their vectors from real ones (corpora.py), so nothing but a sample is
embedded. All else is what users run: files are read, cut and indexed, segments written, merged and searched.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from corpora import Material, PreparedEmbedder, article_path, prepare_material, vary, write_corpus
from timing import machine, memory, p50_and_p95, peak_memory, written_bytes

from pincite.index import Index
from pincite.index.batch import LOT
from pincite.index.build import sync
from pincite.index.embedder import load_embedder
from pincite.qa.retriever import CANDIDATES, retrieve

Json = dict[str, Any]
T = TypeVar("T")

K = 10
QUERIES = 300
TARGET = 10_000_000
_BLOCK = 50_000


def scale(arguments: argparse.Namespace) -> Json:
    """Build, open and ask indexes of several sizes, and project what 10 million passages would take.

    Needs some 6 GB of disk for a million passages, half of it for a moment only, and 10 minutes of CPU for each.
    """
    sizes = []
    with _work(arguments) as work:
        for passages in sorted(arguments.passages):
            built = _built(work, arguments, passages)
            exact = _in_child("exact", work, arguments, passages)
            _forget_cached(_index(work, passages))
            asked = _in_child("ask", work, arguments, passages, rows=exact["rows"])
            sizes.append({"passages": asked["passages"], **built, **asked})
            _print_table(sizes)
    return {"bench": "scale", "sizes": sizes, "projected": project(sizes), **machine(QUERIES)}


def update(arguments: argparse.Namespace) -> Json:
    """Replace one article after the other in indexes of several sizes, told which one and told nothing."""
    sizes = []
    with _work(arguments) as work:
        for passages in sorted(arguments.passages):
            _built(work, arguments, passages)
            sizes.append(_in_child("replace", work, arguments, passages, rounds=arguments.rounds))
            _print_table(sizes)
    return {"bench": "update", "sizes": sizes, **machine(arguments.rounds)}


def project(sizes: Sequence[Json]) -> Json | None:
    """Return the figures of `sizes` that grow with the corpus, drawn out in a straight line from the two largest."""
    if len(sizes) < 2:
        return None
    less, more = sizes[-2:]
    projected: Json = {"passages": TARGET}
    for name in ("index_mb", "text_mb", "open_ms", "first_query_ms", "query_anonymous_mb"):
        projected[name] = _drawn_out(less, more, name)
    for name in ("dense_cpu_ms", "bm25_cpu_ms", "query_cpu_ms"):
        projected[name] = {
            at: _drawn_out({**less, at: less[name][at]}, {**more, at: more[name][at]}, at) for at in more[name]
        }
    projected["build_cpu_h"] = round(TARGET / more["build_passages_a_cpu_s"] / 3600, 1)
    return projected


def _drawn_out(less: Json, more: Json, name: str) -> float:
    slope = max(more[name] - less[name], 0) / (more["passages"] - less["passages"])
    drawn_out: float = more[name] + slope * (TARGET - more["passages"])
    return round(drawn_out, 1)


# --- steps, each run in a fresh process ---------------------------------------------------------------------------


def build(work: Path, material: Material, embedder: PreparedEmbedder, passages: int, stop: bool) -> Json:
    """Bring the index in step with its articles; `stop` kills the process half-way, when a lot was embedded."""
    log = _index(work, passages).parent / "embedded"
    log.mkdir(exist_ok=True)
    embedder.log = log / f"{len(list(log.iterdir())):05}"

    def after_batch() -> None:
        assert embedder.log is not None
        embedder.log = log / f"{len(list(log.iterdir())):05}"
        if stop and embedder.passages >= passages // 2:
            os.kill(os.getpid(), signal.SIGKILL)

    embedder.after_batch = after_batch
    wall, cpu = time.perf_counter(), time.process_time()
    with peak_memory() as peak:
        report = sync(_index(work, passages), [_index(work, passages).parent / "articles"], embedder=embedder)
    return {
        "passages": report.passages,
        "build_s": round(time.perf_counter() - wall - embedder.seconds, 1),
        "build_cpu_s": round(time.process_time() - cpu - embedder.cpu_seconds, 1),
        "embedded": report.embedded,
        "build_anonymous_mb": peak.anonymous_mb,
        "build_mapped_mb": peak.mapped_mb,
    }


def exact(work: Path, material: Material, embedder: PreparedEmbedder, passages: int) -> Json:
    """Find the best rows for each query by looking at all."""
    index = Index.open(_index(work, passages), embedder=embedder)
    queries = material.query_vectors[:QUERIES]
    cosines = np.full((len(queries), K), -2.0, np.float32)
    rows = np.zeros((len(queries), K), np.int64)
    first = 0
    for contents, live in zip(index.segments, index._live_passages, strict=True):
        vectors = contents.segment.array("vectors")
        for start in range(0, len(vectors), _BLOCK):
            found = queries @ vectors[start : start + _BLOCK].astype(np.float32).T
            if live is not None:
                found[:, ~live[start : start + _BLOCK]] = -2.0
            every = np.concatenate([cosines, found], axis=1)
            at = np.argpartition(-every, K, axis=1)[:, :K]
            numbers = np.concatenate([rows, np.broadcast_to(first + start + np.arange(found.shape[1]), found.shape)], 1)
            cosines, rows = np.take_along_axis(every, at, 1), np.take_along_axis(numbers, at, 1)
        first += contents.passages
    return {"rows": rows.tolist()}


def ask(work: Path, material: Material, embedder: PreparedEmbedder, passages: int, rows: list[list[int]]) -> Json:
    """Open the index and ask it."""
    queries, vectors = material.queries[:QUERIES], material.query_vectors[:QUERIES]
    _load_libraries(embedder)
    before = memory()
    times: dict[str, list[float]] = {"dense": [], "bm25": [], "query": []}
    found = []
    with peak_memory() as peak:
        index, opened = _timed(partial(Index.open, _index(work, passages), embedder=embedder))
        _, first = _timed(partial(retrieve, index, queries[0], vectors[0], K))
        for query, vector in zip(queries, vectors, strict=True):
            found.append(index.search_dense(vector, K)[0])
            # In an order of chance, so that none of them always profits from the one before.
            runs: dict[str, Callable[[], object]] = {
                "dense": partial(index.search_dense, vector, CANDIDATES),
                "bm25": partial(index.search_sparse, query, CANDIDATES),
                "query": partial(retrieve, index, query, vector, K),
            }
            for name in random.sample(sorted(runs), len(runs)):
                index.search_sparse("", 1)  # the scores for the last question are kept
                times[name].append(_timed(runs[name])[1].cpu_ms)
    hits = sum(len(np.intersect1d(one, expected)) for one, expected in zip(found, rows, strict=True))
    stats = index.stats()
    text = sum(contents.segment.rows("text") for contents in index.segments)
    return {
        "passages": stats.passages,
        "documents": stats.documents,
        "segments": stats.segments,
        "index_mb": round((stats.bytes - text) / 1e6, 1),
        "text_mb": round(text / 1e6, 1),
        "bytes_a_passage": round((stats.bytes - text) / stats.passages),
        "bytes_by_column": _bytes_by_column(index),
        "open_ms": opened.wall_ms,
        "open_cpu_ms": opened.cpu_ms,
        "first_query_ms": first.wall_ms,
        "first_query_cpu_ms": first.cpu_ms,
        "dense_cpu_ms": p50_and_p95(times["dense"], 2),
        "bm25_cpu_ms": p50_and_p95(times["bm25"], 2),
        "query_cpu_ms": p50_and_p95(times["query"], 2),
        "recall_at_10": round(hits / sum(map(len, rows)), 4),
        "query_peak_mb": peak.resident_mb,
        "query_anonymous_mb": peak.anonymous_mb,
        "query_mapped_mb": peak.mapped_mb,
        "before_open_mb": before.resident_mb,
    }


def replace(work: Path, material: Material, embedder: PreparedEmbedder, passages: int, rounds: int) -> Json:
    """Replace articles one by one, each time with a sync that is told which, or one that walks through all."""
    path = _index(work, passages)
    articles = path.parent / "articles"
    files = sum(1 for _ in articles.glob("*/*.txt"))
    draw = random.Random(passages)
    found: Json = {}
    for name, turns in (("named", rounds), ("walk", max(rounds // 6, 3))):
        figures: dict[str, list[float]] = {"ms": [], "cpu_ms": [], "kb": []}
        for _ in range(turns):
            number = draw.randrange(files)
            file = article_path(articles, number)
            file.write_text(vary(material.articles, number, time.time_ns()), encoding="utf-8")
            embedding, embedding_cpu, written = embedder.seconds, embedder.cpu_seconds, written_bytes()
            report, took = _timed(partial(sync, path, [file] if name == "named" else [], embedder=embedder))
            assert report.changed == 1, report
            figures["ms"].append(took.wall_ms - 1e3 * (embedder.seconds - embedding))
            figures["cpu_ms"].append(took.cpu_ms - 1e3 * (embedder.cpu_seconds - embedding_cpu))
            figures["kb"].append((written_bytes() - written) / 1e3)
        for unit, values in figures.items():
            mean = round(sum(values) / len(values), 1)
            found[f"{name}_{unit}"] = {**p50_and_p95(values), "max": round(max(values), 1), "mean": mean}
    _, unchanged = _timed(partial(sync, path, embedder=embedder))
    index = Index.open(path)
    return {
        "passages": index.stats().passages,
        "files": files,
        "segments": index.stats().segments,
        **found,
        "unchanged_walk_ms": unchanged.wall_ms,
        "unchanged_walk_cpu_ms": unchanged.cpu_ms,
    }


# --- around them --------------------------------------------------------------------------------------------------


def _built(work: Path, arguments: argparse.Namespace, passages: int) -> Json:
    """Make a corpus and its index unless they are there; the index is interrupted once. Return what it took."""
    folder = _index(work, passages).parent
    done = folder / "built.json"
    if not done.exists():
        if not (folder / "corpus.json").exists():
            material, _ = _prepared(work, arguments.corpus, arguments.sample)
            files = write_corpus(folder / "articles", material, passages)
            (folder / "corpus.json").write_text(json.dumps({"files": files}))
        _in_child("build", work, arguments, passages, stop=True)
        again = _in_child("build", work, arguments, passages, stop=False)
        done.write_text(json.dumps(_resumed(folder / "embedded", again)))
    built: Json = json.loads(done.read_text())
    return built


def _resumed(log: Path, again: Json) -> Json:
    """Return what it cost to go on with a build that was killed, and what was embedded twice: at most one lot."""
    texts = np.concatenate([np.fromfile(file, np.uint64) for file in log.iterdir()])
    once, counts = np.unique(texts, return_counts=True)
    return {
        "build_passages_a_cpu_s": round(again["embedded"] / max(again["build_cpu_s"], 0.1)),
        "build_anonymous_mb": again["build_anonymous_mb"],
        "build_mapped_mb": again["build_mapped_mb"],
        "embedded": len(once),
        "embedded_twice": int((counts > 1).sum()),
        "embedded_twice_at_most": LOT,
    }


def _index(work: Path, passages: int) -> Path:
    return work / str(passages) / ".pincite"


@contextmanager
def _work(arguments: argparse.Namespace) -> Iterator[Path]:
    if arguments.work:
        arguments.work.mkdir(parents=True, exist_ok=True)
        yield arguments.work
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)


def _prepared(work: Path, corpus: Path, sample: int) -> tuple[Material, PreparedEmbedder]:
    model = load_embedder()
    material = prepare_material(corpus, work, model, sample)
    return material, PreparedEmbedder(model, material.vectors)


def _in_child(step: str, work: Path, arguments: argparse.Namespace, passages: int, **options: Any) -> Json:
    """Run one of the steps in a fresh process and return what it prints; nothing if it was to be killed."""
    call = {"step": step, "work": str(work), "corpus": str(arguments.corpus), "sample": arguments.sample}
    command = [sys.executable, __file__]
    given = json.dumps({**call, "passages": passages, "options": options})
    done = subprocess.run(command, input=given, stdout=subprocess.PIPE, text=True)
    if options.get("stop") and done.returncode == -signal.SIGKILL:
        return {}
    done.check_returncode()
    found: Json = json.loads(done.stdout)
    return found


def _run_step(given: str) -> None:
    call = json.loads(given)
    work = Path(call["work"])
    material, embedder = _prepared(work, Path(call["corpus"]), call["sample"])
    steps: dict[str, Callable[..., Json]] = {"build": build, "exact": exact, "ask": ask, "replace": replace}
    print(json.dumps(steps[call["step"]](work, material, embedder, call["passages"], **call["options"])))


class Took(NamedTuple):
    """How long something took, in milliseconds, and how much of that on a CPU."""

    wall_ms: float
    cpu_ms: float


def _timed(run: Callable[[], T]) -> tuple[T, Took]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    cpu_ms, wall_ms = 1e3 * (time.process_time() - cpu), 1e3 * (time.perf_counter() - wall)
    return result, Took(round(wall_ms, 3), round(cpu_ms, 3))


def _load_libraries(embedder: PreparedEmbedder) -> None:
    """Load what a question needs besides the index, so that it is not taken for a cost of the index."""
    import faiss

    embedder.embed_query("What is loaded now is not loaded later?")
    faiss.omp_set_num_threads(1)


def _bytes_by_column(index: Index) -> dict[str, int]:
    """Return the bytes a passage of groups of columns."""
    total: dict[str, int] = {}
    passages = sum(contents.passages for contents in index.segments)
    for contents in index.segments:
        for name in contents.segment.names():
            group = name if name in ("vectors", "codes", "text") else name.partition("_")[0]
            total[group] = total.get(group, 0) + contents.segment.unchecked(name).nbytes
    return {group: round(size / passages) for group, size in sorted(total.items(), key=lambda item: -item[1])}


def _forget_cached(folder: Path) -> None:
    """Drop the files of an index from the system's cache, where the system can be asked to."""
    if hasattr(os, "posix_fadvise"):
        for path in folder.iterdir():
            file = os.open(path, os.O_RDONLY)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def _print_table(sizes: Sequence[Json]) -> None:
    """Print a row for each figure and a column for each size, to stderr."""
    print(file=sys.stderr)
    for name in sizes[-1]:
        values = [size.get(name, "") for size in sizes]
        cells = [" / ".join(map(str, v.values())) if isinstance(v, dict) and len(v) < 5 else v for v in values]
        if not any(isinstance(cell, dict) for cell in cells):
            label = f"{name} ({' / '.join(values[-1])})" if isinstance(values[-1], dict) else name
            print(f"{label:44}" + "".join(f"{cell!s:>28}" for cell in cells), file=sys.stderr)


if __name__ == "__main__":
    _run_step(sys.stdin.read())
