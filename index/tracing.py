"""A loaded torch module -> a network in the cache, for network.py to run: what all compiled models have in common.

The module is traced whole, so that nothing of a model's own choice is written a second time here.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pincite.index.loading import quiet
from pincite.index.model_folder import cache_folder
from pincite.index.network import FORMAT, CannotCompileError, entry_path, import_openvino

if TYPE_CHECKING:
    import torch

__all__ = ["INPUTS", "compiled_if_possible", "write_network"]

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""What a network may take, in this order."""


class _Loaded(Protocol):
    name: str
    fingerprint: str
    device: str


class _Compiled(Protocol):
    @property
    def precision(self) -> str: ...


_Reference = TypeVar("_Reference", bound=_Loaded)
_Found = TypeVar("_Found", bound=_Compiled)


def compiled_if_possible(
    kind: str,
    reference: _Reference,
    find: Callable[[Path | None], _Found | None],
    *,
    fill: Callable[[Path], Mapping[str, object]],
    tokenizer: str,
    outputs: Callable[[], NDArray[np.float32]],
) -> _Found | _Reference:
    """Return a loaded model compiled, and in the cache for the next run; itself on a GPU, or if only torch can run it.

    Args:
        kind: of model, as `entry_path` takes it.
        reference: the model as torch runs it; taken as right.
        find: returns the compiled model from a cache, the user's if None.
        fill: writes the network into a folder, and returns the settings to run it with.
        tokenizer: the content of its `tokenizer.json`.
        outputs: gives what the model itself says of the fixed texts.
    """
    if reference.device != "cpu":
        return reference
    try:
        # A look first: what was compiled stays good on a machine with a GPU that torch cannot use.
        write = partial(_write_entry, kind, fill=fill, tokenizer=tokenizer, outputs=outputs)
        return find(None) or _keep_compiled(kind, reference.fingerprint, write, find)
    except CannotCompileError as error:
        logging.getLogger(__name__).info("%s is not compiled: %s", reference.name, error)
        return reference


def _keep_compiled(
    kind: str, fingerprint: str, write: Callable[[Path], None], find: Callable[[Path], _Found | None]
) -> _Found:
    """Return the compiled model that `find` finds in a cache after `write` wrote its entry there.

    If the cache cannot be written the network goes to a temporary folder that is removed with what was found.

    Raises:
        CannotCompileError: the model cannot be exported, or its network does not agree with it.
    """
    for cache in (cache_folder(), None):
        temporary = None
        try:
            temporary = Path(tempfile.mkdtemp(prefix="pincite-")) if cache is None else None
            root = temporary or cache
            assert root is not None
            entry = entry_path(kind, fingerprint, root)
            entry.parent.mkdir(parents=True, exist_ok=True)
            write(entry)
            compiled = find(root)
            if compiled is None:
                raise CannotCompileError("the cache cannot be read back")
            if temporary is not None:
                weakref.finalize(compiled, shutil.rmtree, temporary, ignore_errors=True)
            # Settled now, so that the next process finds everything, and a disagreement is known at once.
            _ = compiled.precision
            return compiled
        except OSError as error:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)
            failure = error
        # What OpenVINO raises for a network that it cannot run.
        except RuntimeError as error:
            raise CannotCompileError(f"{type(error).__name__}: {error}") from error
    raise CannotCompileError(f"no folder for the network: {failure}")


def _write_entry(
    kind: str,
    entry: Path,
    *,
    fill: Callable[[Path], Mapping[str, object]],
    tokenizer: str,
    outputs: Callable[[], NDArray[np.float32]],
) -> None:
    """Write what `read_entry` reads, beside its place and then, complete, into it."""
    workplace = Path(tempfile.mkdtemp(prefix="draft-", dir=entry.parent))
    draft = workplace / "new"
    draft.mkdir()
    try:
        settings = fill(draft)
        (draft / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
        np.save(draft / "reference.npy", outputs())
        hashes = {}
        for name in ("model.xml", "model.bin", "tokenizer.json", "reference.npy"):
            with (draft / name).open("rb") as file:
                os.fsync(file.fileno())
                hashes[name] = file_digest(file, "sha256").hexdigest()
        content = {"format": FORMAT, "settings": dict(settings), "files": hashes}
        (draft / f"{kind}.json").write_text(json.dumps(content), encoding="utf-8")
        if entry.exists():
            # Damaged, or just written by another process, whose copy is as good: either way ours may replace it.
            os.rename(entry, workplace / "old")
        os.rename(draft, entry)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def write_network(module: torch.nn.Module, example: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Trace a module and write model.xml and model.bin, with float16 weights.

    Args:
        module: takes the tensors of `example` in their order, int64, shape `(n, t)`; gives one tensor.
        example: by name, some of `INPUTS`.
        folder: where to write.

    Raises:
        CannotCompileError: it cannot be traced, or OpenVINO is missing or cannot run it.
        OSError: the files cannot be written.
    """
    import torch

    try:
        openvino = import_openvino()
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    except (ImportError, AttributeError) as error:
        raise CannotCompileError(f"{type(error).__name__}: {error}") from error
    try:
        with quiet(), torch.no_grad():
            # The front end itself, not openvino.convert_model, which reports each use to an analytics service.
            frontend = FrontEndManager().load_by_framework("pytorch")
            inputs = tuple(value.clone() for value in example.values())
            decoder = TorchScriptPythonDecoder(module.eval(), example_input=inputs)
            network = frontend.convert(frontend.load(decoder))
            for name, port in zip(example, network.inputs, strict=True):
                port.get_tensor().set_names({name})
                port.get_node().set_partial_shape(openvino.PartialShape([-1, -1]))
                port.get_node().set_element_type(openvino.Type.i64)
            network.validate_nodes_and_infer_types()
            # float16 weights load as fast as any and are half the size: cosine to float32 weights is 0.9999999.
            openvino.save_model(network, folder / "model.xml", compress_to_fp16=True)
    except OSError:
        raise
    # Tracing runs any model's code, which can raise anything.
    except Exception as error:
        raise CannotCompileError(f"{type(error).__name__}: {error}") from error
