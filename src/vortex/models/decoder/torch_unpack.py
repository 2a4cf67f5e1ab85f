"""Packed rows to dense bfloat16 in torch, on whatever device the bytes are: what a GPU multiplies with.

Layouts, row by row, so that any device can unpack them:
  rows_int4   uint8 [rows, columns / 2], then float16 [rows, columns / 32, 2] of (scale, minimum): w = scale * code +
              minimum; in a group of 32 columns, byte i holds column i (low four bits) and column i + 16
  rows_int8   uint8 [rows, columns], then the same pairs
  mxfp4       uint8 [rows, columns / 32, 17] as GGUF has it: an exponent byte, then codes of four bits as above
"""

from __future__ import annotations

import numpy as np
import torch

from vortex.models.files.formats import GROUP, Affine

MXFP4_HALVES = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)  # twice the values of the 16 codes
MXFP4_BLOCK_BYTES = 17
ROWS_LAYOUTS = ("rows_int4", "rows_int8", "mxfp4")


def packed_rows(codes: Affine) -> np.ndarray:
    """rows_int4 or rows_int8, uint8 [bytes]."""
    code = codes.code
    if codes.bits == 4:
        groups = code.reshape(len(code), -1, 2, GROUP // 2)
        code = groups[:, :, 0] | (groups[:, :, 1] << 4)
    pairs = np.stack([codes.scale, codes.minimum], -1).astype(np.float16)
    return np.concatenate([code.reshape(-1), pairs.view(np.uint8).reshape(-1)])


def dense_rows(layout: str, data: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """bfloat16 [rows, columns] of the layout's bytes, on their device."""
    if layout == "mxfp4":
        return _mxfp4(data.view(rows, columns // GROUP, MXFP4_BLOCK_BYTES)).view(rows, columns)
    code_bytes = rows * columns // (2 if layout == "rows_int4" else 1)
    code = data[:code_bytes].view(rows, columns // GROUP, -1)
    if layout == "rows_int4":
        code = torch.cat([code & 15, code >> 4], dim=-1)
    pairs = data[code_bytes:].view(torch.float16).view(rows, columns // GROUP, 2).float()
    return (code * pairs[..., :1] + pairs[..., 1:]).bfloat16().view(rows, columns)


def _mxfp4(blocks: torch.Tensor) -> torch.Tensor:
    """bfloat16 holds every value exactly: two bits of mantissa and a power of two."""
    exponent = blocks[..., :1].to(torch.int32)
    tiny = torch.full_like(exponent, 0x00200000) << exponent.clamp(max=1)
    scale = torch.where(exponent < 2, tiny, (exponent - 1).clamp(min=1) << 23).view(torch.float32)
    code = torch.cat([blocks[..., 1:] & 15, blocks[..., 1:] >> 4], dim=-1).to(torch.int32)
    halves = torch.tensor(MXFP4_HALVES, dtype=torch.float32, device=blocks.device)
    return (halves[code] * scale).bfloat16()
