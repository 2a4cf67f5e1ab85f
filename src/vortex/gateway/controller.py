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
WINDOW_S = 5.0
MAX_SAMPLES = 2048
LEAST_SAMPLES = 20


@dataclass(frozen=True, slots=True)
class Loop:
    """A PI loop from a relative excess (0.5: half above the set point) to an actuation in 0..1."""

    gain: float
    integral_gain: float  # per tick
    dead_band: float

    def step(self, integral: float, excess: float) -> tuple[float, float]:
        """(new integral, actuation). The integral stays where it could at most drive the output to its bounds."""
        error = math.copysign(max(abs(excess) - self.dead_band, 0.0), excess)
        error = min(max(error, -1.0), 1.0)
        integral = min(max(integral + self.integral_gain * error, 0.0), 1.0)
        return round(integral, DIGITS), round(min(max(self.gain * error + integral, 0.0), 1.0), DIGITS)


THRESHOLD = Loop(gain=0.10, integral_gain=0.06, dead_band=0.1)
BUDGET = Loop(gain=0.10, integral_gain=0.04, dead_band=0.2)
CONCURRENCY = Loop(gain=0.05, integral_gain=0.03, dead_band=0.2)
MAX_OFFSET = 0.35
MIN_BUDGET = 0.25
MIN_CONCURRENCY = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What the last seconds looked like. None: no request to tell from."""

    ttft_p95_ms: float | None
    queue: float
    share: float | None
    error_rate: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerState:
    threshold_integral: float = 0.0
    budget_integral: float = 0.0
    concurrency_integral: float = 0.0
    threshold_offset: float = 0.0
    budget_factor: float = 1.0
    concurrency_factor: float = 1.0


def excess(value: float | None, target: float) -> float:
    """How far above its set point a value is, relative to it; nothing measured counts as being well below."""
    return -1.0 if value is None else (value - target) / target


def step(state: ControllerState, seen: Measurement, settings: ControllerSettings) -> ControllerState:
    ttft = excess(seen.ttft_p95_ms, settings.target_ttft_ms)
    queue = excess(seen.queue, settings.target_queue)
    share = excess(seen.share, settings.target_share)
    errors = excess(seen.error_rate, settings.target_error_rate)
    threshold_integral, threshold = THRESHOLD.step(state.threshold_integral, max(ttft, queue, share))
    budget_integral, budget = BUDGET.step(state.budget_integral, max(ttft, queue))
    concurrency_integral, concurrency = CONCURRENCY.step(state.concurrency_integral, max(ttft, errors))
    return ControllerState(
        threshold_integral=threshold_integral,
        budget_integral=budget_integral,
        concurrency_integral=concurrency_integral,
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

    def measure(self, now: float, queued: int, window_s: float = WINDOW_S) -> Measurement:
        start = now - window_s
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
