"""The shipped fake is an engine like any other: deterministic, cancellable, faulty on demand."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vortex.backends.fake import FakeBackend, Fault, FaultKind, Pace, pieces
from vortex.errors import BackendError, ContextOverflow, Overloaded, UnknownModel
from vortex.types import (
    ChatMessage,
    ChatRequest,
    ChoiceFinished,
    Completed,
    FinishReason,
    SamplingOptions,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolSpec,
)


def ask(text: str = "What is the capital of France?", **fields) -> ChatRequest:
    return ChatRequest(request_id="r1", messages=(ChatMessage(role="user", content=text),), **fields)


async def collect(backend: FakeBackend, request: ChatRequest) -> list:
    return [event async for event in backend.chat(request)]


@given(st.text())
def test_pieces_lose_nothing(text: str) -> None:
    assert "".join(pieces(text)) == text


async def test_an_answer_has_a_beginning_an_end_and_honest_counts() -> None:
    events = await collect(FakeBackend(), ask())
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Completed)
    text = [event for event in events if isinstance(event, TextDelta)]
    assert "".join(event.text for event in text) == "Paris."
    assert events[-1].usage.completion_tokens == len(text) == 2


async def test_the_same_request_gives_the_same_events() -> None:
    request = ask("hello", sampling=SamplingOptions(temperature=1.0, seed=3), num_choices=3)
    assert await collect(FakeBackend(), request) == await collect(FakeBackend(), request)


async def test_limits_and_stop_strings_end_an_answer() -> None:
    answers = iter(["one two three", "one two three", "one"])
    backend = FakeBackend(lambda _: next(answers))
    short, stopped, repeated = [
        await collect(backend, request)
        for request in (ask(max_tokens=2), ask(stop=("two",)), ask(max_tokens=5, ignore_eos=True))
    ]
    assert [e.reason for e in short if isinstance(e, ChoiceFinished)] == [FinishReason.LENGTH]
    assert "".join(e.text for e in stopped if isinstance(e, TextDelta)) == "one "
    assert repeated[-1].usage.completion_tokens == 5


async def test_structured_answers_fit_their_schema() -> None:
    schema = {
        "type": "object",
        "properties": {"unit": {"enum": ["c"]}, "n": {"$ref": "#/$defs/n"}},
        "$defs": {"n": {"type": "integer"}},
        "required": ["unit", "n"],
    }
    events = await collect(FakeBackend(), ask(json_schema=schema))
    assert json.loads("".join(e.text for e in events if isinstance(e, TextDelta))) == {"unit": "c", "n": 1}
    tool = ToolSpec(name="weather", parameters=schema)
    events = await collect(FakeBackend(), ask(tools=(tool,), tool_choice="required"))
    calls = [e for e in events if isinstance(e, ToolCallDelta)]
    assert calls[0].name == "weather"
    assert json.loads("".join(call.arguments for call in calls)) == {"unit": "c", "n": 1}


async def test_faults_come_in_order_and_a_closed_answer_is_counted() -> None:
    faults = [Fault(kind=FaultKind.OVERLOADED), Fault(kind=FaultKind.BROKEN, after_tokens=1), None]
    backend = FakeBackend(faults=faults, pace=Pace(token_ms=5))
    with pytest.raises(Overloaded):
        await collect(backend, ask())
    with pytest.raises(BackendError):
        await collect(backend, ask())
    answer = backend.chat(ask())
    assert isinstance(await anext(answer), Started)
    await answer.aclose()
    stalled = asyncio.create_task(collect(FakeBackend(faults=[Fault(kind=FaultKind.STALLED)]), ask()))
    done, _ = await asyncio.wait([stalled], timeout=0.02)
    assert not done
    stalled.cancel()
    assert (backend.cancelled, (await backend.status()).active) == (1, 0)


async def test_it_refuses_what_an_engine_refuses() -> None:
    with pytest.raises(ContextOverflow, match="8192"):
        await collect(FakeBackend(), ask("x " * 9000))
    for too_long in (ask(min_tokens=8192), ask(min_tokens=2**31 - 1)):
        with pytest.raises(ContextOverflow):
            await collect(FakeBackend(), too_long)
    with pytest.raises(UnknownModel):
        await collect(FakeBackend(), ask(model="other"))


async def test_embeddings_are_of_length_one_and_like_texts_are_near() -> None:
    vectors = (await FakeBackend().embed(["a small cat", "a small kitten", "income tax law"])).vectors
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
