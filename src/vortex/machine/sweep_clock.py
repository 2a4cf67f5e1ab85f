"""What a sweep of so many rows takes, learned from the sweeps that were made.

A shape (how many times a sweep of one row) over the number of rows, and a level (seconds of one row) that follows the
machine's mood. A wide sweep also slows the ones behind it: most likely a processor that worked hard clocks lower for
some milliseconds. What the next `AFTERMATH` sweeps of one row take too long belongs to the price of the wide one, and
only single rows beyond that move the level. Where there are none (several answers, or block upon block), all sweeps
move it, and the shape is that of a machine which is warm anyway.

Starts from a straight line; never falls with more rows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

KNOTS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 48, 64)
AFTERMATH = 4  # sweeps
WARM_AFTER = 24  # sweeps without a calm one
LEVEL_STEP = 0.1
SHAPE_STEP = 0.15
OUTLIER = 1.6  # an observation this far from what was expected says that something else was going on


class SweepClock:
    """row_share: what a further row takes of a sweep of one, until that is learned."""

    def __init__(self, row_share: float) -> None:
        self._shape = [1.0 + row_share * (rows - 1) for rows in KNOTS]
        self._level_s = 0.0
        self._wide_rows = 0  # of the last wide sweep, while its aftermath is watched
        self._wide_total = 0.0  # its time and what came behind it, in sweeps of one row
        self._since_wide = AFTERMATH
        self._since_calm = 0

    def seconds(self, num_rows: int) -> float | None:
        """Its aftermath included. None before the first sweep."""
        return self._level_s * self.shape(num_rows) if self._level_s else None

    def shape(self, num_rows: int) -> float:
        """Times a sweep of one row; beyond the last knot along the last line."""
        upper = min(max(bisect_left(KNOTS, num_rows), 1), len(KNOTS) - 1)
        left, right = KNOTS[upper - 1], KNOTS[upper]
        share = (num_rows - left) / (right - left)
        return self._shape[upper - 1] + share * (self._shape[upper] - self._shape[upper - 1])

    def observe(self, num_rows: int, seconds: float) -> None:
        """A sweep was made. Longer ones than the last knot (prompts) teach nothing: they go by other code."""
        if num_rows > KNOTS[-1]:
            return
        if not self._level_s:
            self._level_s = seconds / self.shape(num_rows)
            return
        times = seconds / self._level_s
        self._since_calm += 1
        if num_rows > 1:
            self._settle()
            self._wide_rows, self._wide_total, self._since_wide = num_rows, times, 0
            if self._since_calm > WARM_AFTER:
                self._move_level(times / self.shape(num_rows))
        elif self._since_wide < AFTERMATH:
            self._since_wide += 1
            self._wide_total += min(times, OUTLIER) - 1
            if self._since_calm > WARM_AFTER:
                self._move_level(times)
            if self._since_wide == AFTERMATH:
                self._settle()
        else:
            self._since_calm = 0
            self._move_level(times)

    def _settle(self) -> None:
        """What the last wide sweep took in all is known."""
        if self._wide_rows:
            self._bend(self._wide_rows, _within(self._wide_total / self.shape(self._wide_rows)))
        self._wide_rows = 0

    def _move_level(self, error: float) -> None:
        self._level_s *= 1 + LEVEL_STEP * (_within(error) - 1)

    def _bend(self, num_rows: int, error: float) -> None:
        """Move the shape around `num_rows` towards what was seen; the first knot is 1 for good."""
        upper = bisect_left(KNOTS, num_rows)
        for index in {upper, upper if KNOTS[upper] == num_rows else max(upper - 1, 1)}:
            self._shape[index] *= 1 + SHAPE_STEP * (error - 1)
        self._shape[1:] = _rising(self._shape, upper)

    def __repr__(self) -> str:
        return f"SweepClock({1e3 * self._level_s:.2f} ms, {dict(zip(KNOTS, self._shape, strict=True))})"


def _within(error: float) -> float:
    return min(max(error, 1 / OUTLIER), OUTLIER)


def _rising(shape: Sequence[float], trusted: int) -> list[float]:
    """The shape without its first knot, made to rise: lower knots give way downwards, higher ones upwards."""
    shape = list(shape)
    for index in range(trusted - 1, 0, -1):
        shape[index] = min(shape[index], shape[index + 1])
    for index in range(1, len(shape)):
        shape[index] = max(shape[index], shape[index - 1])
    return shape[1:]
