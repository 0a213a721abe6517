"""`pincite serve` as a user starts, meets and ends it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from pincite.index import Index
from tests.conftest import HashingEmbedder
from tests.qa.test_cli import one_error, pincite


@pytest.fixture
def indexed(articles: Path) -> Path:
    Index.sync(articles / ".pincite", [articles], embedder=HashingEmbedder())
    return articles


def test_serve_answers_on_loopback_until_ctrl_c(indexed: Path) -> None:
    command = [sys.executable, "-m", "pincite.qa", "serve", "--port", "0", "--no-sync"]
    with subprocess.Popen(command, cwd=indexed, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr and server.stdout
            line = server.stderr.readline()
            address = re.fullmatch(r"pincite: \.pincite is at (http://127\.0\.0\.1:\d+/); Ctrl-C ends it\n", line)
            assert address, line
            with urllib.request.urlopen(address[1], timeout=30) as page:
                assert b"<title>pincite</title>" in page.read() and "server" not in page.headers
            with urllib.request.urlopen(f"{address[1]}api/status", timeout=30) as answer:
                assert json.load(answer)["documents"] == 3
            server.send_signal(signal.SIGINT)
            out, err = server.communicate(timeout=60)
        finally:
            server.kill()
    assert (server.returncode, out, err) == (0, "", "pincite: stopped; what was committed is kept\n")


def test_a_port_that_is_taken_is_one_line(indexed: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        one_error(pincite("serve", "--port", port, cwd=indexed), port, "already in use", "--port")


@pytest.mark.parametrize("host", ["no.such.host.invalid", "", "256.1.1.1", "a" * 300, "\u2025"])
def test_an_address_that_is_none_is_one_line(indexed: Path, host: str) -> None:
    one_error(pincite("serve", "--host", host, cwd=indexed), "no address")


def test_an_address_of_another_machine_is_one_line(indexed: Path) -> None:
    one_error(pincite("serve", "--host", "192.0.2.7", cwd=indexed), "Cannot listen on 192.0.2.7")


def test_serve_without_an_index_is_one_line(tmp_path: Path) -> None:
    one_error(pincite("serve", cwd=tmp_path), "No index", "pincite index")


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_a_package_that_is_not_installed_is_one_line(
    indexed: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    for name in ("pincite.qa.server", "pincite.qa.request_guard"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    one_error(pincite("serve", cwd=indexed), package, 'pip install "pincite[serve]"')


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_server_for_other_machines_warns(indexed: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setattr("uvicorn.Server.run", lambda server, sockets: None)
    served = pincite("serve", "--host", host, "--port", "0", cwd=indexed)
    assert served.returncode == 0
    assert ("warning: whoever reaches 0.0.0.0" in served.stderr) == (host == "0.0.0.0")
    assert os.linesep not in served.stdout
