"""A gate as a picture: where the figure lies, where the limit is, which side is good."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SHARES = frozenset({"taught", "paraphrases", "earlier", "near", "collapse", "refusals"})
PERCENT = frozenset({"perplexity"})


@dataclass(frozen=True, slots=True)
class GateView:
    """Positions: 0 to 100 on the gate's own scale. value_at None: not measured. note: on how much, and the noise."""

    name: str
    value: str
    limit: str
    passed: bool
    at_least: bool
    value_at: float | None
    limit_at: float
    note: str


def gate_view(gate: Mapping[str, Any]) -> GateView:
    name, limit, at_least = str(gate["name"]), float(gate["limit"]), bool(gate["at_least"])
    found = gate["value"]
    value = None if found is None or not math.isfinite(float(found)) else float(found)
    end = 1.0 if name in SHARES and at_least else _end(value, limit)
    return GateView(
        name=name,
        value="" if value is None else spelled(name, value),
        limit=spelled(name, limit),
        passed=bool(gate["passed"]),
        at_least=at_least,
        value_at=None if value is None else _place(value, end),
        limit_at=_place(limit, end),
        note=str(gate.get("note", "")),
    )


def spelled(name: str, value: float) -> str:
    if name in SHARES:
        return f"{value:.0%}" if value in {0.0, 1.0} else f"{value:.1%}"
    if name in PERCENT:
        return f"{value:+.1%}" if value else "0%"
    return f"{value:.3g}"


def _end(value: float | None, limit: float) -> float:
    """The scale's end: the limit well inside it, the value on it."""
    return max(limit * 2, (value or 0.0) * 1.1) or 1.0


def _place(value: float, end: float) -> float:
    return round(min(max(value / end, 0.0), 1.0) * 100, 1)
