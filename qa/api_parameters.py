"""Query string or JSON body -> checked values, by declarations from which the OpenAPI document is made, too."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from pincite.qa.reader import MIN_CONFIDENCE

__all__ = ["ASK", "FILE", "SEARCH", "SOURCE", "STATUS", "SYNC", "ApiError", "Parameter", "from_body", "from_query"]

MOST_CHARACTERS = 10_000
"""Of a question: a thousand words, which is what the pipeline takes at most."""

MOST_PASSAGES = 100
"""To be read for one question: some seconds of work."""

_LONGEST_PATH = 4_096
_MOST_CONDITIONS, _LONGEST_CONDITION = 50, 500
_LARGEST_OFFSET = 2**31 - 1


class ApiError(Exception):
    """What a request is answered with when it cannot be done: a status, a code for programs, a line for people."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a request.

    Attributes:
        name: in the query string and in the body.
        kind: "string", "integer", "number", "boolean" or "array", which is one of strings.
        about: what it means.
        least, most: bounds of a number; of the length of a string, or of each string of an array.
        required: whether a request must have it.
        default: what it is otherwise.
        choices: the only values, if there are such.
        most_items: of an array.
        raw: whether the string is a path, which may have bytes that are no UTF-8 (as surrogate escapes).
    """

    name: str
    kind: str
    about: str
    least: float = 0
    most: float = math.inf
    required: bool = False
    default: Any = None
    choices: Sequence[str] = ()
    most_items: int = 0
    raw: bool = False

    def schema(self) -> dict[str, Any]:
        """Return its JSON schema."""
        text: dict[str, Any] = {"type": "string", "minLength": int(self.least), "maxLength": self.most}
        if self.kind == "array":
            return {"type": "array", "items": text, "maxItems": self.most_items}
        schema: dict[str, Any] = {"type": self.kind}
        if self.kind == "string":
            schema = {"type": "string", "enum": list(self.choices)} if self.choices else text
            if self.least and not self.choices:
                schema["pattern"] = r"\S"
        elif self.kind != "boolean":
            schema |= {"minimum": self.least, "maximum": self.most}
        return schema if self.default is None else schema | {"default": self.default}

    def check(self, value: Any) -> Any:
        """Return a value of the body if it is one of this parameter; raises `ApiError` if it is not."""
        if self.kind == "array":
            if not isinstance(value, list) or len(value) > self.most_items:
                raise self._bad(f"a list of at most {self.most_items} strings")
            return [self._text(item) for item in value]
        if self.kind == "string":
            return self._text(value)
        if self.kind == "boolean":
            if not isinstance(value, bool):
                raise self._bad("true or false")
            return value
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and self.least <= value <= self.most
        if not is_number or (self.kind == "integer" and value != int(value)):
            what = "a whole number" if self.kind == "integer" else "a number"
            raise self._bad(f"{what} from {self.least:g} to {self.most:.10g}")
        return int(value) if self.kind == "integer" else float(value)

    def parse(self, texts: Sequence[str]) -> Any:
        """Return the value that a query string gives, once or, for an array, several times; raises as `check`."""
        if self.kind == "array":
            return self.check(list(texts))
        if len(texts) > 1:
            raise ApiError(400, "bad_request", f"{self.name} is given {len(texts)} times; once will do.")
        text = texts[0]
        if self.kind == "boolean":
            return self.check({"true": True, "false": False}.get(text))
        if self.kind == "string":
            return self.check(text)
        try:
            if len(text) > 40 or not text.isascii() or "_" in text or text != text.strip():
                raise ValueError
            return self.check(int(text) if self.kind == "integer" else float(text))
        except ValueError:
            return self.check(None)

    def _text(self, value: Any) -> str:
        if not isinstance(value, str):
            raise self._bad("a string" if self.kind == "string" else "a list of strings")
        if self.choices and value not in self.choices:
            raise self._bad(f"one of {', '.join(self.choices)}")
        if not self.choices and not (self.least <= len(value) <= self.most and (value.strip() or not self.least)):
            size = f"at most {self.most:,.0f} characters"
            raise self._bad(f"{size}, and not empty" if self.least else size)
        return value

    def _bad(self, wanted: str) -> ApiError:
        return ApiError(400, "bad_request", f"{self.name} must be {wanted}.")


_WHERE = Parameter(
    "where",
    "array",
    "Conditions that all hold for a document, such as `author=Roe`, `date>=2021-05` or `path=reports/**`.",
    1,
    _LONGEST_CONDITION,
    most_items=_MOST_CONDITIONS,
    default=[],
)
_K = Parameter("k", "integer", "Passages to look in, or to find.", 1, MOST_PASSAGES, default=10)
_PATH = Parameter(
    "path", "string", "A document's path as citations give it.", 1, _LONGEST_PATH, required=True, raw=True
)

ASK = (
    Parameter("question", "string", "In words.", 1, MOST_CHARACTERS, required=True),
    _K,
    Parameter("min_confidence", "number", "Below, there is no answer.", 0, 1, default=MIN_CONFIDENCE),
    Parameter("all", "boolean", "Read every passage, even if the first ones decide.", default=False),
    _WHERE,
)
SEARCH = (
    Parameter("query", "string", "Any words.", 1, MOST_CHARACTERS, required=True),
    _K,
    Parameter(
        "mode",
        "string",
        "What to rank by; full has the best passages read, too.",
        default="hybrid",
        choices=("hybrid", "dense", "sparse", "full"),
    ),
    _WHERE,
)
SOURCE = (
    _PATH,
    Parameter("start", "integer", "First character of the text that is wanted.", 0, _LARGEST_OFFSET, default=0),
    Parameter(
        "end", "integer", "Character behind the last one; by default as far as one answer goes.", 0, _LARGEST_OFFSET
    ),
)
FILE = (_PATH,)
STATUS = (Parameter("brief", "boolean", "Leave out what takes longer, such as a look at the sources.", default=False),)
SYNC: tuple[Parameter, ...] = ()


def from_query(query: bytes, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Return the values of a query string, with the defaults of what it does not name.

    Raises:
        ApiError: it is malformed, lacks something, or has what is not asked for.
    """
    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(query),
            errors="surrogateescape",
            max_num_fields=100,
        )
    except ValueError as error:
        raise ApiError(400, "bad_request", "The query string is malformed.") from error
    texts: dict[str, list[str]] = {}
    for name, text in pairs:
        texts.setdefault(name, []).append(text)
    known = _known(texts, parameters)
    for name, given in texts.items():
        if not known[name].raw and not all(map(_is_text, given)):
            raise ApiError(400, "bad_request", f"{name} must be UTF-8.")
    return _filled({name: known[name].parse(given) for name, given in texts.items()}, parameters)


def from_body(body: bytes, parameters: Sequence[Parameter]) -> dict[str, Any]:
    """Return the values of a JSON body; as `from_query`."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "bad_request", "The body must be JSON in UTF-8.") from error
    if not isinstance(given, dict):
        raise ApiError(400, "bad_request", "The body must be a JSON object.")
    known = _known(given, parameters)
    return _filled({name: known[name].check(value) for name, value in given.items()}, parameters)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _known(given: Mapping[str, object], parameters: Sequence[Parameter]) -> dict[str, Parameter]:
    known = {parameter.name: parameter for parameter in parameters}
    if any(name not in known for name in given):
        names = ", ".join(known) or "none"
        raise ApiError(400, "bad_request", f"There is a parameter that is not known here. Known: {names}.")
    return known


def _filled(values: dict[str, Any], parameters: Sequence[Parameter]) -> dict[str, Any]:
    for parameter in parameters:
        if parameter.required and parameter.name not in values:
            raise ApiError(400, "bad_request", f"{parameter.name} is missing.")
        values.setdefault(parameter.name, parameter.default)
    return values
