"""Entropy of the engine's log-probabilities: normalised Shannon entropy per token, and the shape over some tokens.

H = -sum p log2 p over the top K, probabilities renormalised to 1, divided by log2 K: 0 is certain, 1 is a coin of K
sides. Values are rounded so that a decision taken from the ledger is the decision that was taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

DIGITS = 6


def normalised_entropy(logprobs: Sequence[float]) -> float:
    """0..1. Fewer than two alternatives say nothing about doubt: 0."""
    if len(logprobs) < 2:
        return 0.0
    top = max(logprobs)
    weights = [math.exp(value - top) for value in logprobs]
    total = sum(weights)
    bits = -sum(weight / total * math.log2(weight / total) for weight in weights if weight > 0)
    return round(min(max(bits / math.log2(len(logprobs)), 0.0), 1.0), DIGITS)


def entropies_of(choice: dict[str, Any]) -> list[float] | None:
    """Of every token in one choice of an answer or a chunk; None when the engine sent no log-probabilities."""
    logprobs = choice.get("logprobs")
    if not isinstance(logprobs, dict) or not isinstance(logprobs.get("content"), list):
        return None
    tokens = [token.get("top_logprobs") or () for token in logprobs["content"] if isinstance(token, dict)]
    found = [
        normalised_entropy([float(entry["logprob"]) for entry in top if isinstance(entry.get("logprob"), int | float)])
        for top in tokens
        if len(top) > 1
    ]
    return found or None


def statistic(name: str, entropies: Sequence[float]) -> float:
    """first: the seed's one-token probe. mean, max: of the whole window."""
    if not entropies:
        return 0.0
    if name == "first":
        return entropies[0]
    return round(max(entropies) if name == "max" else sum(entropies) / len(entropies), DIGITS)


def settled(name: str, entropies: Sequence[float], window: int, threshold: float) -> bool:
    """Whether no further token of the window can change on which side of the threshold the statistic ends.

    So the hold-back is as short as the decision allows, and the decision is the one the whole window would give.
    """
    seen = len(entropies)
    if seen >= window or (name == "first" and seen):
        return True
    if name == "max":
        return seen > 0 and max(entropies) >= threshold
    margin = 1e-6  # the statistic is rounded
    total = sum(entropies)
    return total / window > threshold + margin or (total + window - seen) / window < threshold - margin
