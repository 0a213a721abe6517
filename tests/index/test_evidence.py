"""Evidence: what a file says now of a document that was read from it, at the cost of one reading at most."""

from __future__ import annotations

import gzip
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pincite.index import Document, Index, evidence, examine, verify
from pincite.index.evidence import Places
from pincite.index.sources import SourceFile, find_files, open_regular, read_documents
from tests.conftest import HashingEmbedder
from tests.index.sample_files import sample


def rows(count: int) -> bytes:
    return b"name,remark\n" + b"".join(b"Ship %d,remark %d of her captain\n" % (n, n) for n in range(count))


def zipped(**files: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_", "."), content)
    return data.getvalue()


NOTE = b"From a Mon Feb 1 09:31:00 2021\nSubject: Note\n\n" + b"A long note. " * 300 + b"\n\n"

CONTAINERS = {
    "c.jsonl": b"".join(json.dumps({"_id": str(n), "text": f"Record {n}."}).encode() + b"\n" for n in range(5)),
    "t.csv": sample("csv-ferries.csv"),
    "u.csv": sample("csv-articles.csv"),
    "t.tsv": sample("tsv-ferries.tsv"),
    "w.csv": sample("csv-ferries.csv").decode().encode("utf-16"),
    "m.mbox": sample("mail-harbour.mbox"),
    "m.eml": sample("mail-minutes.eml"),
    "m.mbox.gz": sample("gz-harbour.mbox.gz"),
    "n.txt.gz": gzip.compress(b"A note of the pilot."),
    "p.zip": sample("zip-papers.zip"),
    "p.tar.gz": sample("tar-papers.tar.gz"),
    "p.tar": gzip.decompress(sample("tar-papers.tar.gz")),
    "q.zip": zipped(c_jsonl=b'{"text": "One."}\n{"text": "Two."}\n', p_zip=sample("zip-papers.zip")),
}


@pytest.fixture(params=CONTAINERS)
def container(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / str(request.param)
    path.write_bytes(CONTAINERS[request.param])
    return path


def documents(path: Path) -> list[Document]:
    (file,) = find_files(str(path), root=str(path.parent))
    assert isinstance(file, SourceFile)
    return [item for item in read_documents(file) if isinstance(item, Document)]


class Reads:
    """Counts the bytes that are read of files, and how often they are opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes = self.opened = 0
        counter = self

        class Counting(io.FileIO):
            def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
                size = super().readinto(buffer)
                counter.bytes += size or 0
                return size

        def opening(location: str) -> io.FileIO:
            self.opened += 1
            open_regular(location).close()
            return Counting(location)

        monkeypatch.setattr(evidence, "open_regular", opening)


def test_each_document_of_an_unchanged_file_is_confirmed_in_its_place(container: Path) -> None:
    found = documents(container)
    assert found
    scanned: dict[str, Places] = {}
    for document in found:
        for said in (examine(document, str(container)), examine(document, str(container), scanned)):
            assert (said.problem, said.text, said.line) == ("", document.text, document.line)


def test_no_document_of_another_content_is_confirmed(container: Path) -> None:
    scanned: dict[str, Places] = {}
    for document in documents(container):
        other = replace(document, sha256=document.sha256[::-1])
        for said in (examine(other, str(container)), examine(other, str(container), scanned)):
            assert said.problem and said.text == document.text
        if document.record and not document.record.rpartition("#")[2].isdecimal() and container.suffix != ".jsonl":
            renamed = replace(document, record="x" + document.record, path=f"{container}#x{document.record}", offset=0)
            assert examine(renamed, str(container)).problem and examine(renamed, str(container), scanned).problem


def test_a_file_that_is_gone_or_something_else_confirms_nothing(container: Path) -> None:
    found = documents(container)
    for content in (b"", b"\0" * 999, b"x" * 40, CONTAINERS[container.name][: len(CONTAINERS[container.name]) // 12]):
        container.write_bytes(content)
        for document in found[-1:]:
            assert examine(document, str(container)).problem
            assert examine(document, str(container), {}).problem
    container.unlink()
    assert examine(found[0], str(container)).problem == "the file is no longer there"


@pytest.mark.parametrize("name", sorted(CONTAINERS.keys() - {"c.jsonl"}))
def test_a_call_reads_its_file_once_at_most_and_many_calls_with_a_memory_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    container = tmp_path / name
    container.write_bytes(CONTAINERS[name])
    found = documents(container)
    reads = Reads(monkeypatch)
    for document in found:
        reads.bytes = reads.opened = 0
        assert examine(replace(document, sha256=document.sha256[::-1]), str(container)).problem
        assert reads.opened == 1 and reads.bytes <= 3 * container.stat().st_size + 100
    reads.bytes = 0
    scanned: dict[str, Places] = {}
    for document in found:
        assert not examine(document, str(container), scanned).problem
    assert reads.bytes <= 3 * container.stat().st_size + 100  # a beginning is looked at, too, and the end of a zip


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("t.csv", rows(200_000)),
        ("m.mbox", NOTE * 1_500),
        ("p.zip", zipped(a_txt=b"A note.", z_csv=rows(200_000))),
    ],
)
def test_what_is_where_it_was_is_confirmed_without_reading_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    found: Iterator[object] = read_documents(
        next(f for f in find_files(str(path), root="/") if isinstance(f, SourceFile))
    )
    document = next(item for n, item in enumerate(found) if n == (1_000 if name != "p.zip" else 0))
    assert isinstance(document, Document)
    reads = Reads(monkeypatch)
    assert not examine(document, str(path)).problem
    assert reads.bytes <= 3 << 20 < len(data)


def test_a_record_of_a_corpus_is_found_by_its_offset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b"".join(b'{"_id": "%d", "text": "Record of the harbour."}\n' % n for n in range(10_000)))
    last = documents(path)[-1]
    reads = Reads(monkeypatch)
    assert examine(last, str(path)).line == 10_000
    assert reads.bytes < 200_000


def test_what_cannot_be_read_any_more_says_why(tmp_path: Path) -> None:
    path = tmp_path / "p.zip"
    path.write_bytes(zipped(a_txt=b"A note.", b_txt=b"Another."))
    first, second = documents(path)
    data = bytearray(path.read_bytes())
    data[data.index(b"A note.")] ^= 1
    path.write_bytes(data)
    assert examine(first, str(path)).problem == "it cannot be read any more: damaged or cut short"
    assert not examine(second, str(path)).problem


def test_a_fifo_in_the_place_of_a_file_is_not_waited_for(container: Path) -> None:
    found = documents(container)
    container.unlink()
    os.mkfifo(container)
    assert "named pipe" in examine(found[0], str(container)).problem


CHANGES: list[tuple[str, Callable[[bytes], bytes], set[str]]] = [
    ("t.csv", lambda data: data.replace(b"1931", b"1932"), {"5"}),
    ("t.csv", lambda data: data.replace(b"Crew", b"Hands"), {"2", "3", "4", "5", "6"}),
    ("u.csv", lambda data: data.replace(b"9,300", b"9,400"), {"a18"}),
    ("m.mbox", lambda data: data.replace(b"Ingrid", b"Astrid"), {"3", "3#minutes.txt"}),
    ("p.zip", lambda data: zipped(bell_html=b"<p>Nothing else."), {"*"}),
]


@pytest.mark.parametrize(("name", "change", "changed"), CHANGES)
def test_verify_names_what_has_changed_and_nothing_else(
    tmp_path: Path, embedder: HashingEmbedder, name: str, change: Callable[[bytes], bytes], changed: set[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(CONTAINERS[name])
    index = Index.sync(tmp_path / ".pincite", [path], embedder=embedder)
    assert list(verify(index)) == []
    path.write_bytes(change(CONTAINERS[name]))
    problems = list(verify(index))
    assert not any(problem.damage for problem in problems)
    short = {
        problem.path.partition("#")[2].replace("2021-02-0", "").replace(".harbour@example.org", "")
        for problem in problems
    }
    assert short == changed if changed != {"*"} else len(short) == index.stats().documents
    index = Index.sync(tmp_path / ".pincite", [path], embedder=embedder)
    assert list(verify(index)) == []
