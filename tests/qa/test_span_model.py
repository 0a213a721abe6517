from __future__ import annotations

import json
import random
import shutil
import sys
import threading
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pincite.index import ModelNotFoundError
from pincite.index.loading import quiet
from pincite.index.model_folder import cache_folder
from pincite.qa.span_model import CompiledReader, SpanModel, Window, find_compiled, is_compiled, load_reader
from tests.conftest import run_offline
from tests.tiny_models import SIZES, WORDS, damages, save_tiny_bert

QUESTION = "Who repaired the west gate?"
TEXTS = [
    "",
    "The harbour office closes at noon.",
    "🚲 \ud800 [SEP] [CLS] a\0b",
    "the west gate " * 400,
    "noon",
    "e\u0301te\u0301",
]

CHILD = """
from pincite.qa.span_model import load_reader
reader = load_reader()
assert "openvino" not in sys.modules or "torch" in sys.modules
assert reader.read("", []) == [] and "openvino" in sys.modules
(window,) = reader.read("Who repaired the gate?", ["Ann Roe repaired it in May."])
assert len(window.start) == len(window.end) == len(window.offsets) == 7, window
print(type(reader).__name__)
"""


@pytest.fixture(scope="module")
def reader() -> CompiledReader:
    """pincite's own reader, from the user's cache; the first run on a machine compiles it."""
    found = load_reader()
    if not isinstance(found, CompiledReader):
        pytest.skip("this machine runs torch itself")
    return found


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PINCITE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def flat(windows: Sequence[Window]) -> NDArray[np.float32]:
    """All logits of some windows."""
    return np.concatenate([np.r_[window.start, window.end, window.null] for window in windows]).astype(np.float32)


def assert_near(found: Sequence[Window], expected: NDArray[np.float32], note: str = "") -> None:
    """Assert that logits differ by what bfloat16 rounds off, and no more."""
    np.testing.assert_allclose(flat(found), expected, atol=0.03 * float(np.abs(expected).max()), err_msg=note)


def save_tiny_reader(folder: Path, kind: str = "bert", **options: Any) -> Path:
    """Save a question-answering model of random weights with a window of 64 tokens."""
    if kind == "bert":
        return save_tiny_bert(folder, "BertForQuestionAnswering", **options)
    with quiet():
        import torch
        from tokenizers import ByteLevelBPETokenizer
        from tokenizers.processors import RobertaProcessing
        from transformers import AutoConfig, AutoModelForQuestionAnswering, PreTrainedTokenizerFast

        backend = ByteLevelBPETokenizer()
        marks = {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "unk_token": "<unk>"}
        backend.train_from_iterator(
            [" ".join(WORDS)] * 9, vocab_size=300, special_tokens=[*marks.values()], show_progress=False
        )
        backend._tokenizer.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0))
        config = AutoConfig.for_model(
            "roberta", vocab_size=300, max_position_embeddings=66, type_vocab_size=1, pad_token_id=1, **SIZES
        )
        config.initializer_range = 0.3
        torch.manual_seed(5)
        AutoModelForQuestionAnswering.from_config(config).save_pretrained(folder)  # type: ignore[no-untyped-call]
        tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
            tokenizer_object=backend._tokenizer, model_input_names=["input_ids", "attention_mask"], **marks
        )
        tokenizer.save_pretrained(folder)
    return folder


def check_reader(reader: SpanModel, window: int) -> None:
    """Assert what holds for every reader."""
    windows = reader.read(QUESTION, TEXTS)
    assert [one.text for one in windows] == sorted(one.text for one in windows)
    assert {one.text for one in windows} == set(range(len(TEXTS)))
    assert [one.text for one in windows].count(3) > 1
    for one in windows:
        assert one.offsets.shape == (len(one.start), 2)
        assert one.offsets.dtype == np.int64
        assert one.start.dtype == one.end.dtype == np.float32
        assert one.start.shape == one.end.shape
        assert isinstance(one.null, float)
        assert len(one.start) < window
        assert one.offsets.max(initial=0) <= len(TEXTS[one.text])
    for row, text in enumerate(TEXTS):
        covered = {i for one in windows if one.text == row for start, end in one.offsets for i in range(start, end)}
        assert covered >= {i for i, char in enumerate(text) if char.isalnum()}
    assert reader.read(QUESTION, []) == []
    assert np.isfinite(flat(windows)).all()
    assert {one.text for one in reader.read("", TEXTS)} == set(range(len(TEXTS)))


def test_a_cached_reader_needs_neither_torch_nor_a_socket(reader: CompiledReader, tmp_path: Path) -> None:
    printed = run_offline(CHILD, tmp_path, cache_folder())
    assert printed[0] == "CompiledReader"
    assert not {"torch", "transformers", "sentence_transformers", "huggingface_hub", "openvino_telemetry"} & {*printed}


def test_whether_the_reader_is_compiled_is_known_without_compiling_it(
    reader: CompiledReader, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_compiled()
    assert not (own_cache / "readers").exists()
    monkeypatch.undo()
    assert is_compiled()
    monkeypatch.setattr("pincite.qa.span_model.has_gpu", lambda: True)
    assert not is_compiled()


@pytest.mark.slow
def test_compiling_a_reader_needs_no_socket(tmp_path: Path) -> None:
    printed = run_offline(CHILD, tmp_path, tmp_path / "cache")
    assert "openvino_telemetry" not in printed
    assert "torch" in printed


def test_the_packaged_reader_reads_any_text(reader: CompiledReader) -> None:
    assert reader.name == "pincite-reader"
    check_reader(reader, 320)


def test_a_passage_of_the_default_size_fits_one_window(reader: CompiledReader) -> None:
    passage = "boat " * 254
    assert len(reader.read("who " * 60, [passage])) == 1
    assert [len(one.start) for one in reader.read("who " * 60, [passage * 2])] == [257, 257, 250]


def test_logits_depend_on_the_batch_by_rounding_only(reader: CompiledReader) -> None:
    draw = random.Random(7)
    words = ["harbour", "gate", "board", "who", "meets", "in", "May", "and", "pays", "14", "pounds", "old,", "boat"]
    texts = [" ".join(draw.choices(words, k=draw.choice([1, 3, 10, 40, 150, 300]))) for _ in range(12)]
    alone = [window for text in texts for window in reader.read(QUESTION, [text])]
    assert_near(alone, flat(reader.read(QUESTION, texts)))


def test_questions_may_come_from_many_threads(reader: CompiledReader) -> None:
    asked = [(f"who paid for boat {n}?", [f"Ann paid {'gladly ' * (n % 9)}for it.", "No one."]) for n in range(18)]
    expected = [flat(reader.read(*pair)) for pair in asked]
    found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(asked)

    def ask(start: int) -> None:
        for n in range(start, len(asked), 6):
            found[n] = flat(reader.read(*asked[n]))

    threads = [threading.Thread(target=ask, args=(start,)) for start in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_what_is_no_reader_is_refused_in_one_line(tmp_path: Path, own_cache: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"^No model 'no/such'.*hf download"):
        load_reader("no/such")
    folder = tmp_path / "empty"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    with pytest.raises(
        ModelNotFoundError, match=r"No weights.*question-answering model.*AutoModelForQuestionAnswering"
    ):
        load_reader(str(folder))
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelNotFoundError, match=r"pickled weights.*Load it with transformers") as caught:
        load_reader(str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_any_model_is_read_as_transformers_reads_it(tmp_path: Path, own_cache: Path, kind: str) -> None:
    from pincite.qa.span_export import TorchReader

    folder = save_tiny_reader(tmp_path / "tiny", kind)
    compiled = load_reader(str(folder))
    assert isinstance(compiled, CompiledReader)
    again = load_reader(str(folder))
    with quiet():
        import torch
        from transformers import AutoModelForQuestionAnswering, AutoTokenizer

        model = AutoModelForQuestionAnswering.from_pretrained(folder, local_files_only=True).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    reference = TorchReader(again_folder(folder))
    assert compiled.fingerprint == again.fingerprint == reference.fingerprint
    assert compiled.name == again.name == reference.name == str(folder)
    assert reference.inputs.window == 64
    for candidate in (compiled, again, reference):
        check_reader(candidate, 64)
    exact = reference.read(QUESTION, TEXTS)
    assert_near(compiled.read(QUESTION, TEXTS), flat(exact))
    for text in ("the harbour office closes", "noon, who? the gates"):
        features = tokenizer(QUESTION, text, return_tensors="pt", return_offsets_mapping=True)
        offsets = features.pop("offset_mapping")[0].numpy()
        inside = np.array([sequence == 1 for sequence in features.sequence_ids(0)])
        if "token_type_ids" not in tokenizer.model_input_names:
            features.pop("token_type_ids", None)
        with torch.no_grad():
            output = model(**features)
        (window,) = reference.read(QUESTION, [text])
        np.testing.assert_array_equal(window.offsets, offsets[inside])
        np.testing.assert_allclose(window.start, output.start_logits[0].numpy()[inside], atol=1e-5)
        np.testing.assert_allclose(window.end, output.end_logits[0].numpy()[inside], atol=1e-5)
        assert window.null == pytest.approx(float(output.start_logits[0, 0] + output.end_logits[0, 0]), abs=1e-5)


def again_folder(folder: Path) -> Any:
    from pincite.index.model_folder import find_folder
    from pincite.qa.span_model import READERS

    return find_folder(str(folder), READERS)


@pytest.mark.slow
def test_models_that_cannot_find_answers_are_refused(tmp_path: Path, own_cache: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no \[CLS\] token"):
        load_reader(str(save_tiny_reader(tmp_path / "unmarked", cls_token=None)))
    folder = save_tiny_reader(tmp_path / "headless")
    with quiet():
        from transformers import AutoModel

        AutoModel.from_pretrained(folder, local_files_only=True).save_pretrained(folder)
    with pytest.raises(ModelNotFoundError, match=r"not trained to find answers.*qa_outputs"):
        load_reader(str(folder))
    (folder / "config.json").write_text(json.dumps({"auto_map": {"AutoConfig": "code.Config"}, "model_type": "own"}))
    (folder / "code.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelNotFoundError, match="cannot be loaded") as caught:
        load_reader(str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_an_unwritable_or_damaged_cache_is_no_obstacle(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_tiny_reader(tmp_path / "tiny")
    expected = flat(load_reader(str(folder)).read(QUESTION, TEXTS))
    (entry,) = (own_cache / "readers").iterdir()
    files = {path.name for path in entry.iterdir()}
    for damage in islice(damages(entry), None, None, 3):  # one a file; tests of the embedder try the others
        again = load_reader(str(folder))
        assert_near(again.read(QUESTION, TEXTS), expected, damage)
        assert {path.name for path in entry.iterdir()} == files
    assert [path.name for path in entry.parent.iterdir()] == [entry.name]
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PINCITE_CACHE", str(tmp_path / "file" / "cache"))
    reader = load_reader(str(folder))
    assert isinstance(reader, CompiledReader)
    assert_near(reader.read(QUESTION, TEXTS), expected)


@pytest.mark.slow
def test_what_does_not_agree_or_run_is_left_to_torch(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pincite.qa.span_export import TorchReader

    folder = save_tiny_reader(tmp_path / "tiny")
    expected = flat(load_reader(str(folder)).read(QUESTION, TEXTS))
    compiled_before = find_compiled(again_folder(folder))
    assert compiled_before is not None
    assert compiled_before.precision in ("bf16", "f32")  # int8 is for weights that are of 8 bits anyway
    with monkeypatch.context() as patch:
        for name in [name for name in sys.modules if name == "openvino" or name.startswith("openvino.")]:
            patch.delitem(sys.modules, name)
        patch.setitem(sys.modules, "openvino", None)
        assert isinstance(load_reader(str(folder)), CompiledReader)
        assert_near(load_reader(str(folder)).read(QUESTION, TEXTS), expected)
        shutil.rmtree(own_cache)
        never_compiled = load_reader(str(folder))
        assert isinstance(never_compiled, TorchReader)
        assert_near(never_compiled.read(QUESTION, TEXTS), expected)
    monkeypatch.setattr("pincite.qa.span_agreement.MAX_SHIFT", -1.0)
    assert isinstance(load_reader(str(folder)), TorchReader)


@pytest.mark.slow
def test_a_gpu_that_torch_cannot_use_does_not_compile_anew(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr("pincite.qa.span_model.has_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folder = str(save_tiny_reader(tmp_path / "tiny"))
    assert isinstance(load_reader(folder), CompiledReader)
    (entry,) = (own_cache / "readers").iterdir()
    before = entry.stat().st_ino
    assert isinstance(load_reader(folder), CompiledReader)
    assert entry.stat().st_ino == before
