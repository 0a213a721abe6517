"""Who may ask a server, how much, and for how long."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.testclient import TestClient

from pincite.qa import request_guard
from pincite.qa.api_parameters import ApiError
from pincite.qa.bounded_work import BoundedWork
from pincite.qa.request_guard import MOST_BODY, host_names, read_body
from tests.conftest import HashingEmbedder
from tests.qa.serving import (
    BOARD,
    PATIENCE,
    error_of,
    make_live,
    on_a_port,
    serving,
    wait_until,
)


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "LOCALHOST:8765", "127.0.0.1", "[::1]:8765", "[::1]"])
def test_the_names_of_this_machine_are_served(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8765",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "192.0.2.7",
        "localhost:8765@evil.example",
        "",
        "[::1]x",
        "localhost:",
        "[::1",
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/status", "/nothing"])
def test_a_stranger_name_is_refused(client: TestClient, host: str, path: str) -> None:
    error_of(client.get(path, headers={"host": host}), 421, "wrong_host")


def test_a_server_for_other_machines_goes_by_addresses_and_its_name() -> None:
    names = host_names("0.0.0.0")
    assert names.allow("192.0.2.7:8765") and names.allow("[2001:db8::1]") and names.allow("localhost")
    assert not names.allow("evil.example")
    named = host_names("Desk.example")
    assert named.allow("desk.example:80") and not named.allow("evil.example")
    assert not host_names("127.0.0.2").allow("192.0.2.7") and host_names("127.0.0.2").allow("127.0.0.2")


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://localhost:8765", "https://127.0.0.1:8765", "http://127.0.0.1:1", ""],
)
def test_another_origin_is_refused(client: TestClient, origin: str) -> None:
    error_of(client.get("/api/status", headers={"origin": origin}), 403, "wrong_origin")
    error_of(client.post("/api/sync", json={}, headers={"origin": origin}), 403, "wrong_origin")


def test_the_pages_own_origin_is_served(client: TestClient) -> None:
    own = {"origin": "http://127.0.0.1:8765", "sec-fetch-site": "same-origin"}
    assert client.post("/api/ask", json={"question": BOARD}, headers=own).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_may_link_to_the_page_but_not_use_the_api(client: TestClient, site: str) -> None:
    assert client.get("/", headers={"sec-fetch-site": site}).status_code == 200
    for path in ("/api/ask?question=a", "/api/status", "/api/file?path=a", "/openapi.json", "/page.js"):
        error_of(client.get(path, headers={"sec-fetch-site": site}), 403, "wrong_origin")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "application/jsonp"]
)
def test_a_body_that_a_form_can_send_is_refused(client: TestClient, kind: str) -> None:
    for path in ("/api/ask", "/api/search", "/api/sync"):
        error_of(client.post(path, content=b"{}", headers={"content-type": kind}), 415, "not_json")


def test_json_with_a_charset_is_taken(client: TestClient) -> None:
    kind = {"content-type": "Application/JSON; charset=utf-8"}
    assert client.post("/api/ask", content=b'{"question": "a"}', headers=kind).status_code == 200


def test_a_large_body_is_refused_before_it_is_read(client: TestClient) -> None:
    kind = {"content-type": "application/json"}
    fits = b'{"question": "a"' + b" " * (MOST_BODY - 17) + b"}"
    assert len(fits) == MOST_BODY
    assert client.post("/api/ask", content=fits, headers=kind).status_code == 200
    error_of(client.post("/api/ask", content=fits + b" ", headers=kind), 413, "too_large")
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield b" " * 1024

    error_of(client.post("/api/ask", content=endless(), headers=kind), 413, "too_large")
    for length in ("9" * 30, "-1", "1e3", str(MOST_BODY + 1)):
        error_of(client.post("/api/ask", content=b"{}", headers={**kind, "content-length": length}), 413, "too_large")


def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_guard, "_BODY_SECONDS", 0.01)

    async def never() -> Any:
        await asyncio.sleep(PATIENCE)

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")]}
    with pytest.raises(ApiError) as refused:
        asyncio.run(read_body(Request(scope, never)))
    assert refused.value.status == 408


class BlockedEmbedder(HashingEmbedder):
    """Embeds only once it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.go.set()
        self.waiting = threading.Semaphore(0)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        if "wait" in text:
            self.waiting.release()
            assert self.go.wait(PATIENCE)
        return super().embed_query(text)


def test_more_questions_than_there_is_room_for_are_refused_at_once(articles: Path) -> None:
    embedder = BlockedEmbedder()
    work = BoundedWork(threads=1, waiting=1, seconds=PATIENCE)
    with serving(make_live(articles, embedder=embedder), work=work) as client, ThreadPoolExecutor(2) as pool:
        embedder.go.clear()
        first = pool.submit(client.get, "/api/ask?question=wait")
        assert embedder.waiting.acquire(timeout=PATIENCE)
        second = pool.submit(client.get, "/api/ask?question=wait")
        wait_until(lambda: not work._places._value)
        refused = client.get("/api/ask?question=a")
        error_of(refused, 503, "busy")
        assert refused.headers["retry-after"] == "1"
        embedder.go.set()
        assert first.result().status_code == second.result().status_code == 200
        assert client.get("/api/ask?question=a").status_code == 200


def test_work_that_takes_too_long_is_told_and_keeps_its_place_until_done(articles: Path) -> None:
    embedder = BlockedEmbedder()
    work = BoundedWork(threads=1, waiting=0, seconds=0.2)
    live = make_live(articles, embedder=embedder)
    with serving(live, work=work) as client:
        wait_until(lambda: live.is_warm)
        embedder.go.clear()
        error_of(client.get("/api/ask?question=wait"), 504, "time_limit")
        error_of(client.get("/api/ask?question=a"), 503, "busy")
        assert client.get("/api/status").status_code == 200
        embedder.go.set()
        wait_until(lambda: client.get("/api/search?query=a&mode=sparse").status_code == 200)
        live.is_warm = False
        embedder.go.clear()
        error_of(client.get("/api/ask?question=wait"), 503, "loading")
        embedder.go.set()


def test_rubbish_on_the_wire_is_refused_and_the_server_goes_on(articles: Path) -> None:
    rubbish = [
        b"\0" * 1000,
        b"\x16\x03\x01\x02\x00\x01\x00",  # of TLS
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000 + b"\r\n",
        b"POST /api/ask HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"POST /api/ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: -5\r\n\r\n{}",
    ]
    with on_a_port(make_live(articles)) as address:
        port = int(address.rstrip("/").rpartition(":")[2])
        for sent in rubbish:
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
                with suppress(ConnectionError):
                    connection.sendall(sent)
                    connection.shutdown(socket.SHUT_WR)
                with suppress(ConnectionError):
                    answer = connection.recv(100)
                    assert re.match(rb"HTTP/1.1 4\d\d ", answer) or not answer, sent[:60]
        with urllib.request.urlopen(address, timeout=PATIENCE) as page:
            assert page.status == 200
