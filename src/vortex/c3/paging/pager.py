"""Weights under a budget: a pinned share in memory, the rest streamed from disk through a ring, sweep after sweep.

A sweep leases its units in a fixed order, so the next unit to read is always known: reads run ahead as far as the ring
goes, across the end of a sweep too. A sweep that skips units (no head, for a prompt's chunk) or starts anew costs the
reads that were under way, nothing else. Promises: never more than the budget; the bytes a lease shows have passed
their checksum; after a failed read the next lease starts clean. One thread leases, one unit at a time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vortex.c3.format.folder import C3Folder, TensorEntry, aligned
from vortex.c3.format.sizes import spell_bytes
from vortex.c3.paging.calibration import DiskProfile, disk_profile
from vortex.c3.paging.counters import SweepCounters
from vortex.c3.paging.dense_share import spread_pinned
from vortex.c3.paging.direct_file import DirectFile
from vortex.c3.paging.host_tier import host_tier
from vortex.c3.paging.retention import TokenExperts
from vortex.c3.paging.ring import Ring
from vortex.c3.paging.tile_memory import HostMemory, TileMemory
from vortex.c3.paging.tile_reader import Reading, ReadInto, ReadShape, TileReader
from vortex.c3.sources import Lease, units_of
from vortex.errors import ConfigError, ModelFileError


@dataclass(frozen=True, slots=True, kw_only=True)
class PagerOptions:
    """prefetch_depth: largest units the ring holds beside the one in use. disk_memory: where disks are remembered."""

    budget_bytes: int
    prefetch_depth: int = 1
    lock_memory: bool = False
    stall_timeout_s: float = 30.0
    disk_memory: Path | None = None
    host_bytes: int = 0  # with a device: kept in ordinary memory between the disk and the device


@dataclass(slots=True)
class _Ahead:
    """A streamed unit on its way, in its region of the ring."""

    unit: str
    views: dict[str, Any]
    reading: Reading


class Pager:
    """A WeightSource over a folder. Raises ConfigError when the budget cannot hold the ring.

    `read_into`: reads the weights file another way than directly (tests: a disk that fails or stalls). `memory`: where
    leased bytes live; the budget counts that memory.
    """

    def __init__(
        self,
        folder: C3Folder,
        options: PagerOptions,
        read_into: ReadInto | None = None,
        memory: TileMemory | None = None,
    ) -> None:
        self.folder, self.options = folder, options
        self.memory = memory or HostMemory(locked=options.lock_memory)
        self.entries = folder.entries
        self.units = units_of(folder.entries)
        self._order = list(self.units)
        self._sizes = {unit: sum(aligned(entry.num_bytes) for entry in parts) for unit, parts in self.units.items()}
        pinned, ring_bytes = residency(self._sizes, options)
        self.streamed = [unit for unit in self._order if unit not in pinned]
        self._ring_bytes = ring_bytes
        self._file = DirectFile(folder.weights_path)
        self.disk: DiskProfile | None = disk_profile(self._file, folder.num_bytes, options.disk_memory)
        self._shape = self.disk.shape if self.disk else ReadShape()
        self._read_into = read_into or self._file.read_into
        paged = [self.units[unit] for unit in self.streamed]
        self._host = host_tier(self._read_into, paged, options.host_bytes, self.memory)
        self._reader = self._new_reader()
        self._ring = Ring(self.memory.region(ring_bytes))
        self._ahead: deque[_Ahead] = deque()
        self._next = 0  # of the streamed units, the next to read
        self.bytes_to_fetch = sum(entry.stored_bytes for unit in self.streamed for entry in self.units[unit])
        pinned_bytes = sum(self._sizes[unit] for unit in pinned)
        self.stats = SweepCounters(resident_bytes=pinned_bytes + ring_bytes)
        self._pinned = self._load_pinned([unit for unit in self._order if unit in pinned])
        self._fill()

    @contextmanager
    def lease(self, unit: str) -> Iterator[Lease]:
        if unit == self._order[0]:
            self.stats.begin_sweep()
        if unit in self._pinned:
            yield self._pinned[unit]
        else:
            ahead = self._arrived(unit)
            try:
                yield Lease(ahead.views, lasts=False)
            finally:
                self.memory.released()
                self._ahead.popleft()
                self._ring.give_back()
                self._fill()
        if unit == self._order[-1]:
            self.stats.end_sweep()

    def experts(self, layer: int, token_experts: TokenExperts) -> Iterator[tuple[int, Lease]]:
        raise AssertionError("experts are paged by c3/paging/expert_pager.py")

    def read(self, name: str) -> np.ndarray:
        self.folder.verify(name)
        return self.folder.read(name)

    def counters(self) -> Mapping[str, float]:
        disk_rate = self.disk.bytes_per_second if self.disk else 0.0
        if not self.memory.is_host:  # else whoever copies on from here counts (paged_linear.py)
            self.stats.bytes_h2d = self.memory.bytes_uploaded
        return self.stats.as_dict(self.bytes_to_fetch / disk_rate if disk_rate else 0.0)

    def close(self) -> None:
        self._drain()
        self._reader.close()
        self._file.close()
        self._pinned.clear()

    def _new_reader(self) -> TileReader:
        device = None if self.memory.is_host else self.memory
        return TileReader(self.folder.path, self._host.read_into, self._shape, device, self._host)

    def _load_pinned(self, units: Sequence[str]) -> dict[str, Lease]:
        """Straight from disk into memory of their own, never through the page cache."""
        leases = {}
        for unit in units:
            views, reading = self._start(unit, self.memory.region(self._sizes[unit]))
            self.memory.wait_for(reading.wait(self.options.stall_timeout_s))
            leases[unit] = Lease(views, lasts=True)
        return leases

    def _start(self, unit: str, region: Any) -> tuple[dict[str, Any], Reading]:
        placed: list[tuple[TensorEntry, Any]] = []
        views, offset = {}, 0
        for entry in self.units[unit]:
            size = aligned(entry.num_bytes)
            placed.append((entry, region[offset : offset + size]))
            views[entry.name] = region[offset : offset + entry.num_bytes]
            offset += size
        return views, self._reader.start(placed)

    def _fill(self) -> None:
        """Read ahead until the ring is full: the deterministic next unit, always."""
        while self.streamed:
            unit = self.streamed[self._next]
            region = self._ring.take(self._sizes[unit])
            if region is None:
                return
            self._ahead.append(_Ahead(unit, *self._start(unit, region)))
            self._next = (self._next + 1) % len(self.streamed)

    def _arrived(self, unit: str) -> _Ahead:
        """The unit, whole and checked, at the front of the queue."""
        self._skip_to(unit)
        ahead = self._ahead[0]
        in_time = ahead.reading.is_done
        started = time.perf_counter()
        try:
            self.memory.wait_for(ahead.reading.wait(self.options.stall_timeout_s))
        except Exception:
            self._start_clean()
            raise
        stored = sum(entry.stored_bytes for entry in self.units[unit])
        self.stats.arrived(stored, in_time, 1e3 * (time.perf_counter() - started))
        return ahead

    def _skip_to(self, unit: str) -> None:
        """Drop reads of units that this sweep does not use, and aim at `unit` if it is not under way."""
        while self._ahead and self._ahead[0].unit != unit:
            self._ahead[0].reading.settle(self.options.stall_timeout_s)
            self._ahead.popleft()
            self._ring.give_back()
        if not self._ahead:
            self._next = self.streamed.index(unit)
        self._fill()
        assert self._ahead, "the ring holds any unit"

    def _drain(self) -> None:
        for ahead in self._ahead:
            ahead.reading.cancel()

    def _start_clean(self) -> None:
        """After a failure: reads that may still land get the old ring to themselves."""
        self._drain()
        self._reader.close()
        self._host.forget()
        self._reader = self._new_reader()
        self._ahead.clear()
        self._ring = Ring(self.memory.region(self._ring_bytes))
        self._next = 0


def residency(sizes: Mapping[str, int], options: PagerOptions) -> tuple[frozenset[str], int]:
    """Units to pin, and the ring's bytes for the others.

    The last unit (the head) is pinned first: prompts skip it, and it is the largest. Raises ConfigError, with the
    smallest budget that works, when the largest streamed unit does not fit twice.
    """
    order, budget = list(sizes), options.budget_bytes
    if not order:
        raise ModelFileError("the folder holds no unit to sweep")
    if sum(sizes.values()) <= budget:
        return frozenset(order), 0
    body, head = order[:-1], order[-1]
    largest = max(sizes[unit] for unit in body) if body else sizes[head]
    for depth in range(max(1, options.prefetch_depth), 0, -1):
        ring_bytes = (depth + 1) * largest
        if ring_bytes + sizes[head] <= budget:
            left = budget - ring_bytes - sizes[head]
            chosen = spread_pinned([sizes[unit] for unit in body], left)
            return frozenset({head} | {body[index] for index in chosen}), ring_bytes
    everything = 2 * max(largest, sizes[head])
    if everything <= budget:
        chosen = spread_pinned([sizes[unit] for unit in body], budget - everything)
        return frozenset(body[index] for index in chosen), everything
    smallest = min(everything, 2 * largest + sizes[head])
    raise ConfigError(
        f"a budget of {spell_bytes(budget)} is too small to page this model; the smallest that works is "
        f"{spell_bytes(smallest)}"
    )
