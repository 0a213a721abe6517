"""Question-answer sets -> the reader's weights: prints its progress, and one JSON line for each evaluation.

    python scripts/train_reader.py mine QA_TRAIN WORK
    python scripts/train_reader.py train QA_TRAIN WORK --steps 9000 --decay 3000
    python scripts/train_reader.py export QA_TRAIN WORK --average A.pt B.pt

With a larger encoder to learn from, such as all-mpnet-base-v2, and mined.json in both folders:

    python scripts/train_reader.py train QA_TRAIN TEACHER --encoder MPNET --rate 5e-5 --tokens 2048 --steps 3800
    python scripts/train_reader.py label QA_TRAIN TEACHER --encoder MPNET --epochs 2
    python scripts/train_reader.py train QA_TRAIN WORK --labels TEACHER --begin BEFORE.pt

`mine` indexes all contexts with pincite and keeps what its retriever wrongly finds; `train` begins or goes on from
WORK/checkpoint.pt, warms up, keeps the rate, and lets it fall to nothing over the last `--decay` steps; `label` writes
what the teacher says of the examples of the first epochs, which is all that is trained with `--labels`; `export` writes
the weights to qa/, rounded to 8 bits: of one checkpoint, or the mean of several, which is better than each of them
(Wortsman et al. 2022, "Model soups"). What rounding costs is seen by `export --unrounded DIR` and `evaluate.py reader
--reader DIR`.
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
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from reader_data import Example, Sampler, batches, mine, padded, read_sets, with_written
from reader_teacher import Teacher, compiled, save_labels, with_labels
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy, kl_div

from pincite.index.model_folder import find_model

WARM_UP = 300  # steps
TAUGHT = 0.7
TEMPERATURE = 2.0

Keep = Callable[[list[Example], NDArray[np.float32]], None]
Run = Callable[[Sequence[list[Example]], Keep], None]


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
    """Return the mean cross entropy of starts and ends; no answer is token 0.

    With a teacher's logits it has `1 - TAUGHT` of the loss, and the rest is the divergence from the teacher's chances,
    both softened by `TEMPERATURE`.
    """
    ids, types, mask, starts, ends = (one.to(device) for one in collate(batch))
    with torch.autocast(device, torch.bfloat16):
        output = model(input_ids=ids, token_type_ids=types, attention_mask=mask)
    # Neither the question nor the end can be an answer.
    outside = (types == 0) | (mask == 0)
    outside[:, 0] = False
    start, end = (logits.float().masked_fill(outside, -1e4) for logits in (output.start_logits, output.end_logits))
    loss = (cross_entropy(start, starts) + cross_entropy(end, ends)) / 2
    if batch[0].soft is None:
        return loss
    soft = np.zeros((len(batch), ids.shape[1], 2), np.float32)
    for row, one in enumerate(batch):
        assert one.soft is not None
        soft[row, : len(one.soft)] = one.soft
    taught = torch.from_numpy(soft).to(device).masked_fill(outside[:, :, None], -1e4)
    apart = sum(
        kl_div(
            (own / TEMPERATURE).log_softmax(1),
            (taught[:, :, side] / TEMPERATURE).log_softmax(1),
            reduction="batchmean",
            log_target=True,
        )
        for side, own in enumerate((start, end))
    )
    return (1 - TAUGHT) * loss + TAUGHT * TEMPERATURE**2 * apart / 2


def rate_at(step: int, steps: int, decay: int) -> float:
    """Return the factor of the learning rate: warm up, keep, decay to nothing."""
    return min(1.0, (step + 1) / WARM_UP, max(0.0, (steps - step) / decay))


def train(arguments: argparse.Namespace) -> None:
    """Train until `--steps`, keeping a checkpoint every ten minutes and when interrupted.

    On a CPU each core works on its share of every batch on its own, and they add their gradients: with several threads
    on one batch, each of a step's hundreds of operations would wait for the slowest thread.
    """
    torch.set_num_threads(1)
    sampler = sampler_of(arguments)
    if torch.cuda.is_available():
        return work(0, 1, arguments, sampler, None, None)
    count = arguments.workers
    size = sum(weight.numel() for weight in model_of(arguments).parameters() if weight.requires_grad)
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


def sampler_of(arguments: argparse.Namespace) -> Sampler:
    """Return what draws the examples."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its threads do not survive a fork
    contexts, questions = with_written(*read_sets(arguments.data))
    mined = json.loads((arguments.work / "mined.json").read_bytes())
    tokenizer = Tokenizer.from_file(str(find_model().path / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    known = {int(i): [tuple(one) for one in passages] for i, passages in mined.items()}
    return Sampler(tokenizer, contexts, questions, known, arguments.seed)


def model_of(arguments: argparse.Namespace) -> Any:
    """Return the model to train: the teacher if an encoder is given."""
    return Teacher(arguments.encoder) if arguments.encoder else build(find_model().path)


def label(arguments: argparse.Namespace) -> None:
    """Write WORK/labels-N.npz for each of the first epochs, but those that are there."""
    sampler = sampler_of(arguments)
    model = model_of(arguments).eval().requires_grad_(False)
    model.load_state_dict(torch.load(arguments.work / "checkpoint.pt", weights_only=True)["model"])
    run = by_torch(model, "cuda") if torch.cuda.is_available() else by_openvino(model, arguments.workers)
    for epoch in range(arguments.epochs):
        path = arguments.work / f"labels-{epoch}.npz"
        if path.exists():
            continue
        examples = sampler.epoch(epoch)
        starts = np.cumsum([0, *(len(one.ids) for one in examples)]).tolist()
        logits = np.zeros((starts.pop(), 2), np.float16)
        place = dict(zip(map(id, examples), starts, strict=True))
        found = batches(examples, arguments.tokens, random.Random(0))
        print(f"epoch {epoch}: {len(examples)} examples, {len(found)} batches", flush=True)

        def keep(batch: list[Example], both: NDArray[np.float32], logits: Any = logits, place: Any = place) -> None:
            for row, one in enumerate(batch):
                logits[place[id(one)] :][: len(one.ids)] = both[row, : len(one.ids)]

        run(found, keep)
        save_labels(path, examples, logits)


def by_torch(model: Any, device: str) -> Run:
    """Return what gives `keep` each batch with its starts' and ends' logits, float32, shape `(n, t, 2)`."""
    model.to(device)

    def run(found: Sequence[list[Example]], keep: Keep) -> None:
        for batch in found:
            ids, types, mask, _, _ = (one.to(device) for one in collate(batch))
            with torch.no_grad(), torch.autocast(device, torch.bfloat16):
                output = model(input_ids=ids, token_type_ids=types, attention_mask=mask)
            keep(batch, torch.stack([output.start_logits, output.end_logits], dim=-1).float().cpu().numpy())

    return run


def by_openvino(model: Any, workers: int) -> Run:
    """Return what does the same on a CPU, with the matrices in int8: a third faster than in bfloat16."""
    queue = compiled(model, workers)

    def run(found: Sequence[list[Example]], keep: Keep) -> None:
        queue.set_callback(lambda request, batch: keep(batch, request.get_output_tensor(0).data))
        for batch in found:
            ids, types, mask, _, _ = collate(batch)
            queue.start_async([ids.numpy(), types.numpy(), mask.numpy()], batch)
        queue.wait_all()

    return run


def examples_of(arguments: argparse.Namespace, sampler: Sampler, epoch: int) -> list[Example]:
    """Return the examples of a round; with labels, the epochs that have them come again and again."""
    if arguments.labels is None:
        return sampler.typed(sampler.epoch(epoch), epoch)
    labelled = epoch % len(list(arguments.labels.glob("labels-*.npz")))
    examples = with_labels(arguments.labels / f"labels-{labelled}.npz", sampler.epoch(labelled))
    return sampler.typed(examples, epoch)


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
    model = model_of(arguments).to(device).train()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=arguments.rate, weight_decay=0.01, fused=True)
    checkpoint = arguments.work / "checkpoint.pt"
    step = epoch = done = 0
    if arguments.begin and not checkpoint.exists():
        model.load_state_dict(torch.load(arguments.begin, weights_only=True)["model"])
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
        examples = examples_of(arguments, sampler, epoch)
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
        if done >= len(found):  # more than that where an epoch has become shorter since
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
    """Write qa/reader.safetensors and qa/reader.json, or, to see what rounding costs, a folder for `--reader`."""
    model = build(find_model().path)
    states = [torch.load(path, weights_only=True) for path in arguments.average or [arguments.work / "checkpoint.pt"]]
    for name, weight in model.state_dict().items():
        if weight.is_floating_point():
            weight.copy_(sum(state["model"][name] for state in states) / len(states))
    steps = [state["step"] for state in states]
    if arguments.unrounded:
        model.save_pretrained(arguments.unrounded)
        for path in find_model().path.glob("*token*"):
            (arguments.unrounded / path.name).write_bytes(path.read_bytes())
    else:
        write_rounded(model, steps, Path(__file__).resolve().parent.parent / "qa")
    print(f"written after {steps} steps", file=sys.stderr)


def write_rounded(model: Any, steps: Sequence[int], home: Path) -> None:
    """Write reader.safetensors and reader.json: matrices as int8 rows with a scale each, the rest as it is."""
    from safetensors.numpy import save

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
    (home / "reader.safetensors").write_bytes(data)
    config = {k: v for k, v in model.config.to_diff_dict().items() if isinstance(v, (int, float, str)) and k[0] != "_"}
    about = {"format": 1, "sha256": sha256(data).hexdigest(), "config": config, "trained": {"steps": steps}}
    (home / "reader.json").write_text(json.dumps(about, indent=1) + "\n")


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
    for name, run in (("mine", mine_command), ("train", train), ("label", label), ("export", export)):
        command = commands.add_parser(name)
        command.add_argument("data", type=Path)
        command.add_argument("work", type=Path)
        command.set_defaults(run=run)
        if name == "export":
            command.add_argument("--average", type=Path, nargs="+", metavar="CHECKPOINT", help="instead of WORK's")
            command.add_argument("--unrounded", type=Path, metavar="DIR", help="write a folder of transformers there")
        if name == "train":
            command.add_argument("--steps", type=int, default=9000)
            command.add_argument("--decay", type=int, default=3000)
            command.add_argument("--rate", type=float, default=2e-4)
            command.add_argument("--labels", type=Path, metavar="TEACHER", help="folder in which `label` wrote")
            command.add_argument("--begin", type=Path, metavar="CHECKPOINT", help="weights to begin with")
        if name == "label":
            command.add_argument("--epochs", type=int, default=1)
        if name in ("train", "label"):
            command.add_argument("--encoder", type=Path, metavar="DIR", help="a larger one, to be the teacher")
            command.add_argument("--tokens", type=int, default=4096, help="padded tokens of a batch")
            command.add_argument("--workers", type=int, default=os.cpu_count())
            command.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
