"""The tools that models are given: arguments -> a text to read, and the object of `--json` and of the API."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pincite.index import Document, Index
from pincite.index.filters import parse_wheres
from pincite.index.passage import LINE_END
from pincite.qa.api_documents import document_named, source_json
from pincite.qa.api_parameters import ASK, SEARCH, SOURCE, ApiError, Parameter
from pincite.qa.api_schema import openapi
from pincite.qa.live_index import LiveIndex
from pincite.qa.render import Style, answer_text, count, hits_text, stats_text
from pincite.qa.render_json import Json, answer_json, hits_json, stats_json

__all__ = ["TOOLS", "Tool", "found"]

_SHOWN, _BEFORE = 8_000, 1_000  # characters: of a source at a time, and of them before the line that is asked for
_SHOWN_KEYS, _SHOWN_SKIPS = 30, 20

Values = Mapping[str, Any]  # Any: what api_parameters.py declares
Reply = tuple[str, Json]


@dataclass(frozen=True, slots=True)
class Tool:
    """What can be called.

    Attributes:
        name: by which name; `about`: what for, as models are told.
        parameters: with what.
        shape: the name in api_schema.py of the shape of the reply's object; empty if there is none.
        reply: makes the reply; raises `ApiError` and `PinciteError`.
    """

    name: str
    about: str
    parameters: Sequence[Parameter]
    shape: str
    reply: Callable[[LiveIndex, Values], Reply]

    def input_schema(self) -> Json:
        """Return the JSON schema of the arguments."""
        return {
            "type": "object",
            "properties": {one.name: one.schema() | {"description": one.about} for one in self.parameters},
            "required": [one.name for one in self.parameters if one.required],
            "additionalProperties": False,
        }

    def output_schema(self) -> Json | None:
        """Return the JSON schema of the object in the reply, if it has one."""
        if not self.shape:
            return None
        shapes = openapi()["components"]["schemas"]
        schema = shapes[self.shape] | {"$defs": {name: shapes[name] for name in ("Citation", "Passage", "Place")}}
        return dict(json.loads(json.dumps(schema).replace("#/components/schemas/", "#/$defs/")))


def _ask(live: LiveIndex, values: Values) -> Reply:
    pipeline = live.pipeline()
    answer = pipeline.ask(
        values["question"], values["k"], min_confidence=values["min_confidence"], where=values["where"]
    )
    body = answer_json(answer, pipeline.index.stats(), all_answers=True)
    for item, alternative in zip(body["alternatives"], answer.alternatives, strict=True):
        item["disagrees"] = alternative in answer.disagreeing
    if answer.text is not None:
        return answer_text(answer, Style()), body
    why = "" if answer.hits else _nothing_fits(live.index(), values["where"])
    return f"The articles do not say (best guess below the threshold: {answer.confidence:.2f}).{why}", body


def _search(live: LiveIndex, values: Values) -> Reply:
    pipeline = live.pipeline()
    hits = pipeline.search(values["query"], values["k"], mode=values["mode"], where=values["where"])
    text = hits_text(hits, Style()) or f"Nothing found.{_nothing_fits(live.index(), values['where'])}"
    return text, hits_json(values["query"], hits)


def _nothing_fits(index: Index, where: Sequence[str]) -> str:
    """Return a sentence on conditions that no document fits; nothing if there are some that do."""
    if not where or index.rows_where(parse_wheres(where)).any():
        return ""
    return f" No document fits {' and '.join(where)}. Keys there are: {', '.join(index.keys()[:_SHOWN_KEYS])}."


def _show(live: LiveIndex, values: Values) -> Reply:
    index, path, line, start = live.index(), values["path"], values["line"], values["start"]
    document = found(index, path)
    if line is not None and not document.is_record:
        start = _start_before(document, line)
    body = source_json(index, path, start, start + _SHOWN)
    text = body["text"]
    if not document.is_record:
        text = "\n".join(f"{number}: {row}" for number, row in enumerate(LINE_END.split(text), body["line"]))
    extent = f"Characters {body['start']:,} to {body['end']:,} of {body['length']:,}."
    on = f" It goes on: start={body['end']}." if body["end"] < body["length"] else ""
    return f"{body['path']}  {body['title']}\n\n{text}\n\n{extent}{on}", body


def _start_before(document: Document, line: int) -> int:
    """Return where a line begins, or a line some way before it."""
    starts = [0, *(match.end() for match in LINE_END.finditer(document.text))]
    if line > len(starts):
        has = count(len(starts), "line")
        raise ApiError(404, "no_such_line", f"{document.path} has {has}, none with the number {line}.")
    return next(start for start in starts if start >= starts[line - 1] - _BEFORE)


def found(index: Index, path: str) -> Document:
    """Return the document that a citation calls `path`; raises `ApiError` if the index has none."""
    try:
        return document_named(index, path)
    except ApiError as error:
        raise ApiError(404, error.code, f"{path} is not in the index. Give a path as ask and search do.") from error


def _status(live: LiveIndex, _: Values) -> Reply:
    index, changes, held = live.index(), live.changes(), live.overview()
    stats, sync = index.stats(), live.sync_state()
    body = stats_json(stats, index.path, {}, held) | {"changes": changes, "keys": index.keys()[:_SHOWN_KEYS]}
    body["skipped"] = body["skipped"][:_SHOWN_SKIPS]
    body["sync"] = {"allowed": live.can_sync, "state": sync.state, "problem": sync.problem or None}
    rows = [f"keys       {', '.join(body['keys'])}", f"sync       {sync.state} {sync.problem}".rstrip()]
    return "\n".join([stats_text(stats, index.path, changes or {}, held), *rows]), body


_LINE = Parameter("line", "integer", "A line to show, with what is around it.", 1, 2**31 - 1)

TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            "ask",
            "Answer a question from the user's articles with an exact quote, its confidence, and citations (path, "
            "line, sentence around it). If the reply is that the articles do not say, then they do not: do not answer "
            "from elsewhere as if they did; asking in other words or searching may still help.",
            tuple(one for one in ASK if one.name != "all"),
            "Answer",
            _ask,
        ),
        Tool(
            "search",
            "Find the passages of the user's articles that fit a query best, word for word, best first. For when a "
            "quote is not enough: to compare, to list, or to read what `ask` could not answer.",
            SEARCH,
            "Hits",
            _search,
        ),
        Tool(
            "show",
            "Read an indexed source around a line, or on from a character; only what is in the index can be read. "
            "Use the path exactly as `ask` and `search` give it.",
            (SOURCE[0], _LINE, SOURCE[1]),
            "Source",
            _show,
        ),
        Tool(
            "status",
            "Say what is indexed: sources, numbers, formats, the keys that conditions (`where`) can use, what could "
            "not be read, and what has changed since.",
            (),
            "",
            _status,
        ),
    )
}
