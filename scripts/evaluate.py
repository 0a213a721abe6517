"""Quality on public sets, through the real pipeline: `scripts/evaluate.py NAME ...` prints one JSON object a run.

ir DIR...     retrieval. DIR has the BEIR layout (corpus.jsonl, queries.jsonl, qrels.tsv), or is a folder of articles
              (articles/*.txt and questions_all.jsonl, whose "article" names the right one). Documents are ranked by
              their best passage. The sets: BEIR's scifact, the classic TIME, Cranfield and CACM collections, TREC QA.

The answers are measured by `scripts/fit_sentences.py report`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pincite.index import Chunking, Index
from pincite.qa.metrics import retrieval_scores
from pincite.qa.retriever import CANDIDATES, Mode, retrieve

MODES: tuple[Mode, ...] = ("dense", "sparse", "hybrid")

Json = dict[str, Any]  # Any: what json.dumps takes


def read_jsonl(path: Path) -> Iterator[Json]:
    """Yield the objects of a file of JSON lines."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line)


def read_set(folder: Path) -> tuple[Path, dict[str, str], dict[str, dict[str, int]]]:
    """Return what to index of a set, its queries by id, and the judgments of each query by document."""
    if (folder / "corpus.jsonl").exists():
        queries = {query["_id"]: query["text"] for query in read_jsonl(folder / "queries.jsonl")}
        qrels: dict[str, dict[str, int]] = {}
        for row in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
            query, document, grade = row.split("\t")
            qrels.setdefault(query, {})[document] = int(grade)
        return folder / "corpus.jsonl", queries, qrels
    questions = list(read_jsonl(folder / "questions_all.jsonl"))
    queries = {question["_id"]: question["text"] for question in questions}
    qrels = {question["_id"]: {_file_of(question["article"]): 1} for question in questions}
    return folder / "articles", queries, qrels


def _file_of(article: str) -> str:
    """Return the name of an article's file, without its extension."""
    return article.replace(" ", "_").replace(".", "").replace("-", "_")


def build(folder: str, source: Path, chunking: Chunking | None) -> Index:
    """Return an index of `source` in `folder`, brought up to date."""
    started = time.perf_counter()
    index = Index.sync(Path(folder) / ".pincite", [source], chunking=chunking)
    print(f"{source}: {index.report} in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return index


def ranked_documents(index: Index, query: str, mode: Mode) -> list[str]:
    """Return the documents of the best passages, each once: its `_id`, or the name of its file."""
    vector = None if mode == "sparse" else index.embedder.embed_query(query)
    names: dict[str, None] = {}
    for hit in retrieve(index, query, vector, CANDIDATES, mode=mode):
        file, _, record = hit.path.partition("#")
        names[record or Path(file).stem] = None
    return list(names)


def part_of(corpus: Path, judged: set[str], others: int, folder: str) -> Path:
    """Write to `folder` the judged documents of a corpus and some others, and return the file."""
    records = list(read_jsonl(corpus))
    rest = [record for record in records if record["_id"] not in judged]
    random.Random(20221122).shuffle(rest)
    part = Path(folder, f"{others}-others.jsonl")
    kept = [*(record for record in records if record["_id"] in judged), *rest[:others]]
    part.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
    return part


def evaluate_ir(
    folder: Path, work: str, modes: tuple[Mode, ...], others: int | None = None, chunking: Chunking | None = None
) -> Json:
    """Return the measures of one set in each mode; with `others`, of its judged documents and so many more."""
    source, queries, qrels = read_set(folder)
    judged = {query: text for query, text in queries.items() if query in qrels}
    if others is not None and source.suffix == ".jsonl":
        relevant = {document for grades in qrels.values() for document in grades}
        source = part_of(source, relevant, others, f"{work}/{folder.name}")
    index = build(f"{work}/{folder.name}", source, chunking)
    stats = index.stats()
    scores = {}
    for mode in modes:
        run = {query: ranked_documents(index, text, mode) for query, text in judged.items()}
        scores[mode] = {name: round(score, 4) for name, score in retrieval_scores(run, qrels).items()}
    return {
        "evaluate": "ir",
        "set": folder.name,
        "documents": stats.documents,
        "passages": stats.passages,
        "chunking": dict(index.fingerprint.chunking) if index.fingerprint else None,
        "queries": len(judged),
        "modes": scores,
    }


def main() -> None:
    """Run one evaluation and print its JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    ir = commands.add_parser("ir", help="retrieval on sets in BEIR layout")
    ir.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    ir.add_argument("--mode", choices=MODES, action="append", help="all of them if not given")
    ir.add_argument("--work", help="folder for the indexes, to be used again; a temporary one if not given")
    ir.add_argument("--others", type=int, help="only the judged documents and so many others, for a quick look")
    ir.add_argument("--target", type=int, help="tokens of a passage to aim at")
    ir.add_argument("--overlap", type=int, default=0, help="tokens that passages share (0; only with --target)")
    arguments = parser.parse_args()
    chunking = Chunking(254, arguments.target, arguments.overlap) if arguments.target else None
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or temporary
        Path(work).mkdir(parents=True, exist_ok=True)
        for folder in arguments.folders:
            Path(work, folder.name).mkdir(exist_ok=True)
            modes = tuple(arguments.mode or MODES)
            print(json.dumps(evaluate_ir(folder, work, modes, arguments.others, chunking)), flush=True)


if __name__ == "__main__":
    main()
