"""The sampling pipeline in the plainest way: the whole vocabulary, a full sort, one token at a time, Python numbers.

The oracle of `sampling.py` and `noise.py`; the same choice for the same arguments, and far too slow to serve.
`distribution` gives the exact probabilities that seeds draw from.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from vortex.types import SamplingOptions

_WORD = (1 << 64) - 1


def choose_token_reference(
    logits: Sequence[float],
    options: SamplingOptions,
    seen: Mapping[int, int],
    allowed: Collection[int] | None,
    draw: tuple[int, int, int],
) -> int:
    """`seen`: how often each token occurs in the penalty window. `draw`: (seed, choice, output index)."""
    scores = adjusted(logits, options, seen, allowed)
    if options.temperature == 0:
        return min(range(len(scores)), key=lambda token: (-scores[token], token))
    log_weights, kept = candidates(scores, options)
    return min(kept, key=lambda token: (-(log_weights[token] + gumbel_reference(draw, token)), token))


def distribution(
    logits: Sequence[float], options: SamplingOptions, seen: Mapping[int, int], allowed: Collection[int] | None = None
) -> dict[int, float]:
    """Probability of every token that can be chosen, for temperature > 0."""
    log_weights, kept = candidates(adjusted(logits, options, seen, allowed), options)
    total = math.fsum(math.exp(log_weights[token]) for token in kept)
    return {token: math.exp(log_weights[token]) / total for token in kept}


def adjusted(
    logits: Sequence[float], options: SamplingOptions, seen: Mapping[int, int], allowed: Collection[int] | None
) -> list[float]:
    scores = []
    for token, logit in enumerate(logits):
        score = float(logit) + options.logit_bias.get(token, 0.0)
        if token in seen:
            penalty = options.repetition_penalty
            score = score / penalty if score > 0 else score * penalty
            score = score - options.presence_penalty - options.frequency_penalty * seen[token]
        scores.append(score if allowed is None or token in allowed else -math.inf)
    return scores


def candidates(scores: Sequence[float], options: SamplingOptions) -> tuple[list[float], list[int]]:
    """Log-weights of all tokens (the best is 0), and the surviving tokens in rank order."""
    best = max(scores)
    log_weights = [(score - best) / options.temperature for score in scores]
    kept = sorted(range(len(scores)), key=lambda token: (-log_weights[token], token))
    if options.top_k > 0:
        kept = kept[: options.top_k]
    if options.top_p < 1:
        total = math.fsum(math.exp(log_weights[token]) for token in kept)
        count, weight = 0, 0.0
        while count < len(kept) and weight < options.top_p * total:
            weight += math.exp(log_weights[kept[count]])
            count += 1
        count = max(count, options.top_p_min_k)
        if options.top_p_max_k:
            count = min(count, options.top_p_max_k)
        kept = kept[:count]
    if options.min_p > 0:
        kept = [token for token in kept if log_weights[token] >= math.log(options.min_p)]
    return log_weights, kept


def gumbel_reference(draw: tuple[int, int, int], token_id: int) -> float:
    seed, choice, output_index = draw
    gamma = 0x9E3779B97F4A7C15
    key = _mix(seed + gamma)
    key = _mix(key + (choice + 1) * gamma)
    key = _mix(key + (output_index + 1) * gamma)
    bits = _mix(key + token_id * gamma)
    uniform = ((bits >> 12) + 0.5) / 2.0**52
    return -math.log(-math.log(uniform))


def _mix(value: int) -> int:
    value &= _WORD
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _WORD
    return value ^ (value >> 31)
