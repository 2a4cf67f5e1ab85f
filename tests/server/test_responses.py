"""The Responses wire takes what Codex and OpenAI's client write: every kind of item and tool, and earlier answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from vortex.backends.fake import Answer, FakeBackend, Fault, FaultKind, Pace
from vortex.server.options import ServerOptions
from vortex.types import ChatRequest, ToolCall

SHELL = {"type": "function", "name": "shell", "parameters": {"type": "object", "properties": {}}}


def script(request: ChatRequest) -> str | Answer:
    last = request.messages[-1].content
    if "think" in last:
        return Answer(reasoning="Let me think.", text="Done.")
    if "run" in last:
        call = ToolCall(id="call_1", name="shell", arguments='{"command": "ls"}')
        return Answer(reasoning="I should run it.", text="Running.", tool_calls=(call,))
    return f"Said {last}"


@pytest.fixture(scope="module")
def backend() -> FakeBackend:
    return FakeBackend(script)


@pytest.fixture(scope="module")
def client(running_server, backend: FakeBackend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    episodes: Path = tmp_path_factory.mktemp("episodes")
    options = ServerOptions(episodes_dir=episodes)
    with (
        running_server(backend, options) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as one,
    ):
        yield one


def test_thoughts_are_an_item_of_their_own(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="vortex-fake", input="think")
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert answer.output[0].content[0].text == "Let me think."
    assert (answer.output_text, answer.usage.output_tokens_details.reasoning_tokens) == ("Done.", 4)


def test_thoughts_are_streamed(client: openai.OpenAI) -> None:
    events = list(client.responses.create(model="vortex-fake", input="think", stream=True))
    kinds = list(dict.fromkeys(event.type for event in events))
    assert kinds.index("response.reasoning_text.delta") < kinds.index("response.output_text.delta")
    assert "response.reasoning_text.done" in kinds
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [item.type for item in events[-1].response.output] == ["reasoning", "message"]


HISTORY: list[dict[str, Any]] = [
    {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Patch it."}]},
    {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Look first."}]},
    {"type": "function_call", "call_id": "a", "name": "shell", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "a", "output": "files"},
    {"type": "custom_tool_call", "call_id": "b", "name": "apply_patch", "input": "*** Begin Patch"},
    {"type": "custom_tool_call_output", "call_id": "b", "output": "done"},
    {"type": "local_shell_call", "call_id": "c", "status": "completed", "action": {"type": "exec", "command": ["ls"]}},
    {"type": "local_shell_call_output", "id": "c", "output": {"exit_code": 0}},
    {"type": "web_search_call", "id": "ws", "status": "completed", "action": {"type": "search", "query": "x"}},
    {"type": "ghost_snapshot", "ghost_commit": {}},
    {"type": "compaction", "encrypted_content": "x"},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Patched."}]},
    {"type": "message", "role": "user", "content": "More."},
]


def test_every_item_of_a_history_is_accepted(client: openai.OpenAI, backend: FakeBackend) -> None:
    answer = client.responses.create(model="vortex-fake", input=HISTORY, store=False)
    messages = backend.requests[-1].messages
    roles = [message.role for message in messages]
    assert roles == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "tool",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]
    assert messages[2].reasoning == "Look first."
    assert (messages[4].tool_calls[0].name, json.loads(messages[4].tool_calls[0].arguments)) == (
        "apply_patch",
        {"input": "*** Begin Patch"},
    )
    assert messages[6].tool_calls[0].name == "local_shell"
    assert messages[7].content == '{"exit_code":0}'
    for kind in ("web_search_call", "ghost_snapshot", "compaction"):
        assert kind in answer.metadata["notes"]


def test_tools_of_other_kinds_are_left_out_and_said(client: openai.OpenAI, backend: FakeBackend) -> None:
    others = [{"type": "web_search"}, {"type": "custom", "name": "apply_patch", "format": {"type": "grammar"}}]
    answer = client.responses.create(model="vortex-fake", input="hello", tools=[*others, SHELL], tool_choice="auto")
    assert [tool.name for tool in backend.requests[-1].tools] == ["shell"]
    assert "'web_search'" in answer.metadata["notes"]
    assert "'custom'" in answer.metadata["notes"]
    assert client.responses.create(model="vortex-fake", input="x", tools=others).status == "completed"


def test_an_earlier_answer_may_be_named(client: openai.OpenAI, backend: FakeBackend) -> None:
    first = client.responses.create(model="vortex-fake", input="run it", instructions="Old.", tools=[SHELL])
    output = [{"type": "function_call_output", "call_id": "call_1", "output": "files"}]
    second = client.responses.create(
        model="vortex-fake", input=output, previous_response_id=first.id, instructions="New.", tools=[SHELL]
    )
    told, asked, called, result = backend.requests[-1].messages
    assert (told.content, asked.content, result.content) == ("New.", "run it", "files")
    assert (called.content, called.reasoning) == ("Running.", "I should run it.")
    assert called.tool_calls[0].arguments == '{"command": "ls"}'
    assert second.previous_response_id == first.id
    third = client.responses.create(model="vortex-fake", input="And?", previous_response_id=second.id)
    assert len(backend.requests[-1].messages) == 6
    assert third.output_text == "Said And?"


def test_an_answer_is_retrieved_as_it_was(client: openai.OpenAI) -> None:
    first = client.responses.create(model="vortex-fake", input="run it", tools=[SHELL])
    again = client.responses.retrieve(first.id)
    assert (again.status, again.id) == ("completed", first.id)
    assert [item.type for item in again.output] == ["reasoning", "message", "function_call"]
    assert again.usage.total_tokens == first.usage.total_tokens
    assert client.responses.cancel(first.id).status == "completed"


def test_what_was_not_to_be_kept_is_not(client: openai.OpenAI) -> None:
    first = client.responses.create(model="vortex-fake", input="secret", store=False)
    assert first.store is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    with pytest.raises(openai.NotFoundError) as failed:
        client.responses.create(model="vortex-fake", input="x", previous_response_id=first.id)
    assert failed.value.body["param"] == "previous_response_id"


def test_an_answer_under_way_is_cancelled(serve) -> None:
    http: httpx.Client = serve(FakeBackend(pace=Pace(token_ms=20)))
    client = openai.OpenAI(base_url=f"{str(http.base_url).rstrip('/')}/v1", api_key="none")
    with client, client.responses.create(model="vortex-fake", input="word " * 90, stream=True) as stream:
        response_id = next(event.response.id for event in stream if event.type == "response.created")
        assert client.responses.cancel(response_id).status == "cancelled"
        last = list(stream)[-1]
    assert last.response.status == "cancelled"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": [{"type": "message", "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "message", "role": "user"}]}, "input[0].content"),
        ({"input": [{"type": "function_call", "call_id": "a"}]}, "input[0]"),
        ({"input": [{"type": "function_call_output", "call_id": "a"}]}, "input[0].output"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].id"),
        ({"input": [{"type": "message", "role": "user", "content": [{"type": 7}]}]}, "input[0].content[0].type"),
        ({"input": "x", "tools": [{**SHELL, "name": "<|im_end|>"}]}, "tools[0].name"),
        ({"input": "x", "tool_choice": {"type": "web_search"}}, "tool_choice.type"),
        ({"input": "x", "background": True}, "background"),
        ({"input": "x", "conversation": "c"}, "conversation"),
        ({"input": "x", "reasoning": {"effort": "huge"}}, "reasoning.effort"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://x/y.png"}]}]},
            "input[0].content[0].image_url",
        ),
    ],
)
def test_what_is_wrong_is_named(client: openai.OpenAI, fields: dict[str, Any], param: str) -> None:
    address = str(client.base_url).rstrip("/")
    refused = httpx.post(f"{address}/responses", json=fields, trust_env=False)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)


def test_only_allowed_tools_are_offered(client: openai.OpenAI, backend: FakeBackend) -> None:
    other = {"type": "function", "name": "other", "parameters": {"type": "object", "properties": {}}}
    choice: Any = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "other"}]}
    client.responses.create(model="vortex-fake", input="hello", tools=[SHELL, other], tool_choice=choice)
    assert [tool.name for tool in backend.requests[-1].tools] == ["other"]


def test_a_failure_in_a_stream_is_a_failed_response(serve) -> None:
    client = serve(FakeBackend(faults=[Fault(kind=FaultKind.BROKEN, after_tokens=1)]))
    body = {"model": "vortex-fake", "input": "x y", "stream": True}
    with client.stream("POST", "/v1/responses", json=body) as answer:
        lines = answer.read().decode().splitlines()
    told = json.loads(lines[lines.index("event: response.failed") + 1].removeprefix("data: "))
    assert (told["type"], told["response"]["status"]) == ("response.failed", "failed")
    assert told["response"]["error"]["message"]


def test_long_numbers_in_histories_stay_as_they_are(client: openai.OpenAI, backend: FakeBackend) -> None:
    call = {"type": "custom_tool_call", "call_id": "c", "name": "shell", "input": "x"}
    output = {"type": "custom_tool_call_output", "call_id": "c", "output": {"id": 10**20}}
    body = {"model": "vortex-fake", "input": [call, output, {"role": "user", "content": "hello"}]}
    assert httpx.post(f"{client.base_url}responses", json=body).status_code == 200
    assert '"id":100000000000000000000' in str(backend.requests[-1].messages[-2].content)
