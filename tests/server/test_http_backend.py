"""The HTTP backend against a real server: what goes in at one end of the wire comes out at the other."""

from __future__ import annotations

import asyncio
import dataclasses

import numpy as np
import pytest

from vortex.backends.fake import FakeBackend, Fault, FaultKind, Pace
from vortex.backends.http import HttpBackend, Patience
from vortex.errors import BackendError, ContextOverflow, Overloaded, RequestError, UnknownModel
from vortex.types import (
    ChatMessage,
    ChatRequest,
    ChoiceFinished,
    Completed,
    SamplingOptions,
    Started,
    TextDelta,
    ToolSpec,
)

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = ToolSpec(name="weather", parameters=CITY)


def ask(text: str = "hello", **fields) -> ChatRequest:
    return ChatRequest(request_id="r1", messages=(ChatMessage(role="user", content=text),), **fields)


async def collect(backend, request: ChatRequest) -> list:
    return [event async for event in backend.chat(request)]


def without_ids(events: list) -> list:
    """Ids are drawn by each side, times differ, and what the wire does not carry: how long a prompt is before its end,
    and which stop string it was."""
    return [_without_ids(event) for event in events]


def _without_ids(event):
    if isinstance(event, Completed):
        return event.usage.completion_tokens
    if isinstance(event, Started):
        return dataclasses.replace(event, request_id="", prompt_tokens=0)
    if isinstance(event, ChoiceFinished):
        return dataclasses.replace(event, stop=None)
    return dataclasses.replace(event, id="id") if getattr(event, "id", None) else event


@pytest.mark.parametrize(
    "request_",
    [
        ask(),
        ask(sampling=SamplingOptions(temperature=1.0, seed=4, top_k=5, logit_bias={3: 1.5}), num_choices=3),
        ask(max_tokens=2, stop=("hel", "lo"), top_logprobs=3),
        ask(tools=(TOOL,), tool_choice="required"),
        ask(tools=(TOOL,), tool_choice="weather"),
        ask(json_schema=CITY),
        ask(json_schema={}),
        ask(ignore_eos=True, max_tokens=9, min_tokens=3),
        ChatRequest(request_id="r1", prompt="The sky is", max_tokens=4),
    ],
)
async def test_events_survive_the_wire(plain, request_: ChatRequest) -> None:
    backend = HttpBackend(str(plain.base_url))
    try:
        assert without_ids(await collect(backend, request_)) == without_ids(await collect(FakeBackend(), request_))
    finally:
        await backend.close()


async def test_models_and_embeddings_survive_the_wire(plain) -> None:
    backend = HttpBackend(f"{plain.base_url}/v1")
    try:
        assert [card.name for card in await backend.models()] == ["vortex-fake"]
        assert (await backend.status()).ready
        here, there = await FakeBackend().embed(["a", "b"]), await backend.embed(["a", "b"])
        np.testing.assert_allclose(here.vectors, there.vectors, rtol=1e-6)
        assert here.prompt_tokens == there.prompt_tokens
    finally:
        await backend.close()


async def test_failures_keep_their_class_over_the_wire(serve) -> None:
    kinds = [Fault(kind=FaultKind.OVERLOADED), Fault(kind=FaultKind.REFUSED), Fault(kind=FaultKind.BROKEN)]
    faults = [*kinds, Fault(kind=FaultKind.BROKEN, after_tokens=2), Fault(kind=FaultKind.STALLED, after_tokens=1)]
    backend = HttpBackend(str(serve(FakeBackend(faults=faults)).base_url), patience=Patience(silence_s=0.3))
    try:
        for expected in (Overloaded, RequestError, BackendError, BackendError, BackendError):
            with pytest.raises(expected):
                await collect(backend, ask())
        with pytest.raises(ContextOverflow):
            await collect(backend, ask("x " * 9000))
        with pytest.raises(UnknownModel):
            await collect(backend, ask(model="other"))
    finally:
        await backend.close()


async def test_nobody_there_is_one_clear_line() -> None:
    backend = HttpBackend("http://127.0.0.1:9")
    with pytest.raises(BackendError, match="nothing answers at"):
        await collect(backend, ask(model="m"))
    assert not (await backend.status()).ready
    await backend.close()


async def test_closing_the_iterator_cancels_at_the_far_end(serve) -> None:
    far = FakeBackend(pace=Pace(token_ms=20))
    backend = HttpBackend(str(serve(far).base_url))
    answer = backend.chat(ask("word " * 100))
    async for event in answer:
        if isinstance(event, TextDelta):
            break
    await answer.aclose()
    await backend.close()
    for _ in range(200):
        if far.cancelled:
            break
        await asyncio.sleep(0.01)
    assert far.cancelled == 1
