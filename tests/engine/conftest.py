"""A real backend around the hash model, and short ways to ask it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from vortex.engine.backend import LocalBackend
from vortex.engine.intake import AnswerRules
from vortex.engine.options import EngineOptions
from vortex.models.hash_model import HashModel, HashModelOptions
from vortex.tokenizer.byte_tokenizer import ByteChatFormat, ByteTokenizer
from vortex.types import (
    ChatEvent,
    ChatRequest,
    ChoiceFinished,
    Completed,
    FinishReason,
    ModelCard,
    Started,
    TextDelta,
    TokenLogprob,
)


@dataclass
class Answer:
    """An answer as its events told it."""

    events: list[ChatEvent] = field(default_factory=list)

    @property
    def seed(self) -> int:
        started = self.events[0]
        assert isinstance(started, Started)
        return started.seed

    @property
    def completed(self) -> Completed:
        completed = self.events[-1]
        assert isinstance(completed, Completed)
        return completed

    def text(self, choice: int = 0) -> str:
        return "".join(e.text for e in self.events if isinstance(e, TextDelta) and e.choice == choice)

    def logprobs(self, choice: int = 0) -> list[TokenLogprob]:
        return [one for e in self.events if isinstance(e, TextDelta) and e.choice == choice for one in e.logprobs]

    def token_ids(self, choice: int = 0) -> list[int]:
        return [one.token_id for one in self.logprobs(choice)]

    def reasons(self) -> dict[int, FinishReason]:
        return {e.choice: e.reason for e in self.events if isinstance(e, ChoiceFinished)}


class Bench:
    """A backend and its model."""

    def __init__(self, model: HashModel, backend: LocalBackend) -> None:
        self.model = model
        self.backend = backend

    async def ask(self, **fields: object) -> Answer:
        """All events of one answer. Log-probabilities are asked for, since they show the tokens."""
        answer = Answer()
        async for event in self.backend.chat(request(**fields)):
            answer.events.append(event)
        return answer

    async def counters(self) -> dict[str, float]:
        return dict((await self.backend.status()).counters)

    async def until_idle(self) -> None:
        for _ in range(15_000):
            status = await self.backend.status()
            if not status.active and not status.queued:
                return
            await asyncio.sleep(0.002)
        raise AssertionError("requests are stuck in the engine")


def request(**fields: object) -> ChatRequest:
    return ChatRequest(**{"request_id": "r", "top_logprobs": 0, **fields})  # type: ignore[arg-type]


@asynccontextmanager
async def open_bench(
    model_options: HashModelOptions | None = None, options: EngineOptions | None = None, **more: object
) -> AsyncIterator[Bench]:
    """Closes the backend and checks that no state outlives it."""
    model = HashModel(model_options)
    backend = LocalBackend(
        model,
        ByteTokenizer(),
        ByteChatFormat(),
        ModelCard(name="hash"),
        options,
        rules=AnswerRules(**more),  # type: ignore[arg-type]
    )
    bench = Bench(model, backend)
    try:
        yield bench
    finally:
        await backend.close()
    assert model.open_states == 0, "a state was not closed"


@pytest.fixture
def bench() -> Callable[..., object]:
    return open_bench
