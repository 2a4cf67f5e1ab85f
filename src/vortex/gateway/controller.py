"""The homeostat: keeps time to first token, queue, share of ANALITICO and errors near their set points.

Three bounded PI loops with a dead band (hysteresis) and anti-windup by clamping:

    excess of share, ttft, queue  → threshold offset   0 … +0.35   fewer requests are ANALITICO
    excess of ttft, queue         → budget factor      1 … 0.25    care may cost less
    excess of ttft, errors        → concurrency        max … 5 %   fewer requests at the engines at once

At rest every output is at its seed value, so the gateway decides as the seed does until load says otherwise. `step` is
a pure function of state and measurement; the ledger keeps both, and replay checks it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from vortex.gateway.settings import ControllerSettings

DIGITS = 6
WINDOW_TICKS = 5.0
MAX_SAMPLES = 2048
LEAST_SAMPLES = 20


@dataclass(frozen=True, slots=True)
class Loop:
    """A PI loop from a relative excess (0.5: half above the set point) to an actuation in 0..1."""

    gain: float
    integral_gain: float  # per tick
    dead_band: float

    def step(self, integral: float, before: float, excess: float) -> tuple[float, float]:
        """(new integral, new actuation). The integral never grows beyond what drives the output to its bound, and the
        output relaxes slower than it braces."""
        error = math.copysign(max(abs(excess) - self.dead_band, 0.0), excess)
        error = min(max(error, -1.0), 1.0)
        room = 1.0 - self.gain * max(error, 0.0)
        integral = min(max(integral + self.integral_gain * error, 0.0), room)
        wanted = min(max(self.gain * error + integral, 0.0), 1.0)
        return round(integral, DIGITS), round(min(max(wanted, before - SLEW_DOWN), before + SLEW_UP), DIGITS)


THRESHOLD = Loop(gain=0.5, integral_gain=0.02, dead_band=0.1)
BUDGET = Loop(gain=0.4, integral_gain=0.01, dead_band=0.2)
CONCURRENCY = Loop(gain=0.2, integral_gain=0.01, dead_band=0.2)
SLEW_UP = 0.2
SLEW_DOWN = 0.05
QUEUE_OCTAVES = 4.0
MAX_OFFSET = 0.35
MIN_BUDGET = 0.25
MIN_CONCURRENCY = 0.05
LOOPS = (THRESHOLD, BUDGET, CONCURRENCY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What the last seconds looked like. None: no request to tell from."""

    ttft_p95_ms: float | None
    queue: float
    share: float | None
    error_rate: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerState:
    """`integrals` and `actuations` (0..1) of threshold, budget and concurrency; then what follows for requests."""

    integrals: tuple[float, float, float] = (0.0, 0.0, 0.0)
    actuations: tuple[float, float, float] = (0.0, 0.0, 0.0)
    threshold_offset: float = 0.0
    budget_factor: float = 1.0
    concurrency_factor: float = 1.0


def excess(value: float | None, target: float) -> float:
    """How far above its set point a value is, relative to it; nothing measured counts as being well below."""
    return -1.0 if value is None else (value - target) / target


def step(state: ControllerState, seen: Measurement, settings: ControllerSettings) -> ControllerState:
    ttft = excess(seen.ttft_p95_ms, settings.target_ttft_ms)
    queue = math.log2((1.0 + seen.queue) / (1.0 + settings.target_queue)) / QUEUE_OCTAVES  # it jumps, so compressed
    share = excess(seen.share, settings.target_share)
    share = share if share > 0 else -1.0  # a ceiling: too little ANALITICO is no reason to seek more
    errors = excess(seen.error_rate, settings.target_error_rate)
    excesses = (max(ttft, queue, share), max(ttft, queue), max(ttft, errors))
    moved = [
        loop.step(integral, before, above)
        for loop, integral, before, above in zip(LOOPS, state.integrals, state.actuations, excesses, strict=True)
    ]
    threshold, budget, concurrency = (actuation for _, actuation in moved)
    return ControllerState(
        integrals=(moved[0][0], moved[1][0], moved[2][0]),
        actuations=(threshold, budget, concurrency),
        threshold_offset=round(MAX_OFFSET * threshold, DIGITS),
        budget_factor=round(1.0 - (1.0 - MIN_BUDGET) * budget, DIGITS),
        concurrency_factor=round(1.0 - (1.0 - MIN_CONCURRENCY) * concurrency, DIGITS),
    )


@dataclass(slots=True)
class Window:
    """Samples of the last seconds: (time, value)."""

    samples: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=MAX_SAMPLES))

    def add(self, now: float, value: float) -> None:
        self.samples.append((now, value))

    def since(self, start: float) -> list[float]:
        while self.samples and self.samples[0][0] < start:
            self.samples.popleft()
        return [value for _, value in self.samples]


class Homeostat:
    """Collects what requests tell, steps the loops, holds their outputs. `frozen` keeps them where they are."""

    def __init__(self, settings: ControllerSettings) -> None:
        self._settings = settings
        self.frozen = settings.controller == "freeze"
        self.state = ControllerState()
        self._ttft = Window()
        self._share = Window()
        self._errors = Window()

    def saw_first_token(self, now: float, ttft_ms: float) -> None:
        self._ttft.add(now, ttft_ms)

    def saw_decision(self, now: float, *, analytic: bool) -> None:
        self._share.add(now, float(analytic))

    def saw_end(self, now: float, *, failed: bool) -> None:
        self._errors.add(now, float(failed))

    def measure(self, now: float, queued: int) -> Measurement:
        start = now - WINDOW_TICKS * self._settings.tick_s
        return Measurement(
            ttft_p95_ms=_p95(self._ttft.since(start)),
            queue=float(queued),
            share=_mean(self._share.since(start)),
            error_rate=_mean(self._errors.since(start)),
        )

    def tick(self, seen: Measurement) -> ControllerState:
        if not self.frozen and self._settings.controller != "off":
            self.state = step(self.state, seen, self._settings)
        return self.state

    def freeze(self, frozen: bool) -> None:
        self.frozen = frozen


def _p95(values: Sequence[float]) -> float | None:
    return round(sorted(values)[min(int(len(values) * 0.95), len(values) - 1)], 3) if values else None


def _mean(values: Sequence[float]) -> float | None:
    """A share of fewer than LEAST_SAMPLES requests says nothing: one person's homework is no load."""
    return round(sum(values) / len(values), DIGITS) if len(values) >= LEAST_SAMPLES else None
