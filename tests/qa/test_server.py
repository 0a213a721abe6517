"""The HTTP API gives the answers of the command line, and a page that asks for them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from starlette.testclient import TestClient

from pincite.index import Index
from pincite.qa import Pipeline
from pincite.qa.render_json import answer_json, hits_json
from pincite.qa.span_model import Window
from tests.conftest import HashingEmbedder, KnowingReader
from tests.qa.serving import (
    ANSWERS,
    BOARD,
    NOTHING,
    error_of,
    make_live,
    serving,
    wait_for_sync,
    without_times,
)


def test_ask_answers_what_the_command_line_prints(folder: Path, client: TestClient) -> None:
    index = Index.open(folder / ".pincite", embedder=HashingEmbedder())
    answer = Pipeline(index, reader=KnowingReader(ANSWERS)).ask(BOARD)
    expected = json.loads(json.dumps(answer_json(answer, index.stats(), all_answers=True)))
    got = client.get("/api/ask", params={"question": BOARD}).json()
    for alternative in got["alternatives"]:
        assert alternative.pop("disagrees") is False
    assert without_times(got) == without_times(expected)
    assert got["answer"] == "Ann, Bob and Cid" and got["citations"][0]["verified"]
    assert set(got["elapsed_ms"]) == {"embed", "retrieve", "read", "total"}
    posted = client.post("/api/ask", json={"question": BOARD}).json()
    assert without_times(posted) == without_times(client.get("/api/ask", params={"question": BOARD}).json())


def test_ask_says_when_the_articles_do_not(client: TestClient) -> None:
    body = client.get("/api/ask", params={"question": NOTHING}).json()
    assert (body["answered"], body["answer"], body["citations"]) == (False, None, [])
    assert body["passages"]
    guess = client.get("/api/ask", params={"question": NOTHING, "min_confidence": 0}).json()
    assert guess["answered"] and guess["confidence"] == body["confidence"]


def test_ask_tells_which_sources_disagree(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Bread costs two crowns.\n")
    (tmp_path / "b.txt").write_text("Bread costs nine crowns.\n")

    class Torn(KnowingReader):
        def read(self, question: str, texts: Sequence[str]) -> list[Window]:
            answers = ["two" if "two" in text else "nine" for text in texts]
            return [
                self._windows(n, text, answer)[0] for n, (text, answer) in enumerate(zip(texts, answers, strict=True))
            ]

    live = make_live(tmp_path)
    live._reader = Torn({})
    with serving(live) as client:
        body = client.get("/api/ask", params={"question": NOTHING}).json()
    answers = {body["answer"], *(one["answer"] for one in body["alternatives"])}
    assert answers == {"two", "nine"}
    assert [one["disagrees"] for one in body["alternatives"]] == [True]


@pytest.mark.parametrize("mode", ["hybrid", "dense", "sparse", "full"])
def test_search_finds_what_the_command_line_finds(folder: Path, client: TestClient, mode: Any) -> None:
    index = Index.open(folder / ".pincite", embedder=HashingEmbedder())
    hits = Pipeline(index, reader=KnowingReader({"three carp": ""})).search("three carp", 2, mode=mode)
    expected = json.loads(json.dumps(hits_json("three carp", hits)))
    assert client.get("/api/search", params={"query": "three carp", "k": 2, "mode": mode}).json() == expected
    assert client.post("/api/search", json={"query": "three carp", "k": 2, "mode": mode}).json() == expected


def test_status_tells_what_the_index_holds(client: TestClient) -> None:
    body = client.get("/api/status").json()
    assert (body["documents"], body["generation"], body["changes"]["new"]) == (3, 1, 0)
    assert body["sync"]["state"] == "idle" and body["sync"]["allowed"]
    assert client.get("/api/status", params={"brief": "true"}).json()["changes"] is None
    assert "path" in body["keys"]


def test_status_counts_what_has_changed_since(articles: Path) -> None:
    live = make_live(articles)
    (articles / "new.txt").write_text("A new one.")
    with serving(live) as client:
        assert client.get("/api/status").json()["changes"] == {"new": 1, "changed": 0, "missing": 0}


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({}, "question is missing"),
        ({"question": ""}, "not empty"),
        ({"question": " \t"}, "not empty"),
        ({"question": "a" * 10_001}, "10,000"),
        ({"question": "word " * 1_001}, "1,001 words"),
        ({"question": "a", "k": 0}, "from 1 to 100"),
        ({"question": "a", "k": 101}, "from 1 to 100"),
        ({"question": "a", "k": "ten"}, "whole number"),
        ({"question": "a", "k": "1_0"}, "whole number"),
        ({"question": "a", "k": "9" * 5000}, "whole number"),
        ({"question": "a", "min_confidence": "nan"}, "from 0 to 1"),
        ({"question": "a", "min_confidence": 2}, "from 0 to 1"),
        ({"question": "a", "all": "yes"}, "true or false"),
        ({"question": "a", "where": "no condition"}, "condition"),
        ({"question": "a", "where": [f"a{n}=b" for n in range(51)]}, "at most 50"),
        ({"question": "a", "limit": 3}, "not known"),
        ({"question": ["a", "b"]}, "2 times"),
    ],
)
def test_bad_parameters_are_told_in_one_line(client: TestClient, parameters: dict[str, Any], word: str) -> None:
    response = client.get("/api/ask", params=parameters)
    assert response.status_code == 400
    assert word in error_of(response, 400, response.json()["error"]["code"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"who?"',
        b"{",
        b"{\xff}",
        b'{"question": "a", "k": NaN}',
        b'{"question": "a", "k": 1e999}',
        b'{"question": "a", "k": ' + b"9" * 5000 + b"}",
        b'{"question": "a", "k": ' + b"9" * 400 + b"}",
        b'{"question": "a", "k": true}',
        b'{"question": "a", "k": 1.5}',
        b'{"question": "a", "k": "3"}',
        b'{"question": 7}',
        b'{"question": "a", "all": 1}',
        b'{"question": "a", "where": "author=Roe"}',
        b'{"question": "a", "where": [1]}',
        b'{"question": "a", "what": 1}',
        b"[" * 60_000,
    ],
)
def test_rubbish_in_a_body_is_told_in_one_line(client: TestClient, body: bytes) -> None:
    response = client.post("/api/ask", content=body, headers={"content-type": "application/json"})
    error_of(response, 400, "bad_request")


@pytest.mark.parametrize("query", ["question", "question=%FF", "question=a&&k=3", "&".join(["question=a"] * 200)])
def test_rubbish_in_a_query_string_is_told_in_one_line(client: TestClient, query: str) -> None:
    error_of(client.get(f"/api/ask?{query}"), 400, "bad_request")


def test_parameters_beside_a_body_are_refused(client: TestClient) -> None:
    message = error_of(client.post("/api/ask?k=3", json={"question": BOARD}), 400, "bad_request")
    assert "not known" in message


def test_conditions_narrow_what_is_asked_and_searched(client: TestClient) -> None:
    for path in ("board.txt", "train.txt"):
        where = [f"path={path}", "format=text"]
        found = client.get("/api/search", params={"query": "the", "where": where}).json()["hits"]
        assert found and {Path(hit["path"]).name for hit in found} == {path}
        asked = client.post("/api/ask", json={"question": BOARD, "where": where}).json()
        assert {Path(passage["path"]).name for passage in asked["passages"]} == {path}
        assert asked["answered"] == (path == "board.txt")


def closed(schema: Any, *, is_whole: bool = True) -> Any:
    """Return a JSON schema in which no object may have what it does not name."""
    if isinstance(schema, list):
        return [closed(item, is_whole=is_whole) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value, is_whole=key != "allOf") for key, value in schema.items()}
    if is_whole and "additionalProperties" not in found and (found.get("type") == "object" or "allOf" in found):
        found["unevaluatedProperties"] = False
    return found


def test_every_field_of_an_answer_is_in_the_openapi_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("The ferry\n\nBy Ann Lee\nMay 2, 2021\n\nThe ferry leaves at ten.\n")
    (tmp_path / "b.txt").write_text("The ferry\n\nBy Ann Lee\nMay 2, 2021\n\nThe ferry leaves at ten.\n")
    (tmp_path / "talk.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nThe ferry leaves at noon.\n")
    (tmp_path / "c.pdf").write_bytes(b"no pdf")
    question = "When does the ferry leave?"
    with serving(make_live(tmp_path, answers={question: "ten"})) as client:
        document = client.get("/openapi.json").json()
        components = closed(document["components"]["schemas"])
        # Of those that others are made of, the whole is closed.
        for name in ("Place", "Passage"):
            del components[name]["unevaluatedProperties"]
        body = client.get("/api/ask", params={"question": question, "min_confidence": 0}).json()
        assert body["citations"] and body["alternatives"]
        assert any(passage["also"] for passage in body["passages"])
        assert any(citation["also"] for one in (body, *body["alternatives"]) for citation in one["citations"])
        client.post("/api/sync", json={})
        wait_for_sync(client)
        answers = {
            "Answer": body,
            "Hits": client.get("/api/search", params={"query": "ferry"}).json(),
            "Source": client.get("/api/source", params={"path": str(tmp_path / "talk.srt")}).json(),
            "Status": client.get("/api/status").json(),
            "Error": client.get("/api/nothing").json(),
        }
    assert answers["Status"]["sync"]["report"] and answers["Status"]["skipped"] and answers["Source"]["marks"]
    for name, answer in answers.items():
        schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": components}}
        jsonschema_rs.validate(schema, answer)


def test_odd_questions_have_an_answer_or_none(client: TestClient) -> None:
    for question in ("\0\x1b[31m", "\udcff\ud800", "\u202efdp", "' OR 1=1 --", "<script>alert(1)</script>", "漢字"):
        body = json.dumps({"question": question}).encode()
        response = client.post("/api/ask", content=body, headers={"content-type": "application/json"})
        assert response.status_code == 200 and response.json()["question"] == question.strip()


def test_methods_that_are_not_there_are_refused(client: TestClient) -> None:
    assert "GET" in error_of(client.delete("/api/ask"), 405, "wrong_method")
    assert client.delete("/api/ask").headers["allow"]
    error_of(client.get("/api/sync"), 405, "wrong_method")
    error_of(client.post("/", json={}), 405, "wrong_method")
    error_of(client.options("/api/ask"), 405, "wrong_method")


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/api/status", "/api/ask", "/nothing", "/openapi.json"])
def test_every_answer_has_the_headers_that_keep_strangers_out(client: TestClient, path: str) -> None:
    for response in (client.get(path), client.get(path, headers={"host": "evil.example"})):
        headers = response.headers
        policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
        assert (
            policy["default-src"]
            == policy["frame-ancestors"]
            == policy["base-uri"]
            == policy["form-action"]
            == "'none'"
        )
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin" and headers["cache-control"] == "no-store"
        assert not any(name.startswith(("access-control", "set-cookie", "server")) for name in headers)


def test_the_page_has_nothing_inline_and_nothing_from_outside(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(r"<style|style=|<script(?![^>]*src=)|\son\w+=|javascript:", page.text)
    linked = re.findall(r'(?:src|href)="([^"#/][^"]*)"', page.text)
    assert len(linked) >= 3
    scripts = [name for name in linked if name.endswith(".js")]
    for name in scripts:
        scripts += [
            found for found in re.findall(r'from "\./([\w.]+)"', client.get(f"/{name}").text) if found not in scripts
        ]
    assert {"page.js", "page_dom.js", "page_index.js", "page_source.js"} == set(scripts)
    for name in {*linked, *scripts}:
        response = client.get(f"/{name}")
        assert response.status_code == 200, name
        text = response.text.replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(
            r"https?://\w|url\(|@import|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text
        )
    assert client.get("/page.js").headers["content-type"] == "text/javascript; charset=utf-8"


def test_every_file_of_the_page_has_an_address(client: TestClient) -> None:
    found = [entry.name for entry in files("pincite.qa").iterdir() if entry.name.startswith("page")]
    assert len(found) >= 6
    for name in found:
        assert client.get(f"/{name}").status_code == 200, name


def test_what_should_not_happen_is_told_without_its_traceback(articles: Path) -> None:
    told: list[Exception] = []
    live = make_live(articles)

    class Broken(KnowingReader):
        def read(self, question: str, texts: Any) -> Any:
            raise RuntimeError("secret detail in /home/ann/models")

    with serving(live, report=told.append) as client:
        live._reader = Broken({})
        message = error_of(client.get("/api/ask?question=a"), 500, "internal")
        assert "secret" not in message and "Error" not in message
        assert [str(error) for error in told] == ["secret detail in /home/ann/models"]
        assert "default-src 'none'" in client.get("/api/ask?question=a").headers["content-security-policy"]
        assert client.get("/api/status").status_code == 200
