"""The server's measurement counts what came over the wire, and refuses a server that says something else."""

from __future__ import annotations

import asyncio

import pytest

from tests.server.conftest import running
from vortex.backends.fake import FakeBackend, Pace
from vortex.backends.http import HttpBackend
from vortex.bench.measurement import CheckFailed, run_measurement
from vortex.bench.serve import ServeMeasurement


def test_tokens_and_times_come_over_the_wire() -> None:
    bare, served = FakeBackend(), FakeBackend(pace=Pace(first_ms=40))
    with running(served) as address, asyncio.Runner() as runner:
        client = HttpBackend(f"{address}/v1")
        measurement = ServeMeasurement(bare, client, f"{address}/v1", runner, 8, runs=2, streams=(1, 3))
        figures = run_measurement(measurement).figures
        runner.run(client.close())
    assert figures["streams_1_added_first_ms"] > 10
    assert 0 < figures["streams_3_tokens_per_s"] < figures["streams_3_bare_tokens_per_s"]
    assert len(served.requests) == 1 + (1 + 3) * 3  # the check, then warm-up and two runs of each


def test_another_answer_is_not_timed() -> None:
    with running(FakeBackend(name="other")) as address, asyncio.Runner() as runner:
        client = HttpBackend(f"{address}/v1")
        measurement = ServeMeasurement(_Mute(), client, f"{address}/v1", runner)
        with pytest.raises(CheckFailed):
            measurement.check()
        runner.run(client.close())


class _Mute(FakeBackend):
    def __init__(self) -> None:
        super().__init__(lambda *_: "")
