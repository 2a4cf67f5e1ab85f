"""A mixture of experts under a budget: the trunk pinned, experts in slots, loaded once the router has chosen.

Promises: never more than the budget; the bytes a lease shows have passed their checksum; after a failed read the next
layer step starts clean. Which experts stay is decided by expert_cache.py with the policy its ghosts find best.
A step that needs more experts than there are slots (a long prompt) takes them in turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from vortex.c3.format.folder import C3Folder
from vortex.c3.paging.expert_cache import ExpertCache, check_budget
from vortex.c3.paging.ghosts import BestOf
from vortex.c3.paging.loader import Load, UnitLoader, unit_bytes
from vortex.c3.paging.options import PagerOptions
from vortex.c3.paging.retention import POLICIES, TokenExperts
from vortex.c3.paging.tile_memory import TileMemory
from vortex.c3.paging.tile_reader import ReadInto
from vortex.c3.sources import Lease, expert_unit, units_of

Expert = tuple[int, int]  # layer, expert


class ExpertPager:
    """A WeightSource over a folder with experts. Raises ConfigError for a budget below trunk and one token's experts.

    `read_into`, `memory`: as the loader has them; the budget counts that memory.
    """

    def __init__(
        self,
        folder: C3Folder,
        options: PagerOptions,
        read_into: ReadInto | None = None,
        memory: TileMemory | None = None,
    ) -> None:
        self.entries = folder.entries
        units = units_of(folder.entries)
        sizes = unit_bytes(units)
        paged = [unit for unit in units if expert_unit(unit)]
        experts = [unit.split(".") for unit in paged]
        self._num_layers = 1 + max(int(pieces[1]) for pieces in experts)
        self._num_experts = 1 + max(int(pieces[3]) for pieces in experts)
        self._slot_bytes = max(sizes[unit] for unit in paged)
        self._trunk = [unit for unit in units if not expert_unit(unit)]
        trunk_bytes = sum(sizes[unit] for unit in self._trunk)
        top_k = int(folder.metadata.get("experts_per_token", 1))
        check_budget([self._slot_bytes] * self._num_layers, top_k, options.budget_bytes, trunk_bytes)
        everything = self._num_layers * self._num_experts
        self._num_slots = min(everything, (options.budget_bytes - trunk_bytes) // self._slot_bytes)
        self._token_bytes = self._slot_bytes * top_k * self._num_layers
        self._loader = UnitLoader(folder, units, paged, options, read_into=read_into, memory=memory)
        self.stats = self._loader.stats
        self.stats.resident_bytes = trunk_bytes + self._num_slots * self._slot_bytes
        self._no_experts()
        self._pinned = {unit: self._loader.pin(unit, sizes[unit]) for unit in self._trunk}

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
                self._loader.memory.released()

    def read(self, name: str) -> np.ndarray:
        return self._loader.read(name)

    def counters(self) -> Mapping[str, float]:
        return self._loader.counters(self.bytes_to_fetch)

    def close(self) -> None:
        self._loader.close()
        self._pinned.clear()
        self._views.clear()

    def _load(self, layer: int, token_experts: Sequence[Sequence[int]]) -> None:
        """Make room, and begin to read what is missing."""
        step = self._cache.step(layer, [experts for experts in token_experts if experts])
        for victim in step.evicted:
            if victim in self._loading:  # nobody waited for it
                self._loader.drop(self._loading.pop(victim))
            self._views.pop(victim)
            self._free.append(self._slots.pop(victim))
        self.stats.prefetch_hits += len(step.hits)
        for expert in step.loads:
            region = self._free.pop() if self._free else self._loader.memory.region(self._slot_bytes)
            key = (layer, expert)
            self._slots[key] = region
            load = self._loader.start(f"layers.{layer}.experts.{expert}", region)
            self._views[key], self._loading[key] = load.views, load

    def _wait(self, key: Expert) -> None:
        load = self._loading.get(key)
        if load is None:
            return
        try:
            self._loader.wait(load)
        except Exception:
            self._loader.start_anew()
            self._no_experts()
            raise
        del self._loading[key]

    def _no_experts(self) -> None:
        """No expert in memory. Reads that may still land keep their old slots to themselves."""
        sizes = [self._slot_bytes] * self._num_layers
        budget = self._num_slots * self._slot_bytes
        policies = {name: make(self._num_layers, self._num_experts) for name, make in reversed(POLICIES.items())}
        self._cache = ExpertCache(sizes, self._num_experts, budget, BestOf(sizes, self._num_experts, budget, policies))
        self._views: dict[Expert, dict[str, Any]] = {}
        self._slots: dict[Expert, Any] = {}
        self._free: list[Any] = []
        self._loading: dict[Expert, Load] = {}
