"""Ghost caches: every policy runs on the same routes without any bytes, and the best one drives the real cache.

A change of policy costs nothing at once (the cache keeps what it holds, and drops by the new scores from then on), so
the switch needs only a margin against flapping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vortex.c3.paging.expert_cache import ExpertCache
from vortex.c3.paging.retention import Retention, TokenExperts

MARGIN = 0.01  # a ghost must have this share fewer missed bytes
MEMORY_STEPS = 2000  # layer steps over which misses are averaged
WARM_UP_STEPS = 500


class BestOf:
    """A Retention that scores as the policy whose ghost misses the fewest bytes lately."""

    def __init__(
        self, expert_bytes: Sequence[int], num_experts: int, budget_bytes: int, policies: Mapping[str, Retention]
    ) -> None:
        self.ghosts = {
            name: ExpertCache(expert_bytes, num_experts, budget_bytes, policy) for name, policy in policies.items()
        }
        self.chosen = next(iter(policies))
        self.switches = 0
        self._missed_bytes = dict.fromkeys(policies, 0.0)
        self._steps = 0

    def observe(self, layer: int, token_experts: TokenExperts) -> None:
        self._steps += 1
        for name, ghost in self.ghosts.items():
            missed = len(ghost.step(layer, token_experts).loads) * int(ghost.expert_bytes[layer])
            self._missed_bytes[name] += (missed - self._missed_bytes[name]) / min(self._steps, MEMORY_STEPS)
        best = min(self._missed_bytes, key=lambda name: self._missed_bytes[name])
        if self._steps > WARM_UP_STEPS and self._missed_bytes[best] < (1 - MARGIN) * self._missed_bytes[self.chosen]:
            self.chosen = best
            self.switches += 1

    def scores(self, layer: int, resident: np.ndarray) -> np.ndarray:
        return self.ghosts[self.chosen].retention.scores(layer, resident)
