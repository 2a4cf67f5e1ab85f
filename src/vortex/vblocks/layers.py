"""A core's layers one after the other from Python: for paged weights, for clusters, and without the native core.

vblocks/native/stack.py does the same in one native call. Shapes: R rows of a sweep, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vortex.vblocks.config import CoreConfig
from vortex.vblocks.layer import CoreLayerStep
from vortex.vblocks.step.lava_slots import LavaSlots
from vortex.vblocks.step.sequence import LayerRecord, LayerRows, Layers, LayerSequence
from vortex.vblocks.weights import CoreWeights


@dataclass(frozen=True, slots=True)
class SweptLayers:
    """A span after a sweep. `state`: as if all of it were committed."""

    steps: LayerByLayer
    before: Layers
    state: Layers
    records: list[LayerRecord]

    @property
    def layers_taken(self) -> int:
        """By all of the span's rows together."""
        return sum(int(np.count_nonzero(record.kept)) for record in self.records)

    def replay(self, num_tokens: int) -> Layers:
        """The state after the first `num_tokens` of the span."""
        return tuple(
            step.replay(state, record, num_tokens)
            for step, state, record in zip(self.steps.layers, self.before, self.records, strict=True)
        )


class LayerByLayer:
    """States are tuples of LayerSequence."""

    def __init__(self, config: CoreConfig, weights: CoreWeights) -> None:
        self.config = config
        self.layers = [CoreLayerStep(config, index, weights) for index in range(config.num_layers)]

    def new_state(self, memory: Sequence[LavaSlots] = ()) -> Layers:
        """`memory`: slots of the LAVA layers, or none."""
        lent = (slots.share() for slots in memory)
        return tuple(
            layer.new_sequence(next(lent, None) if self.config.has_lava(layer.index) else None) for layer in self.layers
        )

    def sweep(
        self, x_RD: np.ndarray, states: Sequence[Layers], rows: Sequence[slice]
    ) -> tuple[np.ndarray, list[SweptLayers]]:
        depth_R = np.zeros(len(x_RD), np.int64)
        after: list[list[LayerSequence]] = []
        records: list[list[LayerRecord]] = []
        for index, layer in enumerate(self.layers):
            spans = [LayerRows(state[index], place) for state, place in zip(states, rows, strict=True)]
            x_RD, layer_states, layer_records = layer.step(x_RD, spans, depth_R)
            after.append(layer_states)
            records.append(layer_records)
        return x_RD, [
            SweptLayers(self, state, tuple(s[index] for s in after), [r[index] for r in records])
            for index, state in enumerate(states)
        ]

    def view(self, state: Layers) -> Layers:
        return state

    def num_bytes(self, state: Layers) -> int:
        return sum(layer.num_bytes for layer in state)
