"""A traced network in the user's cache -> its outputs for token ids, with OpenVINO alone: torch is not imported.

The cache holds, for each model's fingerprint, what tracing.py wrote: the network, the tokenizer, and what the model
itself gave for fixed texts. Each CPU and OpenVINO version then settles here, once, on the fastest precision that agrees
with that reference, and keeps a compiled copy that loads in a fraction of the time. How near is near enough is for the
owner of the network to say (`Check`): it differs between vectors and the scores of answers.

OpenVINO's package reports each import to an analytics service, through its converter; `import_openvino` leaves the
converter out, so that nothing is sent (and 0.1 s is saved).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pincite.index import int8
from pincite.index.model_folder import cache_folder, file_hashes, write_atomically
from pincite.index.padding import TokenBatch

__all__ = [
    "FORMAT",
    "Agreement",
    "CannotCompileError",
    "Check",
    "Network",
    "Run",
    "core_count",
    "entry_path",
    "has_gpu",
    "import_openvino",
    "read_entry",
]

FORMAT = 1
"""Of the cache; another number is another folder."""

_GPU_FILES = ("/dev/nvidiactl", "/dev/kfd")

_import_lock = threading.Lock()

_core_lock = threading.Lock()
_cores: list[Any] = []  # one openvino.Core, once it is needed


class CannotCompileError(Exception):
    """A model that only torch can run, or runs right; never reaches a user."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near a network comes to its reference: near enough or not, and the figures that say so."""

    is_close: bool
    figures: dict[str, float]


Run = Callable[[Iterable[TokenBatch], Callable[[Sequence[int], NDArray[np.float32]], None]], None]
"""Hands the rows and the output of each batch to a function, in any order, on threads of OpenVINO's; the output is
overwritten once that function returns."""

Check = Callable[[Run], Agreement]
"""Runs fixed texts through a network, and compares."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one CPU and OpenVINO version settled on."""

    precision: str
    figures: dict[str, float]


class Network:
    """A network of the cache, on the CPU. Safe to use from several threads.

    It is loaded when first used, in two ways: for many texts in as many streams of one thread each as there are
    cores, for a single one on a single thread (with the other core busy, two threads took 390 ms for a question that
    one embeds in 12).

    Args:
        entry: its folder in the cache.
        check: whether it agrees with its reference.
        streams: batches that run at a time.
        is_int8: its matrices are rounded to int8 anyway: it may be computed in that, where that is faster.
    """

    def __init__(self, entry: Path, check: Check, *, streams: int, is_int8: bool = False) -> None:
        self._entry = entry
        self._check = check
        self._streams = streams
        self._is_int8 = is_int8
        self._plan: _Plan | None = None
        self._blob: NDArray[np.uint8] | None = None
        self._queue: Any = None  # openvino has no types
        self._request: Any = None
        self._failed = False
        self._load_lock = threading.Lock()
        self._queue_lock = threading.Lock()
        self._request_lock = threading.Lock()

    @property
    def precision(self) -> str:
        """What the network computes in on this machine: "int8", "bf16" or "f32"; loads it.

        Raises:
            CannotCompileError: in none of them does it agree with its reference.
            RuntimeError, OSError, ImportError: it does not run.
        """
        with self._load_lock:
            return self._settled().precision

    @property
    def has_request(self) -> bool:
        """Whether `infer` costs no loading."""
        return self._request is not None

    def load(self, *, parallel: bool) -> bool:
        """Load the network for `run` (`parallel`) or for `infer`; False if it does not run, or agree, here."""
        if (self._queue if parallel else self._request) is not None:
            return True
        with self._load_lock:
            if not self._failed:
                try:
                    plan = self._settled()
                    if parallel and self._queue is None:
                        self._queue = _queue(self._compile(plan.precision, self._streams))
                    elif not parallel and self._request is None:
                        self._request = self._compile(plan.precision, 1).create_infer_request()
                # OpenVINO raises RuntimeError for all that goes wrong in it.
                except (CannotCompileError, RuntimeError, OSError, ImportError) as error:
                    logging.getLogger(__name__).info("%s is not run by OpenVINO: %s", self._entry.name, error)
                    self._failed = True
            return not self._failed

    def run(
        self,
        batches: Iterable[TokenBatch],
        store: Callable[[Sequence[int], NDArray[np.float32]], None],
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Run batches in all streams, once loaded for it.

        Args:
            batches: rows and inputs.
            store: gets rows and output of each; see `Run`.
            progress: called in the caller's thread with the number of rows done since the last call.
        """
        with self._queue_lock:
            _run(self._queue, batches, store, progress)

    def infer(self, feed: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Return the output for one batch, computed on one thread, once loaded for it."""
        with self._request_lock:
            self._request.infer(feed)
            return np.array(self._request.get_output_tensor(0).data)

    def _settled(self) -> _Plan:
        """Return what this CPU and OpenVINO version settled on, settling now if it is their first time."""
        if self._plan is None:
            name = _runtime_name(_core())
            self._plan = self._stored_plan(name) or self._settle(name)
        return self._plan

    def _stored_plan(self, name: str) -> _Plan | None:
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            stored = json.loads((self._entry / f"{name}.json").read_bytes())
            blob = self._entry / f"{name}.blob"
            # OpenVINO crashes on damaged files, so they must not reach it.
            if file_hashes(self._entry, [blob.name])[blob.name] == stored["blob"]:
                figures = dict(stored["plan"].items())
                plan = _Plan(figures.pop("precision"), figures)
                self._blob = np.memmap(blob, dtype=np.uint8, mode="r")
                return plan
        return None

    def _settle(self, name: str) -> _Plan:
        """Choose a precision whose output agrees with the reference, and keep the compiled network.

        That is bfloat16, or else float32; or int8, if the network may be computed in it, and that is faster.
        """
        tried: dict[str, dict[str, float]] = {}
        agreed: list[tuple[float, _Plan, Any]] = []
        for precision in (*(["int8"] if self._is_int8 else []), *(["bf16"] if _has_bf16() else []), "f32"):
            compiled = self._compile(precision, self._streams)
            run = partial(_run, _queue(compiled))
            agreement = self._check(run)
            tried[precision] = agreement.figures
            if agreement.is_close:
                seconds = min(_seconds(self._check, run) for _ in range(3)) if self._is_int8 else 0.0
                agreed.append((seconds, _Plan(precision, agreement.figures), compiled))
                if precision != "int8":
                    break
        if not agreed:
            raise CannotCompileError(f"outputs differ from the reference: {tried}")
        _, plan, compiled = min(agreed, key=itemgetter(0))
        with suppress(OSError):
            blob = compiled.export_model().getvalue()
            write_atomically(self._entry / f"{name}.blob", blob)
            stored = {"plan": {"precision": plan.precision, **plan.figures}, "blob": sha256(blob).hexdigest()}
            write_atomically(self._entry / f"{name}.json", json.dumps(stored).encode())
        return plan

    def _compile(self, precision: str, streams: int) -> Any:
        """Return the network compiled for that many streams of one thread each (an openvino.CompiledModel)."""
        # In a network of int8 products, of all that is no product with a matrix.
        others = "bf16" if _has_bf16() else "f32"
        options = {
            "INFERENCE_PRECISION_HINT": others if precision == "int8" else precision,
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": streams,
            # Pinned threads of two processes would wait for each other on the same core.
            "ENABLE_CPU_PINNING": False,
            **(int8.OPTIONS if precision == "int8" else {}),
        }
        if self._blob is not None:
            with suppress(RuntimeError):
                return _core().import_model(import_openvino().Tensor(self._blob), "CPU", options)
        network = _core().read_model(self._entry / "model.xml")
        return _core().compile_model(int8.rounded(network) if precision == "int8" else network, "CPU", options)


def entry_path(kind: str, fingerprint: str, cache: Path | None = None) -> Path:
    """Return the folder of a model in the cache, whether it exists or not; `kind` is "embedder", say."""
    return (cache or cache_folder()) / f"{kind}s" / f"{fingerprint[:32]}-{FORMAT}"


def read_entry(kind: str, entry: Path) -> dict[str, Any]:
    """Return the settings that were stored with a network, whose files are as they were written.

    Raises:
        OSError, ValueError, TypeError, KeyError: there is nothing of this kind and format, or it is damaged.
    """
    content = json.loads((entry / f"{kind}.json").read_bytes())
    if content["format"] != FORMAT or file_hashes(entry, content["files"]) != content["files"]:
        raise ValueError(f"{entry} is damaged")
    settings = dict(content["settings"])
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}


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


def _core() -> Any:
    """Return this process's one openvino.Core, which is never given back; the first call loads the CPU's plugin, 15 ms.

    The plugin puts the calling thread's signals on a stack of its own, and frees that with its Core. Of two Cores given
    back in the order in which they were made, the second leaves the thread on the first one's freed stack: the next
    signal that Python handles, Ctrl-C say, would kill the process.
    """
    with _core_lock:
        if not _cores:
            _cores.append(import_openvino().Core())
        return _cores[0]


def _has_bf16() -> bool:
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _seconds(check: Check, run: Run) -> float:
    start = time.perf_counter()
    check(run)
    return time.perf_counter() - start


def has_gpu() -> bool:
    """Return whether torch may find a GPU here: a look at the device files spares the import of torch."""
    return any(os.path.exists(file) for file in _GPU_FILES)


def core_count() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(
    queue: Any,  # openvino.AsyncInferQueue
    batches: Iterable[TokenBatch],
    store: Callable[[Sequence[int], NDArray[np.float32]], None],
    progress: Callable[[int], None] | None = None,
) -> None:
    """Run batches by all streams of the network."""
    done: list[int] = []

    def finish(request: Any, rows: Sequence[int]) -> None:
        store(rows, request.get_output_tensor(0).data)
        done.append(len(rows))

    def report() -> None:
        # Called here and not in `finish`, which runs on OpenVINO's threads.
        if progress is not None and (count := sum(done.pop() for _ in range(len(done)))):
            progress(count)

    queue.set_callback(finish)
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


def _runtime_name(core: Any) -> str:
    """Return 16 hex digits for this OpenVINO version on this kind of CPU."""
    name = [import_openvino().get_version(), core.get_property("CPU", "FULL_DEVICE_NAME")]
    name += sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    return sha256("|".join(name).encode()).hexdigest()[:16]
