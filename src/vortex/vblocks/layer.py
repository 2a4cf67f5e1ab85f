"""One layer of a core in the step form: its depth gate, and its blocks for the rows that take it.

The blocks are the native core's where the layer's matrices are packed for it (vblocks/native/layer.py), else numpy's
(vblocks/step/blocks.py). Shapes: R rows of a sweep, D width; N kept rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vortex.vblocks.config import CoreConfig
from vortex.vblocks.native import layer as core_native
from vortex.vblocks.step.blocks import NumpyBlocks, block_vectors
from vortex.vblocks.step.delta import DeltaSequence
from vortex.vblocks.step.lava import LavaSequence
from vortex.vblocks.step.lava_slots import LavaSlots
from vortex.vblocks.step.local import LocalSequence
from vortex.vblocks.step.sequence import LayerRecord, LayerRows, LayerSequence
from vortex.vblocks.weights import CoreWeights

Blocks = NumpyBlocks | core_native.NativeBlocks


class CoreLayerStep:
    def __init__(self, config: CoreConfig, index: int, weights: CoreWeights) -> None:
        self.config, self.index, self.weights = config, index, weights
        self._unit = f"layers.{index}.matrices"
        self._vectors = block_vectors(config, index, weights)
        is_native = weights.is_packed(self._unit) and core_native.can_run(config, index)
        blocks = core_native.NativeBlocks if is_native else NumpyBlocks
        self._blocks: Blocks = blocks(config, self._vectors)
        gated = config.is_gated(index)
        self._gate = [weights.vector(f"layers.{index}.gate.{part}") for part in ("weight", "bias")] if gated else None

    def new_sequence(self, slots: LavaSlots | None = None) -> LayerSequence:
        vectors = self._vectors
        lava = LavaSequence.empty(vectors.lava, slots) if vectors.lava else None
        return LayerSequence(LocalSequence.empty(vectors.local), DeltaSequence.empty(vectors.delta), lava)

    def step(
        self, x_RD: np.ndarray, spans: Sequence[LayerRows], depth_R: np.ndarray
    ) -> tuple[np.ndarray, list[LayerSequence], list[LayerRecord]]:
        """(the rows after this layer, each span's next state, each span's record). `depth_R` is counted up."""
        if self._gate is None:
            return self._ungated(x_RD, spans, depth_R)
        kept_R, scale_R, opens = self._gates(x_RD, spans, depth_R)
        depth_R += kept_R
        kept_rows = np.flatnonzero(kept_R)
        pieces, start = [], 0
        for span in spans:
            count = int(np.count_nonzero(kept_R[span.rows]))
            pieces.append(slice(start, start + count))
            start += count
        x, befores = x_RD[kept_rows], [span.before for span in spans]
        with self.weights.matrices(self._unit) as matrices:
            y, states, rows = self._blocks.run(x, befores, pieces, matrices)
        records = [
            LayerRecord(kept_R[span.rows], opened, record)
            for span, opened, record in zip(spans, opens, rows, strict=True)
        ]
        y = self._blocks.blend(x, y, scale_R[kept_rows])
        states = [
            LayerSequence(state.local, state.delta, state.lava, bool(opened[-1]))
            for state, opened in zip(states, opens, strict=True)
        ]
        if len(kept_rows) == len(x_RD):
            return y, states, records
        out = x_RD.copy()
        out[kept_rows] = y
        return out, states, records

    def _ungated(
        self, x_RD: np.ndarray, spans: Sequence[LayerRows], depth_R: np.ndarray
    ) -> tuple[np.ndarray, list[LayerSequence], list[LayerRecord]]:
        depth_R += 1
        pieces = [span.rows for span in spans]
        with self.weights.matrices(self._unit) as matrices:
            y, states, rows = self._blocks.run(x_RD, [span.before for span in spans], pieces, matrices)
        everyone = np.ones(len(x_RD), bool)
        return (
            y,
            states,
            [LayerRecord(everyone[p], everyone[p], record) for p, record in zip(pieces, rows, strict=True)],
        )

    def replay(self, before: LayerSequence, record: LayerRecord, num_tokens: int) -> LayerSequence:
        """The state after the first `num_tokens` of the recorded span, from its rows; the same bits as a sweep's."""
        count = int(np.count_nonzero(record.kept[:num_tokens]))
        state = self._blocks.replay(before, record.rows.first(count)) if count else before
        return LayerSequence(state.local, state.delta, state.lava, bool(record.gate_open[num_tokens - 1]))

    def _gates(
        self, x_RD: np.ndarray, spans: Sequence[LayerRows], depth_R: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """(rows that take the layer, by how much it counts, the trigger after each token by span)."""
        assert self._gate is not None, "other layers are everyone's"
        weight, bias = self._gate
        score = self._blocks.gate_scores(x_RD, weight, bias)
        band = np.float32(self.config.depth_hysteresis)
        opens, closes = np.float32(0.5) + band, np.float32(0.5) - band
        opened = np.empty(len(x_RD), bool)
        for span in spans:
            is_open = span.before.gate_open
            for row in range(span.rows.start, span.rows.stop):
                is_open = (is_open or score[row] > opens) and not score[row] < closes
                opened[row] = is_open
        kept = np.ones_like(opened) if self.index < self.config.depth_min else opened
        if self.config.depth_max:
            kept = kept & (depth_R < self.config.depth_max)
        counts = np.maximum((score - closes) / (1 - closes), np.float32(0))
        return kept, counts, [opened[span.rows] for span in spans]
