"""The offline optimum for a known future: evict what is used last (Belady 1966). A bound for tests and reports.

Exact where all experts have one size; with a few sizes, close to it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vortex.c3.paging.retention import TokenExperts


class Belady:
    """A Retention that was told the whole run: `steps` are (layer, token_experts) in the order they will come."""

    def __init__(self, num_layers: int, num_experts: int, steps: Sequence[tuple[int, TokenExperts]]) -> None:
        never = len(steps) + 1
        self._next_uses = np.full((len(steps), num_experts), never)  # of a step's layer, right after the step
        upcoming = np.full((num_layers, num_experts), never)
        for index in range(len(steps) - 1, -1, -1):
            layer, token_experts = steps[index]
            self._next_uses[index] = upcoming[layer]
            upcoming[layer, sorted({expert for experts in token_experts for expert in experts})] = index
        self._distance = upcoming
        self._step = 0

    def observe(self, layer: int, token_experts: TokenExperts) -> None:
        self._distance[layer] = self._next_uses[self._step]
        self._step += 1

    def scores(self, layer: int, resident: np.ndarray) -> np.ndarray:
        return -self._distance.astype(np.float64)
