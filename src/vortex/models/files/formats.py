"""GGUF's block formats as numbers: dense float32, or affine codes in groups of 32.

Block layouts follow ggml's `ggml-common.h`. `dense` is the `gguf` package's decoder and the oracle; `affine` keeps
4-bit weights 4-bit and turns 5- and 8-bit ones into 8-bit codes without rounding. Formats with finer groups (Q6_K) or
none (F32, F16, BF16) are rounded to 8 bits in groups of 32, unless 4 are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gguf.constants import GGMLQuantizationType as Type
from gguf.quants import dequantize

from vortex.errors import UnsupportedModel
from vortex.models.files.raw_tensor import RawTensor

GROUP = 32
SUPER_BLOCK = 256
SUPPORTED = (
    Type.F32, Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q4_K, Type.Q5_K, Type.Q6_K, Type.Q8_0,
    Type.MXFP4,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Affine:
    """weight[r, c] = scale[r, c // 32] * code[r, c] + minimum[r, c // 32].

    code: uint8 [rows, columns], below 16 when `bits` is 4. scale, minimum: float32 [rows, columns / 32].
    """

    bits: int
    code: np.ndarray
    scale: np.ndarray
    minimum: np.ndarray

    def dense(self) -> np.ndarray:
        scale, minimum = np.repeat(self.scale, GROUP, 1), np.repeat(self.minimum, GROUP, 1)
        return scale * self.code + minimum


def check_supported(tensor: RawTensor, name: str) -> None:
    if tensor.type not in SUPPORTED:
        known = ", ".join(kind.name for kind in SUPPORTED)
        raise UnsupportedModel(f"tensor {name} is in format {tensor.type.name}; known: {known}")


def dense(tensor: RawTensor) -> np.ndarray:
    """float32 [rows, columns]."""
    return dequantize(tensor.data, tensor.type).reshape(tensor.rows, tensor.columns).astype(np.float32, copy=False)


def affine(tensor: RawTensor, *, bits_for_floats: int = 8) -> Affine:
    """Raises UnsupportedModel where columns are no multiple of 32."""
    if tensor.columns % GROUP:
        raise UnsupportedModel(f"a matrix of {tensor.columns} columns: packed products need a multiple of {GROUP}")
    decode = _DECODERS.get(tensor.type)
    if decode is not None:
        width = SUPER_BLOCK if tensor.type in {Type.Q4_K, Type.Q5_K} else GROUP
        return decode(tensor.data.reshape(tensor.rows, tensor.columns // width, -1))
    values = dense(tensor)
    if tensor.type == Type.Q6_K or bits_for_floats == 8:
        return _rounded_to_8_bits(values)
    return _rounded_to_4_bits(values)


def _half(blocks: np.ndarray, at: int) -> np.ndarray:
    """The fp16 at byte `at` of every block, as float32 [rows, blocks]."""
    return np.ascontiguousarray(blocks[..., at : at + 2]).view(np.float16)[..., 0].astype(np.float32)


def _nibbles(packed: np.ndarray) -> np.ndarray:
    """[rows, blocks, 16] bytes to [rows, blocks, 32] codes: low nibbles first, then high ones."""
    return np.concatenate([packed & 15, packed >> 4], axis=-1)


def _fifth_bits(packed: np.ndarray) -> np.ndarray:
    """[rows, blocks, 4] bytes to [rows, blocks, 32] of 0 or 16."""
    return np.unpackbits(packed, axis=-1, bitorder="little") << 4


def _flat(code: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(code).reshape(code.shape[0], -1)


def _q4_0(blocks: np.ndarray) -> Affine:  # fp16 d, 16 bytes of nibbles: d * (q - 8)
    scale = _half(blocks, 0)
    return Affine(4, _flat(_nibbles(blocks[..., 2:18])), scale, -8 * scale)


def _q4_1(blocks: np.ndarray) -> Affine:  # fp16 d, fp16 m, nibbles: d * q + m
    return Affine(4, _flat(_nibbles(blocks[..., 4:20])), _half(blocks, 0), _half(blocks, 2))


def _q5_0(blocks: np.ndarray) -> Affine:  # fp16 d, 4 bytes of fifth bits, nibbles: d * (q - 16)
    scale = _half(blocks, 0)
    code = _nibbles(blocks[..., 6:22]) | _fifth_bits(blocks[..., 2:6])
    return Affine(8, _flat(code), scale, -16 * scale)


def _q8_0(blocks: np.ndarray) -> Affine:  # fp16 d, 32 signed bytes: d * q
    scale = _half(blocks, 0)
    return Affine(8, _flat(blocks[..., 2:34] ^ 128), scale, -128 * scale)


def _k_scales(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scales and minima of a K super-block's eight groups, [rows, groups]: 6-bit integers packed in 12 bytes."""
    d, dmin, packed = _half(blocks, 0), _half(blocks, 2), blocks[..., 4:16]
    low, high = packed[..., 0:4], packed[..., 4:8]
    rest = packed[..., 8:12]
    scales = np.concatenate([low & 63, (rest & 15) | ((low >> 6) << 4)], -1)
    minima = np.concatenate([high & 63, (rest >> 4) | ((high >> 6) << 4)], -1)
    rows = len(blocks)
    return (d[..., None] * scales).reshape(rows, -1), (-dmin[..., None] * minima).reshape(rows, -1)


def _k_nibbles(packed: np.ndarray) -> np.ndarray:
    """128 bytes in four runs of 32: low nibbles are one group of 32, high nibbles the next."""
    runs = packed.reshape(*packed.shape[:-1], 4, 1, 32)
    return np.concatenate([runs & 15, runs >> 4], axis=-2).reshape(*packed.shape[:-1], SUPER_BLOCK)


def _q4_k(blocks: np.ndarray) -> Affine:
    return Affine(4, _flat(_k_nibbles(blocks[..., 16:144])), *_k_scales(blocks))


def _q5_k(blocks: np.ndarray) -> Affine:
    bits = np.unpackbits(blocks[..., 16:48, None], axis=-1, bitorder="little")  # bit g of byte i: group g, column i
    fifth = bits.swapaxes(-1, -2).reshape(*blocks.shape[:-1], SUPER_BLOCK) << 4
    return Affine(8, _flat(_k_nibbles(blocks[..., 48:176]) | fifth), *_k_scales(blocks))


_DECODERS = {
    Type.Q4_0: _q4_0,
    Type.Q4_1: _q4_1,
    Type.Q5_0: _q5_0,
    Type.Q8_0: _q8_0,
    Type.Q4_K: _q4_k,
    Type.Q5_K: _q5_k,
}


def _rounded_to_8_bits(values: np.ndarray) -> Affine:
    """Symmetric: scale = largest / 127, as Q8_0."""
    groups = values.reshape(len(values), -1, GROUP)
    scale = np.abs(groups).max(-1) / 127
    code = np.rint(groups / np.where(scale > 0, scale, 1)[..., None]).astype(np.int16) + 128
    return Affine(8, _flat(code.astype(np.uint8)), scale, -128 * scale)


def _rounded_to_4_bits(values: np.ndarray) -> Affine:
    """Affine between the group's smallest and largest value, as Q4_1."""
    groups = values.reshape(len(values), -1, GROUP)
    low, high = groups.min(-1), groups.max(-1)
    scale = (high - low) / 15
    code = np.rint((groups - low[..., None]) / np.where(scale > 0, scale, 1)[..., None])
    return Affine(4, _flat(code.clip(0, 15).astype(np.uint8)), scale, low)
