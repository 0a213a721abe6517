"""Questions over HTTP: the page, the JSON API under /api, and the server that gives both on this machine.

Answers are the objects that the command line prints with `--json`.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from pincite.index import PinciteError
from pincite.qa import api_answers as answers
from pincite.qa.api_answers import Answering
from pincite.qa.api_parameters import (
    ASK,
    FILE,
    SEARCH,
    SOURCE,
    STATUS,
    SYNC,
    ApiError,
    Parameter,
    from_body,
    from_query,
)
from pincite.qa.api_schema import openapi
from pincite.qa.bounded_work import BoundedWork
from pincite.qa.live_index import LiveIndex
from pincite.qa.request_guard import Guard, HostNames, error_response, host_names, read_body, to_json

__all__ = ["address_of", "create_app", "listen", "web_server"]

_THREADS, _WAITING, _SECONDS = 2, 16, 60.0
"""Questions at a time, questions that wait, and how long a client waits. One takes up to a second."""

_OTHER_THREADS, _OTHERS_WAITING = 2, 32
"""The same for all else, which does not wait for questions."""

_MOST_CONNECTIONS = 100
_MOST_HEADERS = 64 * 1024  # bytes
_LAST_SECONDS = 5  # for answers that are due when the server ends

_SCRIPT = "text/javascript; charset=utf-8"
_PAGE = {
    "page.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "page.svg": "image/svg+xml",
    "page.js": _SCRIPT,
    "page_dom.js": _SCRIPT,
    "page_index.js": _SCRIPT,
    "page_source.js": _SCRIPT,
}

_LOADING = "The models are still being loaded; the very first time that takes a minute. Ask again in a moment."

Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(
    live: LiveIndex,
    *,
    names: HostNames | None = None,
    work: BoundedWork | None = None,
    sync_first: bool = False,
    report: Callable[[Exception], None] = lambda error: None,
) -> ASGIApp:
    """Return the ASGI application.

    Args:
        live: what to answer from; started and closed with the application.
        names: by what the server may be called; by default, as one on loopback.
        work: what does the work of questions; by default two at a time.
        sync_first: whether to begin with a sync in the background.
        report: told of what should not happen.
    """
    questions = work or BoundedWork(threads=_THREADS, waiting=_WAITING, seconds=_SECONDS)
    others = BoundedWork(threads=_OTHER_THREADS, waiting=_OTHERS_WAITING, seconds=_SECONDS)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        live.start(sync_first=sync_first)
        try:
            yield
        finally:
            questions.close()
            others.close()
            live.close()

    def route(work: BoundedWork, path: str, answer: Answering, declared: Sequence[Parameter], *methods: str) -> Route:
        async def endpoint(request: Request) -> Response:
            if request.method == "POST":
                from_query(request.scope["query_string"], ())
                values = from_body(await read_body(request), declared)
            else:
                values = from_query(request.scope["query_string"], declared)
            try:
                return await work.run(partial(answers.explained, answer, live, values))
            except ApiError as error:
                if error.status == 504 and not live.is_warm:
                    raise ApiError(503, "loading", _LOADING, {"retry-after": "10"}) from error
                raise

        return Route(path, endpoint, methods=methods)

    app = Starlette(
        routes=[
            Route("/", _static("page.html"), methods=["GET"]),
            *(Route(f"/{name}", _static(name), methods=["GET"]) for name in _PAGE),
            Route("/openapi.json", _given(to_json(openapi()), "application/json"), methods=["GET"]),
            route(questions, "/api/ask", answers.ask, ASK, "GET", "POST"),
            route(questions, "/api/search", answers.search, SEARCH, "GET", "POST"),
            route(others, "/api/source", answers.source, SOURCE, "GET"),
            route(others, "/api/file", answers.file, FILE, "GET"),
            route(others, "/api/status", answers.status, STATUS, "GET"),
            route(others, "/api/sync", answers.sync, SYNC, "POST"),
        ],
        exception_handlers={ApiError: _on_error, HTTPException: _on_http_error, Exception: _on_error},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return Guard(app, names or host_names("127.0.0.1"), report)


def _static(name: str) -> Endpoint:
    return _given(files("pincite.qa").joinpath(name).read_bytes(), _PAGE[name])


def _given(body: bytes, media_type: str) -> Endpoint:
    async def endpoint(_: Request) -> Response:
        return Response(body, headers={"content-type": media_type})

    return endpoint


async def _on_error(_: Request, error: Exception) -> Response:
    return error_response(error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        message = f"{request.url.path} takes {allowed} only."
        return error_response(ApiError(405, "wrong_method", message, error.headers))
    return error_response(ApiError(error.status_code, "not_found", "There is nothing here. The API: /openapi.json"))


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; `port` 0 takes any that is free.

    Raises:
        PinciteError: the port is taken, or `host` is not of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host or " ", port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise PinciteError(f"{host} is no address of this machine. The usual one: pincite serve") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_MOST_CONNECTIONS)
    except OSError as error:
        listening.close()
        why = (error.strerror or str(error)).lower()
        raise PinciteError(
            f"Cannot listen on {host} port {port}: {why}. Take another: pincite serve --port 0"
        ) from error
    return listening


def address_of(listening: socket.socket) -> str:
    """Return the URL of the page."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def web_server(app: ASGIApp) -> uvicorn.Server:
    """Return what answers until Ctrl-C, once it is run with a socket."""
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST_CONNECTIONS,
        h11_max_incomplete_event_size=_MOST_HEADERS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=_LAST_SECONDS,
    )
    return uvicorn.Server(config)
