"""Keys and values of one sequence in torch, on the device that computes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vortex.models.files.decoder_config import DecoderConfig

CACHE_STEP_TOKENS = 256


class TorchCache:
    """keys, values: per layer float32 [K, capacity, W]."""

    def __init__(self, config: DecoderConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.capacity = 0
        self.keys: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []
        self._grow(CACHE_STEP_TOKENS)

    @property
    def resident_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in (*self.keys, *self.values))

    def reserve(self, num_tokens: int) -> None:
        if num_tokens > self.capacity:
            self._grow(max(num_tokens, min(2 * self.capacity, self.config.context_length)))

    def copy(self, num_tokens: int) -> TorchCache:
        other = TorchCache(self.config, self.device)
        other.reserve(num_tokens)
        for mine, theirs in zip((*self.keys, *self.values), (*other.keys, *other.values), strict=True):
            theirs[:, :num_tokens] = mine[:, :num_tokens]
        return other

    def close(self) -> None:
        self.keys, self.values, self.capacity = [], [], 0

    def _grow(self, capacity: int) -> None:
        capacity += -capacity % CACHE_STEP_TOKENS
        shape = (self.config.num_kv_heads, capacity, self.config.head_width)

        def grown(old: Sequence[torch.Tensor]) -> list[torch.Tensor]:
            fresh = [torch.empty(shape, device=self.device) for _ in range(self.config.num_layers)]
            for source, target in zip(old, fresh, strict=False):
                target[:, : self.capacity] = source
            return fresh

        self.keys, self.values, self.capacity = grown(self.keys), grown(self.values), capacity
