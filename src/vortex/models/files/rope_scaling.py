"""How rotary frequencies are stretched beyond the context a model was trained on, as divisors of the plain frequencies.

`linear` divides every frequency; `llama3` divides long wavelengths, keeps short ones, and ramps between; `yarn` (arXiv
2309.00071) ramps by the number of turns within the trained context, and sharpens attention by a constant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from vortex.errors import ModelFileError, UnsupportedModel
from vortex.records.foreign import ForeignValues, shown

MAX_HEAD_WIDTH = 1 << 14  # the widest known heads have 512; tables are made of it before a tensor is looked at
BETA_FAST, BETA_SLOW = 32.0, 1.0  # turns: faster dimensions keep their frequency, slower ones are divided by the factor


def divisors_of(rope: Mapping[str, Any], head_width: int, theta: float, origin: str) -> tuple[float, ...]:
    """[head_width / 2], empty for none. Raises UnsupportedModel for a kind that is not known."""
    if head_width > MAX_HEAD_WIDTH:
        raise ModelFileError(f"{origin} has heads {head_width:,} wide; at most {MAX_HEAD_WIDTH:,} are possible")
    values = ForeignValues(rope, f"{origin}: rope")
    kind = _kind(values)
    if values.real("partial_rotary_factor", 1.0) != 1.0:
        raise UnsupportedModel(f"{origin}: partial_rotary_factor is {rope['partial_rotary_factor']}; whole heads turn")
    if kind == "default":
        return ()
    if kind == "linear":
        return (values.real("factor", least=1e-6, most=1e6),) * (head_width // 2)
    if kind == "llama3":
        return _llama3_divisors(values, head_width, theta, origin)
    if kind == "yarn":
        return _yarn_divisors(values, head_width, theta)
    raise UnsupportedModel(f"{origin}: rope scaling {shown(kind)} is not supported; known: linear, llama3, yarn")


def _kind(values: ForeignValues) -> str:
    kind = values.raw("rope_type") or values.raw("type") or "default"
    return kind if isinstance(kind, str) else "of no name"


def _llama3_divisors(rope: ForeignValues, head_width: int, theta: float, origin: str) -> tuple[float, ...]:
    factor = rope.real("factor", least=1e-6, most=1e6)
    low, high = (rope.real(f"{name}_freq_factor", least=1e-6, most=1e9) for name in ("low", "high"))
    trained = rope.real("original_max_position_embeddings", least=1)
    if low >= high:
        raise ModelFileError(f"{origin}: rope's low_freq_factor {low} is not below its high_freq_factor {high}")
    half, divisors = head_width // 2, []
    for i in range(half):
        wavelength = 2 * math.pi * theta ** (i / half)
        ramp = min(1.0, max(0.0, (trained / wavelength - low) / (high - low)))
        divisors.append(1 / ((1 - ramp) / factor + ramp))
    return tuple(divisors)


def _yarn_divisors(rope: ForeignValues, head_width: int, theta: float) -> tuple[float, ...]:
    """rope: factor, original_max_position_embeddings; beta_fast, beta_slow, truncate where a model says otherwise."""
    trained, factor = rope.real("original_max_position_embeddings", least=1), rope.real("factor", least=1e-6, most=1e6)
    fast = rope.real("beta_fast", BETA_FAST, least=1e-3, most=1e6)
    slow = rope.real("beta_slow", BETA_SLOW, least=1e-3, most=1e6)

    def dimension(turns: float) -> float:
        """The pair of dimensions that makes so many turns within the trained context."""
        return head_width * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = dimension(fast), dimension(slow)
    if rope.flag("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_width - 1)
    divisors = []
    for i in range(head_width // 2):
        ramp = min(1.0, max(0.0, (i - low) / ((high - low) or 0.001)))
        divisors.append(1 / (ramp / factor + 1 - ramp))
    return tuple(divisors)


def attention_scale(rope: Mapping[str, Any], head_width: int) -> float:
    """YaRN lengthens queries and keys alike; here that is one factor of their product. 0: nothing to change."""
    values = ForeignValues(rope, "rope")
    if _kind(values) != "yarn":
        return 0.0
    if values.real("mscale", 0.0) or values.real("mscale_all_dim", 0.0):
        raise UnsupportedModel("yarn with mscale is not supported")
    factor = values.real("factor", least=1e-6, most=1e6)
    usual = 0.1 * math.log(factor) + 1.0 if factor > 1 else 1.0
    return (values.real("attention_factor", 0.0, least=0, most=1e6) or usual) ** 2 * float(head_width) ** -0.5
