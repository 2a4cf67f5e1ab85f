"""Matrices in the native core's tiles: packing, products, row look-up.

A product is x [T, columns] times the matrix transposed, float32; its rows have the same bits for any T, any number
of threads, any instruction set, and whether the bytes are tiles or GGUF's own rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vortex.errors import UnsupportedModel
from vortex.kernels import dispatch
from vortex.kernels.formats import Format


def check_columns(kind: Format, columns: int) -> None:
    if columns % kind.column_multiple:
        raise UnsupportedModel(
            f"a {kind.name} matrix of {columns} columns: the format needs a multiple of {kind.column_multiple}"
        )


def tile_bytes(kind: Format, rows: int, columns: int) -> int:
    return int(dispatch.load().tile_bytes(int(kind), rows, columns))


def pack(kind: Format, data: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """GGUF rows (any shape of uint8, rows * row bytes in all) to tiles, uint8 [tile bytes]."""
    check_columns(kind, columns)
    native = dispatch.load()
    tiles = np.empty(native.tile_bytes(int(kind), rows, columns), np.uint8)
    native.pack(int(kind), _flat(data), rows, columns, tiles)
    return tiles


class PackedMatrix:
    """A matrix that products are taken with. `data` may be read-only and is not copied when it is contiguous."""

    def __init__(
        self,
        kind: Format,
        data: np.ndarray,
        shape: tuple[int, int],
        *,
        packed: bool = True,
    ) -> None:
        check_columns(kind, shape[1])
        self.kind, self.rows, self.columns = kind, *shape
        self.num_bytes = data.nbytes
        self._module = dispatch.load()
        self.native: Any = self._module.Matrix(int(kind), _flat(data), *shape, packed)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """x: float32 [T, columns]. Returns float32 [T, rows]."""
        x = np.ascontiguousarray(x, np.float32)
        y = np.empty((len(x), self.rows), np.float32)
        if len(x):
            self._module.product(self.native, x, y)
        return y

    def gather(self, row_ids: np.ndarray, scale: float = 1.0) -> np.ndarray:
        """Rows as float32 [len(row_ids), columns], times `scale`."""
        out = np.empty((len(row_ids), self.columns), np.float32)
        self._module.gather(self.native, np.ascontiguousarray(row_ids, np.int64), scale, out)
        return out


def _flat(data: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(data).reshape(-1).view(np.uint8)
