"""A blueprint's weights packed for the native core, in a `.c3` folder: what is written, checked, and multiplied with.

A layer's matrices are one unit (`layers.3.matrices.0`, … in the order of the blueprint), each expert one of its own
(`layers.3.experts.7.gate.0`); vectors, routers and what a block wants flat are float32 beside them; embeddings are
rows as GGUF has them. A tied head is packed once more, since products want tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vortex.c3.format.folder import C3Writer, TensorEntry
from vortex.c3.sources import WeightSource, units_of
from vortex.errors import ModelFileError
from vortex.kernels import dispatch
from vortex.kernels.formats import Format, Gate
from vortex.kernels.packed import PackedMatrix, tile_bytes
from vortex.kernels.packed import pack as pack_tiles
from vortex.models.blueprint.blocks import Routes
from vortex.models.blueprint.blueprint import Blueprint
from vortex.models.blueprint.dense import BlueprintCheckpoint
from vortex.models.decoder.native_pack import PACKED_TAG, in_known_format
from vortex.models.files.formats import dense

EMBEDDINGS = ("embedding", "per_layer_embedding")
FLOAT_MATRICES = ("router",)  # few rows that decide much
EXPERT_PARTS = ("gate", "up", "down")
Progress = Callable[[int, int], None]


def _is_vector(name: str, rows: int) -> bool:
    return rows == 1 or name.rsplit(".", 1)[-1] in FLOAT_MATRICES


def stored_names(blueprint: Blueprint) -> Iterator[tuple[str, str, str]]:
    """(name in the folder, name in the blueprint, kind: rows | vector | matrix), in a sweep's order."""
    for name, (rows, _) in blueprint.top_shapes().items():
        if name in EMBEDDINGS:
            yield name, name, "rows"
        elif _is_vector(name, rows):
            yield name, name, "vector"
        elif name != "head":
            yield f"{name}.0", name, "matrix"
    for layer in range(blueprint.num_layers):
        number = 0
        for name, (rows, _) in blueprint.shapes(layer).items():
            full = f"layers.{layer}.{name}"
            if _is_vector(name, rows):
                yield full, full, "vector"
            elif name.startswith("experts."):
                yield f"{full}.0", full, "matrix"
            else:
                yield f"layers.{layer}.matrices.{number}", full, "matrix"
                number += 1
    yield "head.0", "embedding" if blueprint.tied_head else "head", "matrix"


def pack_blueprint(
    checkpoint: BlueprintCheckpoint, writer: C3Writer, form: str = "auto", progress: Progress | None = None
) -> None:
    names = list(stored_names(checkpoint.blueprint))
    for done, (stored, name, kind) in enumerate(names, 1):
        tensor = checkpoint.tensor(name)
        if kind == "vector":
            values = dense(tensor)
            writer.add(stored, "f32", values.shape, values)
        else:
            known, data = in_known_format(tensor, name, form)
            shape = (tensor.rows, tensor.columns)
            if kind == "rows":
                writer.add(stored, f"ggml_{known.name}", shape, data)
            else:
                writer.add(stored, f"{PACKED_TAG}_{known.name}", shape, pack_tiles(known, data, *shape))
        if progress:
            progress(done, len(names))


def check_packed(blueprint: Blueprint, entries: Mapping[str, TensorEntry], path: Path) -> None:
    """Raises ModelFileError for the first tensor that is missing or does not fit."""
    shapes = blueprint.all_shapes()
    for stored, name, kind in stored_names(blueprint):
        entry, shape = entries.get(stored), shapes[name]
        if entry is None or entry.shape != shape or not _fits(entry, kind):
            what = "is missing" if entry is None else f"is {entry.layout} {entry.shape} in {entry.num_bytes} bytes"
            raise ModelFileError(
                f"{path} does not fit its own configuration ({stored} {what}); delete it to have it packed anew"
            )


def _fits(entry: TensorEntry, kind: str) -> bool:
    rows, columns = entry.shape
    tag, _, name = entry.layout.partition("_")
    if kind == "vector":
        return entry.layout == "f32" and entry.num_bytes == 4 * rows * columns
    if name not in Format.__members__ or columns % Format[name].column_multiple:
        return False
    if kind == "matrix":
        return tag == PACKED_TAG and entry.num_bytes == tile_bytes(Format[name], rows, columns)
    return tag == "ggml" and entry.num_bytes == int(dispatch.load().gguf_bytes(int(Format[name]), rows, columns))


class PackedLayer:
    """matrices: by name within the layer."""

    def __init__(self, weights: PackedWeights, index: int, matrices: Mapping[str, PackedMatrix]) -> None:
        self._weights, self._index, self._matrices = weights, index, matrices

    def vector(self, name: str) -> np.ndarray:
        return self._weights.top(f"layers.{self._index}.{name}")

    def product(self, name: str, x_BD: np.ndarray) -> np.ndarray:
        return self._matrices[name](x_BD)

    def experts(self, x_BD: np.ndarray, routes: Routes, activation: str) -> np.ndarray:
        return self._weights.through_experts(self._index, x_BD, routes, activation)


class PackedWeights:
    """A `compute.ModelWeights` over a weight source."""

    def __init__(self, blueprint: Blueprint, source: WeightSource, *, threads: int = 0) -> None:
        self._native, self.source, self._blueprint = dispatch.load(threads), source, blueprint
        self._workspace = self._native.ExpertWorkspace()
        entries = source.entries
        names = list(stored_names(blueprint))
        self._vectors = {stored: source.read(stored).view(np.float32) for stored, _, kind in names if kind == "vector"}
        self._rows = {
            stored: _matrix(entries[stored], source.read(stored)) for stored, _, kind in names if kind == "rows"
        }
        self._parts = [
            [name.split(".", 2)[2] for stored, name, _ in names if stored.startswith(f"layers.{index}.matrices.")]
            for index in range(blueprint.num_layers)
        ]
        self.num_bytes = sum(entry.num_bytes for parts in units_of(entries).values() for entry in parts)
        self._resident: dict[str, Any] = {}

    @property
    def bytes_to_fetch(self) -> int:
        return self.source.bytes_to_fetch

    @contextmanager
    def layer(self, index: int) -> Iterator[PackedLayer]:
        with self._leased(f"layers.{index}.matrices") as matrices:
            yield PackedLayer(self, index, dict(zip(self._parts[index], matrices, strict=True)))

    def rows_of(self, name: str, row_ids: np.ndarray) -> np.ndarray:
        return self._rows[name].gather(row_ids)

    def top(self, name: str) -> np.ndarray:
        return self._vectors[name]

    def top_product(self, name: str, x_BD: np.ndarray) -> np.ndarray:
        with self._leased("head" if name in {"embedding", "head"} else name) as (matrix,):
            product: np.ndarray = matrix(x_BD)
            return product

    def through_experts(self, index: int, x_BD: np.ndarray, routes: Routes, activation: str) -> np.ndarray:
        """Experts in ascending order; those that stay go in one call."""
        x_BD, out = np.ascontiguousarray(x_BD, np.float32), np.zeros(x_BD.shape, np.float32)
        waiting: list[tuple[Any, np.ndarray, np.ndarray]] = []
        for expert, lease in self.source.experts(index, routes.experts_BK.tolist()):
            rows, places = np.nonzero(routes.experts_BK == expert)
            shares = np.ascontiguousarray(routes.shares_BK[rows, places], np.float32)
            waiting.append((self._expert(f"layers.{index}.experts.{expert}", lease, activation), rows, shares))
            if not lease.lasts:
                self._feed(waiting, x_BD, out)
                waiting = []
        self._feed(waiting, x_BD, out)
        return out

    def _feed(self, experts: list[tuple[Any, np.ndarray, np.ndarray]], x_BD: np.ndarray, out: np.ndarray) -> None:
        if experts:
            natives, rows, shares = (list(part) for part in zip(*experts, strict=True))
            self._workspace.run(natives, [np.ascontiguousarray(one, np.int64) for one in rows], shares, x_BD, out)

    def _expert(self, unit: str, lease: Any, activation: str) -> Any:
        if unit in self._resident:
            return self._resident[unit]
        names = {name: f"{unit}.{name}.0" for name in EXPERT_PARTS}
        matrices = {name: _matrix(self.source.entries[full], lease.views[full]).native for name, full in names.items()}
        made = self._native.Expert(matrices, {}, int(Gate[activation]), 0.0)
        if lease.lasts:
            self._resident[unit] = made
        return made

    @contextmanager
    def _leased(self, unit: str) -> Iterator[list[PackedMatrix]]:
        if unit in self._resident:
            yield self._resident[unit]
            return
        with self.source.lease(unit) as lease:
            made = [_matrix(self.source.entries[name], data) for name, data in lease.views.items()]
            if lease.lasts and not self.bytes_to_fetch:
                self._resident[unit] = made
            yield made

    def counters(self) -> Mapping[str, float]:
        return self.source.counters()

    def close(self) -> None:
        self._resident.clear()
        self.source.close()


def _matrix(entry: TensorEntry, data: np.ndarray) -> PackedMatrix:
    layout, _, kind = entry.layout.partition("_")
    return PackedMatrix(Format[kind], data, (entry.shape[0], entry.shape[1]), packed=layout == PACKED_TAG)
