"""What users may give as reader or re-ranker: any name, any folder, any files in it. The worst is one clear line."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pincite.index import Index, ModelNotFoundError
from pincite.index.model_folder import find_model
from pincite.qa import Pipeline
from pincite.qa.reranker import load_reranker
from pincite.qa.span_model import load_reader
from tests.conftest import HashingEmbedder, KnowingReader
from tests.tiny_models import save_tiny_bert

RUBBISH = [b"", b"{}", b"[]", b"null", b"\xff\xfe\0", b"[" * 100_000, bytes(range(256)) * 9]


def use_reader(model: str) -> object:
    return load_reader(model).read("who?", ["the harbour office", ""])


def use_reranker(model: str) -> object:
    return load_reranker(model).score("who?", ["the harbour office", ""])


USES = pytest.mark.parametrize("use", [use_reader, use_reranker])
Use = Callable[[str], object]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINCITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[Use, Path]:
    """A model that each use takes."""
    home = tmp_path_factory.mktemp("tiny")
    return {
        use_reader: save_tiny_bert(home / "reader", "BertForQuestionAnswering"),
        use_reranker: save_tiny_bert(home / "reranker", "BertForSequenceClassification", labels=1),
    }


def refusal(use: Use, model: str | Path) -> str:
    """The error that a model meets: of one line, not endless, and with something to do."""
    with pytest.raises(ModelNotFoundError) as caught:
        use(str(model))
    message = str(caught.value)
    assert "\n" not in message and len(message) < 800
    assert any(
        advice in message for advice in ("Choose another", "choose another", "Give ", "give ", "Check the files")
    )
    return message


@USES
@pytest.mark.parametrize("name", ["", "no/such", "a\0b", "x" * 9999, "line\nbreak", "~", "models--a--b", "../.."])
def test_a_name_of_nothing_is_refused(use: Use, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    refusal(use, name)


@USES
def test_a_folder_that_is_no_model_is_refused(use: Use, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    assert "No weights" in refusal(use, folder)
    (folder / "notes.txt").write_text("Roses grow behind the house.")
    (folder / "model.safetensors").mkdir()
    os.mkfifo(folder / "config.json")
    assert "No weights" in refusal(use, folder)
    (folder / "more.safetensors").symlink_to(folder / "nowhere")
    assert "No weights" in refusal(use, folder)


@pytest.mark.parametrize(
    "content", [*RUBBISH, b'{"architectures": 5}', b'{"architectures": [5]}', b'{"architectures": []}']
)
@pytest.mark.parametrize("stated_in", ["config.json", "config_sentence_transformers.json"])
def test_a_reranker_that_does_not_say_that_it_is_one_is_refused_at_once(
    tmp_path: Path, stated_in: str, content: bytes
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    if stated_in != "config.json":
        (tmp_path / "modules.json").write_text("[]")
    with pytest.raises(ModelNotFoundError):
        load_reranker(str(tmp_path))
    (tmp_path / stated_in).write_bytes(content)
    refusal(use_reranker, tmp_path)


@pytest.mark.slow
@USES
@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"])
def test_rubbish_in_place_of_any_file_is_refused(use: Use, file: str, tiny: dict[Use, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(tiny[use], tmp_path / "model")
    pristine = (folder / file).read_bytes()
    for content in (*RUBBISH, pristine[: len(pristine) // 2]):
        if (file, content) != ("tokenizer_config.json", b"{}"):  # which is no rubbish
            (folder / file).write_bytes(content)
            refusal(use, folder)
    (folder / file).write_bytes(pristine)
    use(str(folder))


@pytest.mark.slow
def test_a_model_of_another_kind_is_refused(tiny: dict[Use, Path], tmp_path: Path) -> None:
    embedder = str(find_model().path)
    assert "not trained to find answers" in refusal(use_reader, embedder)
    assert "not trained to find answers" in refusal(use_reader, tiny[use_reranker])
    assert "gives no score to a pair" in refusal(use_reranker, embedder)
    assert "gives no score to a pair" in refusal(use_reranker, tiny[use_reader])
    foreign = shutil.copytree(tiny[use_reader], tmp_path / "foreign")
    shutil.copy(find_model().path / "tokenizer.json", foreign)
    assert "cannot be loaded" in refusal(use_reader, foreign)


@pytest.mark.slow
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_weights_that_make_no_numbers_are_refused_by_the_reader_and_change_no_order(
    tiny: dict[Use, Path], tmp_path: Path, articles: Path, embedder: HashingEmbedder, value: float
) -> None:
    from safetensors.numpy import load_file, save_file

    folders = {}
    for use, folder in tiny.items():
        folders[use] = shutil.copytree(folder, tmp_path / folder.name)
        weights = load_file(folders[use] / "model.safetensors")
        broken = {name: np.full_like(weight, value) for name, weight in weights.items()}
        save_file(broken, folders[use] / "model.safetensors", metadata={"format": "pt"})
    assert "no numbers" in refusal(use_reader, folders[use_reader])
    index = Index.sync(articles / ".pincite", [articles], embedder=embedder)
    pipeline = Pipeline(index, reader=KnowingReader({"carp": ""}), reranker=load_reranker(str(folders[use_reranker])))
    assert [hit.path for hit in pipeline.search("carp", mode="full")] == [hit.path for hit in pipeline.search("carp")]
