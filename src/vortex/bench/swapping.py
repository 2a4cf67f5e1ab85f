"""`vortex bench swap`: two models used in turn under a budget that holds one, against opening them alone.

A swap is what a request for the other model waits for its first token, less what that takes once the model is open and
warm; opening alone is the same for a process that holds nothing else. Checked before anything is timed: no request
fails, and each model answers as it does alone.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.engine.several import SeveralModels
from vortex.errors import VortexError
from vortex.protocols import ChatBackend
from vortex.types import ChatRequest, Started, TextDelta

PROMPT, ANSWER_TOKENS = "The history of the printing press begins", 4


@dataclass(frozen=True, slots=True)
class SwapMeasurement:
    """several: a fresh house of both models, whose budget holds one. open_alone: opens one by itself."""

    several: Callable[[], SeveralModels]
    open_alone: Callable[[str], ChatBackend]
    names: Sequence[str]
    turns: int

    def check(self) -> None:
        async def texts() -> None:
            house = self.several()
            try:
                for name in (*self.names, *self.names):
                    alone = self.open_alone(name)
                    expected = (await _asked(alone, name))[1]
                    await alone.close()
                    if (await _asked(house, name))[1] != expected:
                        raise CheckFailed(f"{name} answers otherwise beside another model")
            finally:
                await house.close()

        asyncio.run(texts())

    def measure(self) -> Report:
        return asyncio.run(self._measured())

    async def _measured(self) -> Report:
        opening: dict[str, list[float]] = {name: [] for name in self.names}
        swapping: dict[str, list[float]] = {name: [] for name in self.names}
        house, failed = self.several(), 0
        await _asked(house, self.names[-1])
        for _ in range(self.turns):
            for name in self.names:
                started_s = time.perf_counter()
                alone = await asyncio.to_thread(self.open_alone, name)
                opened_s = time.perf_counter() - started_s
                opening[name].append(opened_s + (await _asked(alone, name))[0] - (await _asked(alone, name))[0])
                await alone.close()
                try:
                    first_s, _ = await _asked(house, name)
                    again_s, _ = await _asked(house, name)
                    swapping[name].append(first_s - again_s)
                except VortexError:  # a refused or failed request; anything else is a defect and ends the measurement
                    failed += 1
        await house.close()
        rows, figures = [], {"models": list(self.names), "turns": self.turns, "failed_requests": failed}
        for name in self.names:
            opened_s, swapped_s = statistics.median(opening[name]), statistics.median(swapping[name])
            rows.append([name, f"{opened_s:.2f} s", f"{swapped_s:.2f} s", f"{swapped_s / opened_s:.2f}"])
            figures[f"{name}_open_s"], figures[f"{name}_swap_s"] = round(opened_s, 3), round(swapped_s, 3)
            figures[f"{name}_swap_share"] = round(swapped_s / opened_s, 3)
        columns = ["model", "opening alone", "swap", "swap / opening"]
        return Report("swap", f"two models in turn, {failed} failed requests", columns, rows, figures)


async def _asked(backend: ChatBackend, name: str) -> tuple[float, str]:
    """(seconds to the first token, text)."""
    request = ChatRequest(request_id="swap", model=name, prompt=PROMPT, max_tokens=ANSWER_TOKENS, ignore_eos=True)
    started_s, first_s, text = time.perf_counter(), 0.0, ""
    async for event in backend.chat(request):
        assert not isinstance(event, Started) or event.model == name, "the model that was asked for"
        if isinstance(event, TextDelta):
            first_s = first_s or time.perf_counter() - started_s
            text += event.text
    return first_s, text
