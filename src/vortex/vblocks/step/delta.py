"""The gated delta rule's step form in numpy: between its two projections, one sequence, token by token.

It is the definition of vblocks/network/gated_delta.py, written for one sequence; a row has the same bits for any cut.
Shapes: T rows, H heads, K key width, V value width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vortex.vblocks.step.math import UNIT_EPSILON, conv_rows, rms_norm, sigmoid, silu, softplus, unit


@dataclass(frozen=True, slots=True)
class DeltaWeights:
    """conv [taps, H (2 K + V)]; decay_rate, decay_bias [H]; norm [V]."""

    num_heads: int
    key_dim: int
    conv: np.ndarray
    decay_rate: np.ndarray
    decay_bias: np.ndarray
    norm: np.ndarray


@dataclass(frozen=True, slots=True)
class DeltaSequence:
    """tail [taps - 1, H (2 K + V)]; matrix [H, K, V]. Never changed in place."""

    tail: np.ndarray
    matrix: np.ndarray

    @classmethod
    def empty(cls, weights: DeltaWeights) -> DeltaSequence:
        taps, mixed = weights.conv.shape
        shape = (weights.num_heads, weights.key_dim, len(weights.norm))
        return cls(np.zeros((taps - 1, mixed), np.float32), np.zeros(shape, np.float32))

    @property
    def num_bytes(self) -> int:
        return self.tail.nbytes + self.matrix.nbytes


def delta_rows(
    sequence: DeltaSequence, projected: np.ndarray, weights: DeltaWeights
) -> tuple[np.ndarray, np.ndarray, DeltaSequence]:
    """`projected`: rows of in_proj. Returns (rows for out_proj, surprise [T], the sequence after them)."""
    heads, mixed_width = weights.num_heads, weights.conv.shape[1]
    mixed, tail = conv_rows(sequence.tail, projected[:, :mixed_width], weights.conv)
    mixed = silu(mixed)
    keys = heads * weights.key_dim
    q = unit(mixed[:, :keys].reshape(len(projected), heads, weights.key_dim))
    k = unit(mixed[:, keys : 2 * keys].reshape(len(projected), heads, weights.key_dim))
    v = mixed[:, 2 * keys :].reshape(len(projected), heads, len(weights.norm))
    gate, rates = projected[:, mixed_width : -2 * heads], np.ascontiguousarray(projected[:, -2 * heads :])
    decay = np.exp(-np.exp(weights.decay_rate) * softplus(rates[:, :heads] + weights.decay_bias))
    outputs, errors, matrix = _recur(q, k, v, (decay, sigmoid(rates[:, heads:])), sequence.matrix)
    surprise = (np.sum(errors * errors, -1) / (np.sum(v * v, -1) + UNIT_EPSILON)).mean(-1)
    y = rms_norm(outputs, weights.norm, 1e-6).reshape(gate.shape) * silu(np.ascontiguousarray(gate))
    return y, surprise, DeltaSequence(tail, matrix)


def _recur(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, rates: tuple[np.ndarray, np.ndarray], matrix: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(outputs, errors [T, H, V], the matrix after them)."""
    decay, rate = rates
    outputs, errors, matrix = np.empty_like(v), np.empty_like(v), matrix.copy()
    written = rate[..., None] * k
    for t in range(len(v)):
        matrix *= decay[t][:, None, None]
        error = v[t] - np.matmul(k[t][:, None, :], matrix)[:, 0]
        matrix += written[t][:, :, None] * error[:, None, :]
        outputs[t] = np.matmul(q[t][:, None, :], matrix)[:, 0]
        errors[t] = error
    return outputs, errors, matrix
