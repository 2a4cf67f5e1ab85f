"""The blocks of a core's layer in the native core: one call for a layer and the rows of all sequences.

The readable form is vblocks/step/blocks.py. States are the same values; what a sweep changes of them is copied before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from vortex.kernels import dispatch
from vortex.kernels.packed import PackedMatrix
from vortex.vblocks.config import CoreConfig
from vortex.vblocks.step.blocks import BlockVectors
from vortex.vblocks.step.delta import DeltaSequence
from vortex.vblocks.step.lava import LavaSequence
from vortex.vblocks.step.lava_slots import LavaSlots
from vortex.vblocks.step.local import LocalSequence
from vortex.vblocks.step.sequence import BlockRecord, LayerSequence
from vortex.vblocks.weights import Product

MAX_TAPS = 32  # src/native/core_layer.h
RANKS = ("surprise", "random", "gate")  # LavaRank there


def can_run(config: CoreConfig, index: int) -> bool:
    """Clusters are read in numpy only."""
    taps = max(config.local_conv, config.ssm_conv, config.lava_conv)
    return taps <= MAX_TAPS and not (config.has_lava(index) and config.lava_clusters)


def native_layer(config: CoreConfig, vectors: BlockVectors) -> Any:
    """The layer's shape and vectors as the native core keeps them."""
    shape: dict[str, Any] = dataclasses.asdict(config)
    shape |= {"has_lava": vectors.lava is not None, "lava_rank_number": RANKS.index(config.lava_rank)}
    return dispatch.load().CoreLayer(shape, _named(vectors))


class NativeBlocks:
    def __init__(self, config: CoreConfig, vectors: BlockVectors) -> None:
        module = self._module = dispatch.load()
        self._layer = native_layer(config, vectors)
        self._workspace, self._make_span = module.CoreWorkspace(), module.CoreSpan
        self._window = config.local_window

    def run(
        self, x: np.ndarray, befores: Sequence[LayerSequence], pieces: Sequence[slice], matrices: Sequence[Product]
    ) -> tuple[np.ndarray, list[LayerSequence], list[BlockRecord]]:
        """`pieces`: each sequence's rows of `x`, in order. Returns (rows, states after them, records)."""
        packed = [matrix for matrix in matrices if isinstance(matrix, PackedMatrix)]
        assert len(packed) == len(matrices), "the native core has its own matrices"
        rows = BlockRecord(
            np.empty((len(x), packed[0].rows), np.float32),
            np.empty((len(x), packed[2].rows), np.float32),
            np.empty((len(x), packed[4].rows), np.float32) if len(packed) > 6 else None,
        )
        steps = [
            _Step(self._make_span, before, piece.stop - piece.start, self._window)
            for before, piece in zip(befores, pieces, strict=True)
        ]
        spans = [step.span for step in steps if step.span is not None]
        x = x.copy()
        if spans:
            native = [matrix.native for matrix in packed]
            self._workspace.run(self._layer, native, x, spans, rows.local, rows.delta, rows.lava)
        records = [
            BlockRecord(rows.local[p], rows.delta[p], None if rows.lava is None else rows.lava[p]) for p in pieces
        ]
        return x, [step.after() for step in steps], records

    def gate_scores(self, x_RD: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """The depth gate's score of each row, 0 to 1."""
        scores = np.empty(len(x_RD), np.float32)
        self._module.gate_scores(np.ascontiguousarray(x_RD), weight, float(bias[0]), scores)
        return scores

    def blend(self, x_RD: np.ndarray, y_RD: np.ndarray, scale_R: np.ndarray) -> np.ndarray:
        """x + scale (y - x); `y_RD` is used up."""
        blended = x_RD.copy()
        self._module.blend(blended, y_RD, np.ascontiguousarray(scale_R))
        return blended

    def replay(self, before: LayerSequence, record: BlockRecord) -> LayerSequence:
        """The state after the recorded rows; the same bits as a sweep's."""
        step = _Step(self._make_span, before, len(record.local), self._window)
        if step.span is not None:
            self._workspace.replay(self._layer, [step.span], record.local, record.delta, record.lava)
        return step.after()


class _Step:
    """One sequence on its way through a layer. `span` is None where it has no rows here."""

    def __init__(self, make_span: Any, before: LayerSequence, num_rows: int, window: int) -> None:
        self._before, self.span = before, None
        if not num_rows:
            return
        local, delta = before.local, before.delta
        next_kv = None if local.window_kv is None else np.empty_like(local.window_kv)
        seen = min(window - 1, local.seen + num_rows) if window else 0
        self._local = LocalSequence(np.empty_like(local.tail), next_kv, seen)
        self._delta = DeltaSequence(np.empty_like(delta.tail), np.empty_like(delta.matrix))
        self.span = span = make_span(
            num_rows,
            local.tail,
            self._local.tail,
            local.window_kv,
            next_kv,
            local.seen,
            delta.tail,
            self._delta.tail,
            delta.matrix,
            self._delta.matrix,
        )
        if before.lava is not None:
            self._lava = _copy(before.lava, num_rows)
            _add_lava(span, before.lava, self._lava)

    def after(self) -> LayerSequence:
        span, before = self.span, self._before
        if span is None:
            return before
        if before.lava is None:
            return LayerSequence(self._local, self._delta, None)
        self._lava.position, self._lava.slots.occupied = span.position, span.occupied
        return LayerSequence(self._local, self._delta, self._lava)


def _copy(before: LavaSequence, num_rows: int) -> LavaSequence:
    """A sequence that is about to change: the slots' arrays are its own where a chunk ends within the rows."""
    slots = before.slots.share()
    if before.position % slots.options.write_every + num_rows >= slots.options.write_every:
        slots.own()
    return LavaSequence(
        np.empty_like(before.tail),
        slots,
        before.keys.copy(),
        before.values.copy(),
        before.gate.copy(),
        before.surprise.copy(),
        before.held.copy(),
        before.position,
    )


def _add_lava(span: Any, before: LavaSequence, after: LavaSequence) -> None:
    slots: LavaSlots = after.slots
    span.add_lava(
        before.tail,
        after.tail,
        slots.keys.transpose(0, 2, 1),
        slots.values,
        slots.strength,
        slots.use,
        slots.touched,
        slots.occupied,
        after.keys,
        after.values,
        after.gate,
        after.surprise,
        after.held,
        after.position,
    )


def _named(vectors: BlockVectors) -> dict[str, np.ndarray]:
    local, delta, lava = vectors.local, vectors.delta, vectors.lava
    named = {f"{name}_norm": weight for name, weight in vectors.norms.items()}
    named |= {"local_conv": local.conv, "delta_conv": delta.conv, "delta_norm": delta.norm}
    named |= {"decay_rate": delta.decay_rate, "decay_bias": delta.decay_bias}
    if local.distance_bias is not None:
        named["distance_bias"] = local.distance_bias
    optional = {"rotation": local.rotation, "sink_key": local.sink_key, "sink_value": local.sink_value}
    named |= {name: value for name, value in optional.items() if value is not None}
    if lava is not None:
        named |= {"lava_conv": lava.conv, "lava_gamma": lava.gamma, "lava_null_logit": lava.null_logit}
        named |= {"lava_null_value": lava.null_value, "lava_write_bias": lava.write_bias}
    return {name: np.ascontiguousarray(value, np.float32) for name, value in named.items()}
