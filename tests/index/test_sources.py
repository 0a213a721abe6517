"""Reading: what a file's bytes become, and what is said of those that become nothing."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import random
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from pincite.index import sources
from pincite.index.formats import format_of
from pincite.index.passage import Document, document_id
from pincite.index.sources import Skipped, SourceFile, decode, find_files, read_documents

FRENCH = "Le conseil d'administration s'est réuni hier à Genève, où l'été fut très « frais ».\n"


def source(path: Path) -> SourceFile:
    (file,) = find_files(str(path), root=str(path.parent))
    assert isinstance(file, SourceFile)
    return file


def read(path: Path, data: bytes | str | None = None) -> Document:
    if data is not None:
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    (document,) = read_documents(source(path))
    assert isinstance(document, Document), document
    return document


def reason(path: Path, data: bytes | str | None = None) -> str:
    if data is not None:
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    (skipped,) = read_documents(source(path))
    assert isinstance(skipped, Skipped), skipped
    assert skipped.path == path.name
    return skipped.reason


def test_text_is_the_untouched_content_of_the_file(tmp_path: Path) -> None:
    text = "Head\r\n\r\n\tone\x0btwo \u2028 three\0four\r\n🌊e\u0301 \n\n"
    document = read(tmp_path / "a.txt", text)
    assert document.text == text
    assert document.sha256 == sha256(text.encode()).hexdigest()
    assert document.id == document_id("a.txt", document.sha256)
    assert (document.path, document.encoding, document.line, document.offset) == ("a.txt", "utf-8", 1, 0)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_the_recorded_encoding_gives_the_text_again(tmp_path: Path, encoding: str) -> None:
    data = FRENCH.encode(encoding)
    document = read(tmp_path / "a.txt", data)
    assert document.text == FRENCH
    assert decode(data, document.encoding) == (FRENCH, document.encoding)


def _zip(path: Path) -> bytes:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "text " * 100)
    return path.read_bytes()


def test_binary_files_are_skipped_as_such(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    noise = random.Random(5).randbytes(5000)
    assert reason(path, noise) == "binary"
    assert reason(path, b"\0" * 5000) == "binary"
    assert reason(path, b"\0\1\2\xff") == "binary"
    assert reason(path, codecs.BOM_UTF16_LE + noise).startswith("binary")
    assert reason(path, gzip.compress(b"text " * 99)) == "binary (gzip-compressed)"
    assert reason(path, b"%PDF-1.7\n1 0 obj\n") == "binary (a PDF)"
    assert reason(path, _zip(tmp_path / "z.zip")) == "binary (a zip archive or an office document)"
    assert reason(tmp_path / "a.html", noise) == "binary"


def test_an_occasional_nul_is_text(tmp_path: Path) -> None:
    assert read(tmp_path / "a.txt", "One.\0Two.\0\0 Three sentences.\x01 Four\x7f.").text.count("\0") == 3
    read(tmp_path / "a.txt", b"caf\xe9 \0 " + FRENCH.encode("cp1252") * 2)


@pytest.mark.parametrize("data", [b"", b" \n\t\r\n ", b"\xef\xbb\xbf", b"\xff\xfe\n\0", " \u2003\u3000".encode()])
@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html"])
def test_files_without_text_are_skipped(tmp_path: Path, name: str, data: bytes) -> None:
    assert reason(tmp_path / name, data) == "no text"


def test_files_over_the_limit_are_skipped_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.touch()
    os.truncate(path, format_of(path.name).largest + 1)  # a hole: takes no room
    assert reason(path) == "too large (34 MB; the limit is 32 MiB)"


def test_a_file_that_became_a_pipe_or_a_link_or_nothing_is_reported_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("text")
    file = source(path)
    path.unlink()
    assert [*read_documents(file)] == [Skipped("a.txt", "vanished before it was read")]
    os.mkfifo(path)
    assert [*read_documents(file)] == [Skipped("a.txt", "a named pipe, not a file")]
    path.unlink()
    path.symlink_to("/etc/passwd")
    assert [*read_documents(file)] == [Skipped("a.txt", "has become a link")]
    path.unlink()
    path.mkdir()
    assert [*read_documents(file)] == [Skipped("a.txt", "a folder, not a file")]


class Changing(io.FileIO):
    """A file to which somebody adds a line during each of its first reads."""

    def __init__(self, path: Path, times: int) -> None:
        super().__init__(path)
        self.path, self.times = path, times

    def read(self, size: int | None = -1, /) -> bytes:
        if self.times:
            self.times -= 1
            with self.path.open("ab") as file:
                file.write(b"more\n")
        return super().read(-1 if size is None else size)


def test_a_file_that_keeps_changing_is_given_up_and_one_that_settles_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"line of text\n")
    with Changing(path, 9) as file:
        (skipped,) = sources._read_whole("a.txt", format_of("a.txt"), file)
    assert skipped == Skipped("a.txt", "changed while it was read", passes=True)
    path.write_bytes(b"line of text\n")
    with Changing(path, 1) as file:
        (document,) = sources._read_whole("a.txt", format_of("a.txt"), file)
    assert isinstance(document, Document)
    assert document.text == "line of text\nmore\n"


def test_a_folder_of_everything_is_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Text.\n")
    (tmp_path / "b.html").write_text("<p>Text.")
    (tmp_path / "c.jsonl").write_text('{"_id": "r", "text": "Record."}\n{')
    (tmp_path / "d.md").write_bytes(b"\0" * 100)
    results: list[Document | Skipped] = []
    for item in find_files(str(tmp_path), root=str(tmp_path)):
        results += [item] if isinstance(item, Skipped) else [*read_documents(item)]
    assert [item.path for item in results] == ["a.txt", "b.html", "c.jsonl#r", "c.jsonl:2", "d.md"]
