from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pincite.index import ModelNotFoundError
from pincite.index.loading import quiet
from pincite.index.passage import Passage, Span
from pincite.qa.reranker import load_reranker, reordered
from pincite.qa.retriever import Hit
from tests.tiny_models import save_tiny_bert

TEXTS = ["the harbour office closes at noon", "", "who \ud800 🚲", "the gate " * 300, "noon"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINCITE_CACHE", str(tmp_path / "cache"))


def fake_reranker(folder: Path, architecture: str = "BertForSequenceClassification") -> Path:
    """A folder that is found as a CrossEncoder, and cannot be loaded."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def save_tiny_reranker(folder: Path, scores: int = 1) -> Path:
    """Save a CrossEncoder of random weights, and beside it, in FOLDER-bert, the same as transformers saves it."""
    source = folder.with_name(f"{folder.name}-bert")
    save_tiny_bert(source, "BertForSequenceClassification", labels=scores, model_max_length=64)
    with quiet():
        from sentence_transformers import CrossEncoder

        CrossEncoder(str(source), device="cpu").save_pretrained(str(folder))
    return folder


def hit(name: str) -> Hit:
    return Hit(Passage(name, Span(0, 4), "text"), name, name, 1, 0.5, 1, None)


def test_hits_are_reordered_by_score_and_equals_stay() -> None:
    hits = [hit(name) for name in "abcde"]
    scores = np.array([0.5, np.nan, 2, 0.5, -np.inf], np.float32)
    assert [one.path for one in reordered(hits, scores)] == ["c", "a", "d", "b", "e"]
    assert reordered([], np.empty(0, np.float32)) == []


def test_a_reranker_is_found_without_loading_anything(tmp_path: Path) -> None:
    reranker = load_reranker(str(fake_reranker(tmp_path / "fake")))
    assert reranker.name == str(tmp_path / "fake")
    assert reranker.score("who?", []).shape == (0,)
    assert load_reranker(str(fake_reranker(tmp_path / "judge", "Qwen3ForCausalLM"))).name


def test_a_bare_name_in_the_hub_cache_is_a_cross_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tmp_path / "hub" / "models--cross-encoder--tiny"
    fake_reranker(base / "snapshots" / "abc")
    (base / "refs").mkdir()
    (base / "refs" / "main").write_text("abc")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert load_reranker("tiny").name == "tiny"
    assert load_reranker("cross-encoder/tiny").name == "cross-encoder/tiny"


def test_what_is_no_reranker_is_refused_in_one_line(tmp_path: Path) -> None:
    encoder = fake_reranker(tmp_path / "encoder", "BertModel")
    stacked = fake_reranker(tmp_path / "stacked")
    (stacked / "modules.json").write_text("[]")
    (stacked / "config_sentence_transformers.json").write_text('{"model_type": "SentenceTransformer"}')
    pickled = fake_reranker(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    empty = fake_reranker(tmp_path / "empty")
    (empty / "model.safetensors").unlink()
    malformed = fake_reranker(tmp_path / "malformed")
    (malformed / "config.json").write_text("[]")
    for model, message in {
        str(encoder): "gives no score",
        str(stacked): "gives no score",
        str(pickled): "pickled weights.*sentence-transformers",
        str(empty): r"No weights.*CrossEncoder\.save_pretrained",
        str(malformed): "cannot be read",
        "no/such": "hf download",
    }.items():
        with pytest.raises(ModelNotFoundError, match=message) as caught:
            load_reranker(model)
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_reranker_that_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    reranker = load_reranker(str(fake_reranker(tmp_path / "fake")))
    with pytest.raises(ModelNotFoundError, match="cannot be loaded") as caught:
        reranker.score("who?", ["text"])
    assert "\n" not in str(caught.value)
    several = load_reranker(str(save_tiny_reranker(tmp_path / "several", scores=3)))
    with pytest.raises(ModelNotFoundError, match="3 scores"):
        several.score("who?", ["text"])


@pytest.mark.slow
def test_scores_are_those_of_sentence_transformers(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = save_tiny_reranker(tmp_path / "tiny")
    reranker = load_reranker(str(folder))
    capfd.readouterr()
    scores = reranker.score("who closes the office?", TEXTS)
    assert capfd.readouterr() == ("", "")
    assert scores.shape == (len(TEXTS),)
    assert scores.dtype == np.float32
    assert len(set(scores.tolist())) > 3
    from sentence_transformers import CrossEncoder

    reference: Any = CrossEncoder(str(folder), device="cpu", local_files_only=True)
    pairs = [("who closes the office?", text.replace("\ud800", "\ufffd")) for text in TEXTS]
    np.testing.assert_allclose(scores, reference.predict(pairs, show_progress_bar=False), atol=1e-5)
    found: dict[int, list[float]] = {}

    def ask(n: int) -> None:
        found[n] = reranker.score("who closes the office?", TEXTS).tolist()

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n in range(4):
        np.testing.assert_allclose(found[n], scores, atol=1e-5)


@pytest.mark.slow
def test_a_saved_cross_encoder_of_older_layout_is_found(tmp_path: Path) -> None:
    save_tiny_reranker(tmp_path / "tiny")
    older = load_reranker(str(tmp_path / "tiny-bert"))
    newer = load_reranker(str(tmp_path / "tiny"))
    np.testing.assert_allclose(older.score("who?", TEXTS), newer.score("who?", TEXTS), atol=1e-5)
