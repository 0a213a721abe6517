from __future__ import annotations

import random
import threading
from pathlib import Path

import numpy as np
import pytest

from pincite.index import load_embedder
from pincite.index.agreement import check_texts
from pincite.index.compiled import CompiledEmbedder, unit_rows
from pincite.index.embedder import SentenceTransformerEmbedder
from pincite.index.model_folder import cache_folder, find_model
from tests.conftest import run_offline

QUESTIONS = ["who sits on the board?", "", "🚲", "a\0b", "what " * 10_000, "Wo ist der Fluß?"]

CHILD = """
from pincite.index import load_embedder
embedder = load_embedder()
embedder.token_offsets(["one text"])
assert "openvino" not in sys.modules or "torch" in sys.modules
assert abs(float(embedder.embed_query("who sits on the board?") @ embedder.embed_query("who is on the board?"))) >= 0.7
assert len(embedder.embed_passages(["one text", "two texts"])) == 2
print(type(embedder).__name__)
"""

SIGNALLED = """
import faulthandler, gc, signal
from pincite.index import load_embedder
faulthandler.enable()  # as pytest does: only with a stack of the process's own for signals can it be lost
first, second = load_embedder(), load_embedder()
first.embed_query("one"), second.embed_query("two")
del first; gc.collect()
del second; gc.collect()
signal.signal(signal.SIGTERM, lambda *received: print("alive"))
signal.raise_signal(signal.SIGTERM)
"""


@pytest.fixture(scope="module")
def embedder() -> CompiledEmbedder:
    """The default model, from the user's cache; the first run on a machine compiles it."""
    found = load_embedder()
    if not isinstance(found, CompiledEmbedder):
        pytest.skip("this machine runs sentence-transformers itself")
    return found


def test_a_cached_model_needs_neither_torch_nor_the_network(embedder: CompiledEmbedder, tmp_path: Path) -> None:
    printed = run_offline(CHILD, tmp_path, cache_folder())
    assert printed[0] == "CompiledEmbedder"
    assert not {"torch", "transformers", "sentence_transformers", "huggingface_hub", "openvino_telemetry"} & {*printed}


@pytest.mark.slow
def test_compiling_needs_no_network(tmp_path: Path) -> None:
    printed = run_offline(CHILD, tmp_path, tmp_path / "cache")
    assert "openvino_telemetry" not in printed
    assert "torch" in printed


@pytest.mark.slow
def test_a_process_that_gave_its_embedders_back_can_still_be_signalled(
    embedder: CompiledEmbedder, tmp_path: Path
) -> None:
    assert run_offline(SIGNALLED, tmp_path, cache_folder())[0] == "alive"


def test_vectors_are_unit_rows_whatever_the_text(embedder: CompiledEmbedder) -> None:
    done: list[int] = []
    vectors = embedder.embed_passages(QUESTIONS, progress=done.append)
    assert sum(done) == len(QUESTIONS)
    assert vectors.shape == (len(QUESTIONS), 384)
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    for text, passage in zip(QUESTIONS, vectors, strict=True):
        query = embedder.embed_query(text)
        assert query.shape == (384,)
        assert float(query @ passage) >= 0.999
    assert embedder.embed_passages([]).shape == (0, 384)


def test_a_vector_does_not_depend_on_its_batch(embedder: CompiledEmbedder) -> None:
    draw = random.Random(7)
    words = ["harbour", "gate", "board", "who", "meets", "in", "May", "and", "pays", "14", "pounds", "old,", "boat"]
    texts = [" ".join(draw.choices(words, k=draw.choice([1, 3, 10, 40, 150, 400]))) for _ in range(24)]
    together = embedder.embed_passages(texts)
    backwards = embedder.embed_passages(texts[::-1])[::-1]
    alone = np.array([embedder.embed_passages([text])[0] for text in texts[:6]])
    assert (together * backwards).sum(axis=1).min() >= 0.999
    assert (together[:6] * alone).sum(axis=1).min() >= 0.999


def test_texts_come_back_in_order_across_lots(embedder: CompiledEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pincite.index.compiled._SORTED_TEXTS", 5)
    texts = [f"{'word ' * (n % 7)}number {n}" for n in range(23)]
    vectors = embedder.embed_passages(texts)
    assert np.argmax(vectors @ vectors[11]) == 11
    for n in (0, 4, 5, 22):
        assert float(vectors[n] @ embedder.embed_query(texts[n])) >= 0.999


def test_questions_may_come_from_many_threads(embedder: CompiledEmbedder) -> None:
    questions = [f"who paid for boat {n}, and {'why ' * (n % 9)}?" for n in range(24)]
    expected = np.stack([embedder.embed_query(question) for question in questions])
    found = np.zeros_like(expected)

    def ask(start: int) -> None:
        for n in range(start, len(questions), 6):
            found[n] = embedder.embed_query(questions[n])

    threads = [threading.Thread(target=ask, args=(start,)) for start in range(6)]
    for thread in threads:
        thread.start()
    embedder.embed_passages(questions)
    for thread in threads:
        thread.join()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_failing_progress_leaves_the_embedder_usable(embedder: CompiledEmbedder) -> None:
    def fail(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embedder.embed_passages(["one", "two", "three"], progress=fail)
    assert len(embedder.embed_passages(["one", "two"])) == 2


def test_the_window_leaves_room_for_special_tokens(embedder: CompiledEmbedder) -> None:
    assert embedder.max_tokens == 254
    within = "boat " * 254
    assert len(embedder.token_offsets([within])[0]) == 254
    first, second = embedder.embed_passages([within, within + "and then a long tail of other words"])
    assert float(first @ second) >= 0.9999


def test_check_texts_reach_from_nothing_beyond_the_window(embedder: CompiledEmbedder) -> None:
    texts = check_texts(256)
    lengths = [len(offsets) for offsets in embedder.token_offsets(texts)]
    assert len(set(texts)) == len(texts) == 32
    assert min(lengths) == 0
    assert max(lengths) > 256
    assert sum(length > 64 for length in lengths) > 10


def test_rows_without_direction_become_a_unit_vector() -> None:
    rows = unit_rows(np.array([[np.nan, 1.0], [0.0, 0.0], [np.inf, 0.0], [3.0, 4.0]]))
    np.testing.assert_allclose(rows, np.array([[1, 0], [1, 0], [1, 0], [0.6, 0.8]]), rtol=1e-6)


@pytest.mark.slow
def test_compiled_vectors_agree_with_sentence_transformers(embedder: CompiledEmbedder) -> None:
    reference = SentenceTransformerEmbedder(find_model(), device="cpu")
    texts = [text for text in QUESTIONS if "\0" not in text] + check_texts(128)
    cosine = (embedder.embed_passages(texts) * reference.embed_passages(texts)).sum(axis=1)
    assert cosine.min() >= 0.999
    assert embedder.fingerprint == reference.fingerprint
    assert embedder.max_tokens == reference.max_tokens
    for ours, theirs in zip(embedder.token_offsets(texts), reference.token_offsets(texts), strict=True):
        np.testing.assert_array_equal(ours, theirs)
