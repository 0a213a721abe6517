from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pincite.index import ModelNotFoundError
from pincite.index.model_folder import find_model
from pincite.qa import packaged_reader
from pincite.qa.packaged_reader import find_packaged


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINCITE_CACHE", str(tmp_path / "cache"))


def fake_package(home: Path, weights: bytes = b"weights", **about: Any) -> Path:
    """A folder whose weights have the stated sha256, and are none."""
    home.mkdir(exist_ok=True)
    (home / "reader.safetensors").write_bytes(weights)
    stated = {
        "format": 1,
        "sha256": sha256(weights).hexdigest(),
        "config": {"hidden_size": 384},
        "trained": {},
        **about,
    }
    (home / "reader.json").write_text(json.dumps(stated))
    return home


def test_the_packaged_weights_are_those_that_reader_json_states() -> None:
    found = find_packaged()
    assert found.name == packaged_reader.NAME
    assert found.path == Path(packaged_reader.__file__).parent
    assert len(found.fingerprint) == 64


def test_the_fingerprint_depends_on_what_decides_the_scores(tmp_path: Path) -> None:
    first = find_packaged(fake_package(tmp_path / "first"))
    assert find_packaged(fake_package(tmp_path / "second", trained={"steps": 5})).fingerprint == first.fingerprint
    others = [
        find_packaged(fake_package(tmp_path / "third", b"weighty")),
        find_packaged(fake_package(tmp_path / "fourth", config={"hidden_size": 128})),
        find_model(),
    ]
    assert len({found.fingerprint for found in [first, *others]}) == 4


def test_damaged_weights_are_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    home = fake_package(tmp_path / "home")
    pristine = shutil.copytree(home, tmp_path / "pristine")
    damages: list[tuple[str, bytes | None]] = [("reader.safetensors", b"weightz"), ("reader.safetensors", None)]
    damages += [("reader.json", content) for content in (None, b"", b"{}", b"[1]", b"3", b'{"format": 2}', b"\xff")]
    for name, content in damages:
        shutil.copytree(pristine, home, dirs_exist_ok=True)
        assert find_packaged(home)
        if content is None:
            (home / name).unlink()
        else:
            (home / name).write_bytes(content)
        with pytest.raises(ModelNotFoundError, match=r"reader\.safetensors.*pip install --force-reinstall") as caught:
            find_packaged(home)
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_weights_are_rounded_rows_beside_the_default_models_word_vectors(tmp_path: Path) -> None:
    from pincite.index.loading import quiet

    with quiet():
        import torch
        from safetensors.numpy import save
        from transformers import AutoModel, BertForQuestionAnswering

        default = AutoModel.from_pretrained(str(find_model().path), local_files_only=True)
        config = default.config
        config.num_hidden_layers = 1
        torch.manual_seed(3)
        before = torch.random.get_rng_state()
        exact: Any = BertForQuestionAnswering(config)
        torch.random.set_rng_state(before)
        tensors = {}
        for name, weight in exact.state_dict().items():
            values = weight.numpy()
            if "word_embeddings" in name or name.endswith("_ids"):
                continue
            if values.ndim == 2 and not name.startswith("qa_outputs"):
                scale = np.abs(values).max(axis=1) / 127
                scale[scale == 0] = 1
                tensors[name] = np.rint(values / scale[:, None]).astype(np.int8)
                tensors[f"{name}.scale"] = scale
            else:
                tensors[name] = values
        fields = {key: value for key, value in config.to_dict().items() if isinstance(value, int | float)}
        home = fake_package(tmp_path / "home", save(tensors), config=fields)
        model, tokenizer = packaged_reader.load_packaged(find_packaged(home).path)
        assert torch.equal(torch.random.get_rng_state(), before)
        for name, weight in model.state_dict().items():
            if "word_embeddings" in name:
                assert torch.equal(weight, default.state_dict()["embeddings.word_embeddings.weight"])
            else:
                scale = weight.abs().max() / 127 if weight.ndim == 2 and not name.startswith("qa_outputs") else 0
                assert (weight - exact.state_dict()[name]).abs().max() <= 0.51 * scale
        assert tokenizer.token_to_id("[CLS]") == 101
        del tensors["qa_outputs.bias"]
        with pytest.raises(ValueError, match=r"qa_outputs\.bias"):
            packaged_reader.load_packaged(fake_package(home, save(tensors), config=fields))
