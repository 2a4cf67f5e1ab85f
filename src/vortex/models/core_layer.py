"""One layer of a core in the step form: rows of several sequences through the weights together, each state by itself.

Everything that depends on other tokens happens between two matrices, from the rows that the first one gives. So a
layer's states can be brought to any place of a span again from those rows alone (`replay`), without its weights.
Shapes: R rows of a sweep, D width; N kept rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vortex.blocks.delta_step import DeltaSequence, DeltaWeights, delta_rows
from vortex.blocks.lava_slots import LavaSlots
from vortex.blocks.lava_step import LavaSequence, LavaWeights, lava_rows
from vortex.blocks.local_step import LocalSequence, LocalWeights, local_rows
from vortex.blocks.step_math import rms_norm, sigmoid, silu
from vortex.models.core_config import CoreConfig
from vortex.models.core_weights import CoreWeights, Product


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


@dataclass(slots=True)
class LayerRecord:
    """One span's rows in a layer, kept until its commit: which took the layer, the gate after each, and what the
    first matrix of each block gave for those that did [N, ...]."""

    kept: np.ndarray
    gate_open: np.ndarray
    local: np.ndarray
    delta: np.ndarray
    lava: np.ndarray | None


@dataclass(frozen=True, slots=True)
class LayerRows:
    """A span inside a sweep: its state at the layer, its rows' slice, and (out) its record and next state."""

    before: LayerSequence
    rows: slice


class CoreLayerStep:
    def __init__(self, config: CoreConfig, index: int, weights: CoreWeights) -> None:
        self.config, self.index, self.weights = config, index, weights
        prefix = f"layers.{index}."

        def vector(name: str) -> np.ndarray:
            return weights.vector(prefix + name)

        self._norms = {name: vector(f"{name}_norm.weight") for name in ("local", "mixer", "mlp")}
        self._local = LocalWeights(
            np.ascontiguousarray(vector("local.conv.weight").T),
            vector("local.distance_bias") if config.local_window else None,
        )
        self._delta = DeltaWeights(
            config.num_heads,
            config.key_dim,
            np.ascontiguousarray(vector("delta.conv.weight").T),
            vector("delta.decay_rate"),
            vector("delta.decay_bias"),
            vector("delta.norm"),
        )
        self._lava = None
        if config.has_lava(index):
            self._lava = LavaWeights(
                config.lava,
                np.ascontiguousarray(vector("lava.conv.weight").T),
                np.exp(vector("lava.log_gamma")),
                vector("lava.write_bias"),
                vector("lava.null_logit"),
                vector("lava.null_value"),
            )
        self._gate = (vector("gate.weight"), vector("gate.bias")) if config.is_gated(index) else None

    def new_sequence(self, slots: LavaSlots | None = None) -> LayerSequence:
        lava = LavaSequence.empty(self._lava, slots) if self._lava else None
        return LayerSequence(LocalSequence.empty(self._local), DeltaSequence.empty(self._delta), lava)

    def step(
        self, x_RD: np.ndarray, spans: Sequence[LayerRows], depth_R: np.ndarray
    ) -> tuple[np.ndarray, list[LayerSequence], list[LayerRecord]]:
        """(the rows after this layer, each span's next state, each span's record). `depth_R` is counted up."""
        kept_R, scale_R, opens = self._gates(x_RD, spans, depth_R)
        depth_R += kept_R
        kept_rows = np.flatnonzero(kept_R)
        with self.weights.matrices(f"layers.{self.index}.matrices") as matrices:
            x = x_RD[kept_rows]
            pieces, start = [], 0
            for span in spans:
                count = int(np.count_nonzero(kept_R[span.rows]))
                pieces.append(slice(start, start + count))
                start += count
            y, states, records = self._blocks(x, spans, pieces, matrices)
        for span, record, opened in zip(spans, records, opens, strict=True):
            record.kept, record.gate_open = kept_R[span.rows], opened
        if self._gate is not None:
            y = x + (y - x) * scale_R[kept_rows, None]
            states = [
                LayerSequence(state.local, state.delta, state.lava, bool(opened[-1]))
                for state, opened in zip(states, opens, strict=True)
            ]
        if len(kept_rows) == len(x_RD):
            return y, states, records
        out = x_RD.copy()
        out[kept_rows] = y
        return out, states, records

    def replay(self, before: LayerSequence, record: LayerRecord, num_tokens: int) -> LayerSequence:
        """The state after the first `num_tokens` of the recorded span, from its rows; the same bits as a sweep's."""
        count = int(np.count_nonzero(record.kept[:num_tokens]))
        gate_open = bool(record.gate_open[num_tokens - 1])
        if not count:
            return LayerSequence(before.local, before.delta, before.lava, gate_open)
        _, local = local_rows(before.local, record.local[:count], self._local)
        _, surprise, delta = delta_rows(before.delta, record.delta[:count], self._delta)
        lava = before.lava
        if before.lava is not None:
            assert self._lava is not None, "a layer with slots has their weights"
            assert record.lava is not None, "and its record their rows"
            _, lava = lava_rows(before.lava, record.lava[:count], surprise, self._lava)
        return LayerSequence(local, delta, lava, gate_open)

    def _gates(
        self, x_RD: np.ndarray, spans: Sequence[LayerRows], depth_R: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """(rows that take the layer, their scale, the trigger after each token by span)."""
        if self._gate is None:
            everyone = np.ones(len(x_RD), bool)
            return everyone, everyone, [everyone[span.rows] for span in spans]
        weight, bias = self._gate
        scale = sigmoid((x_RD * weight).sum(axis=1) + bias)
        half, band = np.float32(0.5), self.config.depth_hysteresis
        opened = np.empty(len(x_RD), bool)
        for span in spans:
            is_open = span.before.gate_open
            for row in range(span.rows.start, span.rows.stop):
                is_open = (is_open or scale[row] > half + band) and not scale[row] < half - band
                opened[row] = is_open
        kept = np.ones_like(opened) if self.index < self.config.depth_min else opened
        if self.config.depth_max:
            kept = kept & (depth_R < self.config.depth_max)
        return kept, scale, [opened[span.rows] for span in spans]

    def _blocks(
        self, x: np.ndarray, spans: Sequence[LayerRows], pieces: Sequence[slice], matrices: Sequence[Product]
    ) -> tuple[np.ndarray, list[LayerSequence], list[LayerRecord]]:
        epsilon = self.config.norm_epsilon
        local_in, local_out, delta_in, delta_out, *lava_mats, mlp_in, mlp_out = matrices
        projected = local_in(rms_norm(x, self._norms["local"], epsilon))
        locals_ = [local_rows(s.before.local, projected[p], self._local) for s, p in zip(spans, pieces, strict=True)]
        x = x + local_out(np.concatenate([y for y, _ in locals_]))
        h = rms_norm(x, self._norms["mixer"], epsilon)
        into_delta = delta_in(h)
        deltas = [delta_rows(s.before.delta, into_delta[p], self._delta) for s, p in zip(spans, pieces, strict=True)]
        mixed = delta_out(np.concatenate([y for y, _, _ in deltas]))
        lavas: list[LavaSequence | None] = [None] * len(spans)
        into_lava = None
        if self._lava is not None:
            into_lava = lava_mats[0](h)
            reads = []
            for index, (span, piece) in enumerate(zip(spans, pieces, strict=True)):
                assert span.before.lava is not None, "a layer with a memory has its state"
                read, lavas[index] = lava_rows(span.before.lava, into_lava[piece], deltas[index][1], self._lava)
                reads.append(read)
            mixed = mixed + lava_mats[1](np.concatenate(reads))
        x = x + mixed
        gate_up = mlp_in(rms_norm(x, self._norms["mlp"], epsilon))
        inner = self.config.mlp_width
        x = x + mlp_out(silu(np.ascontiguousarray(gate_up[:, :inner])) * gate_up[:, inner:])
        nothing = np.empty(0, bool)
        records = [
            LayerRecord(nothing, nothing, projected[p], into_delta[p], None if into_lava is None else into_lava[p])
            for p in pieces
        ]
        states = [
            LayerSequence(local, delta, lava)
            for (_, local), (_, _, delta), lava in zip(locals_, deltas, lavas, strict=True)
        ]
        return x, states, records
