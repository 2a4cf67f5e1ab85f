"""The server's measurement counts what came over the wire, and refuses a server that says something else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.server.conftest import running
from vortex.backends.fake import FakeBackend, Pace
from vortex.bench.measurement import CheckFailed, run_measurement
from vortex.bench.wire.serve import Round, ServeMeasurement, Turns
from vortex.bench.wire.serve_side import Heard, bare_router


@contextmanager
def engine_side(served: FakeBackend, bare: FakeBackend) -> Iterator[str]:
    with running(served, routers=[bare_router(bare)]) as address:
        yield address


def test_tokens_and_times_come_over_the_wire() -> None:
    bare, served = FakeBackend(), FakeBackend(pace=Pace(first_ms=40))
    with engine_side(served, bare) as address, asyncio.Runner() as runner:
        measurement = ServeMeasurement(address, runner, 8, runs=8, short_runs=3, streams=(1, 3))
        figures = run_measurement(measurement).figures
    assert figures["streams_1_added_first_ms"] > 30
    assert 0 < figures["streams_3_tokens_per_s"] < figures["streams_3_bare_tokens_per_s"]
    assert figures["streams_1_work_token_us"] > 0
    assert len(served.requests) == 1 + (1 + 8) + (1 + 3) + 3 * (1 + 2)  # the check, and warm-ups beside the runs
    assert len(bare.requests) == 1 + (1 + 9) + (1 + 4) + 3 * (1 + 3)


def test_a_drift_is_not_overhead_and_scatter_is_told() -> None:
    def rounds(*firsts_ms: float) -> list[Round]:
        return [Round([Heard("", ms / 1e3, 1, 2)], 1, 0) for ms in firsts_ms]

    drifting = Turns(rounds(10, 20, 30, 40, 50, 60), rounds(16, 26, 36, 46, 56))
    assert drifting.added(lambda one: one.first_ms) == pytest.approx(1)
    assert drifting.scatter(lambda one: one.first_ms) == pytest.approx(0, abs=1e-9)
    jumping = Turns(rounds(10, 20, 12, 25, 9, 31), rounds(16, 26, 36, 46, 56))
    assert jumping.scatter(lambda one: one.first_ms) > 1


def test_another_answer_is_not_timed() -> None:
    mute, other = FakeBackend(lambda *_: ""), FakeBackend(name="other")
    with engine_side(other, mute) as address, asyncio.Runner() as runner, pytest.raises(CheckFailed):
        ServeMeasurement(address, runner).check()
