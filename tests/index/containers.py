"""What the tests of files with many documents share: reading one, damaging one, and quoting a document of one."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from pincite.index import Document, Index, Span, examine
from pincite.index.extracted import Part
from pincite.index.members import Reading
from pincite.index.walk import Skipped
from pincite.qa.citations import Citation, cite
from tests.conftest import HashingEmbedder

Reader = Callable[[IO[bytes], str], Iterator[Part | Skipped]]


def read(
    reader: Callable[..., Iterator[Part | Skipped]], data: bytes, path: str
) -> tuple[dict[str, Part], list[Skipped]]:
    """Return the parts of a file by their names, and what was not read."""
    items = list(reader(io.BytesIO(data), path, Reading()))
    parts = [item for item in items if isinstance(item, Part)]
    named = {part.record: part for part in parts}
    assert len(named) == len(parts), "two parts with one name"
    return named, [item for item in items if isinstance(item, Skipped)]


def damaged(data: bytes, count: int) -> Iterator[bytes]:
    """Yield copies of `data` with bytes changed, with pieces left out or twice, and cut short; the same every time."""
    chance = random.Random(len(data))
    for number in range(count):
        copy = bytearray(data)
        if number % 3 == 0:
            del copy[chance.randrange(len(copy)) :]
        elif number % 3 == 1:
            for _ in range(chance.choice([1, 3, 20])):
                copy[chance.randrange(len(copy))] = chance.choice([0, 10, 34, 45, 0x80, 0xFF, chance.randrange(256)])
        else:
            first, last = sorted(chance.randrange(len(copy)) for _ in range(2))
            copy[first:last] = copy[first:last] * chance.choice([0, 2])
        yield bytes(copy)


some_and_many = pytest.mark.parametrize("count", [30, pytest.param(300, marks=pytest.mark.slow)])
"""How many copies of a sample are damaged, at once and where there is time."""


def assert_bears_damage(reader: Reader, data: bytes, path: str, count: int) -> None:
    """Assert that a reader gives parts with text, or a reason on one line, whatever happened to its file."""
    for copy in damaged(data, count):
        for item in reader(io.BytesIO(copy), path):
            if isinstance(item, Skipped):
                assert item.reason and "\n" not in item.reason and len(item.reason) < 200
            else:
                assert item.extracted.text.strip() and len(item.sha256) == 64


def synced(folder: Path, file: Path, embedder: HashingEmbedder) -> Index:
    """Return an index of one file."""
    return Index.sync(folder / ".pincite", [file], embedder=embedder)


def cited(index: Index, record: str, quote: str) -> Citation:
    """Return the citation of a quote in the part `record` of the only file of an index, checked against the file."""
    document = documents(index)[record]
    start = document.text.index(quote)
    span = Span(start, start + len(quote))
    return cite(document, span, span, 1.0, examine(document, index.location(document)))


def documents(index: Index) -> dict[str, Document]:
    """Return the documents of an index of one file by their names in it."""
    return {document.record: document for document in index.documents()}
