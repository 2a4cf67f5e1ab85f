"""A curve as the path of an SVG picture that needs no script and no style of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 320.0, 72.0
MAX_POINTS = 240


@dataclass(frozen=True, slots=True)
class Curve:
    """line, area: SVG paths in a box of WIDTH by HEIGHT. Figures as text: of the last point, the least, the most."""

    line: str
    area: str
    last: str
    least: str
    most: str
    end_x: float
    end_y: float


def curve(points: Sequence[tuple[float, float]], *, from_zero: bool = True, digits: int = 3) -> Curve | None:
    """Of (x, y), x growing. None where there are not two points to join."""
    points = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if len(points) < 2:
        return None
    points = _thinned(points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    floor = min(0.0, low) if from_zero else low
    height = (high - floor) or 1.0
    begin, length = points[0][0], (points[-1][0] - points[0][0]) or 1.0
    placed = [
        (round((x - begin) / length * WIDTH, 1), round(HEIGHT - 2 - (y - floor) / height * (HEIGHT - 6), 1))
        for x, y in points
    ]
    line = "M" + "L".join(f"{x} {y}" for x, y in placed)
    area = f"{line}L{placed[-1][0]} {HEIGHT}L{placed[0][0]} {HEIGHT}Z"
    return Curve(line, area, _figure(points[-1][1], digits), _figure(low, digits), _figure(high, digits), *placed[-1])


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MAX_POINTS, the last one among them."""
    step = math.ceil(len(points) / MAX_POINTS)
    kept = points[::step]
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def _figure(value: float, digits: int) -> str:
    return f"{value:.{digits}g}" if abs(value) < 1000 else f"{value:,.0f}"
