"""The blocks of a core's layer over rows of several sequences, in numpy: the readable form of vblocks/native/layer.py.

Everything that depends on other tokens happens between two matrices, from the rows that the first one gives. So a
layer's states can be brought to any place of a span again from those rows alone (`replay`), without its weights.
Shapes: R rows, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vortex.vblocks.config import CoreConfig
from vortex.vblocks.step.delta import DeltaWeights, delta_rows
from vortex.vblocks.step.lava import LavaSequence, LavaWeights, lava_rows
from vortex.vblocks.step.local import LocalWeights, distance_rotation, local_rows
from vortex.vblocks.step.math import rms_norm, sigmoid, silu
from vortex.vblocks.step.sequence import BlockRecord, LayerSequence
from vortex.vblocks.weights import CoreWeights, Product

BLOCKS = ("local", "mixer", "mlp")


@dataclass(frozen=True, slots=True)
class BlockVectors:
    """A layer's weights beside its matrices. norms: by the names of BLOCKS, [D]."""

    norms: dict[str, np.ndarray]
    local: LocalWeights
    delta: DeltaWeights
    lava: LavaWeights | None


def block_vectors(config: CoreConfig, index: int, weights: CoreWeights) -> BlockVectors:
    def vector(name: str) -> np.ndarray:
        return weights.vector(f"layers.{index}.{name}")

    def taps(name: str) -> np.ndarray:
        return np.ascontiguousarray(vector(name).T)

    lava = None
    if config.has_lava(index):
        gamma = np.exp(vector("lava.log_gamma"))
        null = vector("lava.null_logit"), vector("lava.null_value")
        lava = LavaWeights(config.lava, taps("lava.conv.weight"), gamma, vector("lava.write_bias"), *null)
    rates = vector("delta.decay_rate"), vector("delta.decay_bias")
    return BlockVectors(
        {name: vector(f"{name}_norm.weight") for name in BLOCKS},
        _local_weights(config, vector, taps("local.conv.weight")),
        DeltaWeights(config.num_heads, config.key_dim, taps("delta.conv.weight"), *rates, vector("delta.norm")),
        lava,
    )


def _local_weights(config: CoreConfig, vector: Callable[[str], np.ndarray], conv: np.ndarray) -> LocalWeights:
    window, base = config.local_window, config.local_rope_base
    if not window:
        return LocalWeights(conv, None)
    return LocalWeights(
        conv,
        vector("local.distance_bias"),
        distance_rotation(window, config.width // config.local_heads, base) if base else None,
        vector("local.sink_key") if config.local_sink else None,
        vector("local.sink_value") if config.local_sink else None,
        config.local_kv_heads or config.local_heads,
    )


class NumpyBlocks:
    def __init__(self, config: CoreConfig, vectors: BlockVectors) -> None:
        self.config, self.vectors = config, vectors

    def run(
        self, x: np.ndarray, befores: Sequence[LayerSequence], pieces: Sequence[slice], matrices: Sequence[Product]
    ) -> tuple[np.ndarray, list[LayerSequence], list[BlockRecord]]:
        """`pieces`: each sequence's rows of `x`, in order. Returns (rows, states after them, records)."""
        vectors, epsilon = self.vectors, self.config.norm_epsilon
        local_in, local_out, delta_in, delta_out, *lava_mats, mlp_in, mlp_out = matrices
        projected = local_in(rms_norm(x, vectors.norms["local"], epsilon))
        locals_ = [local_rows(s.local, projected[p], vectors.local) for s, p in zip(befores, pieces, strict=True)]
        x = x + local_out(np.concatenate([y for y, _ in locals_]))
        h = rms_norm(x, vectors.norms["mixer"], epsilon)
        into_delta = delta_in(h)
        deltas = [delta_rows(s.delta, into_delta[p], vectors.delta) for s, p in zip(befores, pieces, strict=True)]
        mixed = delta_out(np.concatenate([y for y, _, _ in deltas]))
        lavas: list[LavaSequence | None] = [None] * len(befores)
        into_lava = None
        if vectors.lava is not None:
            into_lava = lava_mats[0](h)
            reads = []
            for index, (before, piece) in enumerate(zip(befores, pieces, strict=True)):
                assert before.lava is not None, "a layer with a memory has its state"
                read, lavas[index] = lava_rows(before.lava, into_lava[piece], deltas[index][1], vectors.lava)
                reads.append(read)
            mixed = mixed + lava_mats[1](np.concatenate(reads))
        x = x + mixed
        gate_up = mlp_in(rms_norm(x, vectors.norms["mlp"], epsilon))
        inner = self.config.mlp_width
        x = x + mlp_out(silu(np.ascontiguousarray(gate_up[:, :inner])) * gate_up[:, inner:])
        records = [
            BlockRecord(projected[p], into_delta[p], None if into_lava is None else into_lava[p]) for p in pieces
        ]
        states = [
            LayerSequence(local, delta, lava)
            for (_, local), (_, _, delta), lava in zip(locals_, deltas, lavas, strict=True)
        ]
        return x, states, records

    def gate_scores(self, x_RD: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """The depth gate's score of each row, 0 to 1."""
        return sigmoid((x_RD * weight).sum(axis=1) + bias)

    def blend(self, x_RD: np.ndarray, y_RD: np.ndarray, scale_R: np.ndarray) -> np.ndarray:
        """What the layer adds counts as much as its gate says (vblocks/network/depth_gate.py)."""
        return x_RD + (y_RD - x_RD) * scale_R[:, None]

    def replay(self, before: LayerSequence, record: BlockRecord) -> LayerSequence:
        """The state after the recorded rows; the same bits as a sweep's."""
        vectors = self.vectors
        _, local = local_rows(before.local, record.local, vectors.local)
        _, surprise, delta = delta_rows(before.delta, record.delta, vectors.delta)
        lava = before.lava
        if lava is not None:
            assert vectors.lava is not None, "a layer with slots has their weights"
            assert record.lava is not None, "and its record their rows"
            _, lava = lava_rows(lava, record.lava, surprise, vectors.lava)
        return LayerSequence(local, delta, lava)
