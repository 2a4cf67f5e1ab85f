"""A mixture of experts under a budget: the trunk pinned, experts in slots, loaded once the router has chosen.

Promises: never more than the budget; the bytes a lease shows have passed their checksum; after a failed read the next
layer step starts clean. Which experts stay is decided by expert_cache.py with the policy its ghosts find best.
A step that needs more experts than there are slots (a long prompt) takes them in turns.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from vortex.c3.format.folder import C3Folder, TensorEntry, aligned
from vortex.c3.paging.calibration import disk_profile
from vortex.c3.paging.counters import SweepCounters
from vortex.c3.paging.direct_file import DirectFile
from vortex.c3.paging.expert_cache import ExpertCache, check_budget
from vortex.c3.paging.ghosts import BestOf
from vortex.c3.paging.host_tier import host_tier
from vortex.c3.paging.pager import PagerOptions
from vortex.c3.paging.retention import POLICIES, TokenExperts
from vortex.c3.paging.tile_memory import HostMemory, TileMemory
from vortex.c3.paging.tile_reader import Reading, ReadInto, ReadShape, TileReader
from vortex.c3.sources import Lease, expert_unit, units_of

Expert = tuple[int, int]  # layer, expert


class ExpertPager:
    """A WeightSource over a folder with experts. Raises ConfigError for a budget below trunk and one token's experts.

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
        sizes = {unit: sum(aligned(entry.num_bytes) for entry in parts) for unit, parts in self.units.items()}
        experts = [unit.split(".") for unit in self.units if expert_unit(unit)]
        self._num_layers = 1 + max(int(pieces[1]) for pieces in experts)
        self._num_experts = 1 + max(int(pieces[3]) for pieces in experts)
        self._slot_bytes = max(size for unit, size in sizes.items() if expert_unit(unit))
        self._trunk = [unit for unit in self.units if not expert_unit(unit)]
        trunk_bytes = sum(sizes[unit] for unit in self._trunk)
        top_k = int(folder.metadata.get("experts_per_token", 1))
        check_budget([self._slot_bytes] * self._num_layers, top_k, options.budget_bytes, trunk_bytes)
        everything = self._num_layers * self._num_experts
        self._num_slots = min(everything, (options.budget_bytes - trunk_bytes) // self._slot_bytes)
        self._token_bytes = self._slot_bytes * top_k * self._num_layers
        self._file = DirectFile(folder.weights_path)
        self._read_into = read_into or self._file.read_into
        paged = [self.units[unit] for unit in self.units if expert_unit(unit)]
        self._host = host_tier(self._read_into, paged, options.host_bytes, self.memory)
        self.disk = disk_profile(self._file, folder.num_bytes, options.disk_memory)
        self._start_clean()
        self.stats = SweepCounters(resident_bytes=trunk_bytes + self._num_slots * self._slot_bytes)
        self._pinned = {unit: self._pin(unit, sizes[unit]) for unit in self._trunk}

    @property
    def bytes_to_fetch(self) -> int:
        """Of a sweep, as the sweeps so far had it; before the first, all experts of a token."""
        sweeps = self.stats.sweep_count
        return self.stats.bytes_compressed_read // sweeps if sweeps else self._token_bytes

    @contextmanager
    def lease(self, unit: str) -> Iterator[Lease]:
        if unit == self._trunk[0]:
            self.stats.begin_sweep()
        yield self._pinned[unit]
        if unit == self._trunk[-1]:
            self.stats.end_sweep()

    def experts(self, layer: int, token_experts: TokenExperts) -> Iterator[tuple[int, Lease]]:
        needed = sorted({expert for experts in token_experts for expert in experts})
        for start in range(0, len(needed), self._num_slots):
            turn = set(needed[start : start + self._num_slots])
            self._load(layer, [[expert for expert in experts if expert in turn] for experts in token_experts])
            for expert in sorted(turn):
                self._wait((layer, expert))
                yield expert, Lease(self._views[layer, expert], lasts=False)
                self.memory.released()

    def read(self, name: str) -> np.ndarray:
        self.folder.verify(name)
        return self.folder.read(name)

    def counters(self) -> Mapping[str, float]:
        rate = self.disk.bytes_per_second if self.disk else 0.0
        self.stats.bytes_h2d = self.memory.bytes_uploaded
        return self.stats.as_dict(self.bytes_to_fetch / rate if rate else 0.0)

    def close(self) -> None:
        self._reader.close()
        self._file.close()
        self._pinned.clear()
        self._views.clear()

    def _pin(self, unit: str, num_bytes: int) -> Lease:
        views, reading = self._start(unit, self.memory.region(num_bytes))
        self.memory.wait_for(reading.wait(self.options.stall_timeout_s))
        return Lease(views, lasts=True)

    def _start(self, unit: str, region: Any) -> tuple[dict[str, Any], Reading]:
        placed: list[tuple[TensorEntry, Any]] = []
        views, offset = {}, 0
        for entry in self.units[unit]:
            size = aligned(entry.num_bytes)
            placed.append((entry, region[offset : offset + size]))
            views[entry.name] = region[offset : offset + entry.num_bytes]
            offset += size
        return views, self._reader.start(placed)

    def _load(self, layer: int, token_experts: Sequence[Sequence[int]]) -> None:
        """Make room, and begin to read what is missing."""
        step = self._cache.step(layer, [experts for experts in token_experts if experts])
        for victim in step.evicted:
            if victim in self._loading:  # nobody waited for it
                self._loading.pop(victim).settle(self.options.stall_timeout_s)
            self._views.pop(victim)
            self._free.append(self._slots.pop(victim))
        self.stats.prefetch_hits += len(step.hits)
        for expert in step.loads:
            region = self._free.pop() if self._free else self.memory.region(self._slot_bytes)
            key = (layer, expert)
            self._slots[key] = region
            self._views[key], self._loading[key] = self._start(f"layers.{layer}.experts.{expert}", region)

    def _wait(self, key: Expert) -> None:
        reading = self._loading.get(key)
        if reading is None:
            return
        in_time, started = reading.is_done, time.perf_counter()
        try:
            self.memory.wait_for(reading.wait(self.options.stall_timeout_s))
        except Exception:
            self._reader.close()
            self._start_clean()
            raise
        del self._loading[key]
        stored = sum(entry.stored_bytes for entry in self.units[f"layers.{key[0]}.experts.{key[1]}"])
        self.stats.arrived(stored, in_time, 1e3 * (time.perf_counter() - started))

    def _start_clean(self) -> None:
        """No expert in memory. Reads that may still land keep their old slots to themselves."""
        sizes = [self._slot_bytes] * self._num_layers
        budget = self._num_slots * self._slot_bytes
        policies = {name: make(self._num_layers, self._num_experts) for name, make in reversed(POLICIES.items())}
        self._cache = ExpertCache(sizes, self._num_experts, budget, BestOf(sizes, self._num_experts, budget, policies))
        shape = self.disk.shape if self.disk else ReadShape()
        device = None if self.memory.is_host else self.memory
        self._host.forget()
        self._reader = TileReader(self.folder.path, self._host.read_into, shape, device, self._host)
        self._views: dict[Expert, dict[str, Any]] = {}
        self._slots: dict[Expert, Any] = {}
        self._free: list[Any] = []
        self._loading: dict[Expert, Reading] = {}
