"""Quality on public sets, through the real pipeline: `scripts/evaluate.py NAME ...` prints one JSON object a set.

ir DIR...       retrieval. DIR has the BEIR layout (corpus.jsonl, queries.jsonl, qrels.tsv), or is a folder of articles
                (articles/*.txt and questions_all.jsonl, whose "article" names the right one). Documents are ranked by
                their best passage. The sets: BEIR's scifact, the classic TIME, Cranfield and CACM collections, TREC QA.
reader FILE...  reading. FILE is SQuAD-form JSON; each question is read beside the paragraph that it was asked about.
open FILE       both, and abstaining. All paragraphs are indexed and the questions asked blind. FILE is SQuAD-form JSON,
                a folder in BEIR layout with answers.jsonl, or a folder of articles.
robust PATH...  what casing, accents, typos, telegrams and wordiness cost: of nDCG@10 where PATH is a set as of `ir`, of
                answers where it is SQuAD-form JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal

from evaluate_open import evaluate_open, with_unanswerable
from evaluate_reader import evaluate_reader
from evaluate_robust import evaluate_answers, evaluate_ranking
from question_sets import Json, article_file, document_name, read_jsonl, read_questions, sources_of

from pincite.index import Chunking, Index
from pincite.qa import Pipeline
from pincite.qa.metrics import retrieval_scores
from pincite.qa.retriever import CANDIDATES, Mode, retrieve
from pincite.qa.span_model import SpanModel, load_reader

AnyMode = Mode | Literal["full"]
MODES: tuple[AnyMode, ...] = ("dense", "sparse", "hybrid", "full")


def read_ir_set(folder: Path) -> tuple[Path, dict[str, str], dict[str, dict[str, int]]]:
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
    qrels = {question["_id"]: {article_file(question["article"]): 1} for question in questions}
    return folder / "articles", queries, qrels


def build(
    folder: Path, sources: Sequence[Path], *, reader: SpanModel | None = None, chunking: Chunking | None = None
) -> Pipeline:
    """Return a pipeline on an index of `sources` in `folder`, brought up to date."""
    started = time.perf_counter()
    index = Index.sync(folder / ".pincite", sources, chunking=chunking)
    print(f"{folder.name}: {index.report} in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return Pipeline(index, reader=reader)


def ranked_documents(pipeline: Pipeline, query: str, mode: AnyMode) -> list[str]:
    """Return the documents of the best passages, each once, as the set names them; copies are ranked, too."""
    if mode == "full":
        hits = [one for hit in pipeline.search(query, CANDIDATES, mode=mode) for one in (hit, *hit.also)]
    else:
        vector = pipeline.index.embedder.embed_query(query) if mode != "sparse" else None
        hits = retrieve(pipeline.index, query, vector, CANDIDATES, mode=mode)
    return list(dict.fromkeys(document_name(hit.path) for hit in hits))


def part_of(corpus: Path, judged: set[str], others: int, folder: Path) -> Path:
    """Write to `folder` the judged documents of a corpus and some others, and return the file."""
    records = list(read_jsonl(corpus))
    rest = [record for record in records if record["_id"] not in judged]
    random.Random(20221122).shuffle(rest)
    part = folder / "corpus.jsonl"
    kept = [*(record for record in records if record["_id"] in judged), *rest[:others]]
    part.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
    return part


def evaluate_ir(
    folder: Path,
    work: Path,
    modes: Sequence[AnyMode],
    pipeline_of: Callable[[Path, Sequence[Path]], Pipeline],
    others: int | None = None,
) -> Json:
    """Return the measures of one set in each mode.

    Args:
        folder: the set.
        work: folder for the index.
        modes: of `Pipeline.search`.
        pipeline_of: makes the pipeline, from a folder for the index and what to index.
        others: only the judged documents are indexed and so many more.
    """
    source, queries, qrels = read_ir_set(folder)
    judged = {query: text for query, text in queries.items() if query in qrels}
    place = work / (folder.name if others is None else f"{folder.name}-{others}-others")
    place.mkdir(parents=True, exist_ok=True)
    if others is not None and source.suffix == ".jsonl":
        relevant = {document for grades in qrels.values() for document in grades}
        source = part_of(source, relevant, others, place)
    pipeline = pipeline_of(place, [source])
    stats, fingerprint = pipeline.index.stats(), pipeline.index.fingerprint
    scores = {}
    for mode in modes:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            rankings = pool.map(partial(ranked_documents, pipeline, mode=mode), judged.values())
            run = dict(zip(judged, rankings, strict=True))
        scores[mode] = {name: round(score, 4) for name, score in retrieval_scores(run, qrels).items()}
    return {
        "evaluate": "ir",
        "set": folder.name,
        "documents": stats.documents,
        "passages": stats.passages,
        "chunking": dict(fingerprint.chunking) if fingerprint else None,
        "queries": len(judged),
        "modes": scores,
    }


def run_ir(arguments: argparse.Namespace, work: Path) -> Iterator[Json]:
    """Yield the figures of each folder."""
    modes = arguments.mode or MODES[:-1]
    chunking = Chunking(254, arguments.target, arguments.overlap) if arguments.target else None
    reader = load_reader(arguments.reader) if "full" in modes else None
    for folder in arguments.folders:
        yield evaluate_ir(folder, work, modes, partial(build, reader=reader, chunking=chunking), arguments.others)


def run_reader(arguments: argparse.Namespace, work: Path) -> Iterator[Json]:
    """Yield the figures of each file."""
    model = load_reader(arguments.reader)
    for file in arguments.files:
        yield evaluate_reader(file, model, arguments.limit)


def run_open(arguments: argparse.Namespace, work: Path) -> Iterator[Json]:
    """Yield the figures of one set."""
    questions = with_unanswerable(read_questions(arguments.file), arguments.unanswerable)
    place = work / questions.name
    pipeline = build(place, sources_of(questions, place), reader=load_reader(arguments.reader))
    yield evaluate_open(questions, pipeline, arguments.k, arguments.limit)


def run_robust(arguments: argparse.Namespace, work: Path) -> Iterator[Json]:
    """Yield the figures of each set."""
    for path in arguments.paths:
        place = work / path.stem
        place.mkdir(parents=True, exist_ok=True)
        figures: Json = {"evaluate": "robust", "set": path.stem}
        if path.is_dir():
            source, queries, qrels = read_ir_set(path)
            pipeline = build(place, [source])
            judged = {query: text for query, text in queries.items() if query in qrels}
            yield figures | evaluate_ranking(judged, qrels, partial(ranked_documents, pipeline, mode="hybrid"))
        else:
            questions = read_questions(path)
            pipeline = build(place, sources_of(questions, place), reader=load_reader(arguments.reader))
            yield figures | evaluate_answers(questions, pipeline, arguments.limit)


def main(argv: Sequence[str] | None = None) -> None:
    """Run one evaluation and print its JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    ir = commands.add_parser("ir", help="retrieval on sets in BEIR layout")
    ir.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    ir.add_argument("--mode", choices=MODES, action="append", help="dense, sparse and hybrid if not given (repeatable)")
    ir.add_argument("--others", type=int, help="only the judged documents and so many others, for a quick look")
    ir.add_argument("--target", type=int, help="tokens of a passage to aim at")
    ir.add_argument("--overlap", type=int, default=0, help="tokens that passages share (0; only with --target)")
    ir.set_defaults(run=run_ir)
    reader = commands.add_parser("reader", help="reading of the right paragraph")
    reader.add_argument("files", nargs="+", type=Path, metavar="FILE")
    reader.set_defaults(run=run_reader)
    asking = commands.add_parser("open", help="answers to questions asked blind")
    asking.add_argument("file", type=Path, metavar="FILE")
    asking.add_argument("--unanswerable", type=Path, metavar="FILE", help="ask what has no answer in this set, too")
    asking.add_argument("-k", type=int, default=10, help="passages to read (10)")
    asking.set_defaults(run=run_open)
    robust = commands.add_parser("robust", help="questions as people type them")
    robust.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    robust.set_defaults(run=run_robust)
    for command in (ir, reader, asking, robust):
        command.add_argument("--reader", metavar="NAME_OR_DIR", help="an extractive model (pincite's own)")
    for command in (reader, asking, robust):
        command.add_argument("--limit", type=int, help="only so many questions, the same ones each time")
    for command in (ir, asking, robust):
        command.add_argument("--work", type=Path, help="folder for the indexes, to be used again (a temporary one)")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        for figures in arguments.run(arguments, getattr(arguments, "work", None) or Path(temporary)):
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
