"""The few functions that the step forms share, in numpy float32: each row's result depends on that row alone.

Shapes: T rows, C channels.
"""

from __future__ import annotations

import numpy as np

UNIT_EPSILON = np.float32(1e-6)  # that of vblocks/network/gated_delta.py
EXPONENT_LIMIT = np.float32(80.0)  # exp of it is finite in float32


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.float32(1) / (np.float32(1) + np.exp(np.minimum(-x, EXPONENT_LIMIT)))


def silu(x: np.ndarray) -> np.ndarray:
    return x * sigmoid(x)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def unit(x: np.ndarray) -> np.ndarray:
    """x / |x| along the last axis."""
    return x / np.sqrt(np.sum(x * x, axis=-1, keepdims=True) + UNIT_EPSILON)


def rms_norm(x: np.ndarray, weight: np.ndarray, epsilon: float) -> np.ndarray:
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(epsilon)) * weight


def conv_rows(tail_NC: np.ndarray, x_TC: np.ndarray, weight_JC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A causal convolution (network/causal_conv.py) with the taps oldest first, [J, C]: (y [T, C], the next tail)."""
    padded = np.concatenate([tail_NC, x_TC])
    num_rows = len(x_TC)
    y = padded[:num_rows] * weight_JC[0]
    for tap in range(1, len(weight_JC)):
        y += padded[tap : tap + num_rows] * weight_JC[tap]
    return y, padded[num_rows:]


def log_sigmoid(x: np.ndarray) -> np.ndarray:
    return -softplus(-x)
