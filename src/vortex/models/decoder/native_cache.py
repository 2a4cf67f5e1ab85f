"""The KV cache of one sequence as the native core reads it: fp16, or int8 with a scale per position.

keys: [layers][kv_heads][capacity / 16][head_width][16], values: [layers][kv_heads][capacity][head_width]. Memory is
taken in steps and touched as positions are written.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vortex.models.files.decoder_config import DecoderConfig

STEP_TOKENS = 256
GROUP_TOKENS = 16  # positions whose keys lie together


class NativeCache:
    """keys, values: uint8, flat. key_scale, value_scale: float32, flat, None for fp16."""

    def __init__(self, config: DecoderConfig, *, int8: bool = False) -> None:
        self.config, self.int8 = config, int8
        self.capacity = 0
        self.heads = config.num_layers * config.num_kv_heads
        self.position_bytes = config.head_width * (1 if int8 else 2)
        self.keys = self.values = np.zeros(0, np.uint8)
        self.key_scale: np.ndarray | None = np.zeros(0, np.float32) if int8 else None
        self.value_scale: np.ndarray | None = np.zeros(0, np.float32) if int8 else None

    @property
    def resident_bytes(self) -> int:
        scales = self.key_scale.nbytes + self.value_scale.nbytes if self.int8 else 0  # type: ignore[union-attr]
        return self.keys.nbytes + self.values.nbytes + scales

    def reserve(self, num_tokens: int) -> None:
        if num_tokens > self.capacity:
            wanted = max(num_tokens, min(2 * self.capacity, self.config.context_length))
            self._resize(wanted + -wanted % STEP_TOKENS, self.capacity)

    def copy(self, num_tokens: int) -> NativeCache:
        other = NativeCache(self.config, int8=self.int8)
        other.keys, other.values, other.capacity = self.keys, self.values, self.capacity
        other.key_scale, other.value_scale = self.key_scale, self.value_scale
        other._resize(num_tokens + -num_tokens % STEP_TOKENS, num_tokens)
        return other

    def close(self) -> None:
        self._resize(0, 0)

    @property
    def form(self) -> str:
        return f"native-{self.position_bytes}-{self.heads}-1"

    def arrays(self, num_tokens: int) -> list[np.ndarray]:
        """[heads, bytes] of keys and of values, then their scales [heads, positions] where there are any."""
        assert num_tokens % GROUP_TOKENS == 0, f"{num_tokens} positions are no whole groups"
        flat = [self.keys, self.values, *([] if self.key_scale is None else [self.key_scale, self.value_scale])]
        each = [self.position_bytes] * 2 + [1] * 2
        return [
            array.reshape(self.heads, -1)[:, : num_tokens * width]  # type: ignore[union-attr]  # both or none
            for array, width in zip(flat, each, strict=False)
        ]

    def fill(self, num_tokens: int, arrays: Sequence[np.ndarray]) -> None:
        assert not self.capacity, "only an empty cache is filled"
        self.reserve(num_tokens)
        wanted = self.arrays(num_tokens)
        if [(a.shape, a.dtype) for a in arrays] != [(a.shape, a.dtype) for a in wanted]:
            raise ValueError("it holds other shapes")
        for target, array in zip(wanted, arrays, strict=True):
            target[:] = array  # views of this cache

    def _resize(self, capacity: int, kept_tokens: int) -> None:
        """Fresh arrays of `capacity` positions; the first `kept_tokens` (in whole groups of 16) are the old ones."""
        kept = min(kept_tokens + -kept_tokens % 16, capacity, self.capacity)

        def moved(old: np.ndarray, per_position: int) -> np.ndarray:
            fresh = np.zeros((self.heads, capacity * per_position), old.dtype)
            fresh[:, : kept * per_position] = old.reshape(self.heads, -1)[:, : kept * per_position]
            return fresh.reshape(-1)

        self.keys, self.values = moved(self.keys, self.position_bytes), moved(self.values, self.position_bytes)
        if self.key_scale is not None and self.value_scale is not None:
            self.key_scale, self.value_scale = moved(self.key_scale, 1), moved(self.value_scale, 1)
        self.capacity = capacity
