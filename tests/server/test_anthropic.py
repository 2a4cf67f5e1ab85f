"""A walk of Anthropic's own client through `/v1/messages`, step by step, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import anthropic
import httpx
import pytest

from vortex.backends.fake import Answer, FakeBackend, Fault, FaultKind
from vortex.server.options import ServerOptions
from vortex.types import ChatRequest, ToolCall

CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER = {
    "name": "get_weather",
    "description": "Weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CALLED = [
    {"role": "user", "content": "Weather in Rome?"},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "I should look.", "signature": "s"},
            {"type": "text", "text": "Let me see."},
            {"type": "tool_use", "id": "c1", "name": "get_weather", "input": {"city": "Rome"}},
        ],
    },
]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def script(request: ChatRequest) -> str | Answer:
    last = request.messages[-1].content
    if "think" in last:
        return Answer(reasoning="Two and two are four.", text="Four.")
    if "both" in last:
        calls = tuple(ToolCall(id=f"c{i}", name="get_weather", arguments='{"city": "Rome"}') for i in range(2))
        return Answer(reasoning="Look.", text="Looking.", tool_calls=calls)
    return "Paris." if "capital" in last else "one two three STOP four"


@pytest.fixture(scope="module")
def backend() -> FakeBackend:
    return FakeBackend(script)


@pytest.fixture(scope="module")
def client(running_server, backend: FakeBackend) -> Iterator[anthropic.Anthropic]:
    with (
        running_server(backend) as address,
        anthropic.Anthropic(base_url=address, api_key="none", max_retries=0) as one,
    ):
        yield one


@pytest.fixture
def connect() -> Iterator[Callable[..., anthropic.Anthropic]]:
    """Clients that are closed with the test."""
    with ExitStack() as stack:

        def client_of(http: httpx.Client, **fields: str) -> anthropic.Anthropic:
            fields = fields or {"api_key": "none"}
            return stack.enter_context(anthropic.Anthropic(base_url=str(http.base_url), max_retries=0, **fields))

        yield client_of


def ask(client: anthropic.Anthropic, messages: Any = CAPITAL, **fields: Any) -> anthropic.types.Message:
    return client.messages.create(
        model="vortex-fake", max_tokens=fields.pop("max_tokens", 64), messages=messages, **fields
    )


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_an_answer_is_a_message(client: anthropic.Anthropic) -> None:
    message = ask(client)
    assert (message.type, message.role, message.model) == ("message", "assistant", "vortex-fake")
    assert message.content[0].text == "Paris."
    assert (message.stop_reason, message.stop_sequence) == ("end_turn", None)
    assert message.id.startswith("msg_")
    assert message._request_id == message.id
    assert message.usage.output_tokens == 2
    assert message.usage.input_tokens + message.usage.cache_read_input_tokens > 5


def test_the_system_is_text_or_blocks(client: anthropic.Anthropic, backend: FakeBackend) -> None:
    for system in ("Be brief.", [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]):
        ask(client, system=system)
        assert backend.requests[-1].messages[0].content == "Be brief."
        assert backend.requests[-1].messages[0].role == "system"


def test_sampling_reaches_the_model(client: anthropic.Anthropic, backend: FakeBackend) -> None:
    ask(client, extra_body={"temperature": 0.5, "top_p": 0.9, "top_k": 7})
    sampling = backend.requests[-1].sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.5, 0.9, 7)


def test_a_limit_and_a_stop_sequence_say_so(client: anthropic.Anthropic) -> None:
    cut = ask(client, said("count"), max_tokens=2)
    assert (cut.stop_reason, cut.content[0].text) == ("max_tokens", "one two")
    stopped = ask(client, said("count"), stop_sequences=["STOP"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "STOP")
    assert "STOP" not in stopped.content[0].text


def test_a_stream_has_typed_events_in_order(client: anthropic.Anthropic) -> None:
    with client.messages.stream(model="vortex-fake", max_tokens=64, messages=CAPITAL) as stream:
        kinds = [event.type for event in stream]
        message = stream.get_final_message()
    expected = ["message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"]
    assert [kind for kind in kinds if kind in expected] == expected
    assert message.content[0].text == "Paris."
    assert message.usage.output_tokens == 2


def test_the_raw_stream_is_named_events(client: anthropic.Anthropic) -> None:
    body = {"model": "vortex-fake", "max_tokens": 8, "messages": CAPITAL, "stream": True}
    response = httpx.post(f"{str(client.base_url).rstrip('/')}/v1/messages", json=body, trust_env=False)
    assert response.headers["content-type"].startswith("text/event-stream")
    frames = [frame.splitlines() for frame in response.text.strip().split("\n\n")]
    for name, data in frames:
        assert json.loads(data.removeprefix("data: "))["type"] == name.removeprefix("event: ")
    assert "[DONE]" not in response.text


def test_thoughts_are_a_block_of_their_own(client: anthropic.Anthropic, backend: FakeBackend) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    message = ask(client, said("think"), max_tokens=2000, thinking=thinking)
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[0].thinking == "Two and two are four."
    assert message.content[0].signature
    assert message.usage.output_tokens_details.thinking_tokens == 6
    request = backend.requests[-1]
    assert (request.thinking_tokens, request.template_options["enable_thinking"]) == (1024, True)


def test_thoughts_are_streamed(client: anthropic.Anthropic) -> None:
    with client.messages.stream(model="vortex-fake", max_tokens=64, messages=said("think")) as stream:
        deltas = [event.delta.type for event in stream if event.type == "content_block_delta"]
        message = stream.get_final_message()
    assert list(dict.fromkeys(deltas)) == ["thinking_delta", "signature_delta", "text_delta"]
    assert [block.type for block in message.content] == ["thinking", "text"]


def test_without_a_word_the_model_does_not_think(client: anthropic.Anthropic, backend: FakeBackend) -> None:
    ask(client)
    assert backend.requests[-1].template_options == {"enable_thinking": False, "thinking": False}
    ask(client, thinking={"type": "adaptive"}, output_config={"effort": "high"})
    assert backend.requests[-1].template_options["enable_thinking"] is True
    assert backend.requests[-1].template_options["reasoning_effort"] == "high"


def test_a_tool_is_called(client: anthropic.Anthropic) -> None:
    message = ask(client, said("weather"), tools=[WEATHER], tool_choice={"type": "any"})
    assert message.stop_reason == "tool_use"
    (call,) = [block for block in message.content if block.type == "tool_use"]
    assert (call.name, call.input) == ("get_weather", {"city": "text"})


def test_thoughts_words_and_calls_come_in_one_answer(client: anthropic.Anthropic) -> None:
    for whole in (True, False):
        if whole:
            message = ask(client, said("both"), tools=[WEATHER])
        else:
            fields = {"model": "vortex-fake", "max_tokens": 64, "messages": said("both"), "tools": [WEATHER]}
            with client.messages.stream(**fields) as stream:
                message = stream.get_final_message()
        assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
        assert message.content[3].input == {"city": "Rome"}
        assert message.content[2].id != message.content[3].id


@pytest.mark.parametrize(
    ("choice", "wanted", "parallel"),
    [
        ({"type": "auto"}, "auto", False),
        ({"type": "auto", "disable_parallel_tool_use": False}, "auto", True),
        ({"type": "tool", "name": "get_weather"}, "get_weather", False),
        ({"type": "none"}, "none", False),
    ],
)
def test_tool_choices(
    client: anthropic.Anthropic, backend: FakeBackend, choice: Any, wanted: str, parallel: bool
) -> None:
    ask(client, tools=[WEATHER], tool_choice=choice)
    assert (backend.requests[-1].tool_choice, backend.requests[-1].parallel_tool_calls) == (wanted, parallel)


def test_results_of_tools_come_before_the_words_beside_them(client: anthropic.Anthropic, backend: FakeBackend) -> None:
    result = {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "21"}]}
    ask(client, [*CALLED, {"role": "user", "content": [result, {"type": "text", "text": "And?"}]}], tools=[WEATHER])
    user, assistant, answer, words = backend.requests[-1].messages
    assert (user.role, assistant.content, assistant.reasoning) == ("user", "Let me see.", "I should look.")
    assert json.loads(assistant.tool_calls[0].arguments) == {"city": "Rome"}
    assert (answer.role, answer.tool_call_id, answer.content) == ("tool", "c1", "21")
    assert (words.role, words.content) == ("user", "And?")


def test_a_failed_tool_says_so(client: anthropic.Anthropic, backend: FakeBackend) -> None:
    result = {"type": "tool_result", "tool_use_id": "c1", "content": "no such city", "is_error": True}
    ask(client, [*CALLED, {"role": "user", "content": [result]}], tools=[WEATHER])
    assert backend.requests[-1].messages[-1].content == "Error: no such city"


def test_an_answer_that_was_begun_is_continued(client: anthropic.Anthropic, backend: FakeBackend) -> None:
    ask(client, [*CAPITAL, {"role": "assistant", "content": "The capital"}])
    assert backend.requests[-1].messages[-1].role == "assistant"


def test_documents_of_text_are_read(client: anthropic.Anthropic, backend: FakeBackend) -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "Rome has seven hills."}
    document = {"type": "document", "source": source, "title": "Rome"}
    ask(client, [{"role": "user", "content": [document, {"type": "text", "text": "Hills?"}]}])
    assert backend.requests[-1].messages[0].content == "Rome\nRome has seven hills.\nHills?"


def test_a_schema_holds_the_answer(client: anthropic.Anthropic) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    config = {"format": {"type": "json_schema", "schema": schema}}
    assert json.loads(ask(client, output_config=config).content[0].text) == {"name": "text"}


def test_tools_of_anthropics_own_are_left_out_and_said(client: anthropic.Anthropic, backend: FakeBackend) -> None:
    message = ask(client, tools=[{"type": "web_search_20250305", "name": "web_search"}, WEATHER])
    assert [tool.name for tool in backend.requests[-1].tools] == ["get_weather"]
    assert "web_search_20250305" in str(message.model_extra["notes"])


def test_tokens_are_counted(client: anthropic.Anthropic) -> None:
    counted = client.messages.count_tokens(model="vortex-fake", messages=CAPITAL, tools=[WEATHER])
    usage = ask(client).usage
    assert counted.input_tokens == usage.input_tokens + usage.cache_read_input_tokens


def test_models_are_listed(client: anthropic.Anthropic) -> None:
    listed = client.models.list()
    assert [model.id for model in listed] == ["vortex-fake"]
    assert listed.data[0].display_name == "vortex-fake"


async def test_the_asynchronous_client(client: anthropic.Anthropic) -> None:
    async with anthropic.AsyncAnthropic(base_url=str(client.base_url), api_key="none") as other:
        message = await other.messages.create(model="vortex-fake", max_tokens=9, messages=CAPITAL)
    assert message.content[0].text == "Paris."


IMAGE = {"type": "base64", "media_type": "image/png", "data": PIXEL}
REFUSED = [
    ({"max_tokens": 0}, "max_tokens"),
    ({"messages": []}, "messages"),
    ({"extra_body": {"temperature": 1.5}}, "temperature"),
    ({"thinking": {"type": "enabled", "budget_tokens": 64}}, "thinking.budget_tokens"),
    ({"tools": [{**WEATHER, "name": "<|im_end|>"}]}, "tools[0].name"),
    ({"tools": [WEATHER], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
    ({"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "other"}}, "tool_choice"),
    ({"messages": CALLED}, "messages"),
    ({"extra_body": {"mcp_servers": [{"type": "url", "url": "http://x", "name": "x"}]}}, "mcp_servers"),
    ({"extra_body": {"container": "c"}}, "container"),
    ({"messages": [{"role": "user", "content": [{"type": "image", "source": IMAGE}]}]}, "reads text alone"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {**IMAGE, "data": "aGVsbG8="}}]}]},
        "not an image",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://x"}}]}]},
        "never fetched",
    ),
    ({"messages": [{"role": "user", "content": [{"type": "hologram"}]}]}, "messages[0].content[0].type"),
    ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "messages[0].content[0].tool_use_id"),
    (
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": "?"}]}]},
        "messages[0].content[0].tool_use_id",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "named"), REFUSED)
def test_what_is_wrong_is_named(client: anthropic.Anthropic, fields: dict[str, Any], named: str) -> None:
    with pytest.raises(anthropic.BadRequestError) as refused:
        ask(client, **fields)
    body = refused.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "invalid_request_error")
    assert named in body["error"]["message"]


def test_errors_have_anthropics_types(serve, connect) -> None:
    kinds = [FaultKind.OVERLOADED, FaultKind.REFUSED, FaultKind.BROKEN, FaultKind.CRASHED]
    client = connect(serve(FakeBackend(faults=[Fault(kind=kind) for kind in kinds])))
    found = []
    for _ in kinds:
        with pytest.raises(anthropic.APIStatusError) as failed:
            ask(client)
        found.append((failed.value.status_code, failed.value.body["error"]["type"]))
    assert found == [
        (429, "rate_limit_error"),
        (400, "invalid_request_error"),
        (502, "api_error"),
        (500, "api_error"),
    ]
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(model="other", max_tokens=9, messages=CAPITAL)


def test_a_failure_in_a_stream_is_an_event(serve, connect) -> None:
    client = connect(serve(FakeBackend(faults=[Fault(kind=FaultKind.BROKEN, after_tokens=1)])))
    with (
        pytest.raises(anthropic.APIStatusError) as failed,
        client.messages.stream(model="vortex-fake", max_tokens=64, messages=said("hello there")) as stream,
    ):
        list(stream)
    assert failed.value.body["error"]["type"] == "api_error"


def test_the_key_may_come_as_anthropics_clients_send_it(serve, connect) -> None:
    http = serve(FakeBackend(), ServerOptions(api_key="secret"))
    assert ask(connect(http, api_key="secret")).content[0].text == "Paris."
    assert ask(connect(http, auth_token="secret")).content[0].text == "Paris."
    with pytest.raises(anthropic.AuthenticationError):
        ask(connect(http, api_key="wrong"))


def test_an_image_of_many_megabytes_is_refused_before_it_is_read(client: anthropic.Anthropic) -> None:
    source = {**IMAGE, "data": "A" * 10_000_000}
    with pytest.raises(anthropic.APIStatusError) as refused:
        ask(client, [{"role": "user", "content": [{"type": "image", "source": source}]}])
    assert (refused.value.status_code, refused.value.body["error"]["type"]) == (413, "request_too_large")


def test_what_tools_were_given_and_answered_may_be_anything_in_json(
    client: anthropic.Anthropic, backend: FakeBackend
) -> None:
    use = {"type": "tool_use", "id": "t", "name": "weather", "input": {"id": 10**20}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": "fine"}
    history = [*CAPITAL, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    ask(client, history)
    calls = [call for message in backend.requests[-1].messages for call in message.tool_calls]
    assert [call.arguments for call in calls] == ['{"id":100000000000000000000}']
    wrong = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": 5}]}
    with pytest.raises(anthropic.BadRequestError):
        ask(client, [*history[:-1], {"role": "user", "content": [wrong]}])
