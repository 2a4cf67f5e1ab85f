"""`vortex knowledge` and `vortex memory` as a person runs them; words alone, so that no model is needed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

WORDS_ALONE = ("--set", "rag.embedder=none")


@pytest.fixture
def docs(inside) -> Path:
    folder = inside.folder / "docs"
    folder.mkdir()
    (folder / "tea.md").write_text("# Tea\n\nThe green tea draws for seven minutes. The kettle is called Bruno.\n")
    (folder / "lamp.txt").write_text("The lamp in the hall hangs from a brass hook.\n")
    return folder


def told(inside, *arguments: str) -> Any:
    result = inside.run(*arguments, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_add_search_sync_list_remove(inside, docs: Path) -> None:
    added = told(inside, "knowledge", "add", "docs", *WORDS_ALONE)
    assert (added["added"], added["passages"], added["left_out"]) == (2, 2, [])
    found = told(inside, "knowledge", "search", "how long does the green tea draw?", "--top-k", "1", *WORDS_ALONE)
    assert [set(one) >= {"source", "text", "score"} for one in found["results"]] == [True]
    assert found["results"][0]["source"] == str(docs / "tea.md")
    assert "seven minutes" in found["results"][0]["text"]
    assert told(inside, "knowledge", "search", "who won the world cup?", *WORDS_ALONE)["results"] == []
    (docs / "tea.md").unlink()
    assert told(inside, "knowledge", "sync", *WORDS_ALONE)["removed"] == 1
    (source,) = told(inside, "knowledge", "list")["sources"]
    assert (source["source"], source["documents"]) == (str(docs), 1)
    assert told(inside, "knowledge", "remove", "docs")["documents"] == 1
    assert told(inside, "knowledge", "list")["sources"] == []
    assert told(inside, "knowledge", "search", "brass hook", *WORDS_ALONE)["results"] == []


def test_a_search_in_an_empty_store_is_empty(inside) -> None:
    assert told(inside, "knowledge", "search", "anything", *WORDS_ALONE)["results"] == []
    assert "Nothing is in the store yet" in inside.run("knowledge", "list").stdout


def test_what_was_left_out_is_said(inside, docs: Path) -> None:
    (docs / "photo.txt").write_bytes(bytes(range(256)))
    result = inside.run("knowledge", "add", "docs", *WORDS_ALONE)
    assert "2 added" in result.stdout
    assert "photo.txt: binary, not text" in result.stderr


def test_a_model_puts_the_best_in_order(inside, docs: Path) -> None:
    (docs / "more.md").write_text("# More tea\n\nThe black tea draws for four minutes, the green tea for seven.\n")
    told(inside, "knowledge", "add", "docs", *WORDS_ALONE)
    asked = ("knowledge", "search", "green tea draws minutes", *WORDS_ALONE)
    plain = told(inside, *asked)["results"]
    ordered = told(inside, *asked, "--rerank", "5", "--set", "model.backend=hash")["results"]
    assert {one["text"] for one in ordered} == {one["text"] for one in plain}
    assert len(plain) > 1
    scores = [one["score"] for one in ordered]
    assert scores == sorted(scores, reverse=True)
    assert all(score < 0 for score in scores), "log-probabilities"


def test_a_vanished_folder_keeps_what_is_known(inside, docs: Path) -> None:
    told(inside, "knowledge", "add", "docs", *WORDS_ALONE)
    docs.rename(docs.with_name("moved"))
    result = inside.run("knowledge", "sync", *WORDS_ALONE)
    assert result.returncode == 0
    assert "is not there; what is known of it is kept" in result.stderr
    assert told(inside, "knowledge", "search", "brass hook lamp", *WORDS_ALONE)["results"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("knowledge", "add", "nowhere"), "no file or folder nowhere"),
        (("knowledge", "remove", "nowhere"), "knows nothing of nowhere"),
        (("knowledge", "search", "tea", "--mode", "magic"), "fused, words or vectors"),
        (("knowledge", "search", "tea", "--since", "yesterday"), "no date"),
        (("knowledge", "search", "tea", "--set", "rag.embedder=magic"), "rag.embedder"),
        (("memory", "forget", "nope"), "nothing is remembered as 'nope'"),
        (("memory", "add", "  "), "nothing to remember"),
    ],
)
def test_errors_are_one_line(inside, docs: Path, arguments: tuple[str, ...], said: str) -> None:
    told(inside, "knowledge", "add", "docs", *WORDS_ALONE)
    if "rag.embedder=magic" in arguments:
        arguments = ("knowledge", "sync", *arguments[3:])
    result = inside.run(*arguments)
    assert result.returncode != 0
    assert result.stderr.startswith("error: ")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_memory_is_added_edited_and_forgotten(inside) -> None:
    fact = told(inside, "memory", "add", "The staging server is called Plum.", *WORDS_ALONE)
    file = inside.folder / "data" / "memory" / "entries" / f"{fact['id']}.md"
    assert file.read_text().endswith("The staging server is called Plum.\n")
    assert told(inside, "memory", "edit", fact["id"], "It is called Peach.")["text"] == "It is called Peach."
    assert [one["text"] for one in told(inside, "memory", "list")["entries"]] == ["It is called Peach."]
    assert told(inside, "memory", "forget", fact["id"])["id"] == fact["id"]
    changes = told(inside, "memory", "history", fact["id"])["changes"]
    assert [change["change"] for change in changes] == ["added", "edited", "forgotten"]
    assert changes[1]["before"] == "The staging server is called Plum."


def test_chat_with_documents_shows_its_sources(inside, docs: Path) -> None:
    arguments = ("chat", "--backend", "fake", "--with", "docs", *WORDS_ALONE, "How long does the green tea draw?")
    answer = told(inside, *arguments)
    assert "citations" in answer
    assert not (inside.folder / "data" / "knowledge").exists(), "a folder given with --with has a store of its own"


def test_a_conversation_remembers_on_request(inside) -> None:
    typed = "/remember the staging server is called Plum\nremember that tea draws long\n/exit\n"
    result = inside.run("chat", "--backend", "fake", *WORDS_ALONE, stdin=typed)
    assert result.returncode == 0


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="the client below speaks over pipes of this system")
async def test_an_mcp_client_searches(vortex, tmp_path: Path) -> None:
    mcp = pytest.importorskip("mcp")
    from mcp.client.stdio import StdioServerParameters, stdio_client

    folder = vortex.folder / "docs"
    folder.mkdir()
    (folder / "tea.md").write_text("The green tea draws for seven minutes.\n")
    assert vortex.run("knowledge", "add", "docs", *WORDS_ALONE).returncode == 0
    command = vortex.command("knowledge", "mcp", *WORDS_ALONE)
    parameters = StdioServerParameters(
        command=command[0], args=command[1:], env=dict(vortex.environment), cwd=os.fspath(vortex.folder)
    )
    async with stdio_client(parameters) as (read, write), mcp.ClientSession(read, write) as session:
        await session.initialize()
        tools = await session.list_tools()
        assert {tool.name for tool in tools.tools} == {"knowledge_search", "memory_recall"}
        answer = await session.call_tool("knowledge_search", {"text": "how long does the green tea draw"})
        assert "seven minutes" in answer.content[0].text
