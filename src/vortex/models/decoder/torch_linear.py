"""Linear layers in torch over a packed folder: y [B, rows] = x [B, columns] @ w.T, bfloat16 in and out.

Packed planes run through the 4-bit CPU kernel, whose rows are bit-identical for any batch. Dense matrices promise
nothing of the kind, so they are multiplied a group of rows at a time: a group's shape is its own affair. Packed rows
(torch_unpack.py) are made dense for each use where their bytes are, or once, and then they are dense matrices too.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from vortex.c3.format.folder import TensorEntry
from vortex.models.decoder.torch_pack import plane_bytes
from vortex.models.decoder.torch_unpack import ROWS_LAYOUTS, dense_rows
from vortex.models.files.formats import GROUP

Plane = tuple[torch.Tensor, torch.Tensor]  # codes uint8 [rows, columns / 2]; bfloat16 [columns / 32, rows, 2]
RowGroups = Sequence[slice]


class PackedLinear:
    """One or more parts `name.0`, `name.1`, ... of different formats, one under the other, over leased views.

    views: uint8, numpy arrays or torch tensors, moved to `device` if they are elsewhere. `unpack`: packed rows become
    dense matrices now, once.
    """

    def __init__(
        self,
        entries: Mapping[str, TensorEntry],
        views: Mapping[str, Any],
        device: torch.device,
        *,
        unpack: bool = False,
    ) -> None:
        self.parts: list[_PlanesPart | _DensePart | _RowsPart] = []
        for name, view in views.items():
            entry, data = entries[name], as_tensor(view, device)
            rows, columns = entry.shape
            if entry.layout in ROWS_LAYOUTS:
                packed = _RowsPart(entry.layout, data, rows, columns)
                self.parts.append(_DensePart(packed.dense()) if unpack else packed)
            elif entry.layout == "torch_bf16":
                self.parts.append(_DensePart(data.view(torch.bfloat16).view(rows, columns)))
            else:
                self.parts.append(_PlanesPart(data, rows, columns))
        assert self.parts, "a linear has parts"

    def __call__(self, x_BD: torch.Tensor, groups: RowGroups) -> torch.Tensor:
        outputs = [part(x_BD, groups) for part in self.parts]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)


class _PlanesPart:
    def __init__(self, data: torch.Tensor, rows: int, columns: int) -> None:
        self.rows = rows
        self.planes: list[Plane] = []
        code_bytes, pair_bytes = plane_bytes(rows, columns)
        for start in range(0, len(data), code_bytes + pair_bytes):
            code = data[start : start + code_bytes].view(-1, columns // 2)
            pairs = data[start + code_bytes : start + code_bytes + pair_bytes].view(torch.bfloat16)
            self.planes.append((code, pairs.view(columns // GROUP, -1, 2)))

    def __call__(self, x_BD: torch.Tensor, _: RowGroups) -> torch.Tensor:
        (code, pairs), *rest = self.planes
        y = torch.ops.aten._weight_int4pack_mm_for_cpu(x_BD, code, GROUP, pairs)
        for code, pairs in rest:
            y = y + torch.ops.aten._weight_int4pack_mm_for_cpu(x_BD, code, GROUP, pairs)
        return y if y.shape[-1] == self.rows else y[:, : self.rows]


class _DensePart:
    def __init__(self, weight: torch.Tensor) -> None:
        self.weight = weight

    def __call__(self, x_BD: torch.Tensor, groups: RowGroups) -> torch.Tensor:
        outputs = [F.linear(x_BD[rows], self.weight) for rows in groups]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


class _RowsPart:
    def __init__(self, layout: str, data: torch.Tensor, rows: int, columns: int) -> None:
        self.layout, self.data, self.shape = layout, data, (rows, columns)

    def dense(self) -> torch.Tensor:
        return dense_rows(self.layout, self.data, *self.shape)

    def __call__(self, x_BD: torch.Tensor, groups: RowGroups) -> torch.Tensor:
        return _DensePart(self.dense())(x_BD, groups)


def as_tensor(data: Any, device: torch.device) -> torch.Tensor:
    """A tensor stays what it is; an array's memory is used itself on a CPU: never written to, and freed with it."""
    if isinstance(data, torch.Tensor):
        return data.to(device)
    return _tensor(data).to(device)


def _tensor(data: np.ndarray) -> torch.Tensor:
    with warnings.catch_warnings():  # torch has no read-only tensors, and says so
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(data)


def dense_product(dtype: str, *, accum_fp32: bool) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """x float32 [T, columns] times a weight's bytes (bf16 or fp32, row by row), float32 [T, rows]."""

    def product(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        w = _tensor(weight).view(torch.bfloat16 if dtype == "bf16" else torch.float32).view(-1, x.shape[1])
        kind = torch.float32 if accum_fp32 else w.dtype
        return F.linear(torch.from_numpy(x).to(kind), w.to(kind)).float().numpy()

    return product
