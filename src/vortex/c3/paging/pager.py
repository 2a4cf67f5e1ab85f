"""Weights under a budget: a pinned share in memory, the rest streamed from disk through a ring, sweep after sweep.

A sweep leases its units in a fixed order, so the next unit to read is always known: reads run ahead as far as the ring
goes, across the end of a sweep too. A sweep that skips units (no head, for a prompt's chunk) or starts anew costs the
reads that were under way, nothing else. Promises: never more than the budget; the bytes a lease shows have passed
their checksum; after a failed read the next lease starts clean. One thread leases, one unit at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from vortex.c3.format.folder import C3Folder
from vortex.c3.format.sizes import spell_bytes
from vortex.c3.paging.dense_share import spread_pinned
from vortex.c3.paging.loader import Load, UnitLoader, unit_bytes
from vortex.c3.paging.options import PagerOptions
from vortex.c3.paging.retention import TokenExperts
from vortex.c3.paging.ring import Ring
from vortex.c3.paging.tile_memory import TileMemory
from vortex.c3.paging.tile_reader import ReadInto
from vortex.c3.sources import Lease, units_of
from vortex.errors import ConfigError, ModelFileError


class Pager:
    """A WeightSource over a folder. Raises ConfigError when the budget cannot hold the ring.

    `read_into`, `memory`: as the loader has them; the budget counts that memory. `order`: all units as a sweep uses
    them, where the folder has them in another order.
    """

    def __init__(
        self,
        folder: C3Folder,
        options: PagerOptions,
        read_into: ReadInto | None = None,
        memory: TileMemory | None = None,
        order: Sequence[str] | None = None,
    ) -> None:
        self.entries = folder.entries
        units = units_of(folder.entries)
        self.units = {unit: units[unit] for unit in order or units}
        self._order = list(self.units)
        self._sizes = unit_bytes(self.units)
        pinned, self._ring_bytes = residency(self._sizes, options)
        self.streamed = [unit for unit in self._order if unit not in pinned]
        self._loader = UnitLoader(folder, self.units, self.streamed, options, read_into=read_into, memory=memory)
        self.disk, self.stats = self._loader.disk, self._loader.stats
        self.stats.resident_bytes = sum(self._sizes[unit] for unit in pinned) + self._ring_bytes
        self.bytes_to_fetch = sum(map(self._loader.stored_bytes, self.streamed))
        self._ring = self._new_ring()
        self._ahead: deque[Load] = deque()  # each in its region of the ring
        self._next = 0  # of the streamed units, the next to read
        self._pinned = {unit: self._loader.pin(unit, self._sizes[unit]) for unit in self._order if unit in pinned}
        self._fill()

    @contextmanager
    def lease(self, unit: str) -> Iterator[Lease]:
        if unit == self._order[0]:
            self.stats.begin_sweep()
        if unit in self._pinned:
            yield self._pinned[unit]
        else:
            load = self._arrived(unit)
            try:
                yield Lease(load.views, lasts=False)
            finally:
                self._loader.memory.released()
                self._ahead.popleft()
                self._ring.give_back()
                self._fill()
        if unit == self._order[-1]:
            self.stats.end_sweep()

    def experts(self, layer: int, token_experts: TokenExperts) -> Iterator[tuple[int, Lease]]:
        raise AssertionError("experts are paged by c3/paging/expert_pager.py")

    def read(self, name: str) -> np.ndarray:
        return self._loader.read(name)

    def counters(self) -> Mapping[str, float]:
        return self._loader.counters(self.bytes_to_fetch)

    def close(self) -> None:
        self._loader.close()
        self._pinned.clear()

    def _new_ring(self) -> Ring:
        return Ring(self._loader.memory.region(self._ring_bytes))

    def _fill(self) -> None:
        """Read ahead until the ring is full: the deterministic next unit, always."""
        while self.streamed:
            unit = self.streamed[self._next]
            region = self._ring.take(self._sizes[unit])
            if region is None:
                return
            self._ahead.append(self._loader.start(unit, region))
            self._next = (self._next + 1) % len(self.streamed)

    def _arrived(self, unit: str) -> Load:
        """The unit, whole and checked, at the front of the queue."""
        self._skip_to(unit)
        load = self._ahead[0]
        try:
            self._loader.wait(load)
        except Exception:
            self._start_clean()
            raise
        return load

    def _skip_to(self, unit: str) -> None:
        """Drop reads of units that this sweep does not use, and aim at `unit` if it is not under way."""
        while self._ahead and self._ahead[0].unit != unit:
            self._loader.drop(self._ahead[0])
            self._ahead.popleft()
            self._ring.give_back()
        if not self._ahead:
            self._next = self.streamed.index(unit)
        self._fill()
        assert self._ahead, "the ring holds any unit"

    def _start_clean(self) -> None:
        """After a failure: reads that may still land get the old ring to themselves."""
        self._loader.start_anew()
        self._ahead.clear()
        self._ring = self._new_ring()
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
