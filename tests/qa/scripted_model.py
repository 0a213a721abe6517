"""A server on loopback that plays a language model: it says what a test tells it, and notes what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Asked(NamedTuple):
    path: str
    key: str | None
    body: dict[str, Any]

    @property
    def prompt(self) -> str:
        return "\n".join(message["content"] for message in self.body["messages"])


class Scripted(NamedTuple):
    url: str
    asked: list[Asked]


Reply = Callable[[BaseHTTPRequestHandler, Asked], None]


def sends(body: bytes, status: int = 200, **headers: str) -> Reply:
    def reply(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return reply


def says(text: str | Callable[[Asked], str]) -> Reply:
    def reply(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        content = text if isinstance(text, str) else text(asked)
        sends(json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode())(
            handler, asked
        )

    return reply


@contextmanager
def scripted(reply: Reply) -> Iterator[Scripted]:
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(Asked(self.path, self.headers["Authorization"], body))
            with suppress(OSError):  # the client had enough
                reply(self, asked[-1])

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield Scripted(f"http://127.0.0.1:{server.server_port}/v1", asked)
        finally:
            server.shutdown()
