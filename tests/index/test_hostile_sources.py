"""Sources made to harm, or just odd: bounded time and memory, one clear reason each, and nothing outside is read."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pincite.index import Document, Index, Skipped, records, verify, webpages
from pincite.index.decoding import MOST_LINES, decode
from pincite.index.formats import format_of
from pincite.index.sources import SourceFile, find_files, read_documents
from tests.conftest import HashingEmbedder
from tests.qa.test_cli import pincite

ARTICLE = "The lighthouse at Rum Point was lit in 1893. Its keeper was Ida Moss.\n"


class MeddlingEmbedder(HashingEmbedder):
    """Does something once, when the first document has been read and is cut into passages."""

    def __init__(self, meddle: Callable[[], object]) -> None:
        super().__init__()
        self._meddle: Callable[[], object] | None = meddle

    def token_offsets(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        if self._meddle:
            meddle, self._meddle = self._meddle, None
            meddle()
        return super().token_offsets(texts)


def results(path: Path) -> list[Document | Skipped]:
    found: list[Document | Skipped] = []
    for item in find_files(str(path), root=str(path if path.is_dir() else path.parent)):
        found += [item] if isinstance(item, Skipped) else [*read_documents(item)]
    return found


def reasons(index: Index) -> dict[str, str]:
    assert index.report is not None
    return {item.path: item.reason for item in index.report.skipped}


def texts(index: Index) -> dict[str, str]:
    return {os.path.basename(document.path): document.text for document in index.documents()}


def record(number: int, text: str = "Some record of a corpus.") -> str:
    return json.dumps({"_id": f"r{number}", "text": f"{number}. {text}"}) + "\n"


# Names


ODD_NAMES = [
    b"two\npincite: lines.txt",
    b"\x1b[2J\x1b]0;owned\x07.txt",
    b"caf\xe9 \xff.txt",
    "\u202etxt.exe\u2069.txt".encode(),
    b"--json.txt",
    b"a#b.txt",
    b"\r.txt",
    b" .txt",
]


def test_odd_names_are_stored_verified_and_found_again(tmp_path: Path, embedder: HashingEmbedder) -> None:
    for name in ODD_NAMES:
        (tmp_path / os.fsdecode(name)).write_text(ARTICLE)
    index = Index.sync(tmp_path / ".pincite", [tmp_path], embedder=embedder)
    assert sorted(os.fsencode(os.path.basename(document.path)) for document in index.documents()) == sorted(ODD_NAMES)
    assert list(verify(index)) == []
    assert all(Path(document.path).read_text() == document.text for document in index.documents())
    again = Index.sync(tmp_path / ".pincite", embedder=embedder)
    assert again.generation == index.generation


@pytest.mark.slow
def test_odd_names_forge_no_line_on_a_terminal_and_are_exact_in_json(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    for name in ODD_NAMES:
        (folder / os.fsdecode(name)).write_text(ARTICLE)
        (folder / os.fsdecode(b"bad " + name)).write_bytes(b"\0\1\2\3" * 9)
    done = pincite("index", "odd", cwd=tmp_path)
    assert done.stderr.count("\n") == len(ODD_NAMES) + 1
    assert all(line.startswith("skipped odd/bad ") for line in done.stderr.splitlines()[:-1])
    found = pincite("search", "lighthouse", cwd=tmp_path)
    for name in ODD_NAMES:
        (folder / os.fsdecode(name)).write_text(f"Changed. {ARTICLE}")
    asked = pincite("ask", "--min-confidence", "0", "Who was the keeper of the lighthouse?", cwd=tmp_path)
    status = pincite("status", cwd=tmp_path)
    checked = pincite("verify", cwd=tmp_path)
    for output in (done.stderr, found.stdout, asked.stdout, asked.stderr, status.stdout, checked.stderr):
        assert output and not any(mark in output for mark in "\x1b\x07\r\u202e\x85")
        assert "\npincite: lines" not in output
    assert asked.stderr.count("\n") == 1
    command = [sys.executable, "-m", "pincite.qa", "search", "--json", "lighthouse"]
    hits = json.loads(subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout)["hits"]
    found_in = [place["path"] for hit in hits for place in (hit, *hit["also"])]
    assert {os.path.basename(os.fsencode(path)) for path in found_in} == set(ODD_NAMES)
    assert json.loads(pincite("index", "--json", cwd=tmp_path).stdout)["skipped"]


# Kinds of files


def test_a_folder_of_traps_is_reported_and_the_articles_in_it_are_read(
    tmp_path: Path, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "_MOST_PASSED", 1 << 26)  # a GiB takes a second
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text("Nobody is to read this.\n")
    (folder / "a.txt").write_text(ARTICLE)
    os.link(folder / "a.txt", folder / "same.txt")
    os.mkfifo(folder / "pipe.jsonl")
    (folder / "out.txt").symlink_to("../secret.txt")
    (folder / "up").symlink_to("..")
    for name in ("hole.txt", "hole.html", "hole.jsonl"):
        (folder / name).touch()
        os.truncate(folder / name, 1 << 40)
    with (folder / "line.txt").open("wb") as file:
        file.write(b"x" * 34_000_000)
    with (folder / "c.jsonl").open("w") as lines:
        lines.write(record(1) + record(2, "x" * 34_000_000) + record(3))
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.txt")
        index = Index.sync("../.pincite", ["../in/../in"], embedder=embedder)
    assert set(texts(index)) == {"a.txt", "same.txt", "c.jsonl#r1", "c.jsonl#r3"}
    assert reasons(index) == {
        "in/c.jsonl:2": "the line is longer than 32 MiB",
        "in/hole.html": "too large (1,099,512 MB; the limit is 32 MiB)",
        "in/hole.jsonl:1": "the line is longer than 32 MiB, and what follows it is not read",
        "in/hole.txt": "too large (1,099,512 MB; the limit is 32 MiB)",
        "in/line.txt": "too large (34 MB; the limit is 32 MiB)",
        "in/out.txt": "a link to outside of the source folder",
        "in/pipe.jsonl": "a named pipe, not a file",
        "in/s.txt": "a socket, not a file",
        "in/up": "a link to outside of the source folder",
    }
    assert list(verify(index)) == []


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="needs /proc")
def test_a_file_of_the_kernel_which_has_no_size_is_no_text_that_changes() -> None:
    (file,) = find_files("/proc/self/maps", root="/")
    assert isinstance(file, SourceFile) and file.stamp.size == 0
    for path in ("maps.txt", "maps.jsonl"):
        (skipped,) = read_documents(SourceFile(path, file.location, file.stamp))
        assert skipped == Skipped(path, "it holds more than its size says, as files of the kernel do")


def test_a_folder_that_becomes_a_link_after_the_walk_leads_nowhere(tmp_path: Path) -> None:
    for name in ("in/sub/a.txt", "in/sub/c.jsonl", "outside/a.txt", "outside/c.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(record(1, f"In {name}."))
    found = [file for file in find_files(str(tmp_path / "in"), root=str(tmp_path)) if isinstance(file, SourceFile)]
    (tmp_path / "in/sub").rename(tmp_path / "in/old")
    (tmp_path / "in/sub").symlink_to("../outside")
    assert [item for file in found for item in read_documents(file)] == [
        Skipped(path, "a folder that it was found in has become a link") for path in ("in/sub/a.txt", "in/sub/c.jsonl")
    ]


def test_a_source_given_through_a_link_is_still_read(tmp_path: Path) -> None:
    (tmp_path / "real/sub").mkdir(parents=True)
    (tmp_path / "real/sub/a.txt").write_text(ARTICLE)
    (tmp_path / "link").symlink_to("real")
    items = [*find_files(str(tmp_path / "link"), root=str(tmp_path))]
    documents = [item for file in items if isinstance(file, SourceFile) for item in read_documents(file)]
    assert [(item.path, isinstance(item, Document)) for item in documents] == [("link/sub/a.txt", True)]


def test_two_dots_in_a_name_go_back_in_the_name_and_not_through_a_link(
    tmp_path: Path, embedder: HashingEmbedder
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "outside/sub").mkdir(parents=True)
    (tmp_path / "in/a.txt").write_text(ARTICLE)
    (tmp_path / "outside/a.txt").write_text("Nobody is to read this.\n")
    (tmp_path / "in/link").symlink_to("../outside/sub")
    index = Index.sync(tmp_path / ".pincite", [tmp_path / "in/link/../a.txt"], embedder=embedder)
    assert texts(index) == {"a.txt": ARTICLE}


def test_a_path_that_is_too_long_is_reported_and_the_rest_is_read(tmp_path: Path, embedder: HashingEmbedder) -> None:
    name, depth = "d" * 200, 25
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").write_text(ARTICLE)
    folders = [os.open(tmp_path / "in", os.O_RDONLY)]
    try:
        for _ in range(depth):
            os.mkdir(name, dir_fd=folders[-1])
            folders.append(os.open(name, os.O_RDONLY, dir_fd=folders[-1]))
        os.close(os.open("deep.txt", os.O_CREAT | os.O_WRONLY, dir_fd=folders[-1]))
        index = Index.sync(tmp_path / ".pincite", [tmp_path / "in"], embedder=embedder)
        assert texts(index) == {"a.txt": ARTICLE}
        assert [*reasons(index).values()] == ["its path is too long"]
    finally:  # deeper than what pytest's clean-up can name
        os.unlink("deep.txt", dir_fd=folders[-1])
        for folder in reversed(folders[:-1]):
            os.rmdir(name, dir_fd=folder)
        for folder in folders:
            os.close(folder)


# Files that change while they are read


def test_a_corpus_that_grows_faster_than_it_is_read_ends(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text("".join(map(record, range(100))))
    (file,) = find_files(str(path), root=str(tmp_path))
    assert isinstance(file, SourceFile)
    found = []
    with path.open("a") as end:
        for item in read_documents(file):
            found.append(item)
            end.write(record(100 + len(found)))
            end.flush()
    assert len(found) == 101
    assert found[-1] == Skipped("c.jsonl", "changed while it was read")


@pytest.mark.parametrize("size", [0, 300_000])
def test_a_corpus_that_shrinks_while_it_is_read_loses_no_record_before_it_is_read_again(
    tmp_path: Path, embedder: HashingEmbedder, size: int
) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text("".join(record(n, "word " * 2_000) for n in range(60)))
    Index.sync(tmp_path / ".pincite", [path], embedder=embedder)
    path.write_text(record(1000) + path.read_text())
    torn = Index.sync(tmp_path / ".pincite", embedder=MeddlingEmbedder(lambda: os.truncate(path, size)))
    assert reasons(torn)["c.jsonl"] == "changed while it was read"
    assert torn.stats().documents == 61
    whole = Index.sync(tmp_path / ".pincite", embedder=embedder)
    assert whole.stats().documents == size // 10_000
    assert list(verify(whole)) == []


def test_files_that_vanish_or_become_something_else_before_their_turn_are_reported(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.txt", "b.txt", "c.txt", "d.txt", "e.txt"):
        (folder / name).write_text(f"{name}: {ARTICLE}")

    def meddle() -> None:
        (folder / "b.txt").unlink()
        (folder / "c.txt").unlink()
        os.mkfifo(folder / "c.txt")
        (folder / "d.txt").unlink()
        (folder / "d.txt").symlink_to("/etc/passwd")

    index = Index.sync(tmp_path / ".pincite", [folder], embedder=MeddlingEmbedder(meddle))
    assert set(texts(index)) == {"a.txt", "e.txt"}
    assert reasons(index) == {
        "in/b.txt": "vanished before it was read",
        "in/c.txt": "a named pipe, not a file",
        "in/d.txt": "has become a link",
    }


# Contents


@pytest.mark.parametrize("pad", [" ", "\n", "<?xml ", "<?xml " + " " * 90, "\t<?xml"])
def test_a_page_that_begins_with_much_of_nothing_is_read_in_linear_time(pad: str) -> None:
    page = webpages.read_html((pad * (2_000_000 // len(pad)) + "<p>deep text").encode())
    assert "deep text" in page.text or "<?xml" in pad


def test_a_page_of_too_many_tags_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webpages, "_MOST_EVENTS", 10_000)
    (tmp_path / "a.html").write_text("<p>x" * 4_999)  # and html and body
    (tmp_path / "b.html").write_text("<p>x" * 5_000)
    (tmp_path / "c.html").write_text("<" * 10_001)
    document, *skipped = results(tmp_path)
    assert isinstance(document, Document)
    assert skipped == [Skipped(name, "more than 10,000 tags and pieces of text") for name in ("b.html", "c.html")]


def test_entities_that_stand_for_billions_of_others_are_not_unfolded(tmp_path: Path) -> None:
    entities = "".join(f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>" for n in range(1, 20))
    for name in ("a.html", "b.xhtml"):
        (tmp_path / name).write_text(f"<!DOCTYPE html [<!ENTITY l0 'laugh'>{entities}]><p>deep text &l19;</p>")
    for item in results(tmp_path):
        assert isinstance(item, Document)
        assert "deep text" in item.text and len(item.text) < 5_000


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\u2028"])
def test_a_text_of_too_many_lines_is_reported(tmp_path: Path, end: str) -> None:
    ends = 2 if end == "\r\n" else 1
    (tmp_path / "a.txt").write_bytes(f"x{end}".encode() * (MOST_LINES // ends))
    (tmp_path / "b.txt").write_bytes(f"x{end}".encode() * (MOST_LINES // ends + 1))
    (tmp_path / "c.jsonl").write_text(json.dumps({"text": f"x{end}" * (MOST_LINES // ends + 1)}, ensure_ascii=False))
    document, *skipped = results(tmp_path)
    assert isinstance(document, Document)
    reason = f"too many lines ({MOST_LINES + ends:,}; the limit is 2,000,000)"
    assert skipped == [Skipped("b.txt", reason), Skipped("c.jsonl:1", reason)]


def test_accents_at_the_end_of_a_long_line_cost_no_copies_of_the_line() -> None:
    data = b"word " * 2_000_000 + "né à Genève, où l'été créé fut très « frais »".encode("cp1252")
    decode(FRENCH := data[-2_000:])
    tracemalloc.start()
    try:
        text, encoding = decode(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert encoding == "cp1252" and text.endswith(FRENCH[-9:].decode("cp1252"))
    assert peak < 3.5 * len(data)


def test_a_corpus_of_nothing_but_bad_lines_is_given_up_and_never_fills_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b"x\n" * 120_000)
    items = results(path)
    assert items[:2] == [Skipped(f"c.jsonl:{n}", "not JSON: Expecting value") for n in (1, 2)]
    assert items[1000:] == [Skipped("c.jsonl", "none of its first 100,000 lines is a record")]
    path.write_text(record(1) + "x\n" * 5_000 + record(2))
    items = results(path)
    assert [item.record for item in items if isinstance(item, Document)] == ["r1", "r2"]
    assert items[1001:] == [items[1001], Skipped("c.jsonl", "4,000 more lines")]


def test_an_endless_id_is_no_id(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text("\n".join(json.dumps({"_id": "i" * size, "text": "t"}) for size in (1_001, 1_000)))
    skipped, document = results(path)
    assert skipped == Skipped("c.jsonl:1", "its _id is longer than 1,000 characters")
    assert isinstance(document, Document)


# Sizes


_SYNC = """
import resource, sys
from tests.conftest import HashingEmbedder
from pincite.index import Index
Index.sync(sys.argv[1], [sys.argv[2]], embedder=HashingEmbedder())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
index = Index.sync(sys.argv[1], [sys.argv[3]], embedder=HashingEmbedder())
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(index.stats().documents, len(index.report.skipped), (after - before) // 1024)
"""


def added_memory(tmp_path: Path, source: Path) -> tuple[int, int, int]:
    """Return documents and skipped files after a sync of `source`, and the MiB that it took."""
    (tmp_path / "first.txt").write_text(ARTICLE)
    command = [sys.executable, "-c", _SYNC, str(tmp_path / ".pincite"), str(tmp_path / "first.txt"), str(source)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    documents, skipped, memory = map(int, done.stdout.split())
    return documents, skipped, memory


@pytest.mark.slow
def test_a_folder_of_20_000_tiny_files_takes_little_memory(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(20_000):
        (folder / f"{n}.txt").write_text(f"Note number {n}.\n")
    documents, skipped, memory = added_memory(tmp_path, folder)
    assert (documents, skipped) == (20_001, 0)
    assert memory < 150


@pytest.mark.slow
@pytest.mark.parametrize("piece", ["letters", "x\n", "🌊 "])
def test_the_largest_file_takes_memory_in_proportion(tmp_path: Path, piece: str) -> None:
    path = tmp_path / "a.txt"
    size = min(format_of("").largest // len(piece.encode()), MOST_LINES if "\n" in piece else format_of("").largest)
    path.write_text(piece * size)
    documents, skipped, memory = added_memory(tmp_path, path)
    assert (documents, skipped) == (2, 0)
    assert memory < 600
