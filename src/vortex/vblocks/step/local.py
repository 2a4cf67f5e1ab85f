"""LocalMixer's step form in numpy: between its two projections, one sequence, any number of rows.

Rows are computed one by one where the window is attended to, so a row has the same bits for any cut of the sequence.
The torch twin is vblocks/network/local_mixer.py.
Shapes: T rows, D width, H heads, G heads of keys and values, K head width, W window.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vortex.vblocks.step.math import conv_rows, silu


@dataclass(frozen=True, slots=True)
class LocalWeights:
    """conv [taps, D]; distance_bias [H, W] or None. Of a window, each or None: rotation [W, K], of `distance_rotation`;
    sink_key and sink_value [G, K]. kv_heads: G, with a window."""

    conv: np.ndarray
    distance_bias: np.ndarray | None
    rotation: np.ndarray | None = None
    sink_key: np.ndarray | None = None
    sink_value: np.ndarray | None = None
    kv_heads: int = 0


@dataclass(frozen=True, slots=True)
class LocalSequence:
    """tail [taps - 1, D]; window_kv [W - 1, 2, G, K] or None; seen: how many of its rows exist."""

    tail: np.ndarray
    window_kv: np.ndarray | None
    seen: int

    @classmethod
    def empty(cls, weights: LocalWeights) -> LocalSequence:
        taps, width = weights.conv.shape
        kv = None
        if weights.distance_bias is not None:
            heads, window = weights.distance_bias.shape
            kv = np.zeros((window - 1, 2, weights.kv_heads, width // heads), np.float32)
        return cls(np.zeros((taps - 1, width), np.float32), kv, 0)

    @property
    def num_bytes(self) -> int:
        return self.tail.nbytes + (0 if self.window_kv is None else self.window_kv.nbytes)


def local_rows(
    sequence: LocalSequence, projected: np.ndarray, weights: LocalWeights
) -> tuple[np.ndarray, LocalSequence]:
    """`projected`: rows of in_proj. Returns (rows for out_proj, the sequence after them)."""
    width = weights.conv.shape[1]
    mixed, tail = conv_rows(sequence.tail, projected[:, :width], weights.conv)
    y = mixed * silu(np.ascontiguousarray(projected[:, width : 2 * width]))
    if weights.distance_bias is None or sequence.window_kv is None:
        return y, LocalSequence(tail, None, 0)
    heads, window = weights.distance_bias.shape
    q = projected[:, 2 * width : 3 * width].reshape(-1, heads, width // heads)
    kv = np.concatenate([sequence.window_kv, projected[:, 3 * width :].reshape(-1, *sequence.window_kv.shape[1:])])
    attended = np.empty((len(projected), width), np.float32)
    for row in range(len(projected)):
        missing = max(0, window - 1 - sequence.seen - row)
        attended[row] = _attend(q[row], kv[row + missing : row + window], weights)
    seen = min(window - 1, sequence.seen + len(projected))
    return np.concatenate([y, attended], axis=1), LocalSequence(tail, kv[len(projected) :], seen)


def distance_rotation(window: int, head_width: int, base: float) -> np.ndarray:
    """Cosines and sines of how far a query turns for a key so many tokens before: float32 [W, K]. Turning the query by
    the distance gives the product of query and key each turned by its place (RoPE, arXiv 2104.09864)."""
    speeds = base ** (-np.arange(head_width // 2) / (head_width // 2))
    angle = np.arange(window)[:, None] * speeds
    return np.concatenate([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def _attend(q_HK: np.ndarray, kv: np.ndarray, weights: LocalWeights) -> np.ndarray:
    """One row over the rows it sees, oldest first, itself last, then the sink: [D]."""
    assert weights.distance_bias is not None, "a window has biases"
    group = len(q_HK) // weights.kv_heads
    keys, values = np.repeat(kv, group, axis=2).transpose(1, 2, 0, 3)  # H N K
    scale = np.float32(q_HK.shape[1] ** -0.5)
    if weights.rotation is None:
        scores = np.matmul(keys, q_HK[:, :, None])[..., 0] * scale
    else:
        cos, sin = np.split(weights.rotation[len(kv) - 1 :: -1], 2, axis=1)  # N K/2
        a, b = np.split(q_HK[:, None], 2, axis=2)  # H 1 K/2
        turned = np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=2)
        scores = (keys * turned).sum(axis=2) * scale
    scores = scores + weights.distance_bias[:, len(kv) - 1 :: -1]
    if weights.sink_key is not None and weights.sink_value is not None:
        key, value = np.repeat(weights.sink_key, group, axis=0), np.repeat(weights.sink_value, group, axis=0)
        scores = np.concatenate([scores, (key * q_HK).sum(axis=1, keepdims=True) * scale], axis=1)
        values = np.concatenate([values, value[:, None]], axis=1)
    share = np.exp(scores - scores.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    mixed: np.ndarray = np.matmul(share[:, None, :], values)
    return mixed.reshape(-1)
