"""Answers with sources over the wire: quotations to the model, citations to the client, and else nothing changes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from vortex.backends.fake import FakeBackend
from vortex.errors import ContextOverflow
from vortex.knowledge.embedding import HashEmbedder
from vortex.knowledge.grounding.desk import Desk
from vortex.knowledge.grounding.grounding import Grounding, GroundingOptions
from vortex.knowledge.ingest.ingest import Ingest, IngestOptions, embed_pending
from vortex.knowledge.memory.folder import Memory
from vortex.knowledge.memory.recall import Recall
from vortex.knowledge.search.search import KnowledgeSearch, SearchOptions
from vortex.knowledge.store.store import KnowledgeStore
from vortex.server.options import ServerOptions
from vortex.types import ChatEvent, ChatRequest

TEA = "How long does the green tea draw?"


class Listening(FakeBackend):
    """The shipped fake, which also keeps what it was asked. `most_chars`: longer prompts overflow its context."""

    def __init__(self, most_chars: int = 100_000) -> None:
        super().__init__()
        self.asked: list[ChatRequest] = []
        self._most_chars = most_chars

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        if sum(len(message.content) for message in request.messages) > self._most_chars:
            raise ContextOverflow("too long")
        self.asked.append(request)
        async for event in super().chat(request):
            yield event


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one document."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "tea.md").write_text("# Tea\n\nThe green tea draws for seven minutes. The kettle is called Bruno.\n")
    path = tmp_path_factory.mktemp("store") / "knowledge.sqlite3"
    store = KnowledgeStore(path)
    Ingest(store, IngestOptions()).add(folder)
    embed_pending(store, HashEmbedder())
    store.close()
    return path


@pytest.fixture
def desk(tmp_path: Path, path: Path) -> Desk:
    memory = Memory(tmp_path / "memory")

    def open_grounding() -> Grounding:
        opened = KnowledgeStore(path)
        options = GroundingOptions(search=SearchOptions(similarity=0.3))
        recall = Recall(memory, HashEmbedder(), threshold=0.5)
        return Grounding(KnowledgeSearch(opened, HashEmbedder()), options, recall, opened.close)

    return Desk(open_grounding, memory)


@pytest.fixture
def backend() -> Listening:
    return Listening()


@pytest.fixture
def client(serve: Callable[..., httpx.Client], backend: Listening, desk: Desk, tmp_path: Path) -> httpx.Client:
    return serve(backend, ServerOptions(episodes_dir=tmp_path / "episodes"), desk=desk)


def ask(client: httpx.Client, question: str, **fields: object) -> dict[str, object]:
    body = {"messages": [{"role": "user", "content": question}], "seed": 1, **fields}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_model_gets_quotations_and_the_client_citations(client: httpx.Client, backend: Listening) -> None:
    answer = ask(client, TEA)
    assert "seven minutes" in backend.asked[0].messages[0].content
    assert [set(one) >= {"id", "source", "text", "place"} for one in answer["citations"]] in ([], [True])
    assert "citations" in answer


def test_nothing_found_leaves_request_and_answer_as_they_were(
    client: httpx.Client, backend: Listening, serve: Callable[..., httpx.Client]
) -> None:
    plain = Listening()
    without = ask(serve(plain), "Who won the world cup?")
    answer = ask(client, "Who won the world cup?")
    assert backend.asked[0].messages == plain.asked[0].messages
    assert answer["choices"] == without["choices"]
    assert "citations" not in answer


def test_a_request_may_say_no(client: httpx.Client, backend: Listening) -> None:
    assert "citations" not in ask(client, TEA, vortex={"rag": False})
    assert backend.asked[0].messages[0].content == TEA
    assert "citations" not in ask(client, TEA, vortex={"rag": {"sources": ["elsewhere"]}})
    assert "citations" in ask(client, TEA, vortex={"rag": {"sources": ["tea.md"]}})
    assert "citations" in ask(client, TEA, vortex={"rag": True})


@pytest.mark.parametrize("wrong", [{"rag": "no"}, {"rag": {"sources": "docs"}}, {"rag": {}}, 7])
def test_a_wrong_field_is_named(client: httpx.Client, wrong: object) -> None:
    body = {"messages": [{"role": "user", "content": TEA}], "vortex": wrong}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith("vortex")


def test_a_stream_carries_citations_with_its_end(client: httpx.Client) -> None:
    body = {"messages": [{"role": "user", "content": TEA}], "stream": True, "stream_options": {"include_usage": True}}
    lines = client.post("/v1/chat/completions", json=body).text.splitlines()
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    ends = [chunk for chunk in chunks if chunk["choices"] and chunk["choices"][0]["finish_reason"]]
    assert [("citations" in chunk, chunk["usage"]) for chunk in ends] == [(True, None)]
    assert sum("citations" in chunk for chunk in chunks) == 1
    assert chunks[-1]["choices"] == []


def test_quotations_that_do_not_fit_are_left_out(serve: Callable[..., httpx.Client], desk: Desk) -> None:
    narrow = Listening(most_chars=100)
    answer = ask(serve(narrow, desk=desk), TEA)
    assert "citations" not in answer
    assert narrow.asked[0].messages[0].content == TEA


def test_remember_that_is_written_down_and_recalled(client: httpx.Client, backend: Listening, tmp_path: Path) -> None:
    answer = ask(client, "Remember that the locker in the cellar has number 41.")
    assert answer["vortex"]["remembered"]["text"] == "The locker in the cellar has number 41."
    (entry,) = Memory(tmp_path / "memory").entries()
    assert (entry.source, entry.request_id) == ("server", answer["id"])
    ask(client, "Which number has the locker in the cellar?")
    assert "number 41" in backend.asked[-1].messages[-1].content


def test_what_was_recalled_is_not_remembered_again(client: httpx.Client, backend: Listening, tmp_path: Path) -> None:
    ask(client, "Remember that the locker in the cellar has number 41.")
    for _ in range(3):
        ask(client, "Which number has the locker in the cellar?")
    assert len(Memory(tmp_path / "memory").entries()) == 1


def test_an_episode_keeps_the_clients_words_and_names_the_sources(client: httpx.Client, tmp_path: Path) -> None:
    ask(client, TEA)
    path = tmp_path / "episodes" / "chat.jsonl"
    for _ in range(100):
        if path.exists() and path.read_text().endswith("\n"):
            break
        client.get("/healthz")
    episode = json.loads(path.read_text().splitlines()[0])
    assert episode["messages"][0]["content"] == TEA
    assert [Path(source).name for source in episode["sources"]] == ["tea.md"]


def test_a_store_that_cannot_be_read_costs_no_answer(
    serve: Callable[..., httpx.Client], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "knowledge.sqlite3"
    broken.write_bytes(b"no database " * 200)

    def open_grounding() -> Grounding:
        return Grounding(KnowledgeSearch(KnowledgeStore(broken), None), GroundingOptions())

    client = serve(Listening(), desk=Desk(open_grounding))
    assert ask(client, TEA)["choices"]
    assert ask(client, TEA)["choices"]
    assert sum("answers go on without it" in record.message for record in caplog.records) == 1


def test_responses_are_grounded_too(client: httpx.Client, backend: Listening) -> None:
    answer = client.post("/v1/responses", json={"input": TEA}).json()
    assert "seven minutes" in backend.asked[0].messages[0].content
    assert "citations" in answer
    assert "citations" not in client.post("/v1/responses", json={"input": TEA, "vortex": {"rag": False}}).json()
    stream = client.post("/v1/responses", json={"input": TEA, "stream": True}).text
    assert stream.count('"citations"') == 1
