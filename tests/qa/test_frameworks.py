"""The index inside LangChain, LlamaIndex and Haystack: the real packages, the real models, nothing sent anywhere."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pincite.index import Index, IndexNotFoundError, QuestionError

pytestmark = pytest.mark.slow  # their imports alone take seconds

BOARD = "Who sits on the board?"


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of articles with an index of them in it; one is there twice."""
    folder = tmp_path_factory.mktemp("notes")
    text = "---\nauthor: Jo Roe\nshelf: B7\n---\n# The board\n\nOn the board sit Ann and Bob.\n"
    (folder / "board.md").write_text(text)
    (folder / "board-copy.md").write_text(text)
    (folder / "pond.txt").write_text("The pond holds three carp.\n\nRoses grow behind the house.\n")
    Index.sync(folder / ".pincite", [folder])
    return folder


def check(notes: Path, text: str, metadata: dict[str, object], score: float | None) -> None:
    """Assert that a passage is exactly where it says, and says what is known of it."""
    document = Index.open(notes / ".pincite").documents_of(str(metadata["path"]))[0]
    start, end = metadata["start"], metadata["end"]
    assert isinstance(start, int) and isinstance(end, int) and text == document.text[start:end]
    assert "Ann and Bob" in text and metadata["title"] == "The board" and metadata["format"] == "markdown"
    assert metadata["author"] == "Jo Roe" and metadata["shelf"] == "B7" and "url" not in metadata
    assert metadata["score"] == pytest.approx(score, abs=1e-5)
    both = {metadata["path"], *metadata["also"]}  # type: ignore[misc]  # a list of paths
    assert both == {str(notes / "board.md"), str(notes / "board-copy.md")}


def test_langchain_gets_documents_that_say_where_they_stand(notes: Path) -> None:
    pytest.importorskip("langchain_core")
    from langchain_core.documents import Document
    from langchain_core.runnables import RunnableLambda

    from pincite.qa.langchain import PinciteRetriever

    retriever = PinciteRetriever(index=str(notes / ".pincite"), k=2)
    found = retriever.invoke(BOARD)
    check(notes, found[0].page_content, found[0].metadata, found[0].metadata["score"])
    assert len(found) == 2 and len({one.id for one in found}) == 2
    assert asyncio.run(retriever.ainvoke(BOARD)) == retriever.batch([BOARD])[0] == found
    chain = retriever | RunnableLambda[list[Document], int](len)
    assert chain.invoke(BOARD) == 2
    filtered = PinciteRetriever(index=str(notes / ".pincite"), where=["format=text"], mode="sparse").invoke(
        "carp board"
    )
    assert [one.page_content.split()[1] for one in filtered] == ["pond"]
    with pytest.raises(QuestionError, match="empty"):
        retriever.invoke(" ")
    with pytest.raises(IndexNotFoundError):
        PinciteRetriever(index=str(notes / "nowhere"))
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        PinciteRetriever(index=str(notes / ".pincite"), k=0)


def test_llamaindex_gets_nodes_that_say_where_they_stand(notes: Path) -> None:
    pytest.importorskip("llama_index.core")
    from llama_index.core.schema import MetadataMode, TextNode

    from pincite.qa.llamaindex import PinciteRetriever

    retriever = PinciteRetriever(notes / ".pincite", k=2)
    found = retriever.retrieve(BOARD)
    node = found[0].node
    assert isinstance(node, TextNode) and len(found) == 2
    check(notes, node.text, node.metadata, found[0].score)
    assert (node.start_char_idx, node.end_char_idx) == (node.metadata["start"], node.metadata["end"])
    source = Index.open(notes / ".pincite").document(node.ref_doc_id or "")
    assert source.path == node.metadata["path"]
    shown = node.get_content(MetadataMode.LLM)
    assert "line: " in shown and "author: Jo Roe" in shown and "score" not in shown and "dense_rank" not in shown
    assert asyncio.run(retriever.aretrieve(BOARD)) == found
    filtered = PinciteRetriever(notes / ".pincite", where=["format=text"], mode="sparse").retrieve("carp board")
    assert [one.node.get_content().split()[1] for one in filtered] == ["pond"]
    with pytest.raises(IndexNotFoundError):
        PinciteRetriever(notes / "nowhere")


def test_haystack_pipelines_find_answer_and_are_saved(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAYSTACK_TELEMETRY_ENABLED", "False")
    pytest.importorskip("haystack")
    monkeypatch.setattr("haystack.telemetry._telemetry.telemetry", None)  # should it have been imported before
    from haystack import Pipeline
    from haystack.version import __version__

    from pincite.qa.haystack import PinciteAnswerer, PinciteRetriever

    made = Pipeline()
    made.add_component("find", PinciteRetriever(str(notes / ".pincite"), top_k=2))
    made.add_component("answer", PinciteAnswerer(str(notes / ".pincite"), min_confidence=0.2))
    options: dict[str, Any] = {} if __version__.startswith("2.") else {"allowed_modules": ["pincite.qa.haystack"]}
    pipeline = Pipeline.loads(made.dumps(), **options)
    assert pipeline.to_dict() == made.to_dict()
    asked = {"find": {"query": BOARD}, "answer": {"query": BOARD}}
    replies = pipeline.run(asked)
    documents, (answer,) = replies["find"]["documents"], replies["answer"]["answers"]
    check(notes, documents[0].content, documents[0].meta, documents[0].score)
    assert len(documents) == 2
    if options:  # Haystack 2 has another class for it
        assert asyncio.run(pipeline.run_async(asked)) == replies
    span, text = answer.document_offset, (notes / "board.md").read_text()
    assert answer.data == text[span.start : span.end] == "Ann and Bob"
    assert answer.context[answer.context_offset.start : answer.context_offset.end] == answer.data
    assert answer.meta["verified"] and answer.meta["line"] == 7 and 0.2 < answer.score <= 1
    other = pipeline.run(
        {"find": {"query": "carp", "top_k": 1, "where": ["format=text"]}, "answer": {"query": BOARD, "where": ["x=1"]}}
    )
    assert [one.content.split()[1] for one in other["find"]["documents"]] == ["pond"]
    assert other["answer"]["answers"] == []
    with pytest.raises(ValueError, match="at least 1"):
        PinciteRetriever(str(notes / ".pincite")).run("carp", top_k=0)


# Every way out of Python is noted in a file, since an error may be caught. A socket alone is none: urllib3 makes one
# when it is imported, to see whether there is IPv6.
WATCHED = """
import os, sys
def note(event, arguments):
    if event.startswith("socket.") and event not in {{"socket.__new__", "socket.bind", "socket.gethostname"}}:
        with open("attempts", "a") as file:
            file.write(f"{{event}} {{arguments}}")
        raise OSError("the network is out of bounds")
sys.addaudithook(note)
from pincite.qa.{module} import PinciteRetriever
print(len(PinciteRetriever(index={index!r}, mode="sparse").{method}("carp")))
print(*sorted(sys.modules))
"""


@pytest.mark.parametrize(
    ("module", "method", "package"),
    [
        ("langchain", "invoke", "langchain_core"),
        ("llamaindex", "retrieve", "llama_index"),
        ("haystack", "run", "haystack"),
    ],
)
def test_an_adapter_sends_nothing_and_loads_no_other_framework(
    module: str, method: str, package: str, notes: Path, tmp_path: Path
) -> None:
    pytest.importorskip(package)
    program = WATCHED.format(module=module, method=method, index=str(notes / ".pincite"))
    environment = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name}
    environment |= {"HOME": str(tmp_path)}  # where Haystack writes its telemetry's identity when it is imported
    child = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr
    number, *loaded = child.stdout.split()
    assert number == "1" and not (tmp_path / "attempts").exists()
    assert not (tmp_path / ".cache" / "pincite").exists()  # nothing was compiled that a search does not need
    others = {"langchain_core", "llama_index", "haystack", "mcp"}
    assert others & {name.partition(".")[0] for name in loaded} == {package}
