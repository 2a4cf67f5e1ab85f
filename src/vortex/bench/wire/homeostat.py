"""The step response of the gateway's homeostat: load jumps to twice what the engine bears, stays, and leaves again.

A real gateway before a fake engine with few slots, where care costs five times the tokens. Requests leave on a clock.
The report says how far time to first token went, where it settled, and whether the threshold came back to rest.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from vortex.backends.http_get import request_json
from vortex.bench.measurement import CheckFailed
from vortex.bench.programs import fake_engine, gateway, program
from vortex.bench.report import Report
from vortex.bench.wire.gateway import PATH
from vortex.bench.wire.http_probe import HttpProbe
from vortex.errors import BackendError, MissingCapability
from vortex.records.atomic import atomic_write

LOW_RATE, HIGH_RATE = 4.0, 20.0  # requests per second
PHASES_S = (5.0, 30.0, 15.0)  # low, high, low
TARGET_TTFT_MS = 400.0
ENGINE = ("--slots", "4", "--tokens", "8", "--careful-tokens", "40", "--token-ms", "10")
VARIABLES = {
    "LKN_TARGET_TTFT_MS": str(TARGET_TTFT_MS),
    "LKN_TARGET_SHARE": "1",
    "LKN_CONTROLLER_TICK_S": "0.25",
    "LKN_LEDGER": "off",
}
PROMPTS = (  # rule scores from 0 to 0.84, so that a moving threshold moves the share of ANALITICO
    "Hello!",
    "Why is the sky blue?",
    "Is this therefore true?",
    "What is 12 * 7?",
    "Explain why it therefore holds.",
    "Deduce whether 12 * 7 is even.",
    "Calculate 12 * 7.",
)


@dataclass(frozen=True, slots=True)
class Point:
    """One look: seconds since the start, load, p95 of the last seconds, and the controller's outputs."""

    at_s: float
    rate: float
    ttft_p95_ms: float
    threshold_offset: float
    budget_factor: float


class HomeostatMeasurement:
    def __init__(self) -> None:
        self.points: list[Point] = []

    def check(self) -> None:
        """At rest the threshold is the seed's."""
        with ExitStack() as programs:
            url = self._start(programs)
            if request_json(f"{url}/lkn/state")["controller"]["threshold_offset"]:
                raise CheckFailed("the controller does not rest at the seed's threshold")

    def measure(self) -> Report:
        with ExitStack() as programs:
            self.points = asyncio.run(_drive(self._start(programs)))
        return _report(self.points)

    def _start(self, programs: ExitStack) -> str:
        folder = programs.enter_context(tempfile.TemporaryDirectory())
        engine = programs.enter_context(program(fake_engine(*ENGINE)))
        variables = {**VARIABLES, "ENGINE_BASE_URL": engine.url, "LKN_LEDGER_PATH": f"{folder}/ledger.jsonl"}
        return programs.enter_context(program(gateway(), variables)).url

    def save_plot(self, path: Path) -> None:
        """Load, time to first token and threshold over time, as a PNG. Raises MissingCapability without matplotlib."""
        try:
            import matplotlib
        except ImportError as error:
            raise MissingCapability("a plot needs matplotlib: pip install matplotlib") from error
        matplotlib.use("Agg")
        from matplotlib import pyplot

        times = [point.at_s for point in self.points]
        figure, (above, below) = pyplot.subplots(2, 1, figsize=(7, 4.5), sharex=True, layout="constrained")
        above.plot(times, [point.ttft_p95_ms for point in self.points], label="time to first token, p95, ms")
        above.axhline(TARGET_TTFT_MS, linestyle=":", label="set point")
        above.plot(times, [point.rate * 20 for point in self.points], alpha=0.4, label="load, requests/s x 20")
        below.plot(times, [point.threshold_offset for point in self.points], label="threshold offset")
        below.plot(times, [1 - point.budget_factor for point in self.points], label="1 - budget factor")
        below.set_xlabel("seconds")
        for axes in (above, below):
            axes.legend(fontsize=8)
            axes.spines[["top", "right"]].set_visible(False)
        with atomic_write(path) as file:
            figure.savefig(file, format="png", dpi=140)
        pyplot.close(figure)


async def _drive(url: str) -> list[Point]:
    """Send requests on a clock through the three phases, looking at the controller twice a second."""
    loop = asyncio.get_running_loop()
    probes = [HttpProbe(url + PATH, _body(prompt)) for prompt in PROMPTS]
    seen: list[tuple[float, float]] = []
    running: list[asyncio.Task[None]] = []

    async def one(number: int, started: float) -> None:
        try:
            timing = await probes[number % len(probes)].post()
        except BackendError:
            return  # shed: the loop is meant to make that rare
        seen.append((loop.time() - started, timing.first_ms))

    points: list[Point] = []
    start = loop.time()
    due, look, number = 0.0, 0.0, 0
    while (now := loop.time() - start) < sum(PHASES_S):
        rate = HIGH_RATE if PHASES_S[0] <= now < sum(PHASES_S[:2]) else LOW_RATE
        if now >= due:
            running.append(asyncio.create_task(one(number, start)))
            due, number = now + 1 / rate, number + 1
        if now >= look:
            state = (await asyncio.to_thread(request_json, f"{url}/lkn/state"))["controller"]
            recent = [ttft for at, ttft in seen if at > now - 3]
            points.append(Point(now, rate, _p95(recent), state["threshold_offset"], state["budget_factor"]))
            look = now + 0.5
        await asyncio.sleep(max(0.0, min(due, look) - (loop.time() - start)))
    await asyncio.gather(*running)
    for probe in probes:
        await probe.close()
    return points


def _body(prompt: str) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": prompt}], "stream": True}).encode()


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)] if values else 0.0


def _report(points: Sequence[Point]) -> Report:
    end_high = sum(PHASES_S[:2])
    settled = [p for p in points if end_high - 10 <= p.at_s < end_high]
    figures = {
        "peak_ttft_p95_ms": round(max(p.ttft_p95_ms for p in points), 1),
        "settled_ttft_p95_ms": round(statistics.median(p.ttft_p95_ms for p in settled), 1),
        "settled_spread_offset": round(statistics.pstdev(p.threshold_offset for p in settled), 4),
        "settled_offset": round(statistics.median(p.threshold_offset for p in settled), 4),
        "final_offset": points[-1].threshold_offset,
        "target_ttft_ms": TARGET_TTFT_MS,
    }
    rows = [
        [f"{p.at_s:.0f}", f"{p.rate:g}", f"{p.ttft_p95_ms:.0f}", f"{p.threshold_offset:.3f}", f"{p.budget_factor:.2f}"]
        for p in points[::4]
    ]
    columns = ("second", "load, 1/s", "ttft p95, ms", "threshold offset", "budget factor")
    return Report("gateway_step", f"step response, set point {TARGET_TTFT_MS:g} ms", columns, rows, figures)
