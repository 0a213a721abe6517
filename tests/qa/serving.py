"""A server on a small index, for the tests of the API and of the page: quick, with the same answers each time."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from pincite.index import Index
from pincite.qa.bounded_work import BoundedWork
from pincite.qa.live_index import LiveIndex
from pincite.qa.request_guard import HostNames
from pincite.qa.server import address_of, create_app, listen, web_server
from tests.conftest import HashingEmbedder, KnowingReader

PATIENCE = 20.0
BOARD, TRAIN, NOTHING = "Who sits on the board?", "When does the train to Bern leave?", "What does bread cost?"
ANSWERS = {BOARD: "Ann, Bob and Cid", TRAIN: "at noon"}


def make_live(
    folder: Path,
    *,
    answers: Mapping[str, str] = ANSWERS,
    embedder: HashingEmbedder | None = None,
    can_sync: bool = True,
    report: Any = lambda error: None,
) -> LiveIndex:
    """Index a folder in a `.pincite` of its own, and open that to be served."""
    embedder = embedder or HashingEmbedder()
    if not (folder / ".pincite").exists():
        Index.sync(folder / ".pincite", [folder], embedder=embedder)
    reader = KnowingReader(defaultdict(str, answers))
    return LiveIndex(folder / ".pincite", embedder=embedder, reader=reader, can_sync=can_sync, report=report)


@contextmanager
def serving(
    live: LiveIndex,
    *,
    names: HostNames | None = None,
    work: BoundedWork | None = None,
    sync_first: bool = False,
    report: Any = lambda error: None,
) -> Iterator[TestClient]:
    """Give a client of an application that is running."""
    app = create_app(live, names=names, work=work, sync_first=sync_first, report=report)
    with TestClient(app, base_url="http://127.0.0.1:8765", raise_server_exceptions=True) as client:
        yield client


@contextmanager
def on_a_port(live: LiveIndex, *, sync_first: bool = False) -> Iterator[str]:
    """Give the address of a server that listens on a port of loopback."""
    with listen("127.0.0.1", 0) as listening:
        server = web_server(create_app(live, sync_first=sync_first))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield address_of(listening)
        finally:
            server.should_exit = True
            thread.join()


def error_of(response: Any, status: int, code: str) -> str:
    """Assert that a response is an error as all of them are; return its message."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) == {"error"} and set(body["error"]) == {"code", "message"}
    assert body["error"]["code"] == code
    message = str(body["error"]["message"])
    assert message and "\n" not in message and "Traceback" not in message
    return message


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def wait_for_sync(client: TestClient) -> dict[str, Any]:
    """Return the state of a sync that is over."""

    def state() -> dict[str, Any]:
        return dict(client.get("/api/status", params={"brief": "true"}).json()["sync"])

    wait_until(lambda: state()["state"] != "running")
    return state()


def without_times(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != "elapsed_ms"}


def write_articles(folder: Path) -> Path:
    """Write three short articles and return their folder, as it is shown."""
    (folder / "board.txt").write_text("The board of the club\n\nOn the board sit Ann, Bob and Cid. They meet in May.\n")
    (folder / "garden.md").write_text("# The garden\n\nRoses grow behind the house.\n\nThe pond holds three carp.\n")
    (folder / "train.txt").write_text("The train to Bern leaves at noon. It has six cars and a bar.\n")
    return folder
