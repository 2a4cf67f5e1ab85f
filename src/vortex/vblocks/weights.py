"""A core's weights as its step form wants them: matrices leased unit by unit, vectors for good.

A layer is one unit, `layers.3.matrices`; the head is `head`, the further heads `mtp.0`, …. Resident, a checkpoint in
memory is the source (`MemorySource`); packed into a `.c3` folder, any WeightSource is: C3 pages a core like any model.
Layouts: `tiles16_<FORMAT>` (native core), `rows_f32` (numpy), `f32` (vectors and the embedding).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from gguf.constants import GGMLQuantizationType
from gguf.quants import quantize

from vortex.c3.format.folder import C3Writer, TensorEntry
from vortex.c3.paging.retention import TokenExperts
from vortex.c3.sources import Lease, WeightSource, units_of
from vortex.errors import ConfigError
from vortex.kernels import dispatch
from vortex.kernels.formats import Format
from vortex.kernels.packed import PackedMatrix, pack
from vortex.vblocks.checkpoint import CoreCheckpoint
from vortex.vblocks.config import CoreConfig
from vortex.vblocks.layout import tensor_shapes

Product = Callable[[np.ndarray], np.ndarray]  # [T, columns] to [T, rows], float32, row by row the same bits
FORMS = {"float32": Format.F32, "bf16": Format.BF16, "int8": Format.Q8_0, "int4": Format.Q4_1}
PLAIN_ROWS = "rows_f32"
SMALL_CORE = 16 << 20  # weights that auto keeps in float32; larger ones are rounded to 8 bits, as other models' are


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor as it is kept: its name there, its layout and bytes."""

    name: str
    layout: str
    shape: tuple[int, ...]
    data: np.ndarray


def matrix_names(config: CoreConfig, layer: int) -> list[str]:
    """A layer's matrices in the order of a sweep."""
    blocks = ["local", "delta", *(["lava"] if config.has_lava(layer) else []), "mlp"]
    return [f"layers.{layer}.{block}.{side}_proj.weight" for block in blocks for side in ("in", "out")]


def packed_names(config: CoreConfig) -> dict[str, str]:
    """Checkpoint name of every matrix to its name in a source: unit, then part."""
    names = {}
    for layer in range(config.num_layers):
        for part, name in enumerate(matrix_names(config, layer)):
            names[name] = f"layers.{layer}.matrices.{part}"
    for index in range(config.mtp_k):
        for part, side in enumerate(("in", "out")):
            names[f"mtp.{index}.{side}_proj.weight"] = f"mtp.{index}.matrices.{part}"
    names["embedding.weight" if config.tie_embeddings else "head.weight"] = "head.0"
    return names


def stored_tensors(checkpoint: CoreCheckpoint, form: str = "auto", *, native: bool = True) -> Iterator[StoredTensor]:
    """Everything a source holds, in a sweep's order; the embedding as rows, and once more as the head where it is."""
    weights, names = checkpoint.weights, packed_names(checkpoint.config)
    if form != "auto" and form not in FORMS:
        raise ConfigError(f"a core's weights are not kept as {form}; set model.compute to auto or {', '.join(FORMS)}")
    is_small = sum(array.size for array in weights.values()) < SMALL_CORE
    rest = FORMS[form] if form != "auto" else Format.F32 if is_small else Format.Q8_0
    embedding = weights["embedding.weight"]
    yield StoredTensor("embedding", "f32", embedding.shape, embedding)
    for name in tensor_shapes(checkpoint.config):
        if name not in names and name != "embedding.weight":
            yield StoredTensor(name, "f32", weights[name].shape, weights[name])
    for name, stored in names.items():
        matrix = np.ascontiguousarray(weights[name], np.float32)
        if not native:
            yield StoredTensor(stored, PLAIN_ROWS, matrix.shape, matrix)
            continue
        kind, rows = rest, exact_q8_rows(matrix) if form == "auto" else None
        if rows is not None:
            kind = Format.Q8_0
        elif matrix.shape[1] % kind.column_multiple:
            kind = Format.BF16
        if rows is None:
            rows = matrix if kind is Format.F32 else quantize(matrix, GGMLQuantizationType[kind.name])
        yield StoredTensor(stored, f"tiles16_{kind.name}", matrix.shape, pack(kind, rows, *matrix.shape))


def exact_q8_rows(matrix: np.ndarray) -> np.ndarray | None:
    """Q8_0 blocks of a matrix that was kept in int8 (core_int8.py): the same numbers, a row's scale in each of its
    blocks. None where rows are no whole numbers times a float16. uint8 [rows, columns / 32 * 34]."""
    num_rows, columns = matrix.shape
    if columns % Format.Q8_0.column_multiple:
        return None
    scale = (np.abs(matrix).max(axis=1, keepdims=True) / 127).astype(np.float16)
    codes = np.rint(matrix / np.maximum(scale, np.float16(6e-8)).astype(np.float32))
    if np.abs(codes).max(initial=0) > 127 or not np.array_equal(codes * scale.astype(np.float32), matrix):
        return None
    block = Format.Q8_0.column_multiple
    scales = np.broadcast_to(scale.view(np.uint8)[:, None], (num_rows, columns // block, 2))
    values = codes.astype(np.int8).view(np.uint8).reshape(num_rows, -1, block)
    return np.concatenate([scales, values], axis=2).reshape(num_rows, -1)


def write_core(checkpoint: CoreCheckpoint, writer: C3Writer, form: str = "auto") -> None:
    """The checkpoint's weights into a `.c3` folder, for the native core where it is in use."""
    for tensor in stored_tensors(checkpoint, form, native=dispatch.usable()):
        writer.add(tensor.name, tensor.layout, tensor.shape, tensor.data)


class MemorySource:
    """A WeightSource over a checkpoint in memory."""

    bytes_to_fetch = 0

    def __init__(self, checkpoint: CoreCheckpoint, form: str = "auto", *, native: bool | None = None) -> None:
        native = dispatch.usable() if native is None else native
        tensors = list(stored_tensors(checkpoint, form, native=native))
        self._data = {t.name: np.ascontiguousarray(t.data).reshape(-1).view(np.uint8) for t in tensors}
        self.entries: Mapping[str, TensorEntry] = {
            t.name: TensorEntry(t.name, t.layout, t.shape, self._data[t.name].nbytes, ()) for t in tensors
        }
        self._units = units_of(self.entries)

    @contextmanager
    def lease(self, unit: str) -> Iterator[Lease]:
        yield Lease({entry.name: self._data[entry.name] for entry in self._units[unit]}, lasts=True)

    def experts(self, layer: int, token_experts: TokenExperts) -> Iterator[tuple[int, Lease]]:
        raise AssertionError("a core has no experts")

    def read(self, name: str) -> np.ndarray:
        return self._data[name]

    def counters(self) -> Mapping[str, float]:
        return {}

    def close(self) -> None:
        """Nothing to give back."""


class CoreWeights:
    """What a sweep asks for: `matrices(unit)` for the time of a `with` block, `vector(name)` for good."""

    def __init__(self, source: WeightSource) -> None:
        self.source = source
        self._kept: dict[str, list[Product]] = {}
        self.embedding = self._array("embedding")

    @property
    def weight_bytes(self) -> int:
        """Of all units: what one sweep reads."""
        units = units_of(self.source.entries)
        return sum(entry.num_bytes for entries in units.values() for entry in entries)

    def is_packed(self, unit: str) -> bool:
        """Whether the unit's matrices are the native core's."""
        return self.source.entries[f"{unit}.0"].layout != PLAIN_ROWS

    def stays(self, unit: str) -> bool:
        """Whether the unit's matrices may be kept: a lease of them lasts."""
        with self.source.lease(unit) as lease:
            return lease.lasts

    def vector(self, name: str) -> np.ndarray:
        """float32, of its shape, aligned."""
        return self._array(name).copy()

    @contextmanager
    def matrices(self, unit: str) -> Iterator[list[Product]]:
        """The unit's matrices by their part numbers."""
        with self.source.lease(unit) as lease:
            products = self._kept.get(unit)
            if products is None:
                products = [_product(self.source.entries[name], view) for name, view in lease.views.items()]
                if lease.lasts:
                    self._kept[unit] = products
            yield products

    def close(self) -> None:
        self._kept.clear()
        self.source.close()

    def _array(self, name: str) -> np.ndarray:
        return self.source.read(name).view(np.float32).reshape(self.source.entries[name].shape)


def _product(entry: TensorEntry, view: np.ndarray) -> Product:
    rows, columns = entry.shape
    if entry.layout == PLAIN_ROWS:
        matrix = view.view(np.float32).reshape(rows, columns)
        return lambda x: _row_by_row(matrix, x)
    kind = Format[entry.layout.removeprefix("tiles16_")]
    return PackedMatrix(kind, view, (rows, columns))


def _row_by_row(matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A product per row, so that a row's bits do not depend on how many there are."""
    y = np.empty((len(x), len(matrix)), np.float32)
    for row, out in zip(x, y, strict=True):
        np.dot(matrix, row, out=out)
    return y
