"""All families by the `model_type` that a config.json names."""

from __future__ import annotations

from vortex.errors import UnsupportedModel
from vortex.models.families import (
    deepseek,
    falcon_h1,
    gemma4,
    granite,
    lfm2,
    llama4,
    ministral3,
    nemotron_h,
    olmo,
    phi3,
    qwen3_vl,
    qwen35,
    smollm3,
)
from vortex.models.families.family import Family

FAMILIES: tuple[Family, ...] = (
    qwen35.FAMILY,
    gemma4.FAMILY,
    deepseek.FAMILY,
    lfm2.FAMILY,
    granite.FAMILY,
    granite.DENSE,
    nemotron_h.FAMILY,
    falcon_h1.FAMILY,
    phi3.FAMILY,
    smollm3.FAMILY,
    ministral3.FAMILY,
    llama4.FAMILY,
    olmo.FAMILY,
    qwen3_vl.FAMILY,
)
BY_TYPE = {name: family for family in FAMILIES for name in family.model_types}


def family_of(model_type: str, origin: str) -> Family:
    """Raises UnsupportedModel for a name that is none of them, with those that are."""
    if model_type not in BY_TYPE:
        known = ", ".join(sorted(BY_TYPE))
        raise UnsupportedModel(f"{origin}: architecture {model_type!r} is not supported; known: {known}")
    return BY_TYPE[model_type]
