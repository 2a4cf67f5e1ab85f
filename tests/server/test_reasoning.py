"""Thoughts on OpenAI's chat wire, in and out, and through an engine behind it."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from vortex.backends.fake import Answer, FakeBackend
from vortex.backends.http import HttpBackend
from vortex.backends.openai_wire import ChunkReader
from vortex.errors import BackendError
from vortex.types import ChatMessage, ChatRequest, Completed, ReasoningDelta, TextDelta

ASKED = [{"role": "user", "content": "Is it?"}]


@pytest.fixture(scope="module")
def backend() -> FakeBackend:
    return FakeBackend(lambda request: Answer(reasoning="Let me see this.", text="Yes."))


@pytest.fixture(scope="module")
def address(running_server, backend: FakeBackend) -> Iterator[str]:
    with running_server(backend) as where:
        yield where


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as one:
        yield one


def test_thoughts_stand_beside_the_content(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="vortex-fake", messages=ASKED)
    message = answer.choices[0].message
    assert (message.content, message.reasoning_content) == ("Yes.", "Let me see this.")
    assert answer.usage.completion_tokens_details.reasoning_tokens == 5


def test_thoughts_are_streamed_before_it(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(model="vortex-fake", messages=ASKED, stream=True))
    thought = [chunk.choices[0].delta.model_extra.get("reasoning_content", "") for chunk in chunks]
    text = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert ("".join(thought), "".join(text)) == ("Let me see this.", "Yes.")
    assert max(i for i, piece in enumerate(thought) if piece) < min(i for i, piece in enumerate(text) if piece)


def test_effort_and_budget_reach_the_model(client: openai.OpenAI, backend: FakeBackend) -> None:
    client.chat.completions.create(model="vortex-fake", messages=ASKED, reasoning_effort="none")
    options = {"reasoning_effort": "none", "enable_thinking": False, "thinking": False}
    assert backend.requests[-1].template_options == options
    body = {"thinking_budget": 2, "chat_template_kwargs": {"enable_thinking": True}}
    answer = client.chat.completions.create(model="vortex-fake", messages=ASKED, extra_body=body)
    assert answer.choices[0].message.reasoning_content == "Let me"
    assert backend.requests[-1].template_options == {"enable_thinking": True}


def test_thoughts_of_the_past_are_given_back(client: openai.OpenAI, backend: FakeBackend) -> None:
    past = {"role": "assistant", "content": "No.", "reasoning_content": "Hm."}
    client.chat.completions.create(model="vortex-fake", messages=[*ASKED, past, *ASKED])
    assert backend.requests[-1].messages[1].reasoning == "Hm."


async def test_thoughts_pass_through_an_engine_behind_the_wire(address: str, backend: FakeBackend) -> None:
    engine = HttpBackend(address)
    messages = (
        ChatMessage(role="user", content="a"),
        ChatMessage(role="assistant", content="b", reasoning="c"),
        ChatMessage(role="user", content="d"),
    )
    events = [event async for event in engine.chat(ChatRequest(request_id="r", messages=messages, thinking_tokens=3))]
    await engine.close()
    assert "".join(event.text for event in events if isinstance(event, ReasoningDelta)) == "Let me see"
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "Yes."
    assert isinstance(events[-1], Completed)
    assert events[-1].usage.reasoning_tokens == 3
    assert backend.requests[-1].messages[1].reasoning == "c"


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": [{"index": 0, "delta": {"reasoning_content": 7}}]},
        {"choices": [{"index": 5, "delta": {"reasoning_content": "x"}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [7]}}]},
        {"choices": 7},
        {"usage": {"completion_tokens_details": [1]}},
        {"error": {"message": "out of memory"}},
        [],
    ],
)
def test_malformed_events_of_an_engine_are_its_failure(chunk: object) -> None:
    with pytest.raises(BackendError):
        list(ChunkReader(ChatRequest(request_id="r", messages=(ChatMessage(role="user"),))).read(chunk))
