"""Bare `vortex bench`: prefill and decode of a profile's model as a user meets them, sampling and text included.

Every run asks with a prompt of its own from the first word on, so that no run can reuse another's prefix.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import cast

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.protocols import ChatBackend
from vortex.types import ChatEvent, ChatMessage, ChatRequest, Completed, TextDelta, Usage

PROMPT = "{run} times the printing press was improved, and each time more people could read what others had thought. "
REPEATS = 20
QUESTION = "What is the capital of France?"


@dataclass(frozen=True, slots=True)
class Heard:
    """One answer as a reader meets it. Seconds since the request."""

    text: str
    usage: Usage
    first_s: float
    total_s: float


@dataclass(frozen=True, slots=True)
class GenerateMeasurement:
    """`runner` is the event loop that the backend lives in."""

    backend: ChatBackend
    runner: asyncio.Runner
    model_name: str
    new_tokens: int = 64
    runs: int = 3

    def check(self) -> None:
        """The same greedy question must get the same answer twice."""
        messages = (ChatMessage(role="user", content=QUESTION),)
        request = ChatRequest(request_id="bench-check", messages=messages, max_tokens=8)
        first, second = self._hear(request).text, self._hear(request).text
        if not first or first != second:
            raise CheckFailed(f"{self.model_name} answers one greedy question in two ways: {first!r}, {second!r}")

    def measure(self) -> Report:
        heard = [self._hear(self._request(run)) for run in range(self.runs)]
        prefill = statistics.median(one.usage.prompt_tokens / one.first_s for one in heard)
        decode = statistics.median(
            (one.usage.completion_tokens - 1) / max(one.total_s - one.first_s, 1e-9) for one in heard
        )
        first_ms = 1000 * statistics.median(one.first_s for one in heard)
        prompt_tokens, new_tokens = heard[0].usage.prompt_tokens, heard[0].usage.completion_tokens
        figures = {
            "model": self.model_name,
            "runs": self.runs,
            "prompt_tokens": prompt_tokens,
            "new_tokens": new_tokens,
            "prefill_tokens_per_s": round(prefill, 1),
            "decode_tokens_per_s": round(decode, 1),
            "first_token_ms": round(first_ms, 1),
        }
        columns = [f"median of {self.runs}", f"prefill {prompt_tokens}, tok/s", f"decode {new_tokens}, tok/s"]
        columns.append("first token, ms")
        rows = [[self.model_name, f"{prefill:.1f}", f"{decode:.1f}", f"{first_ms:.0f}"]]
        bars = {"prefill": prefill, "decode": decode}
        return Report("generate", f"{self.model_name}: as a user meets it", columns, rows, figures, bars, "tokens/s")

    def _request(self, run: int) -> ChatRequest:
        return ChatRequest(
            request_id=f"bench-{run}",
            prompt=PROMPT.format(run=run + 2) * REPEATS,
            max_tokens=self.new_tokens,
            ignore_eos=True,
        )

    def _hear(self, request: ChatRequest) -> Heard:
        return self.runner.run(self._listen(request))

    async def _listen(self, request: ChatRequest) -> Heard:
        started = time.perf_counter()
        first_s, text, usage = None, "", None
        events = cast("AsyncGenerator[ChatEvent, None]", self.backend.chat(request))
        async with aclosing(events):
            async for event in events:
                if isinstance(event, TextDelta):
                    first_s = first_s or time.perf_counter() - started
                    text += event.text
                elif isinstance(event, Completed):
                    usage = event.usage
        assert usage is not None, "an answer that did not fail ends with Completed"
        total_s = time.perf_counter() - started
        return Heard(text, usage, first_s or total_s, total_s)
