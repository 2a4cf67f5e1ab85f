"""Random weights in every GGUF block format, as the files store them."""

from __future__ import annotations

import numpy as np

from vortex.kernels.formats import Format

SCALES_AT = {Format.Q6_K: (208,), Format.Q4_1: (0, 2), Format.Q5_1: (0, 2), Format.Q4_K: (0, 2), Format.Q5_K: (0, 2)}


def random_rows(kind: Format, rows: int, columns: int, seed: int = 0) -> np.ndarray:
    """uint8 [rows, row bytes]: random codes under scales of a usual size."""
    rng = np.random.default_rng(seed)
    if kind == Format.F32:
        return rng.standard_normal((rows, columns)).astype(np.float32).view(np.uint8)
    if kind == Format.F16:
        return rng.standard_normal((rows, columns)).astype(np.float16).view(np.uint8)
    if kind == Format.BF16:
        values = rng.standard_normal((rows, columns)).astype(np.float32).view(np.uint32)
        return (values >> 16).astype(np.uint16).view(np.uint8)
    blocks = rng.integers(0, 256, (rows * columns // kind.column_multiple, kind.block_bytes), dtype=np.uint8)
    if kind == Format.MXFP4:
        blocks[:, 0] = rng.integers(118, 125, len(blocks))
        return blocks.reshape(rows, -1)
    for at in SCALES_AT.get(kind, (0,)):
        scales = (rng.standard_normal((len(blocks), 1)) * 0.01).astype(np.float16)
        blocks[:, at : at + 2] = scales.view(np.uint8)
    return blocks.reshape(rows, -1)
