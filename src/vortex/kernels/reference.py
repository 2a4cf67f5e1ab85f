"""The oracles: what the native products compute, in plain numpy, slow and readable.

Formats are decoded from GGUF's own rows (layouts of ggml's `ggml-common.h`, decoded by the `gguf` package), activations
are rounded as the kernels round them. Sums are taken in another order, so results agree to rounding, not to the bit.
The oracle of attention and of the fused layer is models/decoder/reference_compute.py.
"""

from __future__ import annotations

import numpy as np

from vortex.kernels.formats import Format

ACTIVATION_COLUMNS = 16


def dense(kind: Format, data: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """GGUF rows to float32 [rows, columns]."""
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import dequantize

    values = dequantize(data.reshape(rows, -1), GGMLQuantizationType[kind.name])
    return np.asarray(values, np.float32).reshape(rows, columns)


def rounded_activations(x: np.ndarray) -> np.ndarray:
    """x [T, columns] as the kernels see it: int8 in blocks of 16 columns with one scale each, as float32.

    A scale is rounded up to 16 significant bits.
    """
    blocks = x.reshape(len(x), -1, ACTIVATION_COLUMNS).astype(np.float32)
    largest = np.abs(blocks).max(-1, keepdims=True)
    bits = (largest / np.float32(127)).view(np.uint32)
    scale = ((bits + np.uint32(0xFF)) & ~np.uint32(0xFF)).view(np.float32)
    inverse = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=largest > 1e-30)
    return (np.rint(blocks * inverse) * scale).reshape(x.shape)


def product(kind: Format, data: np.ndarray, shape: tuple[int, int], x: np.ndarray) -> np.ndarray:
    """float64 [T, rows]."""
    met = x if kind.is_float else rounded_activations(x)
    return met.astype(np.float64) @ dense(kind, data, *shape).astype(np.float64).T
