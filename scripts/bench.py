"""Speed beside a baseline run in the same call: `python scripts/bench.py NAME [options]` prints one JSON object.

Rounds of both sides are interleaved and medians compared, because a machine's speed drifts by more than what is
measured. CPU seconds are given too: on a busy machine they say more than the clock.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bench_ask import SEEDS, cold, warm
from bench_embed import embed, index
from bench_scale import scale, update


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
    command = benches.add_parser("index", help=index.__doc__)
    command.add_argument("corpus", nargs="?", type=Path, help="a set as of `evaluate.py open`; default: seeds/")
    command.add_argument("--rounds", type=int, default=3, help="of each side (3)")
    command.set_defaults(run=index)
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
