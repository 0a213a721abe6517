"""Speed beside a baseline run in the same call: `python scripts/bench.py NAME [options]` prints one JSON object.

Rounds of both sides are interleaved and medians compared, because a machine's speed drifts by more than what is
measured. CPU seconds are given too: on a busy machine they say more than the clock.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_ask import cold, warm
from bench_scale import scale, update
from timing import interleaved, machine

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
    command = benches.add_parser("warm", help=warm.__doc__)
    command.add_argument("corpus", nargs="?", type=Path, help="a set as of `evaluate.py open`; default: seeds/")
    command.add_argument("--limit", type=int, default=50, help="questions (50)")
    command.add_argument("--rounds", type=int, default=3, help="of each question (3)")
    command.add_argument("--work", type=Path, help="folder for the index, to be used again (a temporary one)")
    command.add_argument("--reader", metavar="NAME_OR_DIR", help="an extractive model (pincite's own)")
    command.set_defaults(run=warm)
    for bench, passages in ((scale, [10_000, 100_000]), (update, [10_000])):
        command = benches.add_parser(bench.__name__, help=bench.__doc__)
        command.add_argument("corpus", nargs="?", type=Path, default=SEEDS, help="folder or .jsonl of articles; seeds/")
        command.add_argument("--passages", type=int, nargs="+", default=passages, help="sizes to be measured")
        command.add_argument("--work", type=Path, help="folder for corpora and indexes, to be used again (temporary)")
        command.add_argument("--sample", type=int, default=20_000, help="passages to be embedded at first (20,000)")
        if bench is update:
            command.add_argument("--rounds", type=int, default=60, help="articles to be replaced (60)")
        command.set_defaults(run=bench)
    arguments = parser.parse_args(argv)
    json.dump(arguments.run(arguments), sys.stdout)
    print()


if __name__ == "__main__":
    main()
