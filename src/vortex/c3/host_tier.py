"""Weights kept in ordinary memory between the disk and a device: what was read once need not be read again.

A layer under the reader: it answers reads of the ranges that it keeps, the disk answers the rest. Ranges are filled as
they are first read; every tile is checked again each time it passes, so a copy gone bad is found like a bad disk.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vortex.c3.dense_share import spread_pinned
from vortex.c3.folder import TensorEntry, aligned
from vortex.c3.ring import anonymous_bytes
from vortex.c3.tile_reader import ReadInto


def host_tier(disk: ReadInto, units: Sequence[Sequence[TensorEntry]], budget_bytes: int) -> HostTier:
    """A tier that keeps the units that fit the budget, spread evenly along the sweep; none for a budget of 0."""
    ranges = [[_range(entry) for entry in entries] for entries in units] if budget_bytes else []
    chosen = spread_pinned([sum(length for _, length in each) for each in ranges], budget_bytes)
    return HostTier(disk, [each for index in sorted(chosen) for each in ranges[index]])


def _range(entry: TensorEntry) -> tuple[int, int]:
    last = entry.tiles[-1]
    return entry.offset, last.offset + aligned(last.stored_bytes) - entry.offset


class HostTier:
    """`read_into` reads like the disk's. Safe to use from many threads that read different places."""

    def __init__(self, disk: ReadInto, ranges: Sequence[tuple[int, int]]) -> None:
        self._disk = disk
        self._starts = np.asarray(sorted(start for start, _ in ranges), np.int64)
        lengths = dict(ranges)
        self._kept = [anonymous_bytes(lengths[int(start)]) for start in self._starts]
        self._filled: set[tuple[int, int]] = set()
        self.resident_bytes = sum(memory.nbytes for memory in self._kept)
        self.bytes_from_disk = 0

    def read_into(self, target: memoryview, offset: int) -> None:
        index = int(np.searchsorted(self._starts, offset, side="right")) - 1
        place = offset - int(self._starts[index]) if index >= 0 else 0
        if index < 0 or place + len(target) > len(self._kept[index]):
            self._from_disk(target, offset)
            return
        kept = self._kept[index][place : place + len(target)]
        if (offset, len(target)) not in self._filled:
            self._from_disk(target, offset)
            kept[:] = np.frombuffer(target, np.uint8)
            self._filled.add((offset, len(target)))
            return
        np.frombuffer(target, np.uint8)[:] = kept

    def forget(self) -> None:
        """What was read may be what failed its check: read it again."""
        self._filled.clear()

    def _from_disk(self, target: memoryview, offset: int) -> None:
        self._disk(target, offset)
        self.bytes_from_disk += len(target)
