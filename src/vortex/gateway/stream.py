"""A streamed answer on its way: whole events, their meaning, and an end the client can rely on.

Promises: silence is bounded by the gap between *data* (an engine's comments do not count); the client hears a comment
while the engine is silent; whatever happens upstream, the client's stream ends with `[DONE]`. Events are forwarded as
the bytes they came in, unless log-probabilities have to be taken out that the client did not ask for.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from vortex.gateway.dispatch import Exchange
from vortex.gateway.entropy import entropies_of
from vortex.gateway.http.client import UpstreamFailure
from vortex.gateway.http.sse import DONE, EventSplitter, data_of, error_event, parse, plain_events, without_logprobs
from vortex.gateway.http.wire import Comfort, Reply

Event = tuple[bytes, dict[str, Any] | None]  # the bytes as they came, and their JSON (None: [DONE])
WriteNow = Callable[[bytes], Awaitable[None] | None]  # None: done; else to be awaited before the next
NOT_OVER = re.compile(rb'"finish_reason": ?null')
DRAIN_S = 0.05  # after [DONE], for the end of the body, so that the connection can be kept


@dataclass(slots=True)
class Progress:
    """What a stream has said so far."""

    tokens: int = 0
    finish_reason: str = ""
    done: bool = False
    error: dict[str, Any] | None = None
    thinking: bool = False
    entropies: list[float] = field(default_factory=list)
    blind: bool = False  # text came without log-probabilities

    def see(self, value: dict[str, Any]) -> None:
        """Raises UpstreamFailure for an event that is no chat event."""
        try:
            self._see(value)
        except (AttributeError, TypeError, ValueError, KeyError) as error:
            raise UpstreamFailure("protocol", f"an event of an unexpected form: {error}") from None

    def _see(self, value: dict[str, Any]) -> None:
        if error := value.get("error"):
            self.error = error if isinstance(error, dict) else {"message": str(error)}
        for choice in value.get("choices") or ():
            delta = choice.get("delta") or {}
            text = delta.get("content") or choice.get("text")
            if text or delta.get("tool_calls"):
                self.tokens += 1
            if delta.get("reasoning_content") or delta.get("reasoning") or (text and "<think>" in text):
                self.thinking = True
            if found := entropies_of(choice):
                self.entropies += found
            elif text:
                self.blind = True
            if choice.get("finish_reason"):
                self.finish_reason = str(choice["finish_reason"])


@dataclass(frozen=True, slots=True)
class Clocks:
    """Bounds of one stream, of the event loop's clock, and what the client is told in between."""

    first_data_at: float
    total_at: float
    gap_s: float
    comfort: Comfort


class EventReader:
    """Whole events of one exchange, under the clocks of silence. `careful`: look into every event, as a probe must;
    else only into those that end something."""

    def __init__(self, exchange: Exchange, clocks: Clocks, *, careful: bool) -> None:
        self._exchange = exchange
        self._splitter = EventSplitter()
        self._clocks = clocks
        self._careful = careful
        self._failure: UpstreamFailure | None = None
        self._loop = asyncio.get_running_loop()
        self._deadline = clocks.first_data_at
        self.progress = Progress()

    async def events(self) -> list[Event]:
        """The next whole events that say something; [] at the end of the body. Raises UpstreamFailure.

        What came before broken JSON is given first; the failure follows at the next call. The clock of silence runs
        only in here: a client that reads slowly is not the engine's fault.
        """
        if self._failure is not None:
            raise self._failure
        if self.progress.done:
            return []
        clocks = self._clocks
        deadline = min(self._deadline or self._loop.time() + clocks.gap_s, clocks.total_at)
        while True:
            chunk = await self._exchange.response.read(min(deadline, clocks.comfort.due_at))
            if chunk:
                if not self._careful and self._plain(chunk):
                    self._deadline = 0.0
                    return [(chunk, {})]
                if found := self._meaning(self._splitter.feed(chunk)):
                    self._deadline = 0.0
                    return found
            elif chunk is not None:
                return self._end()
            else:
                await clocks.comfort.say()
            if self._loop.time() >= deadline:
                raise UpstreamFailure("stalled", "the engine sent no data in time")

    def _meaning(self, raw_events: list[bytes]) -> list[Event]:
        found: list[Event] = []
        for raw in raw_events:
            data = data_of(raw)
            if data is None:
                continue
            if data == b"[DONE]":
                self.progress.done = True
                found.append((raw, None))
                break
            try:
                value = parse(data)
                if self._careful or NOT_OVER.search(raw) is None or b'"error"' in raw:
                    self.progress.see(value)
                else:
                    self.progress.tokens += b'"role"' not in raw
            except UpstreamFailure as error:
                self._failure = error
                if not found:
                    raise
                break
            found.append((raw, value))
        return found

    def _end(self) -> list[Event]:
        if self._splitter.rest.strip():
            raise UpstreamFailure("protocol", "the engine's answer was cut inside an event")
        return []

    async def pour(self, write: WriteNow) -> bytes:
        """Hand the events that follow to `write`, from within the engine's socket: no turn of the event loop for each.

        Returns where `events` would give [], or at an error event: with the bytes that came last and were not written,
        so that they leave together with the stream's end. Raises what `events` raises.
        """
        loop, clocks, response = self._loop, self._clocks, self._exchange.response
        heard_at = loop.time()
        last = b""
        waits_for: Awaitable[None] | None = None

        def take(chunk: bytes) -> bool:
            nonlocal heard_at, waits_for, last
            if self._plain(chunk):
                heard_at = loop.time()
                if self.progress.done:
                    last = chunk
                    return False
                waits_for = write(chunk)
                return waits_for is None
            try:
                found = self._meaning(self._splitter.feed(chunk))
            except UpstreamFailure as failure:
                self._failure = failure
                return False
            if found and self._over and self._failure is None:
                last = _bytes_of(found, strip=False)
            elif found:
                heard_at = loop.time()
                waits_for = write(_bytes_of(found, strip=False))
            return waits_for is None and not self._over

        while not self._over:
            deadline = min(heard_at + clocks.gap_s, clocks.total_at)
            if loop.time() >= deadline:
                raise UpstreamFailure("stalled", "the engine sent no data in time")
            if not await response.pour(take, min(deadline, clocks.comfort.due_at)):
                await clocks.comfort.say()
            if waits_for is not None:  # a client that reads slowly is not the engine's fault
                await waits_for
                waits_for, heard_at = None, loop.time()
            elif response.ended and not self._over:
                self._end()
                return b""
        if self._failure is not None:
            raise self._failure
        return last

    def _plain(self, chunk: bytes) -> bool:
        """Whether a chunk is of the usual form, as nearly all are; if so it is counted, else the slow way must look."""
        plain = None if self._splitter.rest else plain_events(chunk)
        if plain is None:
            return False
        try:
            if plain.final is not None:
                self.progress.see(plain.final)
        except UpstreamFailure:
            return False  # the slow way tells it
        self.progress.tokens += plain.tokens
        self.progress.done = plain.done
        return True

    @property
    def _over(self) -> bool:
        return self.progress.done or self.progress.error is not None or self._failure is not None

    async def drain(self) -> None:
        """Let the body end, so that the connection can serve again."""
        while True:
            try:
                if not await self._exchange.response.read(self._loop.time() + DRAIN_S):
                    return
            except UpstreamFailure:
                return


async def relay(reader: EventReader, held: list[Event], reply: Reply, *, strip: bool) -> str:
    """Forward the held events and all that follow, and end the stream well. Returns "" or what went wrong upstream."""
    progress = reader.progress
    failure = ""
    last = b""
    try:
        events = held or await reader.events()
        while events:
            data = _bytes_of(events, strip=strip)
            if progress.done or progress.error is not None:
                last = data
                break
            await reply.write(data)
            if not strip:
                last = await reader.pour(reply.write_now)
                break
            events = await reader.events()
        if progress.error is None and not progress.done and not progress.finish_reason:
            failure = "the engine's answer ended early"
    except UpstreamFailure as error:
        failure = str(error)
    if failure:
        last += error_event(failure, "engine_failed")
    reply.end(last if progress.done else last + DONE)
    await reader.drain()
    if progress.error is not None and not failure:
        return f"the engine reported: {str(progress.error.get('message', ''))[:200]}"
    return failure


def _bytes_of(events: list[Event], *, strip: bool) -> bytes:
    if strip:
        return b"".join(raw if value is None else without_logprobs(value) for raw, value in events)
    return events[0][0] if len(events) == 1 else b"".join(raw for raw, _ in events)
