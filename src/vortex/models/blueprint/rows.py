"""Small functions over rows that blocks share, in float32; each row is computed alone, whatever stands beside it."""

from __future__ import annotations

import math

import numpy as np


def rms_norm(x: np.ndarray, weight: np.ndarray | None, epsilon: float) -> np.ndarray:
    """Over the last axis (arXiv 1910.07467). weight None: ones."""
    mean_square = np.mean(np.square(x), axis=-1, keepdims=True, dtype=np.float32)
    normed = x / np.sqrt(mean_square + np.float32(epsilon))
    return normed if weight is None else normed * weight


def unit_length(x: np.ndarray, epsilon: float) -> np.ndarray:
    return x / np.sqrt(np.sum(np.square(x), axis=-1, keepdims=True, dtype=np.float32) + np.float32(epsilon))


def sigmoid(x: np.ndarray) -> np.ndarray:
    """Without an overflow at either end."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32, copy=False)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def silu(x: np.ndarray) -> np.ndarray:
    return x * sigmoid(x)


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def relu_squared(x: np.ndarray) -> np.ndarray:
    return np.square(np.maximum(x, 0))


ACTIVATIONS = {"silu": silu, "gelu_tanh": gelu_tanh, "relu_squared": relu_squared}


def softcap(x: np.ndarray, limit: float) -> np.ndarray:
    return np.float32(limit) * np.tanh(x / np.float32(limit))


def softmax(scores: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def rotate(x_BHW: np.ndarray, angles_BR: np.ndarray, *, neighbours: bool) -> np.ndarray:
    """Rotary embedding (arXiv 2104.09864) of the first 2R numbers of each head; the rest stays. neighbours: pairs are
    (2j, 2j + 1); else (j, j + R)."""
    cos, sin = (f(angles_BR).astype(np.float32)[:, None] for f in (np.cos, np.sin))
    width = 2 * angles_BR.shape[1]
    turned, rest = x_BHW[..., :width], x_BHW[..., width:]
    first, second = (turned[..., 0::2], turned[..., 1::2]) if neighbours else np.split(turned, 2, axis=-1)
    one, two = first * cos - second * sin, second * cos + first * sin
    both = np.stack([one, two], axis=-1).reshape(turned.shape) if neighbours else np.concatenate([one, two], axis=-1)
    return np.concatenate([both, rest], axis=-1) if rest.shape[-1] else both


def attend(q_KGW: np.ndarray, keys_KSW: np.ndarray, values_KSV: np.ndarray, scale: float, cap: float = 0) -> np.ndarray:
    """Softmax attention of one position over its keys: float32 [K, G, V]. cap: of the scores, 0: none."""
    scores_KGS = np.matmul(q_KGW, keys_KSW.transpose(0, 2, 1)) * np.float32(scale)
    if cap:
        scores_KGS = softcap(scores_KGS, cap)
    return np.matmul(softmax(scores_KGS), values_KSV)
