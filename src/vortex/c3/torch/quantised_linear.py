"""A linear layer's weight in 8 or 4 bits, multiplied by the native core: fewer bytes, other answers.

A codec says what a weight becomes when a model is packed. Weights are rounded as `model.compute` rounds them elsewhere
(Q8_0, Q4_1, MXFP4: blocks of 32 columns); inputs are rounded to int8 by the core, a row by itself, so a row's bits do
not depend on its batch. A width that has no whole blocks keeps its dtype. On a CPU only. `auto` is lossless where the
native core decodes, else raw.
"""

from __future__ import annotations

import numpy as np
import torch
from gguf.constants import GGMLQuantizationType
from gguf.quants import quantize

from vortex.errors import ConfigError
from vortex.kernels import dispatch
from vortex.kernels.formats import Format
from vortex.kernels.packed import PackedMatrix, pack, tile_bytes

AUTO, RAW, LOSSLESS = "auto", "raw", "lossless"
FORMATS = {"int8": Format.Q8_0, "int4": Format.Q4_1, "mxfp4": Format.MXFP4}
CODECS = (AUTO, RAW, LOSSLESS, *FORMATS)
LAYOUT_TAG = "tiles16_"
ROWS_AT_A_TIME = 4096


def format_for(codec: str, columns: int) -> Format | None:
    """The format that a weight of this width is rounded to; None where it keeps its dtype. Raises ConfigError."""
    if codec not in CODECS:
        raise ConfigError(f"there is no codec '{codec}' for linears; choose one of: {', '.join(CODECS)}")
    kind = FORMATS.get(codec)
    return None if kind is None or columns % kind.column_multiple else kind


def is_lossless(codec: str) -> bool:
    """Whether tiles are to be stored in fewer bytes than they have."""
    return codec == LOSSLESS or (codec == AUTO and dispatch.usable())


def layout_of(kind: Format) -> str:
    return LAYOUT_TAG + kind.name


def packed_bytes(kind: Format, outputs: int, inputs: int) -> int:
    return tile_bytes(kind, outputs, inputs)


def packed_weight(weight: torch.Tensor, kind: Format) -> np.ndarray:
    """weight: [outputs, inputs] of any float dtype. Tiles, uint8 [packed_bytes]."""
    target = GGMLQuantizationType[kind.name]
    pieces = [quantize(rows.float().numpy(), target).view(np.uint8) for rows in weight.split(ROWS_AT_A_TIME)]
    return pack(kind, np.concatenate(pieces), *weight.shape)


class QuantisedWeight:
    """Over leased tiles. dtype: of inputs and outputs."""

    device = torch.device("cpu")

    def __init__(self, data: np.ndarray, layout: str, shape: tuple[int, int], dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._matrix = PackedMatrix(Format[layout.removeprefix(LAYOUT_TAG)], data, shape)

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """x: [..., inputs]. Returns [..., outputs] of the same dtype."""
        flat = x.detach().reshape(-1, x.shape[-1]).float().numpy()
        return torch.from_numpy(self._matrix(flat)).to(x.dtype).view(*x.shape[:-1], self._matrix.rows)
