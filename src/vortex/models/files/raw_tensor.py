"""A tensor as its file has it, and whether its weights are numbers at all.

A weight that is NaN or infinite makes every answer the same token; it is said when the file is read. Of quantised
blocks the scales are looked at (their codes are whole numbers), of floats every one. Decodes nothing: see formats.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gguf.constants import GGML_QUANT_SIZES
from gguf.constants import GGMLQuantizationType as Type

from vortex.errors import ModelFileError

FLOATS = (Type.F32, Type.F16, Type.BF16)
HALF_SCALES = {  # bytes of a block at which its fp16 scales lie
    Type.Q4_0: (0,), Type.Q4_1: (0, 2), Type.Q5_0: (0,), Type.Q5_1: (0, 2), Type.Q8_0: (0,),
    Type.Q2_K: (80, 82), Type.Q3_K: (108,), Type.Q4_K: (0, 2), Type.Q5_K: (0, 2), Type.Q6_K: (208,),
    Type.IQ4_NL: (0,), Type.IQ4_XS: (0,),
}  # fmt: skip
HALF_EXPONENT, BF16_EXPONENT = 0x7C00, 0x7F80  # all ones: infinite or no number
HIGH_EXPONENT = 0x7C  # the same in the upper byte of an fp16
MXFP4_NAN = 255
PIECE_BYTES = 16 << 20  # looked at in one go


@dataclass(frozen=True, slots=True)
class RawTensor:
    """data: uint8 [rows, row_bytes], blocks of `type` as GGUF defines them. A vector has one row."""

    type: Type
    rows: int
    columns: int
    data: np.ndarray


def check_finite(tensor: RawTensor, name: str, origin: str) -> None:
    """Raises ModelFileError where a weight is NaN or infinite, naming tensor and row."""
    if tensor.type not in FLOATS and tensor.type not in HALF_SCALES and tensor.type != Type.MXFP4:
        return
    step = max(1, PIECE_BYTES // max(1, tensor.data.shape[-1]))
    for start in range(0, tensor.rows, step):
        bad = _not_numbers(tensor.type, tensor.data[start : start + step])
        if bad.any():
            row = start + int(bad.any(axis=-1).argmax())
            raise ModelFileError(
                f"{origin}: tensor {name} holds weights in row {row} that are no numbers (NaN or infinite); "
                "the file is damaged or was made wrongly"
            )


def _not_numbers(kind: Type, data: np.ndarray) -> np.ndarray:
    """bool [rows, any]."""
    if kind == Type.F32:
        return ~np.isfinite(np.ascontiguousarray(data).view(np.float32))
    if kind in FLOATS:
        exponent = HALF_EXPONENT if kind == Type.F16 else BF16_EXPONENT
        return np.equal(np.ascontiguousarray(data).view(np.uint16) & exponent, exponent)
    blocks = data.reshape(len(data), -1, GGML_QUANT_SIZES[kind][1])
    if kind == Type.MXFP4:
        return np.equal(blocks[..., 0], MXFP4_NAN)
    highs = [np.equal(blocks[..., at + 1] & HIGH_EXPONENT, HIGH_EXPONENT) for at in HALF_SCALES[kind]]
    return np.asarray(np.stack(highs).any(axis=0))
