"""What every request passes before the routes see it, and every answer after: who may ask, how much, and how.

A web page of somebody else's that is open in the same browser must not be able to ask: so a request has to name this
server by a name that no stranger controls (DNS rebinding), must not come from another origin, and changes something
only with a JSON body, which no plain form can send.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pincite.qa.api_parameters import ApiError

__all__ = ["MOST_BODY", "Guard", "HostNames", "error_response", "host_names", "read_body", "to_json"]

MOST_BODY = 64 * 1024
"""Bytes of a request's body."""

_BODY_SECONDS = 10.0

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}

_HEADERS = {
    "content-security-policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}


@dataclass(frozen=True, slots=True)
class HostNames:
    """By what a server may be called: some names, and any address where it is open to other machines."""

    names: frozenset[str]
    any_address: bool = False

    def allow(self, host: str) -> bool:
        """Return whether a Host header names this server, whatever the port, which a tunnel may change.

        >>> names = host_names("127.0.0.1")
        >>> [names.allow(host) for host in ("localhost:8765", "[::1]", "evil.example:8765", "192.0.2.1", "")]
        [True, True, False, False, False]
        """
        name = _without_port(host).lower()
        return name in self.names or (self.any_address and _is_address(name))


def host_names(host: str) -> HostNames:
    """Return the names of a server that listens on `host`."""
    names = {"localhost", "127.0.0.1", "::1", host.lower()}
    if _is_loopback(host):
        return HostNames(frozenset(names))
    return HostNames(frozenset(names | {socket.gethostname().lower()}), any_address=True)


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _without_port(host: str) -> str:
    if host.startswith("["):
        name, bracket, rest = host[1:].partition("]")
        return name if bracket and (not rest or (rest[0] == ":" and rest[1:].isdecimal())) else ""
    name, colon, port = host.partition(":")
    return name if not colon or port.isdecimal() else ""


def to_json(body: Mapping[str, Any]) -> bytes:
    """Return an answer's bytes, in ASCII: halves of surrogate pairs, which names may hold, are no UTF-8."""
    return json.dumps(body, separators=(",", ":")).encode()


def error_response(error: Exception) -> Response:
    """Return what a client is told of an error; of one that is no `ApiError`, no more than that there was one."""
    if not isinstance(error, ApiError):
        error = ApiError(500, "internal", "This should not happen. The server's terminal says more.")
    body = to_json({"error": {"code": error.code, "message": error.message}})
    return Response(body, error.status, dict(error.headers or {}), "application/json")


class Guard:
    """An ASGI application around another one.

    Args:
        app: the routes.
        names: by what the server may be called.
        report: told, in a line, of what should not happen; the client learns no more than that it did.
    """

    def __init__(self, app: ASGIApp, names: HostNames, report: Callable[[Exception], None]) -> None:
        self._app, self._names, self._report = app, names, report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        has_begun = False

        async def send_guarded(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                given = {name for name, _ in message["headers"]}
                added = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message["headers"], *(pair for pair in added if pair[0] not in given)]
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, receive, send_guarded)
        except Exception as error:
            if not isinstance(error, ApiError):
                self._report(error)
            if not has_begun:
                await error_response(error)(scope, receive, send_guarded)

    def _check(self, scope: Scope) -> None:
        headers = _headers(scope)
        host = headers.get("host", "")
        if not self._names.allow(host):
            raise ApiError(421, "wrong_host", "This server does not go by that name. Open it by its address.")
        origin = headers.get("origin")
        if origin is not None and origin != f"{scope['scheme']}://{host}":
            raise ApiError(403, "wrong_origin", "Another web page may not ask here.")
        is_page = scope["path"] == "/"  # to which others may link
        if not is_page and headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            raise ApiError(403, "wrong_origin", "Another web page may not ask here.")


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


async def read_body(request: Request) -> bytes:
    """Return the JSON body of a request.

    Raises:
        ApiError: it is of another type, too large, or too slow to come.
    """
    headers = request.headers
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "not_json", "The body must be sent as application/json.")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > 9 or int(length) > MOST_BODY:
        raise _too_large()
    body = b""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > MOST_BODY:
                    raise _too_large()
    except ClientDisconnect as error:
        raise ApiError(400, "bad_request", "The body broke off.") from error
    except TimeoutError as error:
        raise ApiError(408, "too_slow", f"The body did not come within {_BODY_SECONDS:.0f} s.") from error
    return body


def _too_large() -> ApiError:
    return ApiError(413, "too_large", f"The body is larger than {MOST_BODY // 1024} KiB.", {"connection": "close"})
