"""GGUF's rarer blocks as kinds that the native core multiplies with, code by code and without a second rounding.

Q3_K is Q6_K with small codes (groups of 16, one fp16, whole scales), and stays bit for bit what it was. IQ4_NL's and
IQ4_XS's sixteen levels are whole numbers below 128, so their blocks are Q8_0's; IQ4_XS's scales are rounded to fp16.
TQ1_0 and TQ2_0 know -1, 0 and 1: Q4_0. All that is left (Q2_K, Q5_1, IQ1 to IQ3) is unpacked and rounded to 8 bits, by
whoever packs. Layouts: ggml's `ggml-common.h`.
"""

from __future__ import annotations

import numpy as np
from gguf.constants import GGMLQuantizationType as Type
from gguf.quants import IQ4_NL as LEVELS
from gguf.quants import dequantize

from vortex.models.files.raw_tensor import RawTensor

SUPER_BLOCK, GROUP = 256, 32
OFFSET_Q6, OFFSET_Q4 = 32, 8


def as_kindred(tensor: RawTensor) -> RawTensor:
    """The tensor in a kind that is multiplied with, or as it was where there is no such kin."""
    convert = {
        Type.Q3_K: _q3_k,
        Type.IQ4_NL: _iq4_nl,
        Type.IQ4_XS: _iq4_xs,
        Type.TQ1_0: _ternary,
        Type.TQ2_0: _ternary,
    }.get(tensor.type)
    return tensor if convert is None else convert(tensor)


def _q3_k(tensor: RawTensor) -> RawTensor:
    """32 bytes of high bits, 64 of low pairs, 12 of scales, fp16 d: d * (scale - 32) * (code - 4)."""
    blocks = tensor.data.reshape(-1, 110)
    high, low, packed, d = blocks[:, :32], blocks[:, 32:96], blocks[:, 96:108], blocks[:, 108:110]
    bits = (high[:, None, :] >> np.arange(8, dtype=np.uint8)[None, :, None]) & 1  # [n, 8 runs of 32, 32]
    pairs = low.reshape(-1, 2, 1, 32) >> np.asarray([0, 2, 4, 6], np.uint8)[None, None, :, None]
    codes = (pairs.reshape(-1, 8, 32) & 3) | (bits << 2)  # 0 to 7
    low_nibbles = np.concatenate([packed[:, :8] & 15, packed[:, :8] >> 4], axis=1)  # 16 scales' low four bits
    tops = (packed[:, 8:12][:, None, :] >> np.asarray([0, 2, 4, 6], np.uint8)[None, :, None]) & 3
    scales = (low_nibbles | (tops.reshape(-1, 16) << 4)).astype(np.int16) - OFFSET_Q6
    return RawTensor(Type.Q6_K, tensor.rows, tensor.columns, _q6_blocks(codes + np.uint8(28), scales, d, tensor.rows))


def _q6_blocks(codes: np.ndarray, scales: np.ndarray, d: np.ndarray, rows: int) -> np.ndarray:
    """codes: 0 to 63, [n, 8, 32]. Q6_K: 128 bytes of low nibbles, 64 of high pairs, 16 scales, fp16."""
    halves = codes.reshape(-1, 2, 4, 32)  # a half is 128 values: runs of 32 in two bytes' nibbles, four pairs in one
    low = (halves[:, :, :2] & 15) | ((halves[:, :, 2:] & 15) << 4)
    tops = halves >> 4
    high = tops[:, :, 0] | (tops[:, :, 1] << 2) | (tops[:, :, 2] << 4) | (tops[:, :, 3] << 6)
    parts = [low.reshape(-1, 128), high.reshape(-1, 64), scales.astype(np.int8).view(np.uint8), d]
    return np.concatenate(parts, axis=1).reshape(rows, -1)


def _levels(nibbles: np.ndarray) -> np.ndarray:
    return np.asarray(LEVELS.kvalues, np.int8)[nibbles]


def _q8_blocks(scale: np.ndarray, codes: np.ndarray, rows: int) -> np.ndarray:
    """scale: fp16 [n], codes: int8 [n, 32]."""
    return np.concatenate([scale.reshape(-1, 1).view(np.uint8), codes.view(np.uint8)], axis=1).reshape(rows, -1)


def _iq4_nl(tensor: RawTensor) -> RawTensor:
    """fp16 d, 16 bytes of nibbles: d * level."""
    blocks = np.ascontiguousarray(tensor.data.reshape(-1, 18))
    codes = _levels(np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1))
    scale = np.ascontiguousarray(blocks[:, :2]).view(np.float16)
    return RawTensor(Type.Q8_0, tensor.rows, tensor.columns, _q8_blocks(scale, codes, tensor.rows))


def _iq4_xs(tensor: RawTensor) -> RawTensor:
    """fp16 d, 2 bytes of high pairs and 4 of low nibbles of eight scales, nibbles: d * (scale - 32) * level."""
    blocks = np.ascontiguousarray(tensor.data.reshape(-1, 136))
    d = np.ascontiguousarray(blocks[:, :2]).view(np.float16).astype(np.float32)
    tops = np.ascontiguousarray(blocks[:, 2:4]).view(np.uint16) >> (2 * np.arange(8, dtype=np.uint16)) & 3
    lows = (blocks[:, 4:8, None] >> np.asarray([0, 4], np.uint8)).reshape(-1, 8) & 15
    scale = (d * ((lows | (tops << 4).astype(np.uint8)).astype(np.float32) - 32)).astype(np.float16)
    packed = blocks[:, 8:].reshape(-1, 8, 16)
    codes = _levels(np.concatenate([packed & 15, packed >> 4], axis=2)).reshape(-1, GROUP)
    return RawTensor(Type.Q8_0, tensor.rows, tensor.columns, _q8_blocks(scale.ravel(), codes, tensor.rows))


def _ternary(tensor: RawTensor) -> RawTensor:
    """Each block of 256 has one fp16 behind its codes."""
    block_bytes = {Type.TQ1_0: 54, Type.TQ2_0: 66}[tensor.type]
    blocks = np.ascontiguousarray(tensor.data.reshape(-1, block_bytes))
    one = blocks.copy()
    one[:, -2:] = np.asarray([1], np.float16).view(np.uint8)  # the codes themselves
    codes = dequantize(one, tensor.type).reshape(-1, 8, 2, 16).astype(np.int8) + OFFSET_Q4
    nibbles = (codes[:, :, 0] | (codes[:, :, 1] << 4)).astype(np.uint8).reshape(-1, 16)
    scale = np.repeat(blocks[:, -2:], SUPER_BLOCK // GROUP, axis=0)
    return RawTensor(
        Type.Q4_0, tensor.rows, tensor.columns, np.concatenate([scale, nibbles], axis=1).reshape(tensor.rows, -1)
    )
