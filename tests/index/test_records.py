"""Records: every good line of a `.jsonl` file is a document, and every other is reported."""

from __future__ import annotations

import io
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from pincite.index import records
from pincite.index.extracted import Part
from pincite.index.members import Reading, Wanted
from pincite.index.passage import Document, document_id
from pincite.index.sources import Skipped, SourceFile, find_files, read_documents


def source(path: Path) -> SourceFile:
    (file,) = find_files(str(path), root=str(path.parent))
    assert isinstance(file, SourceFile)
    return file


def lines(path: Path, data: bytes) -> list[Document | Skipped]:
    path.write_bytes(data)
    return list(read_documents(source(path)))


def test_every_line_is_a_document_that_can_be_found_again(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    rows: list[dict[str, Any]] = [
        {"_id": "d#1\n", "title": " A \n title", "text": "First é.\nSecond.", "year": 1998, "tags": ["x"], "ok": True},
        {"_id": 2, "text": "No title.", "metadata": {"url": "u", "deep": {}}},
        {"id": "three", "title": None, "text": "Third 🌊."},
        {"text": "Nameless."},
    ]
    data = b"\xef\xbb\xbf" + b"\r\n\n".join(json.dumps(row, ensure_ascii=False).encode() for row in rows)
    documents = lines(path, data)
    assert all(isinstance(document, Document) for document in documents)
    digest = sha256(b'{"text": "Nameless."}').hexdigest()
    assert [document.path for document in documents] == [
        "c.jsonl#d#1\n",
        "c.jsonl#2",
        "c.jsonl#three",
        f"c.jsonl#{digest[:16]}",
    ]
    for document, row, line in zip(documents, rows, [1, 3, 5, 7], strict=True):
        assert isinstance(document, Document)
        raw = data[document.offset :].split(b"\n")[0].rstrip(b"\r\n")
        assert sha256(raw).hexdigest() == document.sha256
        assert data[: document.offset].count(b"\n") + 1 == document.line == line
        assert (document.text, document.encoding) == (row["text"], "")
        assert document.path == f"c.jsonl#{document.record}"
        assert document.id == document_id(document.path, document.sha256)
    first, second, *_ = documents
    assert isinstance(first, Document)
    assert isinstance(second, Document)
    assert (first.title, dict(first.metadata)) == ("A title", {"year": "1998", "ok": "true", "date": "1998"})
    assert (second.title, dict(second.metadata)) == ("", {"url": "u"})


def test_bad_lines_are_reported_by_number_and_the_others_go_on(tmp_path: Path) -> None:
    bad = {
        b"{": "not JSON: Expecting property name enclosed in double quotes",
        b"[1]": "not a JSON object",
        b'"text"': "not a JSON object",
        b'{"_id": "a"}': "no text",
        b'{"_id": "a", "text": " "}': "no text",
        b'{"_id": "a", "text": ["t"]}': "its text is not a string",
        b'{"_id": [1], "text": "t"}': "its _id is neither a string nor a whole number",
        b'{"_id": true, "text": "t"}': "its _id is neither a string nor a whole number",
        b'{"_id": "good", "text": "again"}': "another line has the same _id 'good'",
        b'{"text": "caf\xe9"}': "not UTF-8",
        b"[" * 200_000: "not read: JSON nested too deeply",
        b'{"text": "t", "a":' * 100_000: "not read: JSON nested too deeply",
        b'{"text": "t", "a": ' + b"9" * 5000 + b"}": "not JSON: ",
        b"\xff\xfe{": "not UTF-8",
        b"\0": "not JSON: Expecting value",
    }
    good = b'{"_id": "good", "text": "One."}\n'
    items = lines(tmp_path / "c.jsonl", good + b"\n".join(bad) + b'\n{"_id": "last", "text": "Two."}')
    assert [item.text for item in items if isinstance(item, Document)] == ["One.", "Two."]
    skipped = [item for item in items if isinstance(item, Skipped)]
    assert [item.path for item in skipped] == [f"c.jsonl:{n}" for n in range(2, len(bad) + 2)]
    for item, expected in zip(skipped, bad.values(), strict=True):
        assert item.reason.startswith(expected)
        assert "\n" not in item.reason
        assert len(item.reason) < 200


def test_halves_of_surrogate_pairs_become_replacement_characters(tmp_path: Path) -> None:
    row = rb'{"_id": "\ud800", "title": "\udfff", "text": "a\ud800b \ud83c\udf0a", "\udc00": "\ud800"}'
    (document,) = lines(tmp_path / "c.jsonl", row)
    assert isinstance(document, Document)
    assert document.text == "a\ufffdb 🌊"
    f"{document.path}{document.title}{document.metadata}".encode()


def test_names_of_nameless_records_stay_when_lines_move(tmp_path: Path) -> None:
    rows = [b'{"text": "One."}', b'{"text": "Two."}', b'{"text": "One."}']
    before = lines(tmp_path / "c.jsonl", b"\n".join(rows))
    after = lines(tmp_path / "c.jsonl", b'{"text": "New."}\n' + b"\n".join(reversed(rows)))
    names = [{item.id for item in items if isinstance(item, Document)} for items in (before, after)]
    assert names[0] < names[1]
    assert isinstance(before[2], Skipped)


def test_only_the_record_that_is_looked_for_is_taken_to_pieces() -> None:
    data = b"".join(b'{"_id": "%d", "text": "Record %d."}\n' % (n, n) for n in range(9))
    wanted = Wanted("7", sha256(data.splitlines()[7]).hexdigest())
    (part,) = records.read_jsonl(io.BytesIO(data), "c.jsonl", Reading(wanted))
    assert isinstance(part, Part) and (part.record, part.line, part.extracted.text) == ("7", 8, "Record 7.")


def test_a_wide_encoding_of_a_corpus_is_reported_once(tmp_path: Path) -> None:
    items = lines(tmp_path / "c.jsonl", ('{"text": "t"}\n' * 50).encode("utf-16"))
    assert items == [Skipped("c.jsonl", "UTF-16 or UTF-32; a .jsonl file must be UTF-8")]


def test_an_overlong_line_is_skipped_and_offsets_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LONGEST_LINE", 1 << 20)
    long = b'{"text": "' + b"x" * 3_000_000 + b'"}\n'
    data = b'{"_id": "a", "text": "One."}\n' + long + b'{"_id": "b", "text": "Two."}\n' + long.rstrip()
    first, too_long, second, last = lines(tmp_path / "c.jsonl", data)
    assert isinstance(first, Document)
    assert isinstance(second, Document)
    assert too_long == Skipped("c.jsonl:2", "the line is longer than 1 MiB")
    assert last == Skipped("c.jsonl:4", "the line is longer than 1 MiB")
    assert data[second.offset :].startswith(b'{"_id": "b"')
    assert second.line == 3


def test_a_corpus_is_streamed(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "c.jsonl"
    row = json.dumps({"text": "word " * 400})
    with path.open("w") as file:
        for n in range(4_000):  # 8 MB
            file.write(f'{{"_id": {n}, {row[1:]}\n')
    file_found = source(path)
    tracemalloc.start()
    try:
        assert sum(isinstance(item, Document) for item in read_documents(file_found)) == 4_000
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_corpus_that_grows_while_it_is_read_says_so_last(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"_id": "a", "text": "One."}\n')
    items = read_documents(source(path))
    assert isinstance(next(items), Document)
    with path.open("a") as file:
        file.write('{"_id": "b", "text": "Two."}\n')
    assert Skipped("c.jsonl", "changed while it was read") == list(items)[-1]
