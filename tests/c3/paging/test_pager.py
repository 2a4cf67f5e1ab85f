"""The dense pager over a small folder: any order of units, skipped ones, sweeps that start anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vortex.c3.format.folder import C3Folder, C3Writer
from vortex.c3.paging.options import PagerOptions
from vortex.c3.paging.pager import Pager

UNITS = [f"layers.{number}.up" for number in range(6)]
SIZE_BYTES = 8192


@pytest.fixture
def folder(tmp_path: Path) -> C3Folder:
    with C3Writer(tmp_path / "m.c3", {}) as writer:
        for number, unit in enumerate(UNITS):
            writer.add(f"{unit}.0", "raw", (SIZE_BYTES,), np.full(SIZE_BYTES, number, np.uint8))
    return C3Folder(tmp_path / "m.c3")


@pytest.mark.parametrize("order", [None, UNITS[::-1], [*UNITS[1:], UNITS[0]]])
def test_reads_run_ahead_in_the_order_of_a_sweep(folder: C3Folder, order: list[str] | None) -> None:
    pager = Pager(folder, PagerOptions(budget_bytes=4 * SIZE_BYTES), order=order)
    assert list(pager.units) == (order or UNITS)
    assert list(folder.entries) == [f"{unit}.0" for unit in UNITS]  # the folder itself is as it was
    swept = order or UNITS
    for sweep in (swept, swept, swept[:3], swept, swept[2:]):
        for unit in sweep:
            with pager.lease(unit) as lease:
                assert (lease.views[f"{unit}.0"] == UNITS.index(unit)).all()
    counters = pager.counters()
    assert counters["page_faults"] + counters["prefetch_hits"] == counters["bytes_compressed_read"] / SIZE_BYTES
    assert counters["resident_bytes"] <= 4 * SIZE_BYTES
    pager.close()
