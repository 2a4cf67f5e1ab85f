"""Ollama's own client on its wire, and what editors probe for."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import ollama
import pytest

from vortex.backends.fake import Answer, FakeBackend
from vortex.types import ChatRequest, ToolCall

HELLO = [{"role": "user", "content": "What is the capital of France?"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "",
        "parameters": {"type": "object", "properties": {"at": {"type": "string"}}},
    },
}


def script(request: ChatRequest) -> str | Answer:
    last = request.messages[-1].content if request.messages else str(request.prompt)
    if "look" in last:
        return Answer(text="Looking.", tool_calls=(ToolCall(id="c", name="look", arguments='{"at": "Rome"}'),))
    if "think" in last:
        return Answer(reasoning="Hm.", text="Yes.")
    return "Paris." if "capital" in last else f"Said {last}"


@pytest.fixture(scope="module")
def backend() -> FakeBackend:
    return FakeBackend(script)


@pytest.fixture(scope="module")
def address(running_server, backend: FakeBackend) -> Iterator[str]:
    with running_server(backend) as where:
        yield where


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[ollama.Client]:
    with ollama.Client(host=address, trust_env=False) as one:
        yield one


def test_an_answer_whole_and_as_lines(client: ollama.Client) -> None:
    whole = client.chat(model="vortex-fake", messages=HELLO)
    assert (whole.message.content, whole.done, whole.done_reason) == ("Paris.", True, "stop")
    assert (whole.eval_count, whole.prompt_eval_count > 5) == (2, True)
    parts = list(client.chat(model="vortex-fake:latest", messages=HELLO, stream=True))
    assert "".join(part.message.content or "" for part in parts) == "Paris."
    assert [part.done for part in parts] == [False, False, True]


def test_streams_are_lines_of_json_unless_turned_off(address: str) -> None:
    body = {"model": "vortex-fake", "messages": HELLO}
    lines = httpx.post(f"{address}/api/chat", json=body, trust_env=False)
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line)["done"] for line in lines.text.splitlines()][-1] is True
    assert httpx.post(f"{address}/api/chat", json={**body, "stream": False}, trust_env=False).json()["done"] is True


def test_options_reach_the_model(client: ollama.Client, backend: FakeBackend) -> None:
    options = {"temperature": 0.5, "num_predict": 1, "stop": ["x"], "repeat_penalty": 1.1, "num_ctx": 4096}
    cut = client.chat(model="vortex-fake", messages=[{"role": "user", "content": "one"}], options=options)
    request = backend.requests[-1]
    assert (request.max_tokens, request.stop, request.sampling.repetition_penalty) == (1, ("x",), 1.1)
    assert cut.done_reason == "length"


def test_thoughts_and_calls(client: ollama.Client, backend: FakeBackend) -> None:
    thought = client.chat(model="vortex-fake", messages=[{"role": "user", "content": "think"}], think=True)
    assert (thought.message.thinking, thought.message.content) == ("Hm.", "Yes.")
    assert backend.requests[-1].template_options["enable_thinking"] is True
    asked = [{"role": "user", "content": "look"}]
    for stream in (False, True):
        found = client.chat(model="vortex-fake", messages=asked, tools=[TOOL], stream=stream)
        calls = [call for part in (found if stream else [found]) for call in part.message.tool_calls or ()]
        assert [(call.function.name, dict(call.function.arguments)) for call in calls] == [("look", {"at": "Rome"})]
    call = {"function": {"name": "look", "arguments": {"at": "Rome"}}}
    said = [*asked, {"role": "assistant", "content": "", "tool_calls": [call]}]
    client.chat(
        model="vortex-fake", messages=[*said, {"role": "tool", "tool_name": "look", "content": "sunny"}], tools=[TOOL]
    )
    last = backend.requests[-1].messages
    assert last[2].tool_call_id == last[1].tool_calls[0].id


def test_prompts_are_answered_in_the_models_form_or_raw(client: ollama.Client, backend: FakeBackend) -> None:
    assert client.generate(model="vortex-fake", prompt="the capital", system="Be brief.").response == "Paris."
    assert [message.role for message in backend.requests[-1].messages] == ["system", "user"]
    assert client.generate(model="vortex-fake", prompt="as it is", raw=True).response == "Said as it is"
    assert backend.requests[-1].prompt == "as it is"
    assert client.generate(model="vortex-fake", prompt="").done_reason == "load"


def test_a_format_holds_the_answer(client: ollama.Client) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    answer = client.chat(model="vortex-fake", messages=HELLO, format=schema)
    assert json.loads(answer.message.content) == {"name": "text"}


def test_what_editors_probe_for(client: ollama.Client, address: str) -> None:
    assert [model.model for model in client.list().models] == ["vortex-fake:latest"]
    assert [model.model for model in client.ps().models] == ["vortex-fake:latest"]
    shown = client.show("vortex-fake")
    assert shown.capabilities == ["completion", "tools", "thinking", "embedding"]
    assert shown.modelinfo["vortex.context_length"] == 8192
    assert "version" in httpx.get(f"{address}/api/version", trust_env=False).json()


def test_vectors(client: ollama.Client) -> None:
    found = client.embed(model="vortex-fake", input=["one", "two"])
    assert len(found.embeddings) == 2
    assert abs(sum(x * x for x in found.embeddings[0]) - 1) < 1e-5


@pytest.mark.parametrize(
    ("path", "fields", "named"),
    [
        ("/api/chat", {"messages": [{"role": "user", "content": "?", "images": ["aGVsbG8="]}]}, "not an image"),
        ("/api/chat", {"messages": [{"role": "tool", "content": "?"}]}, "messages[0]"),
        ("/api/chat", {"messages": HELLO, "options": {"temperature": 9}}, "options.temperature"),
        ("/api/generate", {"prompt": "?", "template": "x"}, "template"),
        ("/api/chat", {"messages": HELLO, "format": "xml"}, "format"),
    ],
)
def test_what_is_wrong_is_named(address: str, path: str, fields: dict, named: str) -> None:
    refused = httpx.post(f"{address}{path}", json={"model": "vortex-fake", **fields}, trust_env=False)
    assert refused.status_code == 400
    assert named in refused.json()["error"]


def test_another_model_is_404(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError) as failed:
        client.chat(model="other", messages=HELLO)
    assert failed.value.status_code == 404
    with pytest.raises(ollama.ResponseError):
        client.show("other")
