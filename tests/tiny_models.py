"""Models of random weights, saved as their libraries do, and what may happen to their files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pincite.index.loading import quiet

WORDS = ["the", "a", "harbour", "office", "closes", "at", "noon", "who", "repaired", "west", "gate", "query", "passage"]
WORDS += [":", ".", "?", ",", "##s"]
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
MARKS = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}


def save_tiny_bert(folder: Path, architecture: str, *, labels: int = 2, **options: Any) -> Path:
    """Save a model of transformers, with two layers of 32 columns and a window of 64 tokens, and its tokenizer.

    Args:
        folder: where to.
        architecture: the model's class, such as "BertModel".
        labels: outputs of its head, if it has one.
        options: of the tokenizer.
    """
    with quiet():
        import torch
        import transformers
        from tokenizers import BertWordPieceTokenizer

        vocabulary = {word: n for n, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
        config: Any = transformers.AutoConfig.for_model("bert", vocab_size=len(vocabulary), **SIZES)
        config.max_position_embeddings, config.initializer_range, config.num_labels = 64, 0.3, labels
        torch.manual_seed(5)
        getattr(transformers, architecture)(config).save_pretrained(folder)
        backend: Any = BertWordPieceTokenizer(vocabulary, lowercase=True)
        tokenizer: Any = transformers.PreTrainedTokenizerFast
        tokenizer(tokenizer_object=backend._tokenizer, **{**MARKS, **options}).save_pretrained(folder)
    return folder


def damages(folder: Path) -> Iterator[str]:
    """Yield after each damage to each file of a folder, one at a time: a byte flipped, the file halved, or deleted."""
    pristine = {path: path.read_bytes() for path in sorted(folder.iterdir())}
    for path, data in pristine.items():
        flipped = bytearray(data)
        flipped[len(data) // 2] ^= 0x55
        for damage, content in (("flipped", bytes(flipped)), ("halved", data[: len(data) // 2]), ("deleted", None)):
            for other, intact in (pristine | {path: content}).items():
                other.unlink(missing_ok=True)  # not written over: it may be mapped into memory
                if intact is not None:
                    other.write_bytes(intact)
            yield f"{path.name} {damage}"
