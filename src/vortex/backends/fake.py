"""A scripted, deterministic ChatBackend with latency and faults on demand: a real component, not a mock.

Promises: the same request gives the same events on every machine; structured requests get valid JSON; closing an
answer's iterator is counted as a cancellation. Tokens are words, so counts are easy to foresee.
Does not do: language. It answers from a script, by default from a short list of known questions.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from vortex.backends.fake_json import sample
from vortex.backends.fake_text import common_length, count_pieces, embedding, limited, logprobs, pieces, token_id
from vortex.errors import BackendError, ContextOverflow, Overloaded, RequestError, UnknownModel
from vortex.types import (
    BackendStatus,
    ChatEvent,
    ChatRequest,
    ChoiceFinished,
    Completed,
    Embeddings,
    FinishReason,
    ModelCard,
    ReasoningDelta,
    Started,
    TextDelta,
    Timings,
    ToolCall,
    ToolCallDelta,
    Usage,
)

KNOWN = (
    ("capital of france", "Paris."),
    ("repeat exactly: ", "one two three four five"),
    ("degrees", "It is 21 degrees."),
)
ENDINGS = (" Indeed.", " So it is.", " That is all.", " As you see.", " No doubt.")


class FaultKind(StrEnum):
    OVERLOADED = "overloaded"  # Overloaded, before the first event
    REFUSED = "refused"  # RequestError, before the first event
    BROKEN = "broken"  # BackendError, after `after_tokens` tokens
    CRASHED = "crashed"  # an unforeseen exception, after `after_tokens` tokens
    STALLED = "stalled"  # silence for ever, after `after_tokens` tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    kind: FaultKind
    after_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Waiting times in milliseconds, before the first token and before each later one."""

    first_ms: float = 0.0
    token_ms: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""


Script = Callable[[ChatRequest], str | Answer]


def prompt_text(request: ChatRequest) -> str:
    if request.prompt is not None:
        return request.prompt if isinstance(request.prompt, str) else " ".join(map(str, request.prompt))
    return "\n".join(f"{message.role}: {message.content}" for message in request.messages)


def default_script(request: ChatRequest) -> str:
    """A known answer, or the last words of the prompt said back; a seeded ending above temperature 0."""
    last = request.messages[-1].content if request.messages else prompt_text(request)
    known = next((answer for question, answer in KNOWN if question in last.lower()), None)
    return known or f"You said: {last[-200:].strip() or 'nothing'}"


class FakeBackend:
    """`faults` are used up one per chat request, in order; None stands for a request that goes well."""

    def __init__(
        self,
        script: Script = default_script,
        *,
        name: str = "vortex-fake",
        pace: Pace | None = None,
        faults: Iterable[Fault | None] = (),
        context_length: int = 8192,
        max_active: int = 1024,
    ) -> None:
        self.name = name
        self.requests: list[ChatRequest] = []  # every request that was begun, for tests to read
        self.cancelled = 0
        self.completed = 0
        self._script = script
        self._pace = pace or Pace()
        self._faults = iter(faults)
        self._context_length = context_length
        self._max_active = max_active
        self._active = 0
        self._last_prompt: list[str] = []
        self._words: dict[int, str] = {}

    async def models(self) -> Sequence[ModelCard]:
        card = ModelCard(
            name=self.name,
            context_length=self._context_length,
            licence="MIT",
            origin="scripted",
            abilities=("completion", "tools", "thinking", "embedding"),
        )
        return [card]

    async def embed(self, texts: Sequence[str], model: str | None = None) -> Embeddings:
        self._check_model(model)
        vectors = np.stack([embedding(text) for text in texts])
        return Embeddings(vectors=vectors, prompt_tokens=sum(len(pieces(text)) for text in texts))

    async def prompt_token_ids(self, request: ChatRequest) -> Sequence[int]:
        """As `TokenCounter` says; an id is a hash of its word."""
        return [token_id(piece) for piece in pieces(prompt_text(request))]

    async def tokenize(self, text: str, *, special: bool = False, model: str | None = None) -> Sequence[int]:
        self._words |= {token_id(piece): piece for piece in pieces(text)}
        return [token_id(piece) for piece in pieces(text)]

    async def detokenize(self, token_ids: Sequence[int], model: str | None = None) -> str:
        """Words that it has read before; others are unknown to it."""
        return "".join(self._words.get(each, "?") for each in token_ids)

    async def status(self) -> BackendStatus:
        counters = {"cancelled": float(self.cancelled), "completed": float(self.completed)}
        return BackendStatus(ready=True, active=self._active, counters=counters)

    async def close(self) -> None:
        """Nothing is held."""

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatEvent]:
        self._check_model(request.model)
        fault = next(self._faults, None)
        self._refuse(request, fault)
        self.requests.append(request)
        request, notes = self._fitted(request)
        self._active += 1
        finished = False
        try:
            async for event in self._events(request, fault, notes):
                finished = isinstance(event, Completed)
                self.completed += finished
                yield event
        except (GeneratorExit, asyncio.CancelledError):
            self.cancelled += not finished
            raise
        finally:
            self._active -= 1

    def _check_model(self, model: str | None) -> None:
        if model not in (None, self.name):
            raise UnknownModel(f"the model {model!r} is not served here; ask for {self.name!r}")

    def _refuse(self, request: ChatRequest, fault: Fault | None) -> None:
        if fault and fault.kind is FaultKind.REFUSED:
            raise RequestError("the fake was told to refuse this request", param="messages")
        if self._active >= self._max_active or (fault and fault.kind is FaultKind.OVERLOADED):
            raise Overloaded("the fake is full; try again in a second", retry_after_s=1.0)
        most = 2 * self._context_length  # counted: a book must not hold the loop
        prompt_tokens = count_pieces(prompt_text(request), most)
        wanted_tokens = prompt_tokens + max(1, request.min_tokens)
        if wanted_tokens > self._context_length:
            more = " or more" if prompt_tokens == most else ""
            raise ContextOverflow(
                f"prompt ({prompt_tokens} tokens{more}) and answer need {wanted_tokens} tokens and the context holds "
                f"{self._context_length}; shorten the prompt or lower max_tokens"
            )

    def _fitted(self, request: ChatRequest) -> tuple[ChatRequest, tuple[str, ...]]:
        """An answer's limit lowered to what the prompt leaves, as an engine does."""
        room = self._context_length - count_pieces(prompt_text(request), self._context_length)
        if request.max_tokens is None or request.max_tokens <= room:
            return request, ()
        note = f"max_tokens {request.max_tokens} was lowered to {room}: the context holds {self._context_length}"
        return replace(request, max_tokens=room), (note,)

    async def _events(
        self, request: ChatRequest, fault: Fault | None, notes: tuple[str, ...]
    ) -> AsyncIterator[ChatEvent]:
        prompt = pieces(prompt_text(request))
        seed = request.sampling.seed
        seed = zlib.crc32(prompt_text(request).encode()) if seed is None else seed
        yield Started(request_id=request.request_id, model=self.name, seed=seed, notes=notes, prompt_tokens=len(prompt))
        completion_tokens = reasoning_tokens = 0
        await asyncio.sleep(self._pace.first_ms / 1000)
        for choice in range(request.num_choices):
            async for event, num_tokens in self._choice(request, choice, seed):
                if fault and completion_tokens >= fault.after_tokens:
                    await _fail(fault)
                if completion_tokens and self._pace.token_ms:
                    await asyncio.sleep(self._pace.token_ms / 1000)
                completion_tokens += num_tokens
                reasoning_tokens += num_tokens if isinstance(event, ReasoningDelta) else 0
                yield event
        if fault and completion_tokens >= fault.after_tokens:
            await _fail(fault)
        cached_tokens = common_length(prompt, self._last_prompt)
        self._last_prompt = prompt
        usage = Usage(
            prompt_tokens=len(prompt),
            completion_tokens=completion_tokens,
            cached_tokens=cached_tokens,
            reasoning_tokens=reasoning_tokens,
        )
        counters = {"sweeps": float(completion_tokens)}
        yield Completed(usage=usage, timings=Timings(prefill_ms=self._pace.first_ms, counters=counters))

    async def _choice(self, request: ChatRequest, choice: int, seed: int) -> AsyncIterator[tuple[ChatEvent, int]]:
        answer = self._answer(request, choice, seed)
        for piece in pieces(answer.reasoning)[: request.thinking_tokens]:
            yield ReasoningDelta(choice=choice, text=piece), 1
        for token in pieces(answer.text) if answer.tool_calls else ():
            yield TextDelta(choice=choice, text=token), 1
        for index, call in enumerate(answer.tool_calls):
            yield ToolCallDelta(choice=choice, index=index, id=call.id, name=call.name), 1
            for piece in pieces(call.arguments):
                yield ToolCallDelta(choice=choice, index=index, arguments=piece), 1
        if answer.tool_calls:
            yield ChoiceFinished(choice=choice, reason=FinishReason.TOOL_CALLS), 0
            return
        tokens, reason, stop = limited(pieces(answer.text), request)
        for token in tokens:
            yield TextDelta(choice=choice, text=token, logprobs=logprobs(token, request.top_logprobs)), 1
        yield ChoiceFinished(choice=choice, reason=reason, stop=stop), 0

    def _answer(self, request: ChatRequest, choice: int, seed: int) -> Answer:
        if request.tools and request.tool_choice not in ("auto", "none"):
            scripted = self._script(request) if self._script is not default_script else ""
            if isinstance(scripted, Answer):
                return scripted
            wanted = [tool for tool in request.tools if request.tool_choice in ("required", tool.name)]
            arguments = json.dumps(sample(dict(wanted[0].parameters)) or {})
            call_id = f"call_{zlib.crc32(f'{request.request_id}/{choice}'.encode()):08x}"
            return Answer(tool_calls=(ToolCall(id=call_id, name=wanted[0].name, arguments=arguments),))
        if request.json_schema is not None:
            return Answer(text=json.dumps(sample(dict(request.json_schema)) or {}))
        answer = self._script(request)
        answer = Answer(text=answer) if isinstance(answer, str) else answer
        if request.sampling.temperature > 0 and not answer.tool_calls:
            return Answer(text=answer.text + ENDINGS[(seed + choice) % len(ENDINGS)])
        return answer


async def _fail(fault: Fault) -> None:
    if fault.kind is FaultKind.BROKEN:
        raise BackendError("the fake was told to break here", status=502)
    if fault.kind is FaultKind.CRASHED:
        raise ArithmeticError("the fake was told to crash here")
    await asyncio.Event().wait()
