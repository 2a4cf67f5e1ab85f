"""Which cached experts are worth keeping: scores from the routes seen so far. Pure numpy; knows no bytes and no disk.

A policy watches every layer step (`observe`) and gives each expert of each layer a score; the cache drops the lowest.
All state is per object, all updates are deterministic, and none looks ahead: the offline optimum lives in
c3/paging/belady.py. Shapes: scores float64 [layers, experts].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

TokenExperts = Sequence[Sequence[int]]  # per token of a step, the experts its router chose


class Retention(Protocol):
    def observe(self, layer: int, token_experts: TokenExperts) -> None:
        """One layer step: what each of its tokens used."""
        ...

    def scores(self, layer: int, resident: np.ndarray) -> np.ndarray:
        """float64 [layers, experts] right after a step of `layer`; `resident`: bool of the same shape."""
        ...


class LeastRecent:
    """LRU: the last step that used it."""

    def __init__(self, num_layers: int, num_experts: int) -> None:
        self.last_step = np.zeros((num_layers, num_experts))
        self._step = 0

    def observe(self, layer: int, token_experts: TokenExperts) -> None:
        self._step += 1
        self.last_step[layer, sorted({expert for experts in token_experts for expert in experts})] = self._step

    def scores(self, layer: int, resident: np.ndarray) -> np.ndarray:
        return self.last_step


class DecayedFrequency:
    """LFU whose counts shrink by `decay` with every token of their layer."""

    def __init__(self, num_layers: int, num_experts: int, decay: float = 0.9) -> None:
        self.decay = decay
        self.counts = np.zeros((num_layers, num_experts))

    def observe(self, layer: int, token_experts: TokenExperts) -> None:
        for experts in token_experts:
            self.counts[layer] *= self.decay
            self.counts[layer, list(experts)] += 1

    def scores(self, layer: int, resident: np.ndarray) -> np.ndarray:
        return self.counts


class LayerShare:
    """Each layer owns an equal share of the slots; inside a layer, the least recent goes first."""

    def __init__(self, num_layers: int, num_experts: int) -> None:
        self._recent = LeastRecent(num_layers, num_experts)
        self._num_layers = num_layers

    def observe(self, layer: int, token_experts: TokenExperts) -> None:
        self._recent.observe(layer, token_experts)

    def scores(self, layer: int, resident: np.ndarray) -> np.ndarray:
        held = resident.sum(axis=1, keepdims=True)
        surplus = np.maximum(0, held - resident.sum() / self._num_layers)
        return self._recent.last_step - surplus * 1e9


class NextUse:
    """Evict what is expected to be used last: the offline optimum's rule, with an estimated next use.

    An expert's chance per token is a mixture of exponential averages of its uses, fast to slow. With chance p its next
    use is 1/p tokens away; within a token, layers that come soon beat the layers just passed.
    """

    DECAYS = (0.3, 0.9, 0.98)
    SHARES = (0.2, 0.4, 0.4)
    PASSED_LAYER_TOKENS = 2.0  # a layer just passed against the next one; measured on the public traces
    FLOOR = 0.03

    def __init__(self, num_layers: int, num_experts: int) -> None:
        self._averages = np.zeros((len(self.DECAYS), num_layers, num_experts))
        self._decays = np.asarray(self.DECAYS)[:, None]
        self._gains = np.asarray(self.SHARES) * (1 - np.asarray(self.DECAYS))
        self._distance = np.full((num_layers, num_experts), -1 / self.FLOOR)
        self._last = np.zeros((num_layers, num_experts))
        self._layers = np.arange(num_layers)[:, None]
        self._step = 0

    def observe(self, layer: int, token_experts: TokenExperts) -> None:
        self._step += 1
        averages = self._averages[:, layer]
        for experts in token_experts:
            averages *= self._decays
            averages[:, list(experts)] += 1
            self._last[layer, list(experts)] = self._step
        self._distance[layer] = 1 / (self._gains @ averages + self.FLOOR)

    def scores(self, layer: int, resident: np.ndarray) -> np.ndarray:
        num_layers = len(self._layers)
        until_layer = ((self._layers - layer - 1) % num_layers) * (self.PASSED_LAYER_TOKENS / num_layers)
        return 1e-9 * self._last - self._distance - until_layer


class SimilarToken(NextUse):
    """NextUse, with chances drawn towards what followed those past tokens that routed most like the present one.

    Tokens that share experts in the layers seen so far tend to share them in the layers to come, and so do their
    successors. The likeness of a past token fades with layers; the likest ones vote, squared likeness each.
    """

    PASSED_LAYER_TOKENS = 3.0
    HISTORY_TOKENS = 512
    VOTERS = 128
    VOTE_SHARE = 0.6
    LAYER_FADE = 0.8

    def __init__(self, num_layers: int, num_experts: int) -> None:
        super().__init__(num_layers, num_experts)
        self._num_experts = num_experts
        self._history = np.full((self.HISTORY_TOKENS, num_layers, 0), num_experts)  # [token, layer, top-k] experts
        self._num_tokens = np.zeros(num_layers, np.int64)
        self._likeness = np.zeros(self.HISTORY_TOKENS)
        self._chances = np.zeros((num_layers, num_experts))

    def observe(self, layer: int, token_experts: TokenExperts) -> None:
        super().observe(layer, token_experts)
        self._widen(max(len(experts) for experts in token_experts))
        for experts in token_experts:
            row = self._history[self._num_tokens[layer] % self.HISTORY_TOKENS, layer]
            row[:] = self._num_experts
            row[: len(experts)] = experts
            self._num_tokens[layer] += 1
        shared = np.zeros(self._num_experts + 1)
        shared[list(token_experts[-1])] = (1 - self.LAYER_FADE) / len(token_experts[-1])
        self._likeness *= self.LAYER_FADE
        self._likeness += shared[self._history[:, layer]].sum(axis=1)
        self._chances[layer] = self._gains @ self._averages[:, layer]

    def scores(self, layer: int, resident: np.ndarray) -> np.ndarray:
        chances = (1 - self.VOTE_SHARE) * self._chances + self.VOTE_SHARE * self._votes(layer)
        num_layers = len(self._layers)
        until_layer = ((self._layers - layer - 1) % num_layers) * (self.PASSED_LAYER_TOKENS / num_layers)
        return 1e-9 * self._last - 1 / (chances + self.FLOOR) - until_layer

    def _widen(self, top_k: int) -> None:
        missing = top_k - self._history.shape[2]
        if missing > 0:
            self._history = np.pad(self._history, ((0, 0), (0, 0), (0, missing)), constant_values=self._num_experts)

    def _votes(self, layer: int) -> np.ndarray:
        """For layers to come, the experts of the likest tokens; for layers passed, those of their successors."""
        present = int(self._num_tokens[layer] - 1) % self.HISTORY_TOKENS
        likeness = self._likeness.copy()
        likeness[present] = 0
        voters = np.argpartition(likeness, -self.VOTERS)[-self.VOTERS :]
        weights = np.square(likeness[voters])
        weights /= weights.sum() + 1e-12
        successors = (voters + 1) % self.HISTORY_TOKENS
        votes = np.empty((len(self._chances), self._num_experts + 1))
        votes[layer + 1 :] = self._weighted_uses(voters, slice(layer + 1, None), weights)
        weights = np.where(successors == present, 0, weights)
        votes[: layer + 1] = self._weighted_uses(successors, slice(0, layer + 1), weights)
        return votes[:, :-1]

    def _weighted_uses(self, tokens: np.ndarray, layers: slice, weights: np.ndarray) -> np.ndarray:
        """float64 [layers, experts + 1]: the weights of the tokens that used each expert."""
        used = self._history[tokens, layers]
        width = self._num_experts + 1
        cells = used + np.arange(used.shape[1])[:, None] * width
        spread = np.broadcast_to(weights[:, None, None], used.shape)
        counts = np.bincount(cells.ravel(), spread.ravel(), used.shape[1] * width)
        return counts.reshape(-1, width)


POLICIES: dict[str, Callable[[int, int], Retention]] = {
    "lru": LeastRecent,
    "lfu": DecayedFrequency,
    "layer-share": LayerShare,
    "next-use": NextUse,
    "similar-token": SimilarToken,
}
