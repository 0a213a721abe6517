"""A loaded sentence-transformers model -> its network in the cache, for compiled.py to run.

The whole stack of modules is traced, transformer, pooling and whatever follows. Models that are more than a function
of token ids (routers, prompts left out of the pooling, image inputs) are refused and stay with sentence-transformers.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pincite.index.agreement import check_texts
from pincite.index.compiled import KIND, CompiledEmbedder, Settings, find_compiled
from pincite.index.loading import quiet
from pincite.index.model_folder import ModelFolder
from pincite.index.network import CannotCompileError
from pincite.index.tracing import INPUTS, compiled_if_possible, write_network

if TYPE_CHECKING:
    from pincite.index.embedder import SentenceTransformerEmbedder

__all__ = ["compile_model"]


def compile_model(
    folder: ModelFolder, reference: SentenceTransformerEmbedder
) -> CompiledEmbedder | SentenceTransformerEmbedder:
    """Return a loaded model compiled; see `compiled_if_possible`."""
    return compiled_if_possible(
        KIND,
        reference,
        lambda cache: find_compiled(folder, cache=cache),
        fill=lambda draft: asdict(_export(reference, draft)),
        tokenizer=reference.tokenizer.definition,
        outputs=lambda: reference.embed_passages(check_texts(reference.window)),
    )


def _export(reference: SentenceTransformerEmbedder, draft: Path) -> Settings:
    """Write model.xml and model.bin; return the settings to run them with."""
    import torch

    model = reference.model
    prompts = reference.query_prompt or reference.passage_prompt
    if prompts and not all(getattr(module, "include_prompt", True) for module in model):
        raise CannotCompileError("prompts are left out of the pooling")
    try:
        with quiet(), torch.inference_mode():
            features = dict(model.preprocess(["one text", "and another, a longer one"]))
    except AttributeError as error:
        raise CannotCompileError(f"{type(error).__name__}: {error}") from error
    tensors = [name for name, value in features.items() if isinstance(value, torch.Tensor)]
    names = [name for name in INPUTS if name in tensors]
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

    write_network(Network(), {name: features[name] for name in names}, draft)
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
