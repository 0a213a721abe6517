"""The client of a language model's server: bounded, one host, and a key that nobody sees."""

from __future__ import annotations

import json
import socket
import time
from http.server import BaseHTTPRequestHandler

import pytest

from pincite.index import PinciteError
from pincite.qa.language_model import MAX_REPLY, LanguageModelError, language_model
from tests.qa.scripted_model import Asked, Reply, says, scripted, sends

KEY = "sk-a-very-secret-key"
MESSAGES = [{"role": "user", "content": "Who keeps the lamp?"}]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINCITE_LLM_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", "another")


def test_model_and_messages_go_out_with_the_key_and_the_text_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(says("Ann does [1].")) as server:
        model = language_model(server.url, "small")
        assert model.complete(MESSAGES) == "Ann does [1]." and model.is_local
        asked = server.asked[0]
        assert asked.path == "/v1/chat/completions" and asked.key == f"Bearer {KEY}"
        assert asked.body["model"] == "small" and asked.body["messages"] == MESSAGES
        assert KEY not in repr(model)
        monkeypatch.delenv("PINCITE_LLM_KEY")
        language_model(server.url + "/chat/completions/", "small").complete(MESSAGES)
        assert server.asked[1].key is None, "OPENAI_API_KEY is for OpenAI"
        assert server.asked[1].path == "/v1/chat/completions"


def test_a_key_of_openai_goes_to_openai_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PINCITE_LLM_KEY")
    keys = [language_model(f"https://{host}/v1", "large")._key for host in ("api.openai.com", "api.openai.com.example")]
    assert keys == ["another", ""]


def test_a_model_that_takes_no_limits_is_asked_without_them() -> None:
    def choosy(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        (sends(b"{}", 400) if "max_tokens" in asked.body else says("Ann."))(handler, asked)

    with scripted(choosy) as server:
        assert language_model(server.url, "choosy").complete(MESSAGES) == "Ann."


def _drips(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.02)


def _drips_headers(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
    handler.wfile.write(b"HTTP/1.1 200 ")
    for _ in range(200):
        handler.wfile.write(b"O")
        time.sleep(0.02)


def _floods(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * 100_000)


def _error(message: str, status: int) -> Reply:
    return sends(json.dumps({"error": {"message": message}}).encode(), status)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (_error(f"bad key {KEY}", 401), "refuses the key"),
        (_error(f"no model\n\x1b[2J small, {KEY}", 404), "no model[2J small, ***"),
        (sends(b"<html>" + KEY.encode(), 500), "(500)"),
        (sends(b"not JSON"), "no chat completion"),
        (sends(b'{"choices": []}'), "no chat completion"),
        (sends(b'{"choices": [{"message": {"content": null}}]}'), "no chat completion"),
        (sends(b"[" * 200_000), "no chat completion"),
        (sends(b"\xff\xfe[]"), "no chat completion"),
        (lambda handler, asked: None, "cannot be reached"),
        (lambda handler, asked: handler.wfile.write(b"220 mail.example ESMTP\r\n") and None, "web server"),
        (_drips, "within 0 s"),
        (_drips_headers, "within 0 s"),
        (lambda handler, asked: time.sleep(1), "within 0 s"),
        (_floods, f"more than {MAX_REPLY:,} bytes"),
    ],
)
def test_every_failure_is_one_line_without_the_key(reply: Reply, words: str) -> None:
    with scripted(reply) as server:
        model = language_model(server.url, "small", timeout=0.3)
        started = time.monotonic()
        with pytest.raises(PinciteError) as caught:
            model.complete(MESSAGES)
        assert time.monotonic() - started < 20
    message = str(caught.value)
    assert words in message and model.host in message
    assert KEY not in message and message.isprintable()
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_no_redirect_is_followed() -> None:
    with scripted(says("Ann.")) as other, scripted(sends(b"", 307, Location=other.url)) as server:
        with pytest.raises(LanguageModelError, match="redirects"):
            language_model(server.url, "small").complete(MESSAGES)
        assert server.asked and not other.asked


def test_a_proxy_of_the_environment_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(says("Eve.")) as proxy, scripted(says("Ann.")) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert language_model(server.url, "small").complete(MESSAGES) == "Ann."
        assert not proxy.asked


def test_a_server_that_is_not_there_or_speaks_no_https_is_one_line() -> None:
    with scripted(says("")) as server:
        pass
    with pytest.raises(LanguageModelError, match="cannot be reached: Connection refused"):
        language_model(server.url, "small").complete(MESSAGES)
    with scripted(says("")) as server, pytest.raises(LanguageModelError, match="does not speak https"):
        language_model(server.url.replace("http:", "https:"), "small").complete(MESSAGES)


def test_plain_http_never_leaves_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LanguageModelError, match="https only"):
        language_model("http://models.example/v1", "small")
    assert not language_model("https://models.example/v1", "small").is_local
    with scripted(says("Ann.")) as server:
        monkeypatch.setattr(socket.socket, "getpeername", lambda self: ("192.0.2.1", 80))
        with pytest.raises(LanguageModelError, match="https only"):
            language_model(server.url.replace("127.0.0.1", "localhost"), "small").complete(MESSAGES)
        assert not server.asked


@pytest.mark.parametrize(
    "url",
    [
        "",
        "models",
        "ftp://localhost/v1",
        "http://",
        "http://localhost:99999",
        "http://[::1",
        "https://a b/",
        "http://::1/",
    ],
)
def test_what_is_no_url_is_said_so(url: str) -> None:
    with pytest.raises(LanguageModelError, match="looks like http://localhost"):
        language_model(url, "small")


@pytest.mark.parametrize("url", ["https://ann:secret@models.example/v1", "https://models.example/v1?key=secret"])
def test_no_secret_goes_in_a_url(url: str) -> None:
    with pytest.raises(LanguageModelError) as caught:
        language_model(url, "small")
    assert "secret" not in str(caught.value)


def test_a_key_that_would_break_the_headers_is_refused_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINCITE_LLM_KEY", f"{KEY}\r\nX-Other: 1")
    with pytest.raises(LanguageModelError) as caught:
        language_model("http://localhost:1/v1", "small")
    assert KEY not in str(caught.value)
