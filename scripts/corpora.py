"""Real articles -> as many varied ones as are wanted, and vectors for their passages without embedding them.

A large corpus cannot be had by repeating a small one: every copy would be found again by its hash. So sentences are
exchanged between articles, and some names are spelt anew, by which the vocabulary grows with the corpus. A passage's
vector is a real one moved by the difference of two others: as far from it, and in the directions, as passages differ.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pincite.index import Chunking, Document, Vectors
from pincite.index.chunker import chunk, fit_title
from pincite.index.embedder import Embedder
from pincite.index.segment_columns import indexed_text

_HELD_OUT = 60
"""Articles of which no corpus is made, only queries; a tenth if there are few."""

_FILES_PER_FOLDER = 500

_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{3,}")
_SYLLABLES = ("ba", "den", "ko", "li", "mar", "no", "rit", "sel", "tu", "vo", "wen", "ya")


@dataclass(frozen=True, slots=True)
class Article:
    """A title, and paragraphs as their sentences."""

    title: str
    paragraphs: tuple[tuple[str, ...], ...]

    @property
    def text(self) -> str:
        """The article as a text file has it."""
        return "\n\n".join([self.title, *map(" ".join, self.paragraphs)]) + "\n"


@dataclass(frozen=True, slots=True)
class Material:
    """What corpora are made of.

    Attributes:
        articles: real ones, to be varied.
        vectors: float32, shape `(n, dim)`, unit rows: real passages of these articles.
        queries: first words of real passages of other articles.
        query_vectors: float32, shape `(len(queries), dim)`, unit rows: the vectors of those passages, moved.
        passage_characters: of text for each passage, overlaps counted once.
    """

    articles: Sequence[Article]
    vectors: Vectors
    queries: Sequence[str]
    query_vectors: Vectors
    passage_characters: float


def read_articles(corpus: Path) -> list[Article]:
    """Return the articles, in an order of chance, of a `.jsonl` corpus or of a folder of text files.

    Those without a title or a few sentences are left out.
    """
    articles = []
    for title, text in _read_jsonl(corpus) if corpus.suffix == ".jsonl" else _read_folder(corpus):
        blocks = [block.strip() for block in re.split(r"\n\s*\n", text) if block.strip()]
        paragraphs = tuple(tuple(re.split(r"(?<=[.!?])\s+", block)) for block in blocks)
        if title and sum(map(len, paragraphs)) >= 5:
            articles.append(Article(title, paragraphs))
    random.Random(20221122).shuffle(articles)
    return articles


def _read_jsonl(corpus: Path) -> Iterator[tuple[str, str]]:
    with corpus.open(encoding="utf-8") as lines:
        for line in filter(str.strip, lines):
            record = json.loads(line)
            yield record.get("title", ""), record["text"]


def _read_folder(corpus: Path) -> Iterator[tuple[str, str]]:
    for file in sorted(corpus.rglob("*")):
        if file.suffix in {".txt", ".md", ".rst"}:
            title, _, text = file.read_text(encoding="utf-8", errors="replace").strip().partition("\n")
            yield title.strip("# "), text


def vary(articles: Sequence[Article], number: int, version: int = 0) -> str:
    """Return article `number` of an endless corpus: half of its sentences are from two others.

    Another `version` is another text under the same number.
    """
    draw = random.Random(number << 32 | version)
    base, *others = draw.choices(articles, k=3)
    strangers = [sentence for other in others for paragraph in other.paragraphs for sentence in paragraph]
    paragraphs = tuple(
        tuple(sentence if draw.random() < 0.5 else draw.choice(strangers) for sentence in paragraph)
        for paragraph in base.paragraphs
    )
    text = Article(f"{base.title} ({number})", paragraphs).text
    names = sorted(set(_NAME.findall(text)))
    spelt = {name: name[:-1] + "".join(draw.choices(_SYLLABLES, k=2)) for name in names if draw.random() < 0.05}
    return _NAME.sub(lambda match: spelt.get(match[0], match[0]), text)


def write_corpus(folder: Path, material: Material, passages: int) -> int:
    """Write about as many articles as have `passages` passages to text files; return how many articles."""
    due, number = passages * material.passage_characters, 0
    while due > 0:
        text = vary(material.articles, number)
        path = article_path(folder, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        due -= len(text)
        number += 1
    return number


def article_path(folder: Path, number: int) -> Path:
    """Return the file of an article in the folder of a corpus."""
    return folder / f"{number // _FILES_PER_FOLDER:04}" / f"{number:07}.txt"


def prepare_material(corpus: Path, work: Path, embedder: Embedder, sample: int = 20_000) -> Material:
    """Return what corpora are made of; `sample` real passages are embedded the first time, and kept in `work`."""
    articles = read_articles(corpus)
    others = articles[: min(_HELD_OUT, -(-len(articles) // 10))]
    articles = articles[len(others) :]
    kept = work / f"sample-{sample}-{embedder.fingerprint[:16]}.npz"
    if not kept.exists():
        chunking = Chunking.for_window(embedder.max_tokens)
        held_out = [text for article in others for text in _passages(article, embedder, chunking)]
        texts, characters = list[str](), 0
        for article in articles:
            texts += _passages(article, embedder, chunking)
            characters += len(article.text)
            if len(texts) >= sample:
                break
        vectors, other_vectors = embedder.embed_passages(texts), embedder.embed_passages(held_out)
        queries = json.dumps([" ".join(text.partition("\n")[2].split()[:12]) for text in held_out])
        work.mkdir(parents=True, exist_ok=True)
        np.savez(kept, vectors=vectors, others=other_vectors, queries=queries, characters=characters / len(texts))
    with np.load(kept) as data:
        vectors, other_vectors, size = data["vectors"], data["others"], float(data["characters"])
        queries = json.loads(str(data["queries"]))
    choices = _choices(queries)
    choices[:, 0] = np.arange(len(queries))
    return Material(articles, vectors, queries, moved(other_vectors, choices), size)


def _passages(article: Article, embedder: Embedder, chunking: Chunking) -> Iterator[str]:
    document = Document("0" * 32, "article.txt", article.title, article.text, sha256(article.text.encode()).hexdigest())
    lead = fit_title(document.title, embedder, chunking)
    for passage in chunk(document, embedder, chunking):
        yield indexed_text(lead, passage.text)


def moved(vectors: Vectors, choices: NDArray[np.uint32]) -> Vectors:
    """Return unit rows: for each (a, b, c, how far) of `choices`, shape `(m, 4)`, row a moved along row b minus row c.

    `how far` is from 0 to 2**32 for 0.3 to 0.6 of the difference, by which a row keeps a cosine of 0.92 to 0.77.
    """
    far = (0.3 + 0.3 * choices[:, 3:].astype(np.float32) / np.float32(2**32)).astype(np.float32)
    a, b, c = (vectors[choices[:, i] % np.uint32(len(vectors))] for i in range(3))
    rows = a + far * (b - c)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def _choices(texts: Sequence[str]) -> NDArray[np.uint32]:
    digests = b"".join(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts)
    return np.frombuffer(digests, np.uint32).reshape(-1, 4).copy()


class PreparedEmbedder:
    """A model's tokens and questions, but prepared vectors for passages: the same text has the same one.

    Attributes:
        passages: embedded so far; `seconds`, `cpu_seconds`: what that took.
        log: a file to which 8 bytes are written for each passage that is embedded, to see which come twice.
        after_batch: called at the end of each batch.
    """

    def __init__(self, model: Embedder, vectors: Vectors, log: Path | None = None) -> None:
        self.name = model.name
        self.fingerprint = sha256(f"prepared {model.fingerprint}".encode()).hexdigest()
        self.dim = model.dim
        self.max_tokens = model.max_tokens
        self.token_offsets = model.token_offsets
        self.embed_query = model.embed_query
        self.passages = 0
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        self.log = log
        self.after_batch: Callable[[], None] | None = None
        self._vectors = vectors

    def embed_passages(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> Vectors:
        """Return the vectors of passages; see `Embedder`."""
        started, cpu = time.perf_counter(), time.process_time()
        rows = moved(self._vectors, _choices(texts))
        if self.log:
            with self.log.open("ab") as log:
                log.write(b"".join(blake2b(text.encode(), digest_size=8).digest() for text in texts))
        if progress:
            progress(len(texts))
        self.passages += len(texts)
        if self.after_batch:
            self.after_batch()
        self.seconds += time.perf_counter() - started
        self.cpu_seconds += time.process_time() - cpu
        return rows
