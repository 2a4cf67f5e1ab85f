"""The circuit breaker of one engine: closed, open after consecutive failures, half open with one probe.

Pure state over a clock that is handed in. The caller says what counts: an answered 4xx, a client that left and a model
that is still loading are no failures.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    def __init__(self, *, failures: int, reset_s: float, clock: Callable[[], float]) -> None:
        self._limit = failures
        self._reset_s = reset_s
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None
        self._probing = False

    @property
    def state(self) -> BreakerState:
        if self._opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if self.retry_after_s <= 0 else BreakerState.OPEN

    @property
    def retry_after_s(self) -> float:
        """Until the next probe may pass; 0 when requests pass."""
        if self._opened_at is None:
            return 0.0
        return max(0.0, self._opened_at + self._reset_s - self._clock())

    @property
    def available(self) -> bool:
        return self._opened_at is None or (self.retry_after_s <= 0 and not self._probing)

    def enter(self) -> None:
        """A request goes to the engine; exactly one of succeed, fail, leave follows."""
        if self._opened_at is not None:
            self._probing = True

    def succeed(self) -> None:
        self._failures = 0
        self._opened_at = None
        self._probing = False

    def fail(self) -> None:
        self._failures += 1
        if self._opened_at is not None or self._failures >= self._limit:
            self._opened_at = self._clock()
        self._probing = False

    def leave(self) -> None:
        """Neither good nor bad: the client left, or the engine is loading. A half-open breaker may probe again."""
        self._probing = False
