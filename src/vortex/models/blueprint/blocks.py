"""The seam between a block (attention, a recurrence, a feed-forward) and whoever sweeps it.

A block is data: numbers of one layer's part, kept as JSON beside packed weights. It says which tensors it needs, what
it remembers of a sequence, and turns rows into rows; weights come through `Call`, so that dense and packed, resident
and paged ones are the same to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from vortex.models.blueprint.slots import Slot
from vortex.models.decoder.compute import Batch, Segment

Shapes = Mapping[str, tuple[int, int]]
"""Tensors by name within the layer: (rows, columns); one row is a vector."""


class Weights(Protocol):
    """One layer's."""

    def vector(self, name: str) -> np.ndarray:
        """float32 [columns]; small matrices that stay in float32 come flat."""
        ...

    def product(self, name: str, x_BD: np.ndarray) -> np.ndarray:
        """x times the matrix transposed, float32 [B, rows]; each row has the bits it would have alone."""
        ...

    def experts(self, x_BD: np.ndarray, routes: Routes, activation: str) -> np.ndarray:
        """Each row's experts, weighted and added in ascending order."""
        ...


@dataclass(frozen=True, slots=True)
class Routes:
    """experts: int64 [B, k], ascending in each row. shares: float32 [B, k]."""

    experts_BK: np.ndarray
    shares_BK: np.ndarray


@dataclass(frozen=True, slots=True)
class Call:
    """One layer's step in one sweep. angles: float64 [B, R] by the name of a rotation. extra: what the embedding made
    for this layer beside the rows (Gemma's per-layer inputs), float32 [B, width], None for models without."""

    index: int
    weights: Weights
    batch: Batch
    epsilon: float
    angles: Mapping[str, np.ndarray]
    extra: np.ndarray | None = None

    def slot(self, segment: Segment, name: str, layer: int | None = None) -> Slot:
        found: Slot = segment.cache.slot(self.index if layer is None else layer, name)
        return found


class Block(Protocol):
    kind: ClassVar[str]

    def shapes(self, width: int) -> Shapes: ...

    def slots(self) -> Mapping[str, Slot]:
        """Empty ones, by name; none for what remembers nothing."""
        ...

    def run(self, x_BD: np.ndarray, call: Call) -> np.ndarray:
        """float32 [B, width], to be added to the rows that flow."""
        ...
