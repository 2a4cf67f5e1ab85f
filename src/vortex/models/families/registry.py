"""All families by the `model_type` that a config.json names."""

from __future__ import annotations

from vortex.errors import UnsupportedModel
from vortex.models.families import qwen35
from vortex.models.families.family import Family

FAMILIES: tuple[Family, ...] = (qwen35.FAMILY,)
BY_TYPE = {name: family for family in FAMILIES for name in family.model_types}


def family_of(model_type: str, origin: str) -> Family:
    """Raises UnsupportedModel for a name that is none of them, with those that are."""
    if model_type not in BY_TYPE:
        known = ", ".join(sorted(BY_TYPE))
        raise UnsupportedModel(f"{origin}: architecture {model_type!r} is not supported; known: {known}")
    return BY_TYPE[model_type]
