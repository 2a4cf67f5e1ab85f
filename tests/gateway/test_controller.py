"""The homeostat settles after a step of load, does not oscillate, does not wind up, and rests at the seed's values."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vortex.gateway.controller import ControllerState, Homeostat, Measurement, step
from vortex.gateway.settings import ControllerSettings

SETTINGS = ControllerSettings()
CAPACITY = 100.0  # units of work the engine does per tick
ANALYTIC_WORK = 4.0


def engine_under(load: Callable[[int], float], ticks: int) -> list[tuple[float, ControllerState]]:
    """(ttft p95 in ms, state) per tick: an engine with a backlog, whose work the controller shapes. Scores of requests
    are uniform, so a higher threshold means fewer ANALITICO."""
    state, backlog, recent = ControllerState(), 0.0, deque[float](maxlen=5)
    seen = []
    for tick in range(ticks):
        share = min(max(0.5 - state.threshold_offset, 0.0), 1.0)
        work = load(tick) * (share * max(ANALYTIC_WORK * state.budget_factor, 1.0) + 1.0 - share)
        backlog = max(0.0, backlog + work - CAPACITY)
        recent.append(200.0 + 1000.0 * backlog / CAPACITY)
        queue = max(0.0, backlog / 2 - 128 * state.concurrency_factor)
        measured = Measurement(ttft_p95_ms=max(recent), queue=queue, share=share, error_rate=0.0)
        state = step(state, measured, SETTINGS)
        seen.append((max(recent), state))
    return seen


@pytest.mark.parametrize("high", [45, 55, 70])
def test_a_step_of_load_settles_without_oscillation(high: float) -> None:
    run = engine_under(lambda tick: high if 50 <= tick < 300 else 20, 400)
    settled = [ttft for ttft, _ in run[200:300]]
    assert all(abs(ttft - SETTINGS.target_ttft_ms) < 0.15 * SETTINGS.target_ttft_ms for ttft in settled)
    offsets = [state.threshold_offset for _, state in run[50:300]]
    turns = sum(
        (b - a) * (c - b) < -1e-4 for (a, b), (_, c) in zip(pairwise(offsets), pairwise(offsets[1:]), strict=False)
    )
    assert turns <= 4, f"the threshold turned {turns} times"
    assert max(ttft for ttft, _ in run) < 2.5 * SETTINGS.target_ttft_ms, "overshoot"


def test_it_rests_at_the_seeds_values_and_comes_back_to_them() -> None:
    run = engine_under(lambda tick: 70 if 50 <= tick < 300 else 20, 400)
    rest = ControllerState()
    assert run[49][1] == rest
    assert run[-1][1] == rest


def test_an_hour_of_overload_does_not_wind_it_up() -> None:
    short = engine_under(lambda tick: 500 if 10 <= tick < 60 else 1, 200)
    state = short[59][1]
    flooded = Measurement(ttft_p95_ms=60_000.0, queue=500.0, share=1.0, error_rate=1.0)
    calm = Measurement(ttft_p95_ms=100.0, queue=0.0, share=0.1, error_rate=0.0)
    for _ in range(3600):
        state = step(state, flooded, SETTINGS)
    for _ in range(120):
        state = step(state, calm, SETTINGS)
    assert state == ControllerState(), "recovers within two minutes whatever came before"


readings = st.builds(
    Measurement,
    ttft_p95_ms=st.none() | st.floats(0, 1e9),
    queue=st.floats(0, 1e6),
    share=st.none() | st.floats(0, 1),
    error_rate=st.none() | st.floats(0, 1),
)


@given(st.lists(readings, max_size=30))
def test_its_outputs_stay_inside_their_bounds(seen: list[Measurement]) -> None:
    state = ControllerState()
    for measurement in seen:
        state = step(state, measurement, SETTINGS)
        assert 0.0 <= state.threshold_offset <= 0.35
        assert 0.25 <= state.budget_factor <= 1.0
        assert 0.05 <= state.concurrency_factor <= 1.0


def test_a_few_requests_of_one_person_are_no_load() -> None:
    homeostat = Homeostat(SETTINGS)
    for number in range(10):
        homeostat.saw_decision(number / 10, analytic=True)
    assert homeostat.measure(1.0, 0).share is None
    for number in range(20):
        homeostat.saw_decision(1 + number / 100, analytic=True)
    assert homeostat.measure(1.5, 0).share == 1.0


def test_frozen_means_frozen() -> None:
    homeostat = Homeostat(SETTINGS)
    flooded = Measurement(ttft_p95_ms=9e4, queue=99.0, share=1.0, error_rate=1.0)
    homeostat.freeze(True)
    assert homeostat.tick(flooded) == ControllerState()
    homeostat.freeze(False)
    assert homeostat.tick(flooded).threshold_offset > 0
