"""Answers of an engine as tokens, for measurements that compare them: a model lent to several engines, and a way to ask
that gives back what was sampled and how long it took.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType

from vortex.decode.drafting.drafter import Drafter
from vortex.decode.structure.structured import StructuredDecoding
from vortex.engine.backend import LocalBackend
from vortex.engine.intake import AnswerRules
from vortex.engine.options import EngineOptions
from vortex.protocols import ChatFormat, LanguageModel, Tokenizer
from vortex.types import (
    ChatMessage,
    ChatRequest,
    Completed,
    Exactness,
    ModelCard,
    SamplingOptions,
    SequenceState,
    Span,
    SweepCost,
    SweepOutput,
    TextDelta,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """prefill_s, decode_s: from the engine's own clock, to the first token and from there to the last."""

    token_ids: tuple[int, ...]
    prefill_s: float
    decode_s: float
    counters: Mapping[str, float]


class LentModel:
    """A LanguageModel that several engines use in turns: closing one of them does not close it."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self.vocab_size = model.vocab_size
        self.context_length = model.context_length
        self.prefill_chunk = model.prefill_chunk
        self.draft_heads = model.draft_heads

    @property
    def exactness(self) -> Exactness:
        return self._model.exactness

    def new_state(self) -> SequenceState:
        return self._model.new_state()

    def sweep(self, spans: Sequence[Span]) -> SweepOutput:
        return self._model.sweep(spans)

    def sweep_cost(self, spans: Sequence[Span]) -> SweepCost:
        return self._model.sweep_cost(spans)

    def close(self) -> None:
        """It is only lent."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked: a model with its tokenizer and its way of writing conversations."""

    name: str
    model: LanguageModel
    tokenizer: Tokenizer
    chat_format: ChatFormat
    system: str = ""

    def request(self, text: str, sampling: SamplingOptions, new_tokens: int, **more: object) -> ChatRequest:
        system = (ChatMessage(role="system", content=self.system),) if self.system else ()
        return ChatRequest(
            request_id="bench",
            messages=(*system, ChatMessage(role="user", content=text)),
            sampling=sampling,
            max_tokens=new_tokens,
            top_logprobs=0,
            **more,  # type: ignore[arg-type]
        )

    def prompt_ids(self, request: ChatRequest) -> list[int]:
        return self.chat_format.encode(request.messages)


class Engine(AbstractContextManager["Engine"]):
    """An engine around a subject's model, asked from code that is not asynchronous."""

    def __init__(
        self,
        subject: Subject,
        drafters: Sequence[Drafter] = (),
        *,
        max_block: int = 32,
        prefix_cache_bytes: int = 0,
        structured: StructuredDecoding | None = None,
    ) -> None:
        options = EngineOptions(
            drafters=tuple(drafters),
            max_block=max_block,
            prefix_cache_bytes=prefix_cache_bytes,
            queue_limit=1024,
            entropy_top_k=20,
        )
        self._runner = asyncio.Runner()
        self._backend = LocalBackend(
            LentModel(subject.model),
            subject.tokenizer,
            subject.chat_format,
            ModelCard(name=subject.name),
            options,
            rules=AnswerRules(constrain=structured.constrain if structured else None),
        )

    def ask(self, request: ChatRequest) -> Answer:
        return self._runner.run(self._ask(request))

    def ask_all(self, requests: Sequence[ChatRequest], streams: int) -> list[Answer]:
        """All answers, `streams` of them under way at any time."""

        async def ask_in_turns() -> list[Answer]:
            free = asyncio.Semaphore(streams)

            async def one(request: ChatRequest) -> Answer:
                async with free:
                    return await self._ask(request)

            return await asyncio.gather(*map(one, requests))

        return self._runner.run(ask_in_turns())

    def counters(self) -> Mapping[str, float]:
        return self._runner.run(self._backend.status()).counters

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._backend.close())
        self._runner.close()

    async def _ask(self, request: ChatRequest) -> Answer:
        token_ids: list[int] = []
        async for event in self._backend.chat(request):
            if isinstance(event, TextDelta):
                token_ids += [entry.token_id for entry in event.logprobs]
            elif isinstance(event, Completed):
                times = event.timings
                return Answer(tuple(token_ids), times.prefill_ms / 1000, times.decode_ms / 1000, times.counters)
        raise AssertionError("an answer without an end")
