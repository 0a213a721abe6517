"""Messages -> the text that a language model writes, by a server that speaks OpenAI's chat completions.

A reply is bounded in bytes and in time, however slowly it comes; no redirect is followed and no proxy used, so that
passages and key go to the named host and nowhere else, and over plain http only to this machine.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import os
import re
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pincite.index import PinciteError

__all__ = ["LanguageModel", "LanguageModelError", "language_model"]

MAX_REPLY = 1_000_000
"""Bytes of a reply; the text is some thousands."""

MAX_TOKENS = 1_000
"""Tokens that a model is asked to write at most."""

TIMEOUT = 300.0
"""Seconds for a whole reply: a small model on a CPU reads ten passages in one or two minutes."""

_CONNECT = 15.0  # seconds
_KEY = "PINCITE_LLM_KEY"
_KEYS_OF = {"api.openai.com": "OPENAI_API_KEY"}  # a key of a service's own goes to that service only
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
_PRINTED = re.compile(r"[!-~]*")


class LanguageModelError(PinciteError):
    """A language model cannot be asked, or gives no usable reply."""


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A model on a server; `language_model` makes one, and checks the address.

    Attributes:
        name: what the server calls the model.
        host: for messages; `is_local`: whether it is this machine.
        timeout: seconds for a whole reply.
    """

    name: str
    host: str
    is_local: bool
    timeout: float
    _url: SplitResult = field(repr=False)
    _key: str = field(repr=False)

    def complete(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Return what the model writes after `messages`, each with its "role" and "content".

        Raises:
            LanguageModelError: the server does not answer, refuses, or says nothing usable.
        """
        body: dict[str, Any] = {"model": self.name, "messages": list(messages)}
        status, reply = self._post(body | {"max_tokens": MAX_TOKENS, "temperature": 0})
        if status == 400:  # some models take neither of the two
            status, reply = self._post(body)
        if status in (401, 403):
            raise LanguageModelError(f"{self.host} refuses the key ({status}). Set {_KEY} to one that it takes.")
        if 300 <= status < 400:
            raise LanguageModelError(
                f"{self.host} redirects elsewhere ({status}). Name that address itself with --llm."
            )
        if status != 200:
            said = _found(reply, "error", "message") or _found(reply, "error")
            said = said.replace(self._key or said, "***")
            said = "".join(c for c in f": {said}" if c.isprintable())[:200] if said else ""
            raise LanguageModelError(f"{self.host} answers with an error ({status}{said}). Are URL and model right?")
        text = _found(reply, "choices", 0, "message", "content")
        if not text:
            raise LanguageModelError(f"{self.host} sent no chat completion. Is it the right URL? It often ends in /v1.")
        return text

    def _post(self, body: Mapping[str, Any]) -> tuple[int, bytes]:
        """Return status and body of the reply to a request, all within `timeout` and `MAX_REPLY`."""
        key = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        kind = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._url.hostname or "", self._url.port, timeout=min(self.timeout, _CONNECT))
        over, ended = threading.Event(), threading.Event()
        try:
            connection.connect()
            peer = connection.sock
            if self._url.scheme == "http" and not _is_local(peer.getpeername()[0]):
                raise LanguageModelError(_not_local(self.host))
            peer.settimeout(self.timeout)
            threading.Thread(target=_watch, args=(peer, self.timeout, over, ended), daemon=True).start()
            headers = {"Content-Type": "application/json", "Connection": "close", **key}
            connection.request("POST", f"{self._url.path}/chat/completions", json.dumps(body).encode(), headers)
            with connection.getresponse() as response:
                status, reply = response.status, response.read(MAX_REPLY + 1)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if over.is_set() or isinstance(error, TimeoutError):
                status, reply = 0, b""
            elif isinstance(error, ssl.SSLError):
                raise LanguageModelError(
                    f"{self.host} does not speak https, or its certificate is not valid."
                ) from None
            elif isinstance(error, OSError):
                reason = error.strerror or "it hangs up"
                message = f"{self.host} cannot be reached: {reason}. Start the server, or name another with --llm."
                raise LanguageModelError(message) from None
            else:
                raise LanguageModelError(f"{self.host} does not answer as a web server does.") from None
        finally:
            ended.set()
            connection.close()
        if over.is_set() or not status:
            message = f"{self.host} did not reply within {self.timeout:.0f} s. Send fewer passages, such as -k 5."
            raise LanguageModelError(message)
        if len(reply) > MAX_REPLY:
            raise LanguageModelError(f"{self.host} sent more than {MAX_REPLY:,} bytes, which is no answer.")
        return status, reply


def language_model(url: str, name: str, *, timeout: float = TIMEOUT) -> LanguageModel:
    """Return the model `name` on the server at `url`; nothing is sent before it is asked.

    The key, if the server wants one, is that in PINCITE_LLM_KEY; for OpenAI's own server, or else in OPENAI_API_KEY.

    Args:
        url: to which "/chat/completions" is added, such as "http://localhost:11434/v1"; https, but for this machine.
        name: what the server calls the model.
        timeout: seconds for a whole reply.

    Raises:
        LanguageModelError: the URL or the key is not usable.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or not _PRINTED.fullmatch(parts.path):
        raise LanguageModelError("The URL of a language model looks like http://localhost:11434/v1.")
    if parts.username is not None or parts.query or parts.fragment:
        raise LanguageModelError(f"The URL of a language model has no password and no query; a key goes in {_KEY}.")
    shown = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    if parts.scheme == "http" and not _is_local(host):
        raise LanguageModelError(_not_local(shown))
    key = (os.environ.get(_KEY) or os.environ.get(_KEYS_OF.get(host, ""), "")).strip()
    if not _PRINTED.fullmatch(key):
        raise LanguageModelError("The key of the language model has characters that no key has. Set it again.")
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    return LanguageModel(name, shown, _is_local(host), timeout, parts._replace(path=path), key)


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _not_local(host: str) -> str:
    return f"{host} is not this machine: your passages go to it over https only."


def _found(reply: bytes, *path: str | int) -> str:
    """Return the text at a path of keys in a JSON body; empty if there is none."""
    try:
        value = json.loads(reply)
        for key in path:
            value = value[key]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return value if isinstance(value, str) else ""


def _watch(peer: socket.socket, seconds: float, over: threading.Event, ended: threading.Event) -> None:
    """End a connection that has not ended in time, whatever it waits for: a time-out of a socket is for each byte."""
    if not ended.wait(seconds):
        over.set()
        with suppress(OSError):  # it has just ended
            socket.socket.shutdown(peer, socket.SHUT_RDWR)  # SSLSocket's own would drop what is being read
