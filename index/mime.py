"""The bytes of an e-mail -> its headers, its texts and its attachments.

Encodings and parameters are decoded by the standard library. The parts are told apart here, within bounds: its parser
calls itself for each part in a part, and looks at every line once for each of them.
"""

from __future__ import annotations

import binascii
import codecs
import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.utils import collapse_rfc2231_value
from typing import Any

from pincite.index.decoding import binary_reason, decode
from pincite.index.titles import one_line

__all__ = ["Mail", "Text", "decoded_header", "headers_of", "parse_mail"]

_LONGEST_HEAD = 1 << 20  # bytes
_LONGEST_HEADER = 20_000  # bytes; what is more of one is left out
_DEEPEST = 12
_MOST_PARTS = 500
_MOST_FILES = 100

_NAME = re.compile(rb"([!-9;-~]{1,100})[ \t]*:")
_NO_TEXT = re.compile(r"(?:unknown|x-unknown|8bit|none|default|)$")
_CHARSET = re.compile(
    r"ascii|utf-(?:7|8|8-sig|16|32)(?:-[bl]e)?|iso(?:8859|2022).*|cp\d+|koi8.*|gb.*|big5.*|euc.*|shift.*|mac.*"
    r"|tis.*|hz|johab|kz1048|ptcp154|hp.roman8"
)
"""What Python calls encodings of text. Of its other codecs some are none, and some take quadratic time."""


@dataclass(frozen=True, slots=True)
class Text:
    """A part of a mail that is read with it; `kind` is "plain", "flowed", "flowed-delsp" or "html"."""

    kind: str
    text: str


@dataclass(slots=True)
class Mail:
    """A message.

    Attributes:
        headers: the first of each name, in lower case; as they stand there, on one line.
        texts: what makes up its text, in order.
        files: name and content of each file attached to it; a forwarded mail is one.
        parts: how many parts were looked at.
        is_cut: whether there were more, or more in each other, than are looked at.
    """

    headers: dict[str, str] = field(default_factory=dict)
    texts: list[Text] = field(default_factory=list)
    files: list[tuple[str, bytes]] = field(default_factory=list)
    parts: int = 0
    is_cut: bool = False


def parse_mail(data: bytes) -> Mail:
    """Return what is in a message; whatever it is, none is an error."""
    mail = Mail(headers_of(data))
    _collect(data, 0, len(data), "text/plain", mail, 0)
    return mail


def headers_of(data: bytes) -> dict[str, str]:
    """Return the headers at the beginning of a message."""
    return _headers(data, 0, _body_start(data, 0, len(data)))


def decoded_header(value: str) -> str:
    """Return a header in plain words.

    >>> decoded_header("=?utf-8?q?Caf=C3=A9?= at noon")
    'Café at noon'
    """
    if "=?" not in value:
        return one_line(value)
    try:
        pieces = decode_header(value)
    except (HeaderParseError, ValueError):
        return one_line(value)
    texts = [
        piece if isinstance(piece, str) else _text(piece, (charset or "").split("*")[0]) for piece, charset in pieces
    ]
    return one_line("".join(texts)) or one_line(value)


def _collect(data: bytes, start: int, end: int, default: str, mail: Mail, depth: int) -> None:
    """Add to `mail` what is in the part from `start` to `end`, of type `default` if it does not say."""
    mail.parts += 1
    if mail.parts > _MOST_PARTS or depth > _DEEPEST:
        mail.is_cut = True
        return
    body = _body_start(data, start, end)
    headers = _headers(data, start, body)
    message = Message()
    for name in ("content-type", "content-disposition"):
        if name in headers:
            message[name] = headers[name]
    kind = message.get_content_type() if "content-type" in headers else default
    if kind.startswith("multipart/"):
        children = list(_split(data, body, end, _parameter(message, "boundary")))
        if children:
            _collect_all(data, children, kind, mail, depth + 1)
            return
        kind = "text/plain"
    file_name = _file_name(message)
    is_text = kind in ("text/plain", "text/html", "text/markdown")
    is_file = message.get_content_disposition() == "attachment" or not is_text or bool(file_name and mail.texts)
    if not is_file:
        text = _text(_unwrapped(data[body:end], headers), _parameter(message, "charset"))
        mail.texts.append(Text(_kind_of_text(message, kind), text))
    elif file_name or kind == "message/rfc822":
        if kind == "message/rfc822" and not file_name.lower().endswith(".eml"):
            file_name = f"{file_name or 'message'}.eml"
        if len(mail.files) < _MOST_FILES:
            mail.files.append((file_name, _unwrapped(data[body:end], headers)))
        else:
            mail.is_cut = True


def _collect_all(data: bytes, children: list[tuple[int, int]], kind: str, mail: Mail, depth: int) -> None:
    if kind != "multipart/alternative":
        default = "message/rfc822" if kind == "multipart/digest" else "text/plain"
        for start, end in children:
            _collect(data, start, end, default, mail, depth)
        return
    chosen: list[Text] = []
    for start, end in children:
        one = Mail(parts=mail.parts)
        _collect(data, start, end, "text/plain", one, depth)
        mail.parts, mail.is_cut = one.parts, mail.is_cut or one.is_cut
        mail.files += one.files[: _MOST_FILES - len(mail.files)]
        if any(text.text.strip() for text in one.texts):
            is_better = any(text.kind == "html" for text in chosen) and not any(
                text.kind == "html" for text in one.texts
            )
            if not chosen or is_better:
                chosen = one.texts
    mail.texts += chosen


def _body_start(data: bytes, start: int, end: int) -> int:
    """Return where the body of a part begins: after the first empty line, or at once if there are no headers."""
    if not _NAME.match(data, start, end):
        return start + len(re.compile(rb"(?:[ \t]*\r?\n)?").match(data, start, end)[0])  # type: ignore[index]
    found = re.compile(rb"\r?\n[ \t]*\r?\n").search(data, start, min(end, start + _LONGEST_HEAD))
    return found.end() if found else end


def _headers(data: bytes, start: int, end: int) -> dict[str, str]:
    fields: dict[bytes, bytes] = {}
    name = b""
    for line in data[start : min(end, start + _LONGEST_HEAD)].splitlines():
        if line[:1] in (b" ", b"\t") and name:
            if len(fields[name]) < _LONGEST_HEADER:
                fields[name] += b" " + line.strip()
        elif found := _NAME.match(line):
            name = found[1].lower()
            if name in fields:
                name = b""
            else:
                fields[name] = line[found.end() :].strip()
        else:
            name = b""
    return {name.decode("ascii"): _plain(value[:_LONGEST_HEADER]) for name, value in fields.items()}


def _plain(value: bytes) -> str:
    text = value.decode("ascii") if value.isascii() else decode(value)[0]
    return "".join(" " if c in "\t\r\n\0" else c for c in text)


def _split(data: bytes, start: int, end: int, boundary: str) -> Iterator[tuple[int, int]]:
    """Yield where the parts of a multipart body begin and end; with a wrong boundary, the first that looks like one."""
    pattern = _boundary_pattern(re.escape(boundary.encode("utf-8", "replace"))) if boundary else None
    if pattern is None or not pattern.search(data, start, end):
        likely = re.compile(rb"^--([^\s-][^\r\n]{0,99}?)[ \t]*\r?$", re.MULTILINE).search(data, start, end)
        if not likely:
            return
        pattern = _boundary_pattern(re.escape(likely[1]))
    begin = -1
    for number, found in enumerate(pattern.finditer(data, start, end)):
        if begin >= 0:
            yield begin, max(begin, found.start())
        begin = found.end()
        if found[1] or number > _MOST_PARTS:
            return
    if begin >= 0:
        yield begin, end


def _boundary_pattern(boundary: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?:\r?\n|^)--" + boundary + rb"(--)?[ \t]*(?:\r?\n|\Z)", re.MULTILINE)


def _parameter(message: Message, name: str, header: str = "content-type") -> str:
    try:
        value: Any = message.get_param(name, "", header)  # a str, or three of them
        return collapse_rfc2231_value(value).strip()
    except Exception:  # whatever a broken header does to it, there is then no such parameter
        return ""


def _file_name(message: Message) -> str:
    name = _parameter(message, "filename", "content-disposition") or _parameter(message, "name")
    return decoded_header(re.split(r"[\\/]", name)[-1]) if "=?" not in name else decoded_header(name).rpartition("/")[2]


def _kind_of_text(message: Message, kind: str) -> str:
    if kind == "text/html":
        return "html"
    if _parameter(message, "format").lower() != "flowed":
        return "plain"
    return "flowed-delsp" if _parameter(message, "delsp").lower() == "yes" else "flowed"


def _unwrapped(body: bytes, headers: dict[str, str]) -> bytes:
    """Return the content of a part without its transfer encoding."""
    encoding = headers.get("content-transfer-encoding", "").strip().lower()
    if encoding == "quoted-printable":
        return quopri.decodestring(body)
    if encoding == "base64":
        letters = re.sub(rb"[^A-Za-z0-9+/]+", b"", body)
        return binascii.a2b_base64(letters[: len(letters) - (len(letters) % 4 == 1)] + b"===")
    return body


def _text(data: bytes, charset: str) -> str:
    """Return the text of some bytes; a charset that is none, or that they do not fit, is found out."""
    try:
        name = codecs.lookup(charset.strip(" \"'")).name if charset else ""
        if _CHARSET.fullmatch(name):
            # As in browsers: those who say Latin-1 mean the Windows code page that extends it.
            return data.decode("cp1252" if name == "iso8859-1" else name)
    except (LookupError, ValueError):
        pass
    text, encoding = decode(data)
    return "" if binary_reason(data, text, encoding) else text
