"""One answer while it comes: started before any header is sent, measured, gathered, and closed on every path.

The route iterates it (streams) or gathers it whole. Whichever way it ends, `on_end` is called once with what was
gathered, and the backend's iterator is closed, which cancels what still runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from starlette.requests import Request

from vortex.errors import BackendError
from vortex.server.asgi import client_gone
from vortex.types import (
    ChatEvent,
    ChoiceFinished,
    Completed,
    FinishReason,
    ReasoningDelta,
    Started,
    TextDelta,
    Timings,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    Usage,
)

Result = TypeVar("Result")


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


async def unless_gone(request: Request, work: Awaitable[Result]) -> Result:
    """The result of `work`; where the client goes first, `work` is cancelled and ClientGone raised."""
    task = asyncio.ensure_future(work)
    listener = asyncio.create_task(client_gone(request.receive))
    try:
        await asyncio.wait({task, listener}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGone
    finally:
        listener.cancel()
        task.cancel()
        await asyncio.gather(task, listener, return_exceptions=True)


@dataclass(slots=True)
class GatheredCall:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)

    def whole(self) -> ToolCall:
        return ToolCall(id=self.id, name=self.name, arguments="".join(self.arguments))


@dataclass(slots=True)
class GatheredChoice:
    pieces: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    calls: dict[int, GatheredCall] = field(default_factory=dict)
    reason: FinishReason | None = None
    note: str = ""
    stop: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def reasoning(self) -> str:
        return "".join(self.thoughts)

    @property
    def tool_calls(self) -> list[ToolCall]:
        return [self.calls[index].whole() for index in sorted(self.calls)]


@dataclass(slots=True)
class Gathered:
    """What has come so far. `first_token_ms` counts from the request's arrival."""

    started: Started
    choices: list[GatheredChoice]
    usage: Usage | None = None
    timings: Timings = field(default_factory=Timings)
    first_token_ms: float | None = None
    total_ms: float = 0.0
    error: str | None = None

    def add(self, event: ChatEvent) -> None:
        if isinstance(event, TextDelta):
            choice = self.choices[event.choice]
            choice.pieces.append(event.text)
            choice.logprobs.extend(event.logprobs)
        elif isinstance(event, ReasoningDelta):
            self.choices[event.choice].thoughts.append(event.text)
        elif isinstance(event, ToolCallDelta):
            call = self.choices[event.choice].calls.setdefault(event.index, GatheredCall())
            call.id, call.name = event.id or call.id, event.name or call.name
            call.arguments.append(event.arguments)
        elif isinstance(event, ChoiceFinished):
            choice = self.choices[event.choice]
            choice.reason, choice.note, choice.stop = event.reason, event.note, event.stop
        elif isinstance(event, Completed):
            self.usage, self.timings = event.usage, event.timings


class LiveAnswer:
    """Iterate it once. `started` and `gathered` may be read at any time."""

    def __init__(
        self, events: AsyncIterator[ChatEvent], num_choices: int, on_end: Callable[[Gathered], None], born_s: float
    ) -> None:
        self._events = events
        self._num_choices = num_choices
        self._on_end = on_end
        self._born_s = born_s
        self._on_close: Callable[[], None] = lambda: None
        self._ended = False
        self._is_cancelled = False
        self.gathered: Gathered

    @property
    def started(self) -> Started:
        return self.gathered.started

    def cancel(self) -> None:
        """End the answer at its next event, as one that was cancelled: its client is told so."""
        self._is_cancelled = True

    def on_close(self, release: Callable[[], None]) -> None:
        """`release` is called once, also where the answer never began."""
        self._on_close = release

    async def begin(self) -> None:
        """Waits for the first event, so that a refusal still becomes an HTTP status."""
        try:
            event = await anext(self._events, None)
            if not isinstance(event, Started):
                raise BackendError(f"the engine began its answer with {type(event).__name__}, not with Started")
        except BaseException:
            await self.close()
            raise
        self.gathered = Gathered(event, [GatheredChoice() for _ in range(self._num_choices)])

    async def events(self) -> AsyncGenerator[ChatEvent, None]:
        """Everything after Started. The last event is Completed, or an exception is raised."""
        gathered = self.gathered
        try:
            async for event in self._events:
                if gathered.first_token_ms is None:
                    gathered.first_token_ms = self._elapsed_ms()
                gathered.add(event)
                yield event
                if self._is_cancelled and gathered.usage is None:
                    break
            if self._is_cancelled and gathered.usage is None:
                for last in self._cancelled():
                    gathered.add(last)
                    yield last
            if gathered.usage is None:
                raise BackendError("the engine's answer broke off")
        except Exception as error:
            gathered.error = f"{type(error).__name__}: {error}"
            raise
        finally:
            await self.close()

    def _cancelled(self) -> list[ChatEvent]:
        ends = [i for i, choice in enumerate(self.gathered.choices) if choice.reason is None]
        usage = Usage(prompt_tokens=self.started.prompt_tokens, completion_tokens=0)
        finished = [ChoiceFinished(choice=index, reason=FinishReason.CANCELLED) for index in ends]
        return [*finished, Completed(usage=usage, timings=Timings())]

    async def whole(self) -> Gathered:
        async for _ in self.events():
            pass
        return self.gathered

    async def close(self) -> None:
        if self._ended:
            return
        self._ended = True
        try:
            if isinstance(self._events, AsyncGenerator):
                await self._events.aclose()
        finally:
            self._on_close()
            gathered = getattr(self, "gathered", None)
            if gathered is not None:
                gathered.total_ms = self._elapsed_ms()
                self._on_end(gathered)

    def _elapsed_ms(self) -> float:
        return (time.perf_counter() - self._born_s) * 1000
