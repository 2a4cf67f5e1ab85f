"""LAVA's step form in numpy: between its two projections, one sequence, token by token.

A token reads what earlier chunks wrote; when a chunk is whole, its best pairs are written in the order of time. A row
has the same bits for any cut. The torch twin is vblocks/network/lava.py with vblocks/network/lava_memory.py.
Shapes: T rows, H heads, K key width, V value width, P tokens of a chunk.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from vortex.vblocks.lava_options import LavaOptions, random_rank
from vortex.vblocks.step.lava_slots import LavaSlots
from vortex.vblocks.step.math import conv_rows, log_sigmoid, silu, unit


@dataclass(frozen=True, slots=True)
class LavaWeights:
    """conv [taps, H (2 K + V)]; gamma, null_logit [H]; write_bias [1]; null_value [H, V]."""

    options: LavaOptions
    conv: np.ndarray
    gamma: np.ndarray
    write_bias: np.ndarray
    null_logit: np.ndarray
    null_value: np.ndarray


@dataclass(slots=True)
class LavaSequence:
    """tail [taps - 1, ...]; slots; the pairs that wait: keys [P, H, K], values [P, H, V], gate, surprise [P].

    held [H, V]: the last read. position: tokens so far; position mod P of them wait.
    """

    tail: np.ndarray
    slots: LavaSlots
    keys: np.ndarray
    values: np.ndarray
    gate: np.ndarray
    surprise: np.ndarray
    held: np.ndarray
    position: int = 0

    @classmethod
    def empty(cls, weights: LavaWeights, slots: LavaSlots | None = None) -> LavaSequence:
        options = weights.options
        taps, mixed = weights.conv.shape
        chunk, heads = options.write_every, options.heads
        return cls(
            tail=np.zeros((taps - 1, mixed), np.float32),
            slots=slots or LavaSlots.empty(options),
            keys=np.zeros((chunk, heads, options.key_dim), np.float32),
            values=np.zeros((chunk, heads, options.value_dim), np.float32),
            gate=np.zeros(chunk, np.float32),
            surprise=np.zeros(chunk, np.float32),
            held=np.zeros((heads, options.value_dim), np.float32),
        )

    @property
    def num_bytes(self) -> int:
        arrays = (self.tail, self.keys, self.values, self.gate, self.surprise, self.held)
        return self.slots.num_bytes + sum(array.nbytes for array in arrays)

    def branch(self) -> LavaSequence:
        """A sequence that goes on from here while this one stays as it is."""
        return dataclasses.replace(
            self,
            slots=self.slots.share(),
            keys=self.keys.copy(),
            values=self.values.copy(),
            gate=self.gate.copy(),
            surprise=self.surprise.copy(),
        )


def lava_rows(
    sequence: LavaSequence, projected: np.ndarray, surprise_T: np.ndarray, weights: LavaWeights
) -> tuple[np.ndarray, LavaSequence]:
    """`projected`: rows of in_proj. Returns (rows for out_proj, the sequence after them); `sequence` stays as it is."""
    options, mixed_width = weights.options, weights.conv.shape[1]
    after = sequence.branch()
    mixed, after.tail = conv_rows(sequence.tail, projected[:, :mixed_width], weights.conv)
    keys = options.heads * options.key_dim
    q = unit(mixed[:, :keys].reshape(len(mixed), options.heads, options.key_dim))
    k = unit(mixed[:, keys : 2 * keys].reshape(len(mixed), options.heads, options.key_dim))
    v = mixed[:, 2 * keys :].reshape(len(mixed), options.heads, options.value_dim)
    gate = np.exp(log_sigmoid(projected[:, -1] + weights.write_bias))
    reads = np.empty((len(projected), options.heads, options.value_dim), np.float32)
    for row in range(len(projected)):
        if after.position % options.read_every == 0:
            found, null = after.slots.read(q[row], weights.gamma, weights.null_logit)
            after.held = found + null[:, None] * weights.null_value
        reads[row] = after.held
        _remember(after, (k[row], v[row], gate[row], surprise_T[row]))
    opened = silu(np.ascontiguousarray(projected[:, mixed_width:-1]))
    return reads.reshape(opened.shape) * opened, after


def _remember(sequence: LavaSequence, pair: tuple[np.ndarray, np.ndarray, np.float32, np.float32]) -> None:
    """The pair waits; a whole chunk is written."""
    options = sequence.slots.options
    place = sequence.position % options.write_every
    sequence.keys[place], sequence.values[place], sequence.gate[place], sequence.surprise[place] = pair
    sequence.position += 1
    if place < options.write_every - 1:
        return
    chunk = sequence.position // options.write_every
    for index in chosen_pairs(sequence, options):
        score = sequence.surprise[index] * sequence.gate[index]
        if not options.write_on_surprise or score > options.surprise_threshold:
            sequence.slots.write(sequence.keys[index], sequence.values[index], sequence.gate[index], chunk)


def chosen_pairs(sequence: LavaSequence, options: LavaOptions) -> np.ndarray:
    """Places in the chunk of the pairs that are written, in the order of time."""
    if options.rank == "random":
        first = sequence.position - options.write_every
        scores = np.array([random_rank(first + place) for place in range(options.write_every)], np.float32)
    else:
        scores = sequence.gate if options.rank == "gate" else sequence.surprise * sequence.gate
    return np.sort(np.argsort(-scores, kind="stable")[: options.writes_per_chunk])
