"""What a sweep of so many rows takes, learned from the sweeps that were made.

A shape (how many times a sweep of one row) over the number of rows, and a level (seconds of one row) that follows the
machine's mood. Blocks and single rows alternate within milliseconds, so a busy machine moves the level and not the
shape. Starts from a straight line; never falls with more rows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

KNOTS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 48, 64)
LEVEL_STEP = 0.1
SHAPE_STEP = 0.1
OUTLIER = 1.6  # an observation this far from what was expected says that something else was going on


class SweepClock:
    """row_share: what a further row takes of a sweep of one, until that is learned."""

    def __init__(self, row_share: float) -> None:
        self._shape = [1.0 + row_share * (rows - 1) for rows in KNOTS]
        self._level_s = 0.0

    def seconds(self, num_rows: int) -> float | None:
        """None before the first sweep."""
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
        level_s = seconds / self.shape(num_rows)
        if not self._level_s:
            self._level_s = level_s
            return
        error = min(max(level_s / self._level_s, 1 / OUTLIER), OUTLIER)
        if num_rows > 1:
            self._bend(num_rows, error)
        self._level_s *= 1 + LEVEL_STEP * (error - 1)

    def _bend(self, num_rows: int, error: float) -> None:
        """Move the shape around `num_rows` towards what was seen; the first knot is 1 for good."""
        upper = bisect_left(KNOTS, num_rows)
        for index in {upper, upper if KNOTS[upper] == num_rows else max(upper - 1, 1)}:
            self._shape[index] *= 1 + SHAPE_STEP * (error - 1)
        self._shape[1:] = _rising(self._shape, upper)

    def __repr__(self) -> str:
        return f"SweepClock({1e3 * self._level_s:.2f} ms, {dict(zip(KNOTS, self._shape, strict=True))})"


def _rising(shape: Sequence[float], trusted: int) -> list[float]:
    """The shape without its first knot, made to rise: lower knots give way downwards, higher ones upwards."""
    shape = list(shape)
    for index in range(trusted - 1, 0, -1):
        shape[index] = min(shape[index], shape[index + 1])
    for index in range(1, len(shape)):
        shape[index] = max(shape[index], shape[index - 1])
    return shape[1:]
