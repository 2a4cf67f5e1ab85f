"""`vortex bench gateway`: the check is real, the figures have their names."""

from __future__ import annotations

import pytest

from vortex.bench.programs import fake_engine, program
from vortex.bench.wire.gateway import GatewayMeasurement
from vortex.bench.wire.homeostat import Point, _report


@pytest.mark.long
def test_paired_figures() -> None:
    measurement = GatewayMeasurement(seconds=2, rate=5)
    measurement.check()
    report = measurement.measure()
    assert {"l_kn_whole_p50_ms", "l_kn_first_p99_ms", "l_kn_cpu_us", "l_kn_memory_mb"} <= report.figures.keys()
    assert "l_kn_a_streamed_chunk_cpu_us" in report.figures
    assert report.figures["decisions_replayed"] > 300


def test_a_program_is_ended_with_its_block() -> None:
    with program(fake_engine()) as engine:
        assert engine.url.startswith("http://127.0.0.1:")
        process = engine._process
        assert process.poll() is None
    assert process.poll() is not None


def test_a_step_response_is_summed_up() -> None:
    points = [Point(float(second), 4.0, 100.0 + second, 0.1 if 5 < second < 40 else 0.0, 1.0) for second in range(50)]
    figures = _report(points).figures
    assert (figures["settled_offset"], figures["final_offset"], figures["settled_spread_offset"]) == (0.1, 0.0, 0.0)
