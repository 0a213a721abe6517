"""A loaded sentence-transformers model -> its network in the cache, for compiled.py to run.

The whole stack of modules is traced, transformer, pooling and whatever follows, so that nothing of a model's own
choice is written a second time here. Models that are more than a function of token ids (routers, prompts left out of
the pooling, image inputs) are refused and stay with sentence-transformers.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pincite.index.agreement import check_texts
from pincite.index.compiled import (
    FORMAT,
    CannotCompileError,
    CompiledEmbedder,
    Settings,
    entry_path,
    find_compiled,
    import_openvino,
)
from pincite.index.model_folder import ModelFolder, cache_folder

if TYPE_CHECKING:
    from pincite.index.embedder import SentenceTransformerEmbedder

__all__ = ["compile_model", "quiet"]

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def compile_model(folder: ModelFolder, reference: SentenceTransformerEmbedder) -> CompiledEmbedder:
    """Return the compiled embedder of a loaded model, written to the cache for the next run.

    If the cache cannot be written the network goes to a temporary folder that is removed with the embedder.

    Args:
        folder: the model.
        reference: the same model, on the CPU; taken as right.

    Raises:
        CannotCompileError: the model cannot be exported, or its vectors do not agree.
    """
    for cache in (cache_folder(), None):
        temporary = None
        try:
            temporary = Path(tempfile.mkdtemp(prefix="pincite-")) if cache is None else None
            root = temporary or cache
            assert root is not None
            (root / "embedders").mkdir(parents=True, exist_ok=True)
            _write_entry(entry_path(folder, root), reference)
            compiled = find_compiled(folder, cache=root)
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
    raise CannotCompileError(f"no folder for the network: {failure}")


def _write_entry(entry: Path, reference: SentenceTransformerEmbedder) -> None:
    """Write what `find_compiled` reads, beside its place and then, complete, into it."""
    workplace = Path(tempfile.mkdtemp(prefix="draft-", dir=entry.parent))
    draft = workplace / "new"
    draft.mkdir()
    try:
        settings = _export(reference, draft)
        (draft / "tokenizer.json").write_text(reference.tokenizer.definition, encoding="utf-8")
        np.save(draft / "reference.npy", reference.embed_passages(check_texts(settings.window)))
        names = ["model.xml", "model.bin", "tokenizer.json", "reference.npy"]
        hashes = {}
        for name in names:
            with (draft / name).open("rb") as file:
                os.fsync(file.fileno())
                hashes[name] = file_digest(file, "sha256").hexdigest()
        content = {"format": FORMAT, "settings": asdict(settings), "files": hashes}
        (draft / "embedder.json").write_text(json.dumps(content), encoding="utf-8")
        if entry.exists():
            # Damaged, or just written by another process, whose copy is as good: either way ours may replace it.
            os.rename(entry, workplace / "old")
        os.rename(draft, entry)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def _export(reference: SentenceTransformerEmbedder, draft: Path) -> Settings:
    """Write model.xml and model.bin; return the settings to run them with."""
    import torch

    model = reference.model
    prompts = reference.query_prompt or reference.passage_prompt
    if prompts and not all(getattr(module, "include_prompt", True) for module in model):
        raise CannotCompileError("prompts are left out of the pooling")
    try:
        import_openvino()
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        with quiet(), torch.inference_mode():
            features = dict(model.preprocess(["one text", "and another, a longer one"]))
    except (ImportError, AttributeError) as error:
        raise CannotCompileError(f"{type(error).__name__}: {error}") from error
    tensors = [name for name, value in features.items() if isinstance(value, torch.Tensor)]
    names = [name for name in _INPUTS if name in tensors]
    if names[:2] != ["input_ids", "attention_mask"] or len(names) != len(tensors):
        raise CannotCompileError(f"inputs {tensors}")
    constants = {name: value for name, value in features.items() if name not in names}

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *values: torch.Tensor) -> Any:
            output = self.model({**constants, **dict(zip(names, values, strict=True))})
            return torch.nn.functional.normalize(output["sentence_embedding"], p=2, dim=-1)

    openvino = import_openvino()
    try:
        with quiet(), torch.no_grad():
            # The front end itself, not openvino.convert_model, which reports each use to an analytics service.
            frontend = FrontEndManager().load_by_framework("pytorch")
            example = tuple(features[name].clone() for name in names)
            decoder = TorchScriptPythonDecoder(Network().eval(), example_input=example)
            network = frontend.convert(frontend.load(decoder))
            for name, port in zip(names, network.inputs, strict=True):
                port.get_tensor().set_names({name})
                port.get_node().set_partial_shape(openvino.PartialShape([-1, -1]))
                port.get_node().set_element_type(openvino.Type.i64)
            network.validate_nodes_and_infer_types()
            # float16 weights load as fast as any and are half the size: cosine to float32 weights is 0.9999999.
            openvino.save_model(network, draft / "model.xml", compress_to_fp16=True)
    except OSError:
        raise
    # Tracing runs any model's code, which can raise anything.
    except Exception as error:
        raise CannotCompileError(f"{type(error).__name__}: {error}") from error
    tokenizer = model.tokenizer
    return Settings(
        dim=reference.dim,
        window=reference.window,
        max_tokens=reference.max_tokens,
        inputs=tuple(names),
        pad_id=int(getattr(tokenizer, "pad_token_id", None) or 0),
        padding_side=str(getattr(tokenizer, "padding_side", "right")),
        truncation_side=str(getattr(tokenizer, "truncation_side", "right")),
        query_prompt=reference.query_prompt,
        passage_prompt=reference.passage_prompt,
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings, logs and progress bars of torch, transformers and sentence-transformers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.utils import logging as transformers_logging

        loggers = [logging.getLogger(name) for name in ("transformers", "sentence_transformers", "torch")]
        levels = [logger.level for logger in loggers]
        bars = transformers_logging.is_progress_bar_enabled()
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
            if bars:
                transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
