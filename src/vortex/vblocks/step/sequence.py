"""What a layer of a core remembers of one sequence, and what a sweep keeps of it until its commit.

Shapes: N kept rows of a span.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vortex.vblocks.step.delta import DeltaSequence
from vortex.vblocks.step.lava import LavaSequence
from vortex.vblocks.step.local import LocalSequence


@dataclass(frozen=True, slots=True)
class LayerSequence:
    """What a layer remembers of one sequence. Values are never changed once a sweep is over."""

    local: LocalSequence
    delta: DeltaSequence
    lava: LavaSequence | None
    gate_open: bool = True

    @property
    def num_bytes(self) -> int:
        return self.local.num_bytes + self.delta.num_bytes + (self.lava.num_bytes if self.lava else 0)


@dataclass(frozen=True, slots=True)
class BlockRecord:
    """What the first matrix of each block gave for a span's kept rows, float32 [N, ...] in rows that lie together."""

    local: np.ndarray
    delta: np.ndarray
    lava: np.ndarray | None

    def first(self, count: int) -> BlockRecord:
        return BlockRecord(self.local[:count], self.delta[:count], None if self.lava is None else self.lava[:count])


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """One span's rows in a layer: which took it, the gate after each (both bool, all rows), and its kept rows."""

    kept: np.ndarray
    gate_open: np.ndarray
    rows: BlockRecord


@dataclass(frozen=True, slots=True)
class LayerRows:
    """A span inside a sweep: its state at the layer and its rows' slice."""

    before: LayerSequence
    rows: slice


Layers = tuple[LayerSequence, ...]  # of all layers, from the first on
