"""How a model wants to be asked: the sampling its makers (or our measurements) recommend, and a system message.

From the catalogue for models that have a name here; else from the `generation_config.json` beside the weights. Numbers
of that file are a stranger's: what is out of range is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vortex.hub.cache import ResolvedModel
from vortex.hub.catalogue import CATALOGUE

FILE = "generation_config.json"
MAX_FILE_BYTES = 1 << 20
RANGES: Mapping[str, tuple[float, float]] = {  # settings under `decode.` and what they may be
    "temperature": (0.0, 2.0),
    "top_k": (0, 1 << 20),
    "top_p": (1e-6, 1.0),
    "min_p": (0.0, 1.0),
    "repetition_penalty": (0.1, 10.0),
}


@dataclass(frozen=True, slots=True)
class Manners:
    """sampling: values of settings under `decode.`. system: said where a conversation says nothing itself, or empty."""

    sampling: Mapping[str, float | bool] = field(default_factory=dict)
    system: str = ""


def manners_of(model: ResolvedModel) -> Manners:
    """Empty for a model that says nothing."""
    known = CATALOGUE.get(model.name)
    if known is not None:
        return Manners(known.sampling, known.system)
    return Manners(_recommended(model.path / FILE)) if model.path.is_dir() else Manners()


def _recommended(path: Path) -> dict[str, float]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return {}
        said: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(said, dict):
        return {}
    found = {name: number for name, bounds in RANGES.items() if (number := _number(said.get(name), bounds)) is not None}
    if said.get("do_sample") is not True:
        found = {name: number for name, number in found.items() if name == "repetition_penalty"}
    return found


def _number(value: Any, bounds: tuple[float, float]) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value if bounds[0] <= value <= bounds[1] else None
