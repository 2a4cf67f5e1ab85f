"""How rotary frequencies are stretched beyond the context a model was trained on, as divisors of the plain frequencies.

`linear` divides every frequency; `llama3` divides long wavelengths, keeps short ones, and ramps between; `yarn` (arXiv
2309.00071) ramps by the number of turns within the trained context, and sharpens attention by a constant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from vortex.errors import UnsupportedModel

BETA_FAST, BETA_SLOW = 32.0, 1.0  # turns: faster dimensions keep their frequency, slower ones are divided by the factor


def divisors_of(rope: Mapping[str, Any], head_width: int, theta: float, origin: str) -> tuple[float, ...]:
    """[head_width / 2], empty for none. Raises UnsupportedModel for a kind that is not known."""
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return ()
    if kind == "linear":
        return (float(rope["factor"]),) * (head_width // 2)
    if kind == "llama3":
        return _llama3_divisors(rope, head_width, theta)
    if kind == "yarn":
        return yarn_divisors(rope, head_width, theta)
    raise UnsupportedModel(f"{origin}: rope scaling {kind!r} is not supported; known: linear, llama3, yarn")


def _llama3_divisors(rope: Mapping[str, Any], head_width: int, theta: float) -> tuple[float, ...]:
    factor, low, high = (float(rope[key]) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    half, divisors = head_width // 2, []
    for i in range(half):
        wavelength = 2 * math.pi * theta ** (i / half)
        ramp = (float(rope["original_max_position_embeddings"]) / wavelength - low) / (high - low)
        ramp = min(1.0, max(0.0, ramp))
        divisors.append(1 / ((1 - ramp) / factor + ramp))
    return tuple(divisors)


def yarn_divisors(rope: Mapping[str, Any], head_width: int, theta: float) -> tuple[float, ...]:
    """rope: factor, original_max_position_embeddings; beta_fast, beta_slow, truncate where a model says otherwise."""
    trained = float(rope["original_max_position_embeddings"])

    def dimension(turns: float) -> float:
        """The pair of dimensions that makes so many turns within the trained context."""
        return head_width * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = dimension(rope.get("beta_fast") or BETA_FAST), dimension(rope.get("beta_slow") or BETA_SLOW)
    if rope.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_width - 1)
    divisors = []
    for i in range(head_width // 2):
        ramp = min(1.0, max(0.0, (i - low) / ((high - low) or 0.001)))
        divisors.append(1 / (ramp / float(rope["factor"]) + 1 - ramp))
    return tuple(divisors)


def attention_scale(rope: Mapping[str, Any], head_width: int) -> float:
    """YaRN lengthens queries and keys alike; here that is one factor of their product. 0: nothing to change."""
    if (rope.get("rope_type") or rope.get("type")) != "yarn":
        return 0.0
    factor = float(rope["factor"])
    lengthened = rope.get("attention_factor") or (0.1 * math.log(factor) + 1.0 if factor > 1 else 1.0)
    return float(lengthened) ** 2 * float(head_width) ** -0.5
