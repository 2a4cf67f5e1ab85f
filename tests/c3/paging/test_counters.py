"""Paging counters over a stretch of time."""

from __future__ import annotations

from vortex.c3.paging.counters import SweepCounters, counted_since


def test_a_stretch_counts_what_came_in_it_and_tells_states_as_they_are() -> None:
    counters = SweepCounters(resident_bytes=48)
    counters.arrived(100, True, 0.0)
    before = counters.as_dict(0.0)
    counters.arrived(30, False, 2.5)
    counters.end_sweep()
    found = counted_since(before, counters.as_dict(0.0))
    assert found["bytes_compressed_read"] == 30
    assert (found["page_faults"], found["prefetch_hits"], found["sweep_count"]) == (1, 0, 1)
    assert found["resident_bytes"] == 48
