"""Experts in memory: a byte budget over all layers, an eviction policy, and ghosts that may name a better one.

`step` is told which experts a layer step needs and answers what to drop and what to load; it moves no bytes itself,
so tests and `vortex bench routes` replay traces through the very code that pages. What a step uses is never dropped by
it. A budget below one token cycle is refused: there every policy thrashes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vortex.c3.format.sizes import spell_bytes
from vortex.c3.paging.retention import Retention, TokenExperts
from vortex.errors import ConfigError


@dataclass(frozen=True, slots=True)
class CacheStep:
    """Experts of one layer step. `evicted`: (layer, expert) to drop before `loads` are read."""

    hits: tuple[int, ...]
    loads: tuple[int, ...]
    evicted: tuple[tuple[int, int], ...]


class ExpertCache:
    """expert_bytes: of one expert, per layer."""

    def __init__(self, expert_bytes: Sequence[int], num_experts: int, budget_bytes: int, retention: Retention) -> None:
        self.expert_bytes = np.asarray(expert_bytes, np.int64)
        self.budget_bytes = budget_bytes
        self.retention = retention
        self.resident = np.zeros((len(expert_bytes), num_experts), bool)
        self.resident_bytes = 0

    def step(self, layer: int, token_experts: TokenExperts) -> CacheStep:
        """Counts each expert once however many tokens use it."""
        needed = sorted({expert for experts in token_experts for expert in experts})
        present = self.resident[layer, needed]
        loads = [expert for expert, here in zip(needed, present, strict=True) if not here]
        hits = [expert for expert, here in zip(needed, present, strict=True) if here]
        self.retention.observe(layer, token_experts)
        missing_bytes = len(loads) * int(self.expert_bytes[layer])
        evicted = self._make_room(layer, needed, missing_bytes)
        self.resident[layer, loads] = True
        self.resident_bytes += missing_bytes
        return CacheStep(tuple(hits), tuple(loads), evicted)

    def _make_room(self, layer: int, needed: list[int], missing_bytes: int) -> tuple[tuple[int, int], ...]:
        excess = self.resident_bytes + missing_bytes - self.budget_bytes
        if excess <= 0:
            return ()
        # the step's own loads count as held: a policy that shares slots out must see them
        droppable = self.resident.copy()
        self.resident[layer, needed], before = True, self.resident[layer, needed]
        scores = self.retention.scores(layer, self.resident)
        self.resident[layer, needed] = before
        droppable[layer, needed] = False
        candidates = np.flatnonzero(droppable)
        worst_first = candidates[np.argsort(scores.ravel()[candidates], kind="stable")]
        evicted = []
        for index in worst_first:
            if excess <= 0:
                break
            victim = divmod(int(index), self.resident.shape[1])
            self.resident[victim] = False
            freed = int(self.expert_bytes[victim[0]])
            self.resident_bytes -= freed
            excess -= freed
            evicted.append(victim)
        return tuple(evicted)


def token_cycle_bytes(expert_bytes: Sequence[int], top_k: int) -> int:
    """What one token uses of all layers' experts."""
    return sum(expert_bytes) * top_k


def check_budget(expert_bytes: Sequence[int], top_k: int, budget_bytes: int, trunk_bytes: int = 0) -> None:
    """Raises ConfigError, naming the smallest budget, below one token cycle beside the pinned trunk."""
    smallest = token_cycle_bytes(expert_bytes, top_k) + trunk_bytes
    if budget_bytes < smallest:
        raise ConfigError(
            f"a budget of {spell_bytes(budget_bytes)} holds less than the experts of one token; the smallest that "
            f"works for this model is {spell_bytes(smallest)}"
        )
