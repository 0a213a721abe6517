"""The values of a request -> its answer: what stands behind the routes of the API, run on a thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import Response

from pincite.index import PinciteError, QuestionError
from pincite.qa.api_documents import file_bytes, source_json
from pincite.qa.api_parameters import ApiError
from pincite.qa.live_index import LiveIndex, SyncState
from pincite.qa.render_json import answer_json, hits_json, report_json, stats_json
from pincite.qa.request_guard import to_json

__all__ = ["Answering", "Values", "ask", "explained", "file", "search", "source", "status", "sync"]

_MOST_KEYS = 30  # of metadata, that conditions can ask about

Values = Mapping[str, Any]  # Any: what api_parameters.py declares
Answering = Callable[[LiveIndex, Values], Response]


def explained(answer: Answering, live: LiveIndex, values: Values) -> Response:
    """Return the answer, or raise as an `ApiError` what a user can act on."""
    try:
        return answer(live, values)
    except QuestionError as error:
        raise ApiError(400, "bad_question", _line(error)) from error
    except PinciteError as error:
        raise ApiError(503, "index_unavailable", _line(error)) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def ask(live: LiveIndex, values: Values) -> Response:
    """Return the answer to a question."""
    pipeline = live.pipeline()
    answer = pipeline.ask(
        values["question"],
        values["k"],
        min_confidence=values["min_confidence"],
        read_all=values["all"],
        where=values["where"],
    )
    body = answer_json(answer, pipeline.index.stats(), all_answers=True)
    for item, alternative in zip(body["alternatives"], answer.alternatives, strict=True):
        item["disagrees"] = alternative in answer.disagreeing
    return _json(body)


def search(live: LiveIndex, values: Values) -> Response:
    """Return the passages that fit best."""
    hits = live.pipeline().search(values["query"], values["k"], mode=values["mode"], where=values["where"])
    return _json(hits_json(values["query"], hits))


def source(live: LiveIndex, values: Values) -> Response:
    """Return the text of a document."""
    return _json(source_json(live.index(), values["path"], values["start"], values["end"]))


def file(live: LiveIndex, values: Values) -> Response:
    """Return the file of a document."""
    data, media_type = file_bytes(live.index(), values["path"])
    return Response(data, headers={"content-type": media_type, "content-disposition": "inline"})


def status(live: LiveIndex, values: Values) -> Response:
    """Return what the index holds, and how far a sync has come."""
    index = live.index()
    changes = None
    if values["brief"]:
        body = stats_json(index.stats(), index.path, {})
    else:
        changes = live.changes()
        body = stats_json(index.stats(), index.path, {}, live.overview()) | {"keys": index.keys()[:_MOST_KEYS]}
    models = "ready" if live.is_warm else "loading"
    return _json(body | {"changes": changes, "models": models, "sync": _sync_state(live.sync_state(), live.can_sync)})


def sync(live: LiveIndex, _: Values) -> Response:
    """Begin a sync."""
    if not live.can_sync:
        raise ApiError(403, "sync_off", "This server was started with --no-sync. Update: pincite index")
    if not live.start_sync():
        raise ApiError(409, "sync_running", "A sync is running already.")
    return _json({"sync": _sync_state(live.sync_state(), live.can_sync)}, 202)


def _sync_state(state: SyncState, can_sync: bool) -> dict[str, Any]:
    progress = state.progress
    share = progress.bytes_read / progress.bytes_total if progress.bytes_total else 0.0
    return {
        "allowed": can_sync,
        "state": state.state,
        "bytes_read": progress.bytes_read,
        "bytes_total": progress.bytes_total,
        "passages_done": progress.passages_done,
        "passages_expected": round(progress.passages_found / share) if share else None,
        "passages_per_second": round(progress.passages_done / state.seconds, 1) if state.seconds else 0.0,
        "seconds": round(state.seconds, 3),
        "problem": state.problem or None,
        "report": report_json(state.report) if state.report else None,
    }


def _json(body: Mapping[str, Any], status: int = 200) -> Response:
    return Response(to_json(body), status, media_type="application/json")
