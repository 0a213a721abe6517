"""What a server gives of documents: the text that is in the index, and files that are still as they were."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.qa.serving import error_of, make_live, serving


def test_source_is_the_text_of_the_index_even_when_the_file_is_gone(articles: Path) -> None:
    text = (articles / "board.txt").read_text()
    with serving(make_live(articles)) as client:
        (articles / "board.txt").unlink()
        body = client.get("/api/source", params={"path": str(articles / "board.txt")}).json()
    assert body["text"] == text and (body["start"], body["end"], body["length"]) == (0, len(text), len(text))
    assert body["passages"] and all(0 <= span["start"] < span["end"] <= len(text) for span in body["passages"])
    assert (body["line"], body["format"], body["file"]) == (1, "text", None)


def test_source_gives_the_characters_that_are_asked_for(tmp_path: Path) -> None:
    text = "🙂 One.\n\nTwo é 🙂🙂 three.\n\nFour.\n"
    (tmp_path / "a.txt").write_text(text)
    with serving(make_live(tmp_path)) as client:
        path = str(tmp_path / "a.txt")
        for start, end in [(0, 5), (9, 14), (9, 999), (999, 9999), (12, 3)]:
            body = client.get("/api/source", params={"path": path, "start": start, "end": end}).json()
            assert body["text"] == text[body["start"] : body["end"]] == text[start:end]
            assert body["line"] == text[: body["start"]].count("\n") + 1
        quote = client.get("/api/ask", params={"question": "three?", "min_confidence": 0}).json()["citations"][0]
        span = {"start": quote["start"], "end": quote["end"]}
        assert client.get("/api/source", params={"path": quote["path"], **span}).json()["text"] == quote["quote"]


def test_source_of_a_record_is_found_by_its_name(tmp_path: Path) -> None:
    odd = "http://a/../b#c"
    records = [{"_id": odd, "title": "First", "text": "Roses."}, {"_id": "2", "title": "", "text": "Carp."}]
    (tmp_path / "a#b.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    with serving(make_live(tmp_path)) as client:
        file = str(tmp_path / "a#b.jsonl")
        body = client.get("/api/source", params={"path": f"{file}#{odd}"}).json()
        assert body["text"].endswith("Roses.") and body["is_record"] and body["path"] == f"{file}#{odd}"
        assert client.get("/api/source", params={"path": f"{file}#2"}).json()["line"] == 2
        for path in (file, f"{file}#3", f"{file}#", "#", "##", "#" * 4000):
            error_of(client.get("/api/source", params={"path": path}), 404, "not_indexed")


def test_source_whose_name_is_no_utf8_is_asked_for_by_its_bytes(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    try:
        (tmp_path / name).write_text("The coffee is good.")
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    with serving(make_live(tmp_path)) as client:
        passage = client.get("/api/search", params={"query": "coffee"}).json()["hits"][0]
        assert passage["path"] == str(tmp_path / name)
        body = client.get(f"/api/source?path={tmp_path}/caf%e9.txt").json()
        assert body["text"] == "The coffee is good." and body["path"] == str(tmp_path / name)


OUTSIDE = [
    "/etc/passwd",
    "../secret.txt",
    "articles/../secret.txt",
    "%2e%2e/secret.txt",
    "~/.ssh/id_rsa",
    "file:///etc/passwd",
]


@pytest.mark.parametrize(
    "path", [*OUTSIDE, "", ".", "/", "\0", "board.txt\0.pdf", ".pincite/manifest.json", "a" * 4096]
)
@pytest.mark.parametrize("route", ["/api/source", "/api/file"])
def test_nothing_outside_the_index_is_given(
    articles: Path, client: TestClient, monkeypatch: pytest.MonkeyPatch, route: str, path: str
) -> None:
    (articles.parent / "secret.txt").write_text("secret")
    monkeypatch.chdir(articles)
    response = client.get(route, params={"path": path})
    error_of(response, *((404, "not_indexed") if path else (400, "bad_request")))


@pytest.mark.parametrize(
    "path",
    [
        "/../page.py",
        "/..%2fserver.py",
        "/server.py",
        "/page.html/",
        "//etc/passwd",
        "/api",
        "/api/ask/",
        "/.pincite/manifest.json",
    ],
)
def test_no_file_of_the_package_or_the_machine_has_an_address(client: TestClient, path: str) -> None:
    error_of(client.get(path), 404, "not_found")


@pytest.fixture
def pdf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[TestClient, Path]]:
    """A client, and a file that the server takes for one that browsers show."""
    monkeypatch.setattr("pincite.qa.api_documents.SHOWN_FILES", {"text": "application/pdf"})
    (tmp_path / "articles").mkdir()
    file = tmp_path / "articles" / "a.txt"
    file.write_text("The ferry leaves at ten.")
    with serving(make_live(tmp_path / "articles")) as client:
        yield client, file


def test_file_is_given_as_it_was_indexed(pdf: tuple[TestClient, Path]) -> None:
    client, file = pdf
    response = client.get("/api/file", params={"path": str(file)})
    assert response.content == file.read_bytes() and response.headers["content-type"] == "application/pdf"
    assert response.headers["content-disposition"] == "inline"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"


def test_file_of_another_kind_is_not_given(folder: Path, client: TestClient) -> None:
    error_of(client.get("/api/file", params={"path": str(folder / "board.txt")}), 403, "not_shown")


def test_file_that_is_not_as_indexed_any_more_is_not_given(pdf: tuple[TestClient, Path]) -> None:
    client, file = pdf
    parameters = {"path": str(file)}
    text = file.read_text()
    file.write_text("Something else.")
    error_of(client.get("/api/file", params=parameters), 409, "changed")
    file.unlink()
    error_of(client.get("/api/file", params=parameters), 409, "changed")
    os.mkfifo(file)
    error_of(client.get("/api/file", params=parameters), 409, "changed")
    file.unlink()
    file.mkdir()
    error_of(client.get("/api/file", params=parameters), 409, "changed")
    file.rmdir()
    outside = file.parents[1] / "secret.txt"
    outside.write_text(text)  # the very same bytes, but not in a source
    file.symlink_to(outside)
    error_of(client.get("/api/file", params=parameters), 409, "changed")
    file.unlink()
    file.write_text(text)
    assert client.get("/api/file", params=parameters).status_code == 200


def test_file_in_a_folder_that_became_a_link_is_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pincite.qa.api_documents.SHOWN_FILES", {"text": "application/pdf"})
    inner = tmp_path / "articles" / "inner"
    inner.mkdir(parents=True)
    (inner / "a.txt").write_text("The ferry leaves at ten.")
    with serving(make_live(tmp_path / "articles")) as client:
        inner.rename(tmp_path / "outside")
        inner.symlink_to(tmp_path / "outside")
        error_of(client.get("/api/file", params={"path": str(inner / "a.txt")}), 409, "changed")
