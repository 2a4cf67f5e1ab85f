"""Weights kept in this computer's memory between the disk and a device: what was read once need not be read again.

A layer under the reader: it answers reads of the ranges that it keeps, the disk answers the rest. Ranges are filled as
they are first read. What has passed its check is handed out by `checked_bytes` as it lies, to be copied to the device
without another copy here, and is not checked again, as weights that stay in memory are not. That memory is page-locked
up to a share of the machine's, ordinary beyond it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from vortex.c3.format.folder import TensorEntry, aligned
from vortex.c3.paging.dense_share import spread_pinned
from vortex.c3.paging.ring import anonymous_bytes
from vortex.c3.paging.tile_memory import Staging, TileMemory
from vortex.c3.paging.tile_reader import ReadInto

PAGE_LOCKED_SHARE = 0.25  # of the machine's memory: locked pages are lost to every other program


def host_tier(
    disk: ReadInto,
    units: Sequence[Sequence[TensorEntry]],
    budget_bytes: int,
    memory: TileMemory,
    locked_bytes: int | None = None,
) -> HostTier:
    """A tier that keeps the units that fit the budget, spread evenly along the sweep; none for a budget of 0.

    memory: the device's. locked_bytes: of page-locked memory at most; by default a share of the machine's.
    """
    ranges = [[_range(entry) for entry in entries] for entries in units] if budget_bytes else []
    chosen = spread_pinned([sum(length for _, length in each) for each in ranges], budget_bytes)
    left = _machine_bytes() * PAGE_LOCKED_SHARE if locked_bytes is None else locked_bytes
    kept: dict[int, Staging] = {}
    for start, length in (each for index in sorted(chosen) for each in ranges[index]):
        locked = memory.page_locked(length) if length <= left else None
        left -= length if locked else 0
        kept[start] = locked or Staging(anonymous_bytes(length), None)
    return HostTier(disk, kept)


def _range(entry: TensorEntry) -> tuple[int, int]:
    last = entry.tiles[-1]
    return entry.offset, last.offset + aligned(last.stored_bytes) - entry.offset


def _machine_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0


class HostTier:
    """`read_into` reads like the disk's. Safe to use from many threads that read different places.

    kept: memory by the place in the file that it begins at; its handle is None where it is not page-locked.
    """

    def __init__(self, disk: ReadInto, kept: dict[int, Staging]) -> None:
        self._disk = disk
        self._starts = np.asarray(sorted(kept), np.int64)
        self._kept = [kept[int(start)] for start in self._starts]
        self._filled: set[tuple[int, int]] = set()
        self._checked: set[tuple[int, int]] = set()

    def read_into(self, target: memoryview, offset: int) -> None:
        found = self._find(offset, len(target))
        if found is None:
            self._disk(target, offset)
            return
        memory, place = found
        kept = memory.bytes[place : place + len(target)]
        if (offset, len(target)) not in self._filled:
            self._disk(target, offset)
            kept[:] = np.frombuffer(target, np.uint8)
            self._filled.add((offset, len(target)))
            return
        np.frombuffer(target, np.uint8)[:] = kept

    def passed_check(self, offset: int, num_bytes: int) -> None:
        """What was read from there, in one piece, is what was written."""
        if (offset, num_bytes) in self._filled:
            self._checked.add((offset, num_bytes))

    def checked_bytes(self, offset: int, num_bytes: int) -> Staging | None:
        """Page-locked bytes of this piece that have passed their check, to be read only; None where there are none."""
        found = self._find(offset, num_bytes) if (offset, num_bytes) in self._checked else None
        if found is None or found[0].handle is None:
            return None
        memory, place = found
        return Staging(memory.bytes[place : place + num_bytes], memory.handle[place : place + num_bytes])

    def forget(self) -> None:
        """What was read may be what failed its check: read it again."""
        self._filled.clear()
        self._checked.clear()

    def _find(self, offset: int, num_bytes: int) -> tuple[Staging, int] | None:
        index = int(np.searchsorted(self._starts, offset, side="right")) - 1
        place = offset - int(self._starts[index]) if index >= 0 else 0
        if index < 0 or place + num_bytes > len(self._kept[index].bytes):
            return None
        return self._kept[index], place
