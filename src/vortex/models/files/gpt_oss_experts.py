"""gpt-oss's experts in safetensors: a layer's experts in one tensor, gate and up interleaved, in floats or in MXFP4.

Stored per layer under `mlp.experts.`: `gate_up_proj` float [E, width, 2 * ffn] and `down_proj` float [E, ffn, width],
both the wrong way round for rows; or `*_blocks` uint8 [E, rows, columns / 32, 16] and `*_scales` uint8
[E, rows, columns / 32]; and float biases `*_bias` [E, rows]. Even rows of gate_up are the gate's. Files pack two
neighbouring columns into a byte; GGUF's MXFP4, which the rest of the house knows, packs columns i and i + 16.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from gguf.constants import GGMLQuantizationType

from vortex.models.files.raw_tensor import RawTensor

EVERY = slice(None)
GATE_ROWS, UP_ROWS = slice(0, None, 2), slice(1, None, 2)
Stored = tuple[GGMLQuantizationType | None, np.ndarray]  # None: bytes; data with the tensor's own shape
Read = Callable[[str], Stored | None]  # by the name behind `mlp.experts.`; None where the file lacks it


def expert_tensor(read: Read, expert: int, part: str) -> RawTensor | None:
    """part: gate, up, down or one of these with `_bias`. None where the file lacks it."""
    name, _, bias = part.partition("_")
    stem = "down_proj" if name == "down" else "gate_up_proj"
    rows = {"gate": GATE_ROWS, "up": UP_ROWS}.get(name, EVERY)
    if bias:
        stored = read(f"{stem}_bias")
        return None if stored is None else _raw(stored, np.ascontiguousarray(stored[1][expert, rows])[None])
    blocks, scales = read(f"{stem}_blocks"), read(f"{stem}_scales")
    if blocks is not None and scales is not None:
        data = mxfp4_blocks(blocks[1][expert, rows], scales[1][expert, rows])
        return RawTensor(GGMLQuantizationType.MXFP4, len(data), blocks[1].shape[2] * 32, data)
    stored = read(stem)
    return None if stored is None else _raw(stored, np.ascontiguousarray(stored[1][expert].T[rows]))


def _raw(stored: Stored, values: np.ndarray) -> RawTensor:
    kind, (rows, columns) = stored[0], values.shape
    assert kind is not None, "floats have a type"
    return RawTensor(kind, rows, columns, values.view(np.uint8).reshape(rows, -1))


def mxfp4_blocks(packed: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """[rows, blocks, 16] and [rows, blocks] to GGUF's rows, uint8 [rows, blocks * 17]: scale, 16 bytes of codes."""
    codes = np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:2], 32)
    halves = codes[..., :16] | (codes[..., 16:] << 4)
    return np.concatenate([scales[..., None], halves], axis=-1).reshape(len(packed), -1)
