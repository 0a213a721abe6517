"""A compiled model in the user's cache -> unit float32 rows, with OpenVINO alone: torch is not imported.

The cache holds, for each model's fingerprint, what export.py wrote: the network, the tokenizer, and the vectors that
sentence-transformers gave for fixed texts. Each CPU and OpenVINO version then settles here, once, on bfloat16 or
float32 by those vectors, and keeps a compiled copy that loads in a fraction of the time. Vectors are trusted as far
as cosine 0.999; what does not reach it is left to sentence-transformers.

OpenVINO's package reports each import to an analytics service, through its converter; `import_openvino` leaves the
converter out, so that nothing is sent (and 0.1 s is saved).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pincite.index.agreement import MIN_COSINE, check_texts
from pincite.index.model_folder import ModelFolder, cache_folder, file_hashes, write_atomically
from pincite.index.passage import Vectors
from pincite.index.tokens import TextTokenizer

if TYPE_CHECKING:
    from pincite.index.embedder import Embedder

__all__ = ["CannotCompileError", "CompiledEmbedder", "Settings", "find_compiled", "import_openvino"]

FORMAT = 1
"""Of the cache; another number is another folder."""

_LENGTH_STEP = 16
"""Tokens; texts are padded to multiples of it. Each new shape costs 20-30 ms of code generation."""

_BATCH_TOKENS = 1024
"""Padded tokens of a batch. From 384 to 2,560 the CPU time of a passage was the same within 10 %."""

_FEW = 64
"""Texts for which the streams for passages are not loaded (0.1 s) where the network for questions is at hand."""

_SORTED_TEXTS = 4096
"""Texts tokenized, sorted by length and batched together; the next lot is tokenized meanwhile."""

_import_lock = threading.Lock()


class CannotCompileError(Exception):
    """A model that only sentence-transformers can run, or runs right; never reaches a user."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the runtime must know of a model; stored beside the network.

    Attributes:
        dim: columns of the vectors.
        window: tokens of the model's window, special tokens included.
        max_tokens: tokens of a passage that fit beside special tokens and prompt.
        inputs: the network's inputs, some of input_ids, attention_mask, token_type_ids (always 0).
        pad_id: token that fills a batch.
        padding_side: "right" or "left".
        truncation_side: "right" or "left".
        query_prompt: text put before each question.
        passage_prompt: text put before each passage.
    """

    dim: int
    window: int
    max_tokens: int
    inputs: tuple[str, ...]
    pad_id: int
    padding_side: str
    truncation_side: str
    query_prompt: str
    passage_prompt: str


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one CPU and OpenVINO version settled on."""

    precision: str
    min_cosine: float
    mean_cosine: float


class CompiledEmbedder:
    """An Embedder that runs a compiled model on the CPU.

    Tokenizer and network are loaded when first used, and separately: passages run in as many streams as there are
    cores, questions on a single thread (with the other core busy, two threads took 390 ms for a question that one
    embeds in 12).

    Attributes:
        fallback: makes the embedder used instead should the network not run, or not agree, on this machine.
    """

    def __init__(self, entry: Path, folder: ModelFolder, settings: Settings, tokenizer: TextTokenizer) -> None:
        self.name = folder.name
        self.fingerprint = folder.fingerprint
        self.dim = settings.dim
        self.max_tokens = settings.max_tokens
        self.fallback: Callable[[], Embedder] | None = None
        self._entry = entry
        self._settings = settings
        self._tokenizer = tokenizer
        self._instead: Embedder | None = None
        self._plan: _Plan | None = None
        self._blob: NDArray[np.uint8] | None = None
        self._queue: Any = None  # openvino has no types
        self._request: Any = None
        self._load_lock = threading.Lock()
        self._passage_lock = threading.Lock()
        self._query_lock = threading.Lock()

    @cached_property
    def _core(self) -> Any:
        """An openvino.Core: each loads the CPU's plugin anew, 15 ms."""
        return import_openvino().Core()

    @property
    def precision(self) -> str:
        """What the network computes in on this machine: "bf16" or "f32"; loads it."""
        with self._load_lock:
            return self._settled().precision

    def token_offsets(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """Return the offsets of each text's tokens; see `Embedder`. Does not load the network."""
        return self._tokenizer.offsets(texts)

    def embed_passages(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> Vectors:
        """Return the vectors of passages; see `Embedder`."""
        if len(texts) <= _FEW and self._request is not None and progress is None:
            return self._embed_few(texts)
        if not self._load(passages=True):
            assert self._instead is not None
            return self._instead.embed_passages(texts, progress=progress)
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        with self._passage_lock:
            _run(self._queue, self._batches(texts), vectors, progress)
        return vectors

    def _embed_few(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of passages, run one batch after the other by the network for questions."""
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        for rows, feed in self._batches(texts):
            with self._query_lock:
                self._request.infer(feed)
                vectors[rows] = unit_rows(self._request.get_output_tensor(0).data)
        return vectors

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Return the vector of a question; see `Embedder`."""
        if not self._load(passages=False):
            assert self._instead is not None
            return self._instead.embed_query(text)
        feed = self._feed(self._tokenizer.ids([self._settings.query_prompt + text]))
        with self._query_lock:
            self._request.infer(feed)
            row: NDArray[np.float32] = unit_rows(self._request.get_output_tensor(0).data)[0]
        return row

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]]:
        """Yield rows and network inputs. Lots of texts are tokenized ahead on a thread, one lot at a time."""
        from concurrent.futures import ThreadPoolExecutor

        lots = (range(start, min(start + _SORTED_TEXTS, len(texts))) for start in range(0, len(texts), _SORTED_TEXTS))

        def tokenize(lot: range) -> list[NDArray[np.int64]]:
            return self._tokenizer.ids([self._settings.passage_prompt + texts[i] for i in lot])

        with ThreadPoolExecutor(1, thread_name_prefix="pincite-tokenize") as ahead:
            first = next(lots, None)
            pending = None if first is None else (first, ahead.submit(tokenize, first))
            while pending is not None:
                lot, ids = pending[0], pending[1].result()
                following = next(lots, None)
                pending = None if following is None else (following, ahead.submit(tokenize, following))
                # Longest first: the last batches are short, and the streams end together.
                order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
                while order:
                    count = max(1, _BATCH_TOKENS // self._padded(len(ids[order[0]])))
                    rows, order = order[:count], order[count:]
                    yield np.array(rows) + lot.start, self._feed([ids[i] for i in rows])

    def _padded(self, length: int) -> int:
        return max(1, min(-(-length // _LENGTH_STEP) * _LENGTH_STEP, self._settings.window), length)

    def _feed(self, ids: Sequence[NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
        """Return the network's inputs for token ids, padded."""
        width = self._padded(max(map(len, ids)))
        tokens = np.full((len(ids), width), self._settings.pad_id, dtype=np.int64)
        mask = np.zeros_like(tokens)
        for row, own in enumerate(ids):
            place = slice(0, len(own)) if self._settings.padding_side == "right" else slice(width - len(own), width)
            tokens[row, place] = own
            mask[row, place] = 1
        feed = {"input_ids": tokens, "attention_mask": mask}
        if "token_type_ids" in self._settings.inputs:
            feed["token_type_ids"] = np.zeros_like(tokens)
        return {name: feed[name] for name in self._settings.inputs}

    def _load(self, *, passages: bool) -> bool:
        """Load the network for passages or for questions; False if the fallback has to do the work."""
        if (self._queue if passages else self._request) is not None:
            return True
        with self._load_lock:
            if self._instead is None:
                try:
                    plan = self._settled()
                    if passages and self._queue is None:
                        self._queue = _queue(self._compile(plan.precision, _cores()))
                    elif not passages and self._request is None:
                        self._request = self._compile(plan.precision, 1).create_infer_request()
                    return True
                # OpenVINO raises RuntimeError for all that goes wrong in it.
                except (CannotCompileError, RuntimeError, OSError, ImportError) as error:
                    if self.fallback is None:
                        raise
                    logging.getLogger(__name__).info("%s runs uncompiled: %s", self.name, error)
                    self._instead = self.fallback()
            return False

    def _settled(self) -> _Plan:
        """Return what this CPU and OpenVINO version settled on, settling now if it is their first time."""
        if self._plan is None:
            name = _runtime_name(self._core)
            stored = self._stored_plan(name)
            self._plan = stored or self._settle(name)
        return self._plan

    def _stored_plan(self, name: str) -> _Plan | None:
        with suppress(OSError, ValueError, TypeError, KeyError):
            stored = json.loads((self._entry / f"{name}.json").read_bytes())
            blob = self._entry / f"{name}.blob"
            # OpenVINO crashes on damaged files, so they must not reach it.
            if file_hashes(self._entry, [blob.name])[blob.name] == stored["blob"]:
                self._blob = np.memmap(blob, dtype=np.uint8, mode="r")
                return _Plan(**stored["plan"])
        return None

    def _settle(self, name: str) -> _Plan:
        """Choose a precision whose vectors agree with the reference, and keep the compiled network."""
        has_bf16 = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        reference = np.load(self._entry / "reference.npy", allow_pickle=False)
        plan, compiled = None, None
        for precision in ("bf16", "f32") if has_bf16 else ("f32",):
            compiled = self._compile(precision, _cores())
            vectors = np.empty((len(reference), self.dim), dtype=np.float32)
            _run(_queue(compiled), self._batches(check_texts(self._settings.window)), vectors, None)
            cosine = (vectors * reference).sum(axis=1)
            plan = _Plan(precision, float(cosine.min()), float(cosine.mean()))
            if plan.min_cosine >= MIN_COSINE:
                break
        else:
            raise CannotCompileError(f"vectors differ from the reference: {plan}")
        with suppress(OSError):
            blob = compiled.export_model().getvalue()
            write_atomically(self._entry / f"{name}.blob", blob)
            stored = {"plan": asdict(plan), "blob": sha256(blob).hexdigest()}
            write_atomically(self._entry / f"{name}.json", json.dumps(stored).encode())
        return plan

    def _compile(self, precision: str, streams: int) -> Any:
        """Return the network compiled for that many streams of one thread each (an openvino.CompiledModel)."""
        options = {
            "INFERENCE_PRECISION_HINT": precision,
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": streams,
            # Pinned threads of two processes would wait for each other on the same core.
            "ENABLE_CPU_PINNING": False,
        }
        if self._blob is not None:
            with suppress(RuntimeError):
                return self._core.import_model(import_openvino().Tensor(self._blob), "CPU", options)
        return self._core.compile_model(self._core.read_model(self._entry / "model.xml"), "CPU", options)


def find_compiled(folder: ModelFolder, *, cache: Path | None = None) -> CompiledEmbedder | None:
    """Return the compiled embedder of a model from the cache; None if it is not there, or damaged."""
    entry = entry_path(folder, cache)
    try:
        content = json.loads((entry / "embedder.json").read_bytes())
        files: dict[str, str] = content["files"]
        if content["format"] != FORMAT or file_hashes(entry, files) != files:
            return None
        settings = Settings(**{**content["settings"], "inputs": tuple(content["settings"]["inputs"])})
        tokenizer = TextTokenizer(
            (entry / "tokenizer.json").read_text(encoding="utf-8"),
            window=settings.window,
            truncation_side=settings.truncation_side,
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return CompiledEmbedder(entry, folder, settings, tokenizer)


def entry_path(folder: ModelFolder, cache: Path | None = None) -> Path:
    """Return the folder of a model in the cache, whether it exists or not."""
    return (cache or cache_folder()) / "embedders" / f"{folder.fingerprint[:32]}-{FORMAT}"


def import_openvino() -> Any:
    """Return the module openvino (it has no types), imported without its converter.

    The converter's package sends an event to an analytics service when it is imported, which `import openvino` does.
    It takes the converter's absence in its stride. An application in the same process still gets the converter, as
    `openvino.tools.ovc`, if it asks for it.
    """
    converter = "openvino.tools.ovc"
    with _import_lock:
        if "openvino" in sys.modules or converter in sys.modules:
            import openvino
        else:
            sys.modules[converter] = None  # type: ignore[assignment]  # documented: makes its import fail
            try:
                import openvino
            finally:
                del sys.modules[converter]
    return openvino


def unit_rows(rows: NDArray[Any]) -> Vectors:
    """Return rows scaled to unit norm; one without direction (zero, or not finite) becomes the first unit vector.

    >>> unit_rows(np.array([[0.0, 2.0], [0.0, 0.0]])).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    vectors = np.array(rows, dtype=np.float32, order="C")
    norms = np.linalg.norm(vectors, axis=1)
    broken = ~(np.isfinite(norms) & (norms > 0))
    if broken.any():
        vectors[broken] = np.eye(1, vectors.shape[1], dtype=np.float32)
        norms[broken] = 1
    vectors /= norms[:, None]
    return vectors


def _run(
    queue: Any,  # openvino.AsyncInferQueue
    batches: Iterator[tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]],
    vectors: Vectors,
    progress: Callable[[int], None] | None,
) -> None:
    """Fill `vectors` from batches run by all streams of the network."""
    done: list[int] = []

    def store(request: Any, rows: NDArray[np.int64]) -> None:
        vectors[rows] = unit_rows(request.get_output_tensor(0).data)
        done.append(len(rows))

    def report() -> None:
        # Called here and not in `store`, which runs on OpenVINO's threads.
        if progress is not None and (count := sum(done.pop() for _ in range(len(done)))):
            progress(count)

    queue.set_callback(store)
    try:
        for rows, feed in batches:
            queue.start_async(feed, rows)
            report()
    finally:
        queue.wait_all()
    report()


def _queue(compiled: Any) -> Any:
    """Return an openvino.AsyncInferQueue: one request running and one waiting for each stream."""
    return import_openvino().AsyncInferQueue(compiled, 2 * int(compiled.get_property("NUM_STREAMS")))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _runtime_name(core: Any) -> str:
    """Return 16 hex digits for this OpenVINO version on this kind of CPU."""
    name = [import_openvino().get_version(), core.get_property("CPU", "FULL_DEVICE_NAME")]
    name += sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    return sha256("|".join(name).encode()).hexdigest()[:16]
