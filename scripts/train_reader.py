"""Question-answer sets -> the reader's weights: prints its progress, and one JSON line for each evaluation.

    python scripts/train_reader.py mine QA_TRAIN WORK
    python scripts/train_reader.py train QA_TRAIN WORK --steps 9000 --decay 3000
    python scripts/train_reader.py export QA_TRAIN WORK --average A.pt B.pt

`mine` indexes all contexts with pincite and keeps what its retriever wrongly finds; `train` begins or goes on from
WORK/checkpoint.pt, warms up, keeps the rate, and lets it fall to nothing over the last `--decay` steps; `export` writes
the weights to qa/, rounded to 8 bits: of one checkpoint, or the mean of several, which is better than each of them
(Wortsman et al. 2022, "Model soups").
"""

from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reader_data import Example, Sampler, batches, mine, padded, read_sets
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy

from pincite.index.model_folder import find_model

WARM_UP = 300  # steps


def build(folder: Path) -> Any:
    """Return the encoder of the default model with an untrained head for starts and ends, without dropout."""
    from transformers import BertForQuestionAnswering

    model = BertForQuestionAnswering.from_pretrained(
        folder, attn_implementation="eager", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    # Frozen, the word vectors are those of the default model's package: half the weights need not be kept.
    model.bert.embeddings.word_embeddings.weight.requires_grad_(False)
    return model


def collate(batch: list[Example]) -> tuple[torch.Tensor, ...]:
    """Return ids, types, mask (n, width), starts, ends (n,)."""
    width = padded(max(len(one.ids) for one in batch))
    ids, types, mask = (np.zeros((len(batch), width), np.int64) for _ in range(3))
    for row, one in enumerate(batch):
        ids[row, : len(one.ids)], types[row, : len(one.ids)], mask[row, : len(one.ids)] = one.ids, one.types, 1
    ends = np.array([(one.start, one.end) for one in batch])
    return tuple(map(torch.from_numpy, (ids, types, mask, ends[:, 0], ends[:, 1])))


def loss_of(model: Any, batch: list[Example], device: str) -> torch.Tensor:
    """Return the mean cross entropy of starts and ends; no answer is token 0."""
    ids, types, mask, starts, ends = (one.to(device) for one in collate(batch))
    with torch.autocast(device, torch.bfloat16):
        output = model(input_ids=ids, token_type_ids=types, attention_mask=mask)
    # Neither the question nor the end can be an answer.
    outside = (types == 0) | (mask == 0)
    outside[:, 0] = False
    start, end = (logits.float().masked_fill(outside, -1e4) for logits in (output.start_logits, output.end_logits))
    return (cross_entropy(start, starts) + cross_entropy(end, ends)) / 2


def rate_at(step: int, steps: int, decay: int) -> float:
    """Return the factor of the learning rate: warm up, keep, decay to nothing."""
    return min(1.0, (step + 1) / WARM_UP, max(0.0, (steps - step) / decay))


def train(arguments: argparse.Namespace) -> None:
    """Train until `--steps`, keeping a checkpoint every ten minutes and when interrupted.

    On a CPU each core works on its share of every batch on its own, and they add their gradients: with several threads
    on one batch, each of a step's hundreds of operations would wait for the slowest thread.
    """
    torch.set_num_threads(1)
    contexts, questions = read_sets(arguments.data)
    mined = json.loads((arguments.work / "mined.json").read_bytes())
    tokenizer = Tokenizer.from_file(str(find_model().path / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    known = {int(i): [tuple(one) for one in passages] for i, passages in mined.items()}
    sampler = Sampler(tokenizer, contexts, questions, known, arguments.seed)
    if torch.cuda.is_available():
        return work(0, 1, arguments, sampler, None, None)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    count = arguments.workers
    size = sum(weight.numel() for weight in build(find_model().path).parameters() if weight.requires_grad)
    shared = torch.zeros(count, size + 1).share_memory_()  # type: ignore[no-untyped-call]
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(count)
    others = [fork.Process(target=work, args=(n, count, arguments, sampler, shared, barrier)) for n in range(1, count)]
    for process in others:
        process.start()
    try:
        work(0, count, arguments, sampler, shared, barrier)
    finally:
        barrier.abort()
        for process in others:
            process.join()


def work(
    rank: int, count: int, arguments: argparse.Namespace, sampler: Sampler, shared: torch.Tensor | None, barrier: Any
) -> None:
    """Train as one of `count` workers that make the same steps; the first prints and saves."""
    try:
        _work(rank, count, arguments, sampler, shared, barrier)
    except BaseException:
        if barrier is not None:
            barrier.abort()  # the others would wait for ever
        raise


def _work(
    rank: int, count: int, arguments: argparse.Namespace, sampler: Sampler, shared: torch.Tensor | None, barrier: Any
) -> None:
    torch.manual_seed(arguments.seed)
    keep_memory()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = build(find_model().path).to(device).train()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=arguments.rate, weight_decay=0.01, fused=True)
    checkpoint = arguments.work / "checkpoint.pt"
    step = epoch = done = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, epoch, done = state["step"], state["epoch"], state["done"]
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: stopped.append(received))
    began = saved = time.monotonic()
    seen, losses, stop = 0, [], False
    while step < arguments.steps and not stop:
        examples = sampler.epoch(epoch)
        found = batches(examples, arguments.tokens, random.Random(f"{arguments.seed} {epoch}"))
        if rank == 0:
            print(f"epoch {epoch}: {len(examples)} examples, {len(found)} batches", flush=True)
        while done < len(found) and step < arguments.steps and not stop:
            batch = found[done]
            for group in optimizer.param_groups:
                group["lr"] = arguments.rate * rate_at(step, arguments.steps, arguments.decay)
            own = batch[rank::count]
            loss = 0.0
            if own:
                part = loss_of(model, own, device) * (len(own) / len(batch))
                part.backward()  # type: ignore[no-untyped-call]
                loss = part.item()
            stop = bool(stopped)
            if shared is not None:
                stop = add_gradients(weights, shared, rank, barrier, stop)
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
            step, done, seen = step + 1, done + 1, seen + len(batch)
            losses.append(loss * count)
            if rank == 0 and step % 100 == 0:
                pace = seen / (time.monotonic() - began)
                print(f"step {step} loss {np.mean(losses[-100:]):.3f} {pace:.1f} examples/s", flush=True)
            if rank == 0 and (time.monotonic() - saved > 600 or stop or step == arguments.steps):
                state = {"step": step, "epoch": epoch, "done": done}
                state |= {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
                torch.save(state, checkpoint.with_suffix(".tmp"))
                os.replace(checkpoint.with_suffix(".tmp"), checkpoint)
                saved = time.monotonic()
        if done == len(found):
            epoch, done = epoch + 1, 0


def add_gradients(weights: list[Any], shared: torch.Tensor, rank: int, barrier: Any, stops: bool) -> bool:
    """Give every worker the sum of all workers' gradients; return whether the first one was told to stop."""
    own = shared[rank]
    if weights[0].grad is None:  # a worker without examples in its first batch
        for weight in weights:
            weight.grad = torch.zeros_like(weight)
    torch.cat([weight.grad.flatten() for weight in weights], out=own[:-1])
    own[-1] = float(stops)
    barrier.wait()
    total, stop = shared[:, :-1].sum(0), bool(shared[0, -1])
    barrier.wait()
    place = 0
    for weight in weights:
        weight.grad.copy_(total[place : place + weight.numel()].view_as(weight))
        place += weight.numel()
    return stop


def keep_memory() -> None:
    """Tell glibc to keep what was freed: giving it back and taking it again costs a tenth of the time."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        for option in (-3, -1):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
            libc.mallopt(option, 2**30)


def export(arguments: argparse.Namespace) -> None:
    """Write qa/reader.safetensors and qa/reader.json: matrices as int8 rows with a scale each, the rest as it is."""
    from safetensors.numpy import save

    model = build(find_model().path)
    states = [torch.load(path, weights_only=True) for path in arguments.average or [arguments.work / "checkpoint.pt"]]
    for name, weight in model.state_dict().items():
        if weight.is_floating_point():
            weight.copy_(sum(state["model"][name] for state in states) / len(states))
    steps = [state["step"] for state in states]
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    for name, weight in model.state_dict().items():
        if name.endswith(("word_embeddings.weight", "position_ids", "token_type_ids")):
            continue
        values = weight.float().numpy()
        if values.ndim == 2 and not name.startswith("qa_outputs"):
            scale = (np.abs(values).max(axis=1) / 127).astype(np.float32)
            scale[scale == 0] = 1
            tensors[name] = np.rint(values / scale[:, None]).astype(np.int8)
            tensors[f"{name}.scale"] = scale
        else:
            tensors[name] = np.ascontiguousarray(values)
    data = save(tensors, metadata={"format": "pincite reader 1"})
    home = Path(__file__).resolve().parent.parent / "qa"
    (home / "reader.safetensors").write_bytes(data)
    config = {k: v for k, v in model.config.to_diff_dict().items() if isinstance(v, (int, float, str)) and k[0] != "_"}
    about = {"format": 1, "sha256": sha256(data).hexdigest(), "config": config, "trained": {"steps": steps}}
    (home / "reader.json").write_text(json.dumps(about, indent=1) + "\n")
    print(f"{len(data) / 1e6:.1f} MB after {steps} steps", file=sys.stderr)


def mine_command(arguments: argparse.Namespace) -> None:
    """Write WORK/mined.json."""
    contexts, questions = read_sets(arguments.data)
    found = mine(contexts, questions, arguments.work)
    (arguments.work / "mined.json").write_text(json.dumps(found))
    print(f"{sum(map(len, found.values()))} passages for {len(found)} questions", file=sys.stderr)


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, run in (("mine", mine_command), ("train", train), ("export", export)):
        command = commands.add_parser(name)
        command.add_argument("data", type=Path)
        command.add_argument("work", type=Path)
        command.set_defaults(run=run)
        if name == "export":
            command.add_argument("--average", type=Path, nargs="+", metavar="CHECKPOINT", help="instead of WORK's")
        if name == "train":
            command.add_argument("--steps", type=int, default=9000)
            command.add_argument("--decay", type=int, default=3000)
            command.add_argument("--rate", type=float, default=2e-4)
            command.add_argument("--tokens", type=int, default=4096, help="padded tokens of a batch")
            command.add_argument("--workers", type=int, default=os.cpu_count())
            command.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
