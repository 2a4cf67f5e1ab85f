"""Replays of the shipped routing traces: LRU as recorded, our policy over its bars, no cliff below one token cycle."""

from __future__ import annotations

import pytest

from vortex.bench.memory.routes import MIB, RoutesMeasurement, hit_rate, read_trace

LONG = pytest.mark.long
BARS = {"gptoss": 0.47, "qwen": 0.75, "gemma": 0.785}


@pytest.mark.long
def test_lru_reproduces_the_recorded_rates() -> None:
    RoutesMeasurement().check()


@pytest.mark.parametrize(
    "name", ["gptoss", *(pytest.param(name, marks=pytest.mark.long) for name in ("qwen", "gemma"))]
)
def test_the_bar_at_3000_mib(name: str) -> None:
    assert hit_rate(read_trace(name), "similar-token", 3000 * MIB) >= BARS[name]


@pytest.mark.parametrize("name", ["gptoss", pytest.param("gemma", marks=pytest.mark.long)])
def test_no_cliff_below_one_token_cycle(name: str) -> None:
    trace = read_trace(name)
    budget = int(0.95 * trace.cycle_bytes)
    assert hit_rate(trace, "lru", budget) == 0
    assert hit_rate(trace, "next-use", budget) > 0.05
