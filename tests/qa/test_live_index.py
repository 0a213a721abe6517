"""A served index: always its newest generation, synced in the background."""

from __future__ import annotations

import fcntl
import threading
import time
from pathlib import Path
from typing import Any

from pincite.index import Index
from tests.conftest import HashingEmbedder
from tests.qa.serving import (
    BOARD,
    PATIENCE,
    TRAIN,
    error_of,
    make_live,
    serving,
    wait_for_sync,
    wait_until,
)


def test_answers_come_from_the_newest_generation(articles: Path) -> None:
    with serving(make_live(articles)) as client:
        before = client.get("/api/ask", params={"question": TRAIN}).json()
        assert before["answer"] == "at noon" and before["index"]["generation"] == 1
        (articles / "train.txt").write_text("The train to Bern leaves at dusk. It has six cars.\n")
        stale = client.get("/api/ask", params={"question": TRAIN}).json()
        assert not stale["citations"][0]["verified"] and "changed" in stale["citations"][0]["problem"]
        Index.sync(articles / ".pincite", embedder=HashingEmbedder())
        after = client.get("/api/ask", params={"question": TRAIN, "min_confidence": 0}).json()
        assert after["index"]["generation"] == 2
        assert any("at dusk" in passage["text"] for passage in after["passages"])


def test_sync_runs_in_the_background_one_at_a_time(articles: Path) -> None:
    class Slow(HashingEmbedder):
        go = threading.Event()

        def embed_passages(self, texts: Any, *, progress: Any = None) -> Any:
            assert self.go.wait(PATIENCE)
            return super().embed_passages(texts, progress=progress)

    make_live(articles)
    live = make_live(articles, embedder=Slow())
    with serving(live) as client:
        (articles / "ferry.txt").write_text("The ferry to Spiez leaves at ten.\n")
        begun = client.post("/api/sync", json={})
        assert begun.status_code == 202 and begun.json()["sync"]["state"] == "running"
        error_of(client.post("/api/sync", json={}), 409, "sync_running")
        status = client.get("/api/status").json()
        assert status["sync"]["state"] == "running" and status["changes"] is None
        assert client.get("/api/ask", params={"question": BOARD}).json()["answered"]
        Slow.go.set()
        done = wait_for_sync(client)
        assert done["state"] == "done" and done["report"]["documents"]["added"] == 1
        assert done["passages_done"] == done["passages_expected"] == 1 and done["bytes_read"] == done["bytes_total"] > 0
        assert client.get("/api/status").json()["generation"] == 2
        assert client.post("/api/sync", json={}).status_code == 202
        assert wait_for_sync(client)["report"]["documents"]["unchanged"] == 4


def test_a_sync_that_fails_says_why(articles: Path) -> None:
    told: list[Exception] = []
    live = make_live(articles, report=told.append)
    with serving(live) as client:
        lock = articles / ".pincite" / "LOCK"
        with open(lock, "r+") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            assert client.post("/api/sync", json={}).status_code == 202
            state = wait_for_sync(client)
        assert state["state"] == "failed" and "being written" in state["problem"]
        assert told == []
        assert client.post("/api/sync", json={}).status_code == 202
        assert wait_for_sync(client)["state"] == "done"


def test_a_sync_ends_with_the_server_and_keeps_what_it_committed(articles: Path) -> None:
    class Endless(HashingEmbedder):
        began = threading.Event()

        def embed_passages(self, texts: Any, *, progress: Any = None) -> Any:
            self.began.set()
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                progress(0)
                time.sleep(0.001)
            raise AssertionError("nobody stopped it")

    make_live(articles)
    live = make_live(articles, embedder=Endless())
    (articles / "ferry.txt").write_text("The ferry to Spiez leaves at ten.\n")
    with serving(live, sync_first=True):
        assert Endless.began.wait(PATIENCE)
    assert live.sync_state().state == "failed" and "Stopped" in live.sync_state().problem
    assert Index.open(articles / ".pincite").stats().documents == 3


def test_a_server_that_may_not_sync_does_not(articles: Path) -> None:
    make_live(articles)
    (articles / "new.txt").write_text("A new one.")
    with serving(make_live(articles, can_sync=False), sync_first=True) as client:
        assert "--no-sync" in error_of(client.post("/api/sync", json={}), 403, "sync_off")
        status = client.get("/api/status").json()
        assert not status["sync"]["allowed"] and status["sync"]["state"] == "idle" and status["documents"] == 3


def test_an_index_that_is_gone_or_damaged_is_told_and_may_come_back(articles: Path) -> None:
    with serving(make_live(articles)) as client:
        manifest = articles / ".pincite" / "manifest.json"
        whole = manifest.read_bytes()
        manifest.write_bytes(whole[:-30])
        for path in ("/api/ask?question=a", "/api/search?query=a", "/api/status", "/api/source?path=a"):
            assert "damaged" in error_of(client.get(path), 503, "index_unavailable")
        manifest.unlink()
        error_of(client.get("/api/ask?question=a"), 503, "index_unavailable")
        assert client.get("/").status_code == 200
        manifest.write_bytes(whole)
        assert client.get("/api/ask", params={"question": BOARD}).json()["answered"]


def test_an_index_without_documents_is_served(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Short.")
    Index.sync(tmp_path / ".pincite", [tmp_path], embedder=HashingEmbedder())
    (tmp_path / "a.txt").unlink()
    Index.sync(tmp_path / ".pincite", embedder=HashingEmbedder())
    with serving(make_live(tmp_path)) as client:
        assert client.get("/api/ask?question=a").json()["index"]["passages"] == 0
        assert client.get("/api/search?query=a").json()["hits"] == []
        assert client.get("/api/status").json()["documents"] == 0


def test_the_models_are_loaded_before_the_first_question(articles: Path) -> None:
    with serving(make_live(articles)) as client:
        wait_until(lambda: client.get("/api/status").json()["models"] == "ready")
