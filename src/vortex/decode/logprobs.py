"""Log-probabilities and entropy of the model's own distribution: temperature 1, before bias, penalties and masks."""

from __future__ import annotations

import math

import numpy as np

ENTROPY_GROUPS = 512
LEAST_DEPTH = -80.0  # below the likeliest: less than a float32 can tell


def chosen_and_top(logits: np.ndarray, token_id: int, num_top: int) -> tuple[float, list[tuple[int, float]]]:
    """The chosen token's log-probability, and the `num_top` likeliest tokens with theirs, likeliest first.

    logits: [vocab] float32. Natural logarithms in float64; ties go to the lowest id.
    """
    scores = logits.astype(np.float64)
    peak = scores.max()
    log_total = peak + np.log(np.exp(scores - peak).sum())
    ids = likeliest(scores, num_top)
    return float(scores[token_id] - log_total), [(int(i), float(scores[i] - log_total)) for i in ids]


def entropy_nats(logits: np.ndarray, top_k: int) -> float:
    """Shannon entropy of the `top_k` likeliest tokens, renormalised among themselves: between 0 and log(top_k)."""
    scores = np.sort(_greatest_values(logits, top_k).astype(np.float64))
    weights = np.exp(scores - scores[-1])
    total = weights.sum()
    with np.errstate(invalid="ignore"):
        terms = np.where(weights > 0, weights * (scores - scores[-1]), 0.0)
    return float(np.log(total) - terms.sum() / total)


def rough_entropy_nats(logits: np.ndarray, top_k: int) -> float:
    """`entropy_nats` in a twentieth of the time: the vocabulary is dealt into groups, and only the likeliest token of
    each group counts. Of two likely tokens in one group one is missed: never more than the true value by much, and
    less where that happens. Exact for small vocabularies."""
    rest = len(logits) % ENTROPY_GROUPS
    if len(logits) < 4 * ENTROPY_GROUPS:
        return entropy_nats(logits, top_k)
    peaks = logits[: len(logits) - rest].reshape(-1, ENTROPY_GROUPS).max(axis=0)
    if rest:
        peaks[:rest] = np.maximum(peaks[:rest], logits[-rest:])
    peaks.sort()
    depths = np.maximum(peaks[-top_k:] - peaks[-1], LEAST_DEPTH)
    weights = np.exp(depths)
    total = float(weights.sum())
    return math.log(total) - float(weights @ depths) / total


def likeliest(scores: np.ndarray, count: int) -> np.ndarray:
    """Ids of the `count` greatest scores, greatest first, ties by lowest id."""
    count = min(count, len(scores))
    if not count:
        return np.empty(0, dtype=np.int64)
    edge = np.partition(scores, len(scores) - count)[len(scores) - count]
    ids = np.flatnonzero(scores >= edge)
    return ids[np.argsort(-scores[ids], kind="stable")][:count]


def _greatest_values(scores: np.ndarray, count: int) -> np.ndarray:
    count = min(count, len(scores))
    return np.partition(scores, len(scores) - count)[len(scores) - count :]
