"""`vortex bench serve`: what clients of the server meet at 1, 4 and 16 streams, beside the bare engine.

The same requests go to the engine directly and over HTTP, turn and turn about. What HTTP adds is measured at the
client, so it holds the client's own reading of the stream too: an upper bound of the server's overhead.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.protocols import ChatBackend
from vortex.types import ChatEvent, ChatMessage, ChatRequest, Completed, TextDelta

STREAMS = (1, 4, 16)
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
    """`bare` is the engine in this process, `served` the same model behind the server; `runner` their event loop."""

    bare: ChatBackend
    served: ChatBackend
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
        pairs = [
            (self._round(self.bare, streams, run), self._round(self.served, streams, run)) for run in range(self.runs)
        ]
        firsts_ms = sorted(1e3 * one.first_s for _, served in pairs for one in served.heard)
        return {
            "first_p50_ms": statistics.median(firsts_ms),
            "first_p99_ms": firsts_ms[int((len(firsts_ms) - 1) * 0.99)],
            "tokens_per_s": statistics.median(served.tokens_per_s for _, served in pairs),
            "bare_tokens_per_s": statistics.median(bare.tokens_per_s for bare, _ in pairs),
            "added_first_ms": _added(pairs, lambda one: 1e3 * one.first_s),
            "added_token_us": _added(pairs, lambda one: 1e6 * one.token_s),
        }

    def _round(self, backend: ChatBackend, streams: int, run: int) -> Round:
        return self.runner.run(self._together(backend, streams, run))

    async def _together(self, backend: ChatBackend, streams: int, run: int) -> Round:
        started = time.perf_counter()
        asked = [self._request(f"{run}-{stream}") for stream in range(streams)]
        heard = await asyncio.gather(*(listen(backend, request) for request in asked))
        return Round(heard, time.perf_counter() - started)

    def _request(self, name: str) -> ChatRequest:
        """A question of its own from the first word on, so that none reuses another's prefix."""
        messages = (ChatMessage(role="user", content=f"{name}: {QUESTION}"),)
        return ChatRequest(request_id=f"bench-{name}", messages=messages, max_tokens=self.new_tokens, ignore_eos=True)


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
