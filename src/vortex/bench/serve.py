"""`vortex bench serve`: what clients of the server meet at 1, 4 and 16 streams, beside the bare engine.

The same requests go to the engine directly and over HTTP, turn and turn about. What HTTP adds is measured at the
client, which reads bytes and parses nothing: an upper bound of the server's overhead, with little of the client's own.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import cast

import orjson

from vortex.backends.openai_wire import request_body
from vortex.bench.http_probe import HttpProbe
from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.protocols import ChatBackend
from vortex.types import ChatEvent, ChatMessage, ChatRequest, Completed, TextDelta

STREAMS = (1, 4, 16)
FIRST_WORDS = b'"delta":{"content":'
COUNTED = re.compile(rb'"completion_tokens":(\d+)')
QUESTION = "What is the capital of France?"


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer at the client's end: its text, and seconds since the request."""

    text: str
    first_s: float
    total_s: float
    num_tokens: int

    @property
    def token_s(self) -> float:
        """Mean time between tokens."""
        return (self.total_s - self.first_s) / max(self.num_tokens - 1, 1)


Ask = Callable[[ChatRequest], Awaitable[Heard]]


@dataclass(frozen=True, slots=True)
class Round:
    """All answers of one moment, and the seconds from the first request to the last token."""

    heard: Sequence[Heard]
    wall_s: float

    @property
    def tokens_per_s(self) -> float:
        return sum(one.num_tokens for one in self.heard) / self.wall_s


@dataclass(frozen=True, slots=True)
class ServeMeasurement:
    """`bare` is the engine in this process, `served` the same model behind the server at `address` (with `/v1`);
    `runner` is their event loop."""

    bare: ChatBackend
    served: ChatBackend
    address: str
    runner: asyncio.Runner
    new_tokens: int = 64
    runs: int = 5
    streams: Sequence[int] = STREAMS

    def check(self) -> None:
        """Both ends must answer a greedy question alike."""
        messages = (ChatMessage(role="user", content=QUESTION),)
        asked = ChatRequest(request_id="bench-check", messages=messages, max_tokens=8)
        bare, served = (self.runner.run(listen(backend, asked)).text for backend in (self.bare, self.served))
        if not bare or bare != served:
            raise CheckFailed(f"the server answers {served!r} where the engine answers {bare!r}")

    def measure(self) -> Report:
        rows: list[list[str]] = []
        figures: dict[str, float] = {"runs": self.runs, "new_tokens": self.new_tokens}
        bars: dict[str, float] = {}
        for streams in self.streams:
            found = self._compare(streams)
            figures |= {f"streams_{streams}_{name}": round(value, 2) for name, value in found.items()}
            rows.append([str(streams), *(f"{value:.1f}" for value in found.values())])
            bars[f"{streams} streams"] = found["tokens_per_s"]
        columns = ["streams", "first p50, ms", "first p99, ms", "tok/s", "bare tok/s", "added to first, ms"]
        columns.append("added a token, µs")
        return Report("serve", "the server beside the bare engine", columns, rows, figures, bars, "tokens/s")

    def _compare(self, streams: int) -> dict[str, float]:
        probe = HttpProbe(f"{self.address}/chat/completions", b"", mark=FIRST_WORDS)
        bare = partial(listen, self.bare)
        read = partial(read_bytes, probe)
        for ask in (bare, read):  # opens the connections, and wakes what sleeps
            self.runner.run(self._together(ask, streams, 0))
        pairs = [
            (self.runner.run(self._together(bare, streams, run)), self.runner.run(self._together(read, streams, run)))
            for run in range(1, self.runs + 1)
        ]
        self.runner.run(probe.close())
        firsts_ms = sorted(1e3 * one.first_s for _, served in pairs for one in served.heard)
        return {
            "first_p50_ms": statistics.median(firsts_ms),
            "first_p99_ms": firsts_ms[int((len(firsts_ms) - 1) * 0.99)],
            "tokens_per_s": statistics.median(served.tokens_per_s for _, served in pairs),
            "bare_tokens_per_s": statistics.median(bare.tokens_per_s for bare, _ in pairs),
            "added_first_ms": _added(pairs, lambda one: 1e3 * one.first_s),
            "added_token_us": _added(pairs, lambda one: 1e6 * one.token_s),
        }

    async def _together(self, ask: Ask, streams: int, run: int) -> Round:
        model = (await self.bare.models())[0].name  # a client that names none would ask for the list before each answer
        asked = [self._request(f"{run}-{stream}", model) for stream in range(streams)]
        started = time.perf_counter()
        heard = await asyncio.gather(*map(ask, asked))
        return Round(heard, time.perf_counter() - started)

    def _request(self, name: str, model: str) -> ChatRequest:
        """A question of its own from the first word on, so that none reuses another's prefix."""
        messages = (ChatMessage(role="user", content=f"{name}: {QUESTION}"),)
        name = f"bench-{name}"
        return ChatRequest(request_id=name, model=model, messages=messages, max_tokens=self.new_tokens, ignore_eos=True)


def _added(pairs: Sequence[tuple[Round, Round]], value: Callable[[Heard], float]) -> float:
    """Median over runs of what HTTP adds to the median of a value."""

    def middle(one: Round) -> float:
        return statistics.median(map(value, one.heard))

    return statistics.median(middle(served) - middle(bare) for bare, served in pairs)


async def listen(backend: ChatBackend, request: ChatRequest) -> Heard:
    started = time.perf_counter()
    first_s, pieces, num_tokens = None, [], 0
    events = cast("AsyncGenerator[ChatEvent, None]", backend.chat(request))
    async with aclosing(events):
        async for event in events:
            if isinstance(event, TextDelta):
                first_s = first_s or time.perf_counter() - started
                pieces.append(event.text)
            elif isinstance(event, Completed):
                num_tokens = event.usage.completion_tokens
    total_s = time.perf_counter() - started
    return Heard("".join(pieces), first_s or total_s, total_s, num_tokens)


async def read_bytes(probe: HttpProbe, request: ChatRequest) -> Heard:
    """The same over HTTP, where nobody needs the text."""
    timing = await probe.post(orjson.dumps(request_body(request)))
    counted = COUNTED.search(timing.body)
    if counted is None:
        raise CheckFailed("the server's stream does not tell its usage")
    return Heard("", timing.first_ms / 1000, timing.whole_ms / 1000, int(counted[1]))
