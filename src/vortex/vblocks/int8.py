"""A core's matrices in one byte per weight: each row is whole numbers from -127 to 127 and one float16 scale.

For checkpoints that travel; what is read back is float32 again, off by at most half a step of its row. Vectors and
small matrices stay float16. Knows no torch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

SCALE = ".int8_scale"
SMALL = 4096  # weights below which a matrix is not worth it


def packed(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Tensors to store: int8 [rows, columns] with `NAME.int8_scale` float16 [rows], or float16."""
    tensors: dict[str, np.ndarray] = {}
    for name, value in weights.items():
        if value.ndim != 2 or value.size < SMALL:
            tensors[name] = value.astype(np.float16)
            continue
        scale = np.abs(value).max(axis=1) / 127
        stored = np.maximum(scale, np.float16(6e-8)).astype(np.float16)
        codes = np.rint(value / stored.astype(np.float32)[:, None])
        tensors[name] = np.clip(codes, -127, 127).astype(np.int8)
        tensors[name + SCALE] = stored
    return tensors


def unpacked(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """float32 by name, whether packed or not."""
    weights = {}
    for name, value in tensors.items():
        if name.endswith(SCALE):
            continue
        weights[name] = value.astype(np.float32, copy=False)
        if value.dtype == np.int8:
            weights[name] = weights[name] * tensors[name + SCALE].astype(np.float32)[:, None]
    return weights
