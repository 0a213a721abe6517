"""`pincite mcp` as clients of the protocol meet it: tools, resources, and what they are refused."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

pytest.importorskip("mcp")

from mcp import Client, MCPError, StdioServerParameters
from mcp.types import CallToolResult, Resource, TextContent, TextResourceContents

from pincite.index import Index
from pincite.qa.live_index import LiveIndex
from pincite.qa.mcp_server import PAGE, create_server
from pincite.qa.span_model import Window
from tests.conftest import HashingEmbedder, KnowingReader
from tests.qa.serving import BOARD, NOTHING, TRAIN, make_live
from tests.qa.test_cli import one_error, pincite

Result = TypeVar("Result")
Talk = Callable[[Client], Awaitable[Result]]


def meet(live: LiveIndex, talk: Talk[Result], *, mode: str = "legacy") -> Result:
    """Return what a client gets from a server in this process."""

    async def connected() -> Result:
        async with Client(create_server(live), mode=mode, read_timeout_seconds=30) as client:
            return await talk(client)

    return asyncio.run(connected())


def call(live: LiveIndex, tool: str, **arguments: Any) -> CallToolResult:
    async def talk(client: Client) -> CallToolResult:
        await client.list_tools()  # from now on the client checks what it gets against the schemas
        return await client.call_tool(tool, arguments)

    return meet(live, talk)


def text_of(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


def error_of(result: CallToolResult) -> str:
    assert result.is_error and result.structured_content is None
    message = text_of(result)
    assert message and "\n" not in message and "Traceback" not in message and "should not happen" not in message
    return message


async def every_resource(client: Client) -> list[Resource]:
    page = await client.list_resources()
    found = list(page.resources)
    while page.next_cursor:
        assert len(page.resources) == PAGE
        page = await client.list_resources(cursor=page.next_cursor)
        found += page.resources
    return found


async def text_at(client: Client, uri: str) -> str:
    contents = (await client.read_resource(uri)).contents
    assert all(isinstance(one, TextResourceContents) and one.uri == uri for one in contents)
    return "".join(one.text for one in contents if isinstance(one, TextResourceContents))


class DividedReader(KnowingReader):
    """Finds one board or the other, whatever it is asked."""

    def read(self, question: str, texts: Sequence[str]) -> list[Window]:
        boards = "Ann, Bob and Cid", "Dee and Eve"
        answers = [next((board for board in boards if board in text), "") for text in texts]
        return [window for i, text in enumerate(texts) for window in self._windows(i, text, answers[i])]


@pytest.fixture
def live(articles: Path) -> LiveIndex:
    return make_live(articles)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
def test_an_answer_is_a_text_with_its_place_and_the_object_of_the_json_output(live: LiveIndex, mode: str) -> None:
    async def talk(client: Client) -> CallToolResult:
        await client.list_tools()
        return await client.call_tool("ask", {"question": BOARD, "k": 3})

    result = meet(live, talk, mode=mode)
    body = result.structured_content
    (citation,) = body["citations"]
    assert not result.is_error and body["answer"] == citation["quote"] == "Ann, Bob and Cid"
    assert Path(citation["path"]).read_text()[citation["start"] : citation["end"]] == citation["quote"]
    assert text_of(result).startswith("Ann, Bob and Cid\n") and f"{citation['path']}:3:18" in text_of(result)


def test_what_the_articles_do_not_say_is_no_answer_and_no_error(live: LiveIndex) -> None:
    result = call(live, "ask", question=NOTHING)
    assert not result.is_error and text_of(result).startswith("The articles do not say")
    assert result.structured_content["answered"] is False and result.structured_content["citations"] == []
    sure = call(live, "ask", question=TRAIN, min_confidence=0.5)
    assert sure.structured_content["answer"] == "at noon"


def test_sources_that_say_otherwise_are_told(articles: Path) -> None:
    (articles / "other.txt").write_text("On the board sit Dee and Eve.")
    make_live(articles)
    live = LiveIndex(articles / ".pincite", embedder=HashingEmbedder(), reader=DividedReader({}))
    result = call(live, "ask", question=BOARD)
    assert result.structured_content["alternatives"][0]["disagrees"] is True
    assert "Other sources say otherwise" in text_of(result)


def test_conditions_leave_only_documents_that_fit(live: LiveIndex) -> None:
    found = call(live, "search", query="board train", where=["path=*train.txt"]).structured_content
    assert [Path(hit["path"]).name for hit in found["hits"]] == ["train.txt"]
    assert call(live, "ask", question=BOARD, where=["path=*train.txt"]).structured_content["answered"] is False
    for tool, words in (("ask", {"question": BOARD}), ("search", {"query": BOARD})):
        nothing = call(live, tool, where=["editor=Roe"], **words)
        assert "No document fits editor=Roe. Keys there are: path, title, format." in text_of(nothing)


RUBBISH: list[tuple[str, dict[str, Any], str]] = [
    ("ask", {"question": "  "}, "question"),
    ("ask", {}, "question is missing"),
    ("ask", {"question": "x " * 1001}, "1,001 words"),
    ("ask", {"question": BOARD, "k": 0}, "from 1 to 100"),
    ("ask", {"question": BOARD, "k": "many"}, "whole number"),
    ("ask", {"question": BOARD, "min_confidence": 2}, "from 0 to 1"),
    ("ask", {"question": BOARD, "where": ["nonsense"]}, "'nonsense'"),
    ("ask", {"question": BOARD, "where": "a=b"}, "list"),
    ("ask", {"question": BOARD, "api_key": "x"}, "not known"),
    ("search", {"query": "x", "mode": "magic"}, "hybrid, dense, sparse, full"),
    ("show", {"path": ""}, "path"),
    ("show", {"path": "x" * 5000}, "4,096"),
    ("show", {"path": "\0\n\x1b[31m"}, "not in the index"),
    ("status", {"path": "x"}, "not known"),
]


def test_rubbish_is_one_clear_line_after_which_all_goes_on(live: LiveIndex) -> None:
    async def talk(client: Client) -> None:
        for tool, arguments, reason in RUBBISH:
            assert reason in error_of(await client.call_tool(tool, arguments)), (tool, arguments)
        with pytest.raises(MCPError, match="There are: ask, search, show, status"):
            await client.call_tool("rm", {})
        assert not (await client.call_tool("ask", {"question": BOARD})).is_error

    meet(live, talk)


def test_nothing_outside_the_index_is_read(articles: Path) -> None:
    (articles / ".secret").write_text("Do not tell.")
    live = make_live(articles)

    async def talk(client: Client) -> None:
        known = {Path(one.name).name for one in await every_resource(client)}
        assert known == {"board.txt", "garden.md", "train.txt"}
        for path in ("../../etc/passwd", "/etc/passwd", f"{articles}/.secret", f"{articles}/.pincite/manifest.json"):
            assert "is not in the index" in error_of(await client.call_tool("show", {"path": path}))
            for uri in (f"pincite:{path}", f"file://{path}", f"pincite:{articles}/board.txt/../{path}", path):
                with pytest.raises(MCPError, match=r"not in the index|only resources whose URI"):
                    await client.read_resource(uri)
        with pytest.raises(MCPError, match="only resources whose URI"):
            await client.read_resource(f"another:{articles}/board.txt")

    meet(live, talk)


def test_resources_are_all_documents_page_by_page_with_their_text(articles: Path) -> None:
    records = [{"_id": f"n/{n} #%41?é", "text": f"Note {n}.", "title": f"T{n}"} for n in range(2 * PAGE)]
    (articles / "notes #1.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (articles / os.fsdecode(b"odd\xff.txt")).write_text("An odd name.")
    live = make_live(articles)

    async def talk(client: Client) -> None:
        found = await every_resource(client)
        assert len({one.uri for one in found}) == len(found) == 2 * PAGE + 4
        texts = {document.text for document in live.index().documents()}
        assert {await text_at(client, one.uri) for one in found} == texts
        assert {"T7", "The garden"} <= {one.title for one in found}
        for cursor in ("x", "1.x", "1.-1", "9.0", f"1.{'9' * 99}"):
            with pytest.raises(MCPError, match="Begin again"):
                await client.list_resources(cursor=cursor)
        odd = await client.call_tool("search", {"query": "odd name", "k": 1})
        assert "odd?.txt" in text_of(odd)
        assert json.dumps([odd.structured_content, *(one.name for one in found)], ensure_ascii=False).encode()

    meet(live, talk)


def test_show_begins_near_a_line_and_says_where_it_goes_on(articles: Path) -> None:
    text = "".join(f"Line {number} of the long story is this one.\r\n" for number in range(1, 3001))
    (articles / "long.txt").write_bytes(text.encode())
    (articles / "notes.jsonl").write_text('{"_id": "a", "text": "One.\\nTwo."}\n{"_id": "b", "text": "Three."}\n')
    live = make_live(articles)
    path = str(articles / "long.txt")
    shown = call(live, "show", path=path, line=2000)
    assert "\n2000: Line 2000 of the long story" in text_of(shown)
    body = shown.structured_content
    assert body["text"] == text[body["start"] : body["end"]] and text_of(shown).count("\n") < 300
    assert all(span["start"] < body["end"] and body["start"] < span["end"] for span in body["passages"])
    on = call(live, "show", path=path, start=body["end"]).structured_content
    assert text.startswith(body["text"] + on["text"], body["start"]) and f"start={body['end']}." in text_of(shown)
    assert "has 3,001 lines, none with the number 4000" in error_of(call(live, "show", path=path, line=4000))
    assert "\n\nThree.\n\n" in text_of(call(live, "show", path=str(articles / "notes.jsonl#b"), line=2))
    whole = meet(live, lambda client: text_at(client, f"pincite:{path}"))
    assert whole.startswith(text[:100_000]) and whole.endswith(" characters more: `show` with start=100000]")


def test_the_newest_generation_is_served(articles: Path) -> None:
    embedder = HashingEmbedder()
    live = make_live(articles, embedder=embedder)

    async def talk(client: Client) -> None:
        cursor = "1.0"
        await client.list_resources(cursor=cursor)
        (articles / "new.txt").write_text("Bicycles are kept in the shed.")
        Index.sync(articles / ".pincite", embedder=embedder)
        hits = (await client.call_tool("search", {"query": "bicycles shed", "k": 1})).structured_content["hits"]
        assert Path(hits[0]["path"]).name == "new.txt"
        status = await client.call_tool("status", {})
        assert status.structured_content["documents"] == 4 and "documents  4" in text_of(status)
        with pytest.raises(MCPError, match="has changed"):
            await client.list_resources(cursor=cursor, cache_mode="bypass")

    meet(live, talk)


def test_tools_tell_models_how_to_take_their_replies(live: LiveIndex) -> None:
    async def talk(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"ask", "search", "show", "status"}
        assert set(tools["ask"].input_schema["properties"]) == {"question", "k", "where", "min_confidence"}
        assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools.values())
        assert "the articles do not say" in (tools["ask"].description or "") and "exact" in (client.instructions or "")

    meet(live, talk)


@pytest.mark.slow
def test_a_client_starts_it_and_asks_over_stdin_and_stdout(articles: Path) -> None:
    Index.sync(articles / ".pincite", [articles])
    (articles / "new.txt").write_text("Bicycles are kept in the shed.")
    server = StdioServerParameters(command=sys.executable, args=["-m", "pincite.qa", "mcp"], cwd=articles)

    async def talk() -> None:
        async with Client(server, read_timeout_seconds=120) as client:
            await client.list_tools()
            answer = await client.call_tool("ask", {"question": BOARD})
            assert text_of(answer).startswith("Ann, Bob and Cid") and "board.txt:3:18" in text_of(answer)
            unknown = await client.call_tool("ask", {"question": "Who painted the ceiling of the chapel?"})
            assert text_of(unknown).startswith("The articles do not say")
            error_of(await client.call_tool("show", {"path": "../../etc/passwd"}))
            while (await client.call_tool("status", {})).structured_content["documents"] < 4:
                await asyncio.sleep(0.1)  # until the sync at the start is over
            uris = [one.uri for one in await every_resource(client)]
            assert "Bicycles are kept in the shed." in [await text_at(client, uri) for uri in uris]

    asyncio.run(asyncio.wait_for(talk(), 300))


@pytest.mark.slow
def test_ctrl_c_ends_it_and_stdout_has_the_protocol_only(articles: Path) -> None:
    Index.sync(articles / ".pincite", [articles], embedder=HashingEmbedder())
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}
    command = [sys.executable, "-m", "pincite.qa", "mcp", "--no-sync"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=articles, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as server:
        try:
            assert server.stdin and server.stdout
            request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello})
            server.stdin.write(f"rubbish\n{request}\n")
            server.stdin.flush()
            assert json.loads(server.stdout.readline())["result"]["serverInfo"]["name"] == "pincite"
            server.send_signal(signal.SIGINT)
            assert server.wait(timeout=60) == -signal.SIGINT
            assert server.stdout.read() == ""
            assert server.stderr and "Traceback" not in server.stderr.read()
        finally:
            server.kill()


def test_without_an_index_or_the_package_it_is_one_line(
    live: LiveIndex, articles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_error(pincite("mcp", cwd=tmp_path), "No index", "pincite index")
    monkeypatch.setitem(sys.modules, "mcp_types", None)
    monkeypatch.delitem(sys.modules, "pincite.qa.mcp_server")
    one_error(pincite("mcp", cwd=articles), 'needs mcp: pip install "pincite[mcp]"')
