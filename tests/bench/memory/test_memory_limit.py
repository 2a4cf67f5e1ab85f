"""`vortex bench c3` under a real memory limit: the process stays inside, every budget gives the same bits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vortex.bench.memory.limit import memory_limit
from vortex.bench.memory.paging import PROCESS_BYTES, PagingMeasurement
from vortex.errors import MissingCapability
from vortex.hub.names import resolve


@pytest.mark.root
@pytest.mark.long
def test_a_paged_process_stays_inside_its_limit(tmp_path: Path) -> None:
    model = resolve(os.environ.get("VORTEX_TEST_MODEL", "smollm2-135m")).path
    limits = [PROCESS_BYTES + 40_000_000, PROCESS_BYTES + 90_000_000]
    measurement = PagingMeasurement(model, tmp_path / "packed", limits, runs=1)
    measurement.check()
    report = measurement.measure()
    assert len(report.rows) == 2
    for figures in report.figures["limits"].values():
        assert 0 < figures["limit_peak_bytes"] <= max(limits)


def test_a_memory_limit_without_root_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("vortex.bench.memory.limit.ROOT", tmp_path / "nothing here")
    with pytest.raises(MissingCapability, match="run as root"), memory_limit(1 << 20):
        pass
