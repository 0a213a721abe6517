"""pincite beside other search libraries: `bench_peers.py SET --venv NAME=PYTHON ... [--table]` prints one JSON object.

SET is SQuAD-form JSON, whose paragraphs are the documents, or a folder in BEIR layout. All libraries get the same
passages, at most 150 words each with the title of the document before them, the same questions and the same model,
all-MiniLM-L6-v2 in float32 as they run it. pincite gets the documents as files whose paragraphs are those passages, and
cuts them by itself; rates count the given passages for all. Documents are ranked by their best passage.

Each step of each library runs in a fresh process (`peer_adapters.py`), with the interpreter that `--venv` gives it, so
that each may have an environment of its own; the libraries take turns, and figures are medians over the rounds. What is
measured:

- index: passages/s from the passages to the saved index, the model being loaded before.
- cold: seconds of a process that starts, imports, loads the model, opens the saved index and answers one question.
- warm: milliseconds of a question to an open index; median and 95 % over the questions.
- update: seconds until one changed document is in the saved index, that index being open; where a library cannot
  replace a document, building all again.
- memory: the most that a process has, mapped files included, when indexing and when asked.
- size: what the library installs beyond sentence-transformers and FAISS.
- recall@1, recall@10, MRR@10 and nDCG@10, as of pincite.qa.metrics.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from evaluate import read_ir_set
from peer_adapters import PEERS
from question_sets import Json, Paragraph, Question, read_jsonl, read_squad, sample
from timing import machine, p50_and_p95

from pincite.qa.metrics import retrieval_scores

ADAPTERS = Path(__file__).with_name("peer_adapters.py")
WORDS = 150  # of a passage at most
REFERENCE = "pincite", "hybrid"
MEASURES = ("recall@1", "recall@10", "MRR@10", "nDCG@10")
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "LANGSMITH_TRACING": "false",
    "DO_NOT_TRACK": "1",
    "CUDA_VISIBLE_DEVICES": "",
}


@dataclass(frozen=True, slots=True)
class Task:
    """What is indexed and asked: documents by name, questions, and for each question the grades of documents."""

    name: str
    documents: dict[str, Paragraph]
    questions: tuple[str, ...]
    grades: tuple[dict[str, int], ...]


def read_task(path: Path, limit: int | None) -> Task:
    """Return the set at `path` with at most `limit` of its questions, the same ones each time."""
    if path.is_dir():
        source, queries, qrels = read_ir_set(path)
        documents = {row["_id"]: Paragraph(row.get("title", ""), row["text"]) for row in read_jsonl(source)}
        asked = tuple(Question(text, (), frozenset({query})) for query, text in queries.items() if query in qrels)
        chosen = sample(asked, limit)
        grades = tuple(qrels[query] for question in chosen for query in question.gold)
    else:
        squad = read_squad(path)
        documents = squad.paragraphs
        chosen = sample(tuple(one for one in squad.questions if one.answers), limit)
        grades = tuple(dict.fromkeys(question.gold, 1) for question in chosen)
    return Task(path.stem, documents, tuple(question.text for question in chosen), grades)


def cut(text: str) -> list[str]:
    """Return the passages of a text: its paragraphs, the longer ones cut after every 150 words."""
    passages = []
    for block in text.split("\n\n"):
        words = block.split()
        passages += [" ".join(words[start : start + WORDS]) for start in range(0, len(words), WORDS)]
    return passages or [""]


def write_work(task: Task, folder: Path) -> int:
    """Write for the adapters what they read; return the number of passages. Documents are named d0, d1, ..."""
    for name in ("records", "texts"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rows = []
    for number, document in enumerate(task.documents.values()):
        name, title = f"d{number}", document.title.strip()
        passages = cut(document.text)
        record = {"_id": name, "title": title, "text": "\n\n".join(passages)}
        (folder / "records" / f"{name}.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
        (folder / "texts" / f"{name}.txt").write_text("\n\n".join([title, *passages]).strip(), encoding="utf-8")
        for part, passage in enumerate(passages):
            rows.append({"id": f"{name}-{part}", "document": name, "text": f"{title}\n{passage}".strip()})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "passages.jsonl").write_text(lines, encoding="utf-8")
    (folder / "questions.json").write_text(json.dumps(task.questions), encoding="utf-8")
    return len(rows)


class PeerFailedError(Exception):
    """A library could not do a step; the message is the last line that it printed."""


def run_step(python: str, name: str, command: str, work: Path, *options: str) -> tuple[float, Json]:
    """Return the seconds of a fresh process that does one step, and what it printed.

    Raises:
        PeerFailedError: it failed, or took longer than half an hour.
    """
    arguments = [python, "-P", str(ADAPTERS), name, command, str(work), *options]
    started = time.perf_counter()
    try:
        done = subprocess.run(arguments, env=os.environ | OFFLINE, capture_output=True, text=True, timeout=1800)
    except (subprocess.TimeoutExpired, OSError) as error:
        raise PeerFailedError(f"{command}: {error}") from error
    seconds = time.perf_counter() - started
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise PeerFailedError(f"{command}: {lines[-1]}")
    return seconds, json.loads(done.stdout.splitlines()[-1])


def quality(task: Task, found: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return the measures of the rankings of all questions."""
    names = list(task.documents)
    run = {str(number): [names[int(name[1:])] for name in ranking] for number, ranking in enumerate(found)}
    scores = retrieval_scores(run, {str(number): grades for number, grades in enumerate(task.grades)})
    return {name: scores[name] for name in MEASURES}


Figures = dict[str, list[float]]
"""Of one library, the values of all rounds: by figure, or by mode of search and figure, such as "dense cold_s"."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What each step needs, and the figures so far."""

    task: Task
    work: Path
    pythons: Mapping[str, str]
    k: int
    figures: dict[str, Figures]

    def run_step(self, name: str, command: str, *options: str) -> tuple[float, Json]:
        """Run one step of one library; see `run_step`."""
        print(f"{time.strftime('%H:%M:%S')} {name} {command} {' '.join(options)}", file=sys.stderr)
        return run_step(self.pythons[name], name, command, self.work / name, "-k", str(self.k), *options)


def index(bench: Bench, name: str) -> Iterator[tuple[str, float]]:
    """Build an index of the documents as they are in the set."""
    shutil.rmtree(bench.work / name, ignore_errors=True)
    passages = write_work(bench.task, bench.work / name)
    result = bench.run_step(name, "index")[1]
    yield "index_s", result["seconds"]
    yield "passages_per_s", passages / result["seconds"]
    yield "index_mb", result["peak_mb"]


def cold(bench: Bench, name: str) -> Iterator[tuple[str, float]]:
    """Ask one question in a fresh process, in each mode."""
    for mode in PEERS[name][1]:
        yield f"{mode} cold_s", bench.run_step(name, "ask", "--mode", mode, "--first-only")[0]


def warm(bench: Bench, name: str) -> Iterator[tuple[str, float]]:
    """Ask all questions of one process, in each mode."""
    for mode in PEERS[name][1]:
        result = bench.run_step(name, "ask", "--mode", mode)[1]
        times = {f"{percentile}_ms": value for percentile, value in p50_and_p95(result["ms"]).items()}
        for figure, value in (times | quality(bench.task, result["found"]) | {"ask_mb": result["peak_mb"]}).items():
            yield f"{mode} {figure}", value


def update(bench: Bench, name: str) -> Iterator[tuple[str, float]]:
    """Change one document; the index is not the set's from then on. No figure if the change is not found then."""
    result = bench.run_step(name, "update", "--mode", PEERS[name][1][0])[1]
    if not result or result["found"]:
        yield "update_s", result["seconds"] if result else bench.figures[name]["index_s"][-1]
    yield "update_is_rebuild", not result


def measure(bench: Bench, rounds: int) -> dict[str, str]:
    """Fill the figures, the libraries taking turns at each step, and return why some are left out."""
    failed: dict[str, str] = {}
    # The first cold process compiles models and fills the page cache: it is not counted.
    for number, step in enumerate([index, cold, cold, warm, update, *[index, cold, warm, update] * (rounds - 1)]):
        for name in bench.pythons:
            try:
                for figure, value in step(bench, name) if name not in failed else ():
                    if number != 1:
                        bench.figures[name].setdefault(figure, []).append(value)
            except PeerFailedError as error:
                failed[name] = str(error)
                print(f"{name} is left out: {error}", file=sys.stderr)
    return failed


def medians(figures: Figures) -> Json:
    """Return the median of each figure, those of a mode by mode.

    >>> medians({"index_s": [9.0, 1.0, 2.0], "dense cold_s": [4.0]})
    {'index_s': 2.0, 'modes': {'dense': {'cold_s': 4.0}}}
    """
    result: Json = {}
    modes: Json = {}
    for name, values in figures.items():
        mode, _, figure = name.rpartition(" ")
        (modes.setdefault(mode, {}) if mode else result)[figure] = round(statistics.median(values), 4)
    return result | {"modes": modes}


def ratios(figures: Mapping[str, Figures]) -> dict[str, dict[str, float]]:
    """Return for each library and mode its figures over pincite's hybrid ones, as medians of the rounds' ratios."""
    reference, mode = REFERENCE
    result: dict[str, dict[str, float]] = {}
    for name, values in figures.items():
        for figure, rounds in values.items():
            own, _, kind = figure.rpartition(" ")
            others = figures.get(reference, {}).get(f"{mode} {kind}" if own else kind, [])
            pairs = [(mine, other) for mine, other in zip(rounds, others, strict=False) if other]
            if pairs and kind != "update_is_rebuild":
                ratio = statistics.median(mine / other for mine, other in pairs)
                result.setdefault(f"{name} {own}".strip(), {})[kind] = round(ratio, 3)
    return result


COLUMNS = (
    "| | passages/s | cold, s | warm, ms: p50, p95 | update, s | memory, MB: index, ask | size, MB more "
    "| recall@1 | recall@10 | MRR@10 | nDCG@10 |"
)


def table(result: Json) -> str:
    """Return the figures as a table in Markdown, ratios in parentheses, and below it with what they were measured."""
    lines = [COLUMNS, "|" + "---|" * (COLUMNS.count("|") - 1)]
    for name, peer in result["peers"].items():
        for mode, of in peer["modes"].items():
            ratio = result["ratios"].get(name, {}) | result["ratios"].get(f"{name} {mode}", {})
            shown = {figure: f" ({value:.3g})" for figure, value in ratio.items()}
            cells = [
                f"{name}, {mode}",
                f"{peer['passages_per_s']:.1f}{shown.get('passages_per_s', '')}",
                f"{of['cold_s']:.2f}{shown.get('cold_s', '')}",
                f"{of['p50_ms']:.1f}{shown.get('p50_ms', '')}, {of['p95_ms']:.1f}",
                f"{peer['update_s']:.2f}{shown.get('update_s', '')}{' rebuilt' * peer['rebuilds']}"
                if "update_s" in peer
                else "not found after it",
                f"{peer['index_mb']:.0f}, {of['ask_mb']:.0f}",
                "–" if peer["size_more_mb"] is None else str(peer["size_more_mb"]),
                *(f"{of[measure]:.3f}" for measure in MEASURES),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    versions = {package: number for about in result["versions"].values() for package, number in about.items()}
    lines += [
        "",
        "In parentheses: over pincite, hybrid, of the same round. "
        f"{result['set']}: {result['documents']:,} documents, {result['passages']:,} passages, "
        f"{result['questions']} questions; {result['rounds']} rounds, {result['date']}, {result['cpu']}, "
        f"{result['cores']} cores, load {result['load_average']}; "
        + ", ".join(f"{package} {number}" for package, number in versions.items())
        + f". `{result['command']}`",
    ]
    lines += [f"Left out: {name} ({reason})." for name, reason in result["failed"].items()]
    return "\n".join(lines)


def run(arguments: argparse.Namespace, command: str, work: Path) -> Json:
    """Return the figures of all libraries that were asked for."""
    task = read_task(arguments.set, arguments.limit)
    passages = sum(len(cut(document.text)) for document in task.documents.values())
    about: dict[str, Json] = {}
    failed: dict[str, str] = {}
    wanted = dict.fromkeys(arguments.peers, sys.executable) | dict(arguments.venv)
    for name, python in wanted.items():
        try:
            about[name] = run_step(python, name, "describe", work)[1]
        except PeerFailedError as error:
            failed[name] = str(error)
    # As many passages are asked for as ten documents have.
    k = min(100, 10 * -(-passages // len(task.documents)))
    bench = Bench(task, work, {name: wanted[name] for name in about}, k, {name: {} for name in about})
    failed |= measure(bench, arguments.rounds)
    bare = about.get("plain", {})
    peers = {}
    for name in about.keys() - failed.keys():
        apart = bare and about[name]["site"] != bare["site"]
        size = about[name]["site_mb"] - bare["site_mb"] if apart else None
        of = medians(bench.figures[name])
        peers[name] = {"size_more_mb": size, "rebuilds": bool(of.pop("update_is_rebuild"))} | of
    return {
        "bench": "peers",
        "set": task.name,
        "documents": len(task.documents),
        "passages": passages,
        "questions": len(task.questions),
        "k": k,
        "date": date.today().isoformat(),
        "command": command,
        "versions": {name: about[name]["versions"] for name in about},
        "peers": {name: peers[name] for name in wanted if name in peers},
        "ratios": ratios({name: bench.figures[name] for name in peers}),
        "failed": failed,
        **machine(arguments.rounds),
    }


def _interpreter(text: str) -> tuple[str, str]:
    name, _, python = text.partition("=")
    if name not in PEERS or not python:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=PYTHON; the names: {', '.join(PEERS)}")
    return name, python


def main(argv: Sequence[str] | None = None) -> None:
    """Run the bench and print its JSON, or its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", type=Path, metavar="SET")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=["plain", "pincite"], help="plain and pincite")
    parser.add_argument(
        "--venv", type=_interpreter, action="append", default=[], metavar="NAME=PYTHON", help="interpreter of a library"
    )
    parser.add_argument("--rounds", type=int, default=3, help="(3)")
    parser.add_argument("--limit", type=int, default=300, help="questions, the same ones each time (300)")
    parser.add_argument("--table", action="store_true", help="print Markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the JSON to FILE, too")
    arguments = parser.parse_args(argv)
    words = sys.argv[1:] if argv is None else argv
    with tempfile.TemporaryDirectory() as work:
        result = run(arguments, shlex.join(["scripts/bench_peers.py", *words]), Path(work))
    if arguments.json:
        arguments.json.write_text(json.dumps(result) + "\n", encoding="utf-8")
    print(table(result) if arguments.table else json.dumps(result))


if __name__ == "__main__":
    main()
