"""How fast passages become vectors, and an index: beside sentence-transformers, and beside what the CPU can do."""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_ask import SEEDS, seed_questions
from question_sets import read_questions, sources_of
from timing import interleaved, machine, spread

if TYPE_CHECKING:
    from pincite.index.compiled import CompiledEmbedder


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


def in_float32(embedder: CompiledEmbedder) -> CompiledEmbedder:
    """Return the embedder as it would be on a CPU without bfloat16."""
    precision, network = embedder.precision, embedder._network
    network._plan = replace(network._plan, precision="f32") if network._plan else None  # no user needs a switch
    network._blob = None  # holds the network as compiled for the other precision
    assert embedder.precision == "f32" or precision == "f32"
    return embedder


def embed(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compare passages per second with plain `SentenceTransformer(...).encode(batch_size=32)` in float32."""
    from pincite.index.compiled import CompiledEmbedder
    from pincite.index.embedder import SentenceTransformerEmbedder, load_embedder
    from pincite.index.model_folder import find_model
    from pincite.index.network import core_count

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
    lengths = [min(len(offsets), embedder.max_tokens) for offsets in embedder.token_offsets(passages)]
    rate = operations(plain, lengths) / statistics.median(times["pincite"][0])
    speed = {name: [len(passages) / seconds for seconds in wall] for name, (wall, _) in times.items()}
    cpu = {name: len(passages) / statistics.median(seconds) for name, (_, seconds) in times.items()}
    ratios = [ours / theirs for ours, theirs in zip(speed["pincite"], speed["plain"], strict=True)]
    return {
        "bench": "embed",
        **spread(ratios, 2),
        "ratio_cpu_seconds": round(cpu["pincite"] / cpu["plain"], 2),
        "pincite_passages_per_s": round(statistics.median(speed["pincite"]), 1),
        "plain_passages_per_s": round(statistics.median(speed["plain"]), 1),
        "share_of_matrix_rate": round(rate / matrix_rate(embedder.dim, core_count()), 2),
        "cosine_min": round(float(cosine.min()), 6),
        "cosine_mean": round(float(cosine.mean()), 6),
        "precision": embedder.precision if isinstance(embedder, CompiledEmbedder) else "f32",
        "embedder": type(embedder).__name__,
        "model": embedder.name,
        "passages": len(passages),
        "tokens_mean": round(statistics.fmean(lengths), 1),
        **machine(arguments.rounds),
    }


def matrix_rate(width: int, threads: int) -> float:
    """Return the floating-point operations per second of torch's bfloat16 product of 1,024 rows, on so many threads.

    The matrices are those of a layer of `width` columns; each thread multiplies its own, as pincite's streams do.
    """
    import torch

    rows = torch.randn(1024, width).bfloat16()
    matrices = [torch.randn(4 * width, width).bfloat16() for _ in range(threads)]
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:

            def multiply(matrix: torch.Tensor) -> float:
                start = time.perf_counter()
                for _ in range(200):
                    torch.nn.functional.linear(rows, matrix)
                return 200 * 2 * rows.numel() * len(matrix) / (time.perf_counter() - start)

            return max(sum(pool.map(multiply, matrices)) for _ in range(3))
    finally:
        torch.set_num_threads(before)


def operations(model: Any, lengths: Sequence[int]) -> float:
    """Return the floating-point operations of a transformer for texts of so many tokens: matrix products alone."""
    config = model[0].auto_model.config
    weights = sum(
        weight.numel()
        for name, weight in model[0].auto_model.encoder.named_parameters()
        if weight.ndim == 2 and "bias" not in name
    )
    layers, width = int(config.num_hidden_layers), int(config.hidden_size)
    return sum(2.0 * int(weights) * length + 4.0 * layers * width * length**2 for length in lengths)


def index(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compare passages per second of a sync into a new index with embedding the same passages, and no more.

    A sync reads the files, cuts them into passages, embeds these, counts their words and writes all that, checked.
    """
    from pincite.index import Index

    questions = read_questions(arguments.corpus) if arguments.corpus else seed_questions()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        sources = sources_of(questions, work)
        first = Index.sync(work / "first", sources)
        passages = [passage.text for document in first.documents() for passage in first.passages_of(document.id)]
        embedder = first.embedder
        embedder.embed_passages(passages[:256])

        def run_sync() -> None:
            shutil.rmtree(work / "again", ignore_errors=True)
            Index.sync(work / "again", sources, embedder=embedder)

        times = interleaved(arguments.rounds, {"embed": lambda: embedder.embed_passages(passages), "sync": run_sync})
    ratios = [alone / whole for alone, whole in zip(times["embed"][0], times["sync"][0], strict=True)]
    return {
        "bench": "index",
        **spread(ratios, 3),
        "sync_passages_per_s": round(len(passages) / statistics.median(times["sync"][0]), 1),
        "embed_passages_per_s": round(len(passages) / statistics.median(times["embed"][0]), 1),
        "corpus": questions.name,
        "passages": len(passages),
        **machine(arguments.rounds),
    }
