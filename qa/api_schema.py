"""The OpenAPI document of the API: what `api_parameters.py` declares, and the shapes of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pincite.qa.api_parameters import ASK, FILE, SEARCH, SOURCE, STATUS, SYNC, Parameter

__all__ = ["openapi"]

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_LINE: Schema = {"type": "integer", "minimum": 1}
_CHANCE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_SECONDS: Schema = {"type": "number", "minimum": 0}

_ERRORS = {
    400: "A parameter is missing, unknown or none of its kind; or the question cannot be asked.",
    403: "The request came from another web page; or what is asked for is never given.",
    404: "There is nothing of that name.",
    408: "The body did not come in time.",
    409: "Not possible as things are now.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    421: "The Host header names another server.",
    503: "Too much to do, or the index cannot be read; the message says which.",
    504: "It took too long.",
}


def openapi() -> Schema:
    """Return the document, in OpenAPI 3.1."""
    answers = {"Answer": _answer(), "Hits": _hits(), "Status": _status(), "Source": _source(), "Sync": _sync()}
    shapes = answers | {
        "Place": _place(),
        "Citation": _citation(),
        "Passage": _passage(),
        "Error": _error(),
        "Report": _report(),
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "pincite",
            "version": _version(),
            "description": "Answers from your own articles, word for word, with citations. Offsets count characters "
            "(Unicode code points) of a document's text; `start` is the first, `end` the one behind the last.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/api/ask": _both("ask", "Answer a question with a quote and its citations.", ASK, "Answer"),
            "/api/search": _both("search", "Find the passages that fit best.", SEARCH, "Hits"),
            "/api/source": {
                "get": _get("source", "Give the text of an indexed document, or a part of it.", SOURCE, "Source", 404)
            },
            "/api/file": {
                "get": _operation(
                    "file",
                    "Give the file of an indexed document, if it is a PDF and as it was when it was indexed.",
                    FILE,
                    {"200": {"description": "The file.", "content": {"application/pdf": {}}}},
                    (403, 404, 409),
                )
            },
            "/api/status": {
                "get": _get("status", "Tell what the index holds and how far a sync is.", STATUS, "Status")
            },
            "/api/sync": {
                "post": _post("sync", "Begin to bring the index in step with its sources.", SYNC, "SyncBegun", 202, 409)
            },
        },
        "components": {"schemas": shapes | {"SyncBegun": _object({"sync": _ref("Sync")})}},
    }


def _version() -> str:
    try:
        return version("pincite")
    except PackageNotFoundError:
        return "0"


def _both(name: str, about: str, parameters: Sequence[Parameter], shape: str) -> Schema:
    return {
        "get": _get(name, about, parameters, shape),
        "post": _post(f"{name}_by_body", about, parameters, shape, 200),
    }


def _get(name: str, about: str, parameters: Sequence[Parameter], shape: str, *errors: int) -> Schema:
    return _operation(name, about, parameters, _good(200, shape), errors)


def _post(name: str, about: str, parameters: Sequence[Parameter], shape: str, status: int, *errors: int) -> Schema:
    body = {
        "type": "object",
        "properties": {one.name: one.schema() | {"description": one.about} for one in parameters},
        "required": [one.name for one in parameters if one.required],
        "additionalProperties": False,
    }
    operation = _operation(name, about, (), _good(status, shape), (403, 408, 413, 415, *errors))
    return operation | {"requestBody": {"required": True, "content": {"application/json": {"schema": body}}}}


def _operation(
    name: str, about: str, parameters: Sequence[Parameter], answers: Schema, errors: Sequence[int]
) -> Schema:
    content = {"application/json": {"schema": _ref("Error")}}
    told = {str(code): {"description": _ERRORS[code], "content": content} for code in (400, 421, 503, 504, *errors)}
    return {
        "operationId": name,
        "summary": about,
        "parameters": [
            {
                "name": one.name,
                "in": "query",
                "description": one.about,
                "required": one.required,
                "schema": one.schema(),
                **({"style": "form", "explode": True} if one.kind == "array" else {}),
            }
            for one in parameters
        ],
        "responses": dict(sorted((answers | told).items())),
    }


def _good(status: int, shape: str) -> Schema:
    return {str(status): {"description": "Done.", "content": {"application/json": {"schema": _ref(shape)}}}}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _of_the_document() -> Schema:
    """Return what citations, passages and sources say of their document."""
    maybe = _or_null(_TEXT)
    return {"path": _TEXT, "title": _TEXT, "format": _TEXT, "author": maybe, "date": maybe, "url": maybe}


def _citation() -> Schema:
    return {"allOf": [_ref("Place"), _object({"also": _list(_ref("Place"))})]}


def _place() -> Schema:
    return _object(
        _of_the_document()
        | {"start": _COUNT, "end": _COUNT, "line": _LINE, "column": _LINE, "end_line": _LINE}
        | {"quote": _TEXT, "sentence": _TEXT, "sentence_start": _COUNT, "sentence_end": _COUNT, "score": _CHANCE}
        | {"verified": _FLAG, "problem": _or_null(_TEXT), "page": _or_null(_LINE)}
        | {"unit": _or_null(_TEXT), "mark": _or_null(_TEXT), "link": _TEXT}
    )


def _passage() -> Schema:
    copy = _object(
        {"path": _TEXT, "title": _TEXT, "format": _TEXT, "start": _COUNT, "end": _COUNT, "line": _LINE}
        | {"score": {"type": "number"}, "unit": _or_null(_TEXT), "mark": _or_null(_TEXT)}
    )
    return _object(
        _of_the_document()
        | {"rank": _LINE, "start": _COUNT, "end": _COUNT, "line": _LINE, "text": _TEXT, "score": {"type": "number"}}
        | {"unit": _or_null(_TEXT), "mark": _or_null(_TEXT), "also": _list(copy)}
    )


def _answer() -> Schema:
    found = {"answer": _TEXT, "confidence": _CHANCE, "citations": _list(_ref("Citation"))}
    steps = ("embed", "retrieve", "read", "total")
    return _object(
        {"question": _TEXT, "answered": _FLAG}
        | found
        | {"answer": _or_null(_TEXT)}
        | {"alternatives": _list(_object(found | {"disagrees": _FLAG})), "passages": _list(_ref("Passage"))}
        | {"index": _object({"generation": _COUNT, "documents": _COUNT, "passages": _COUNT})}
        | {"elapsed_ms": _object(dict.fromkeys(steps, _SECONDS))}
    )


def _hits() -> Schema:
    ranks = _object({"dense_rank": _or_null(_LINE), "sparse_rank": _or_null(_LINE)})
    return _object({"query": _TEXT, "hits": _list({"allOf": [_ref("Passage"), ranks]})})


def _source() -> Schema:
    return _object(
        _of_the_document()
        | {"text": _TEXT, "start": _COUNT, "end": _COUNT, "length": _COUNT, "line": _LINE, "is_record": _FLAG}
        | {"unit": _or_null(_TEXT), "marks": _list(_object({"start": _COUNT, "label": _TEXT}))}
        | {"passages": _list(_object({"start": _COUNT, "end": _COUNT})), "file": _or_null(_TEXT), "generation": _COUNT}
    )


def _status() -> Schema:
    counts = ("generation", "documents", "passages", "segments", "bytes")
    sources = _list(_object({"path": _TEXT, "exclude": _list(_TEXT)}))
    changes = _or_null(_object(dict.fromkeys(("new", "changed", "missing"), _COUNT)))
    status = _object(
        {"index": _TEXT, "model": _TEXT, "sources": sources, "changes": changes}
        | dict.fromkeys(counts, _COUNT)
        | {"models": {"type": "string", "enum": ["loading", "ready"]}, "sync": _ref("Sync")}
    )
    formats: Schema = {"type": "object", "additionalProperties": _COUNT}
    status["properties"] |= {"formats": formats, "skipped": _skipped(), "keys": _list(_TEXT)}
    return status


def _sync() -> Schema:
    counts = ("bytes_read", "bytes_total", "passages_done")
    return _object(
        {"allowed": _FLAG, "state": {"type": "string", "enum": ["idle", "running", "done", "failed"]}}
        | dict.fromkeys(counts, _COUNT)
        | {"passages_expected": _or_null(_COUNT), "passages_per_second": _SECONDS, "seconds": _SECONDS}
        | {"problem": _or_null(_TEXT), "report": _or_null(_ref("Report"))}
    )


def _report() -> Schema:
    documents = _object(dict.fromkeys(("added", "changed", "removed", "unchanged"), _COUNT))
    counts = {"passages": _COUNT, "embedded": _COUNT, "seconds": _SECONDS, "generation": _COUNT}
    return _object({"documents": documents, "skipped": _skipped()} | counts)


def _skipped() -> Schema:
    return _list(_object({"path": _TEXT, "reason": _TEXT}))


def _error() -> Schema:
    return _object({"error": _object({"code": _TEXT, "message": _TEXT})})
