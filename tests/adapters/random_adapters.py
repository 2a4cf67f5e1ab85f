"""Random adapters for any model's targets, in memory and as folders in peft's format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vortex.adapters.peft_config import PeftConfig
from vortex.adapters.reading import adapter_hash
from vortex.adapters.writing import write_adapter
from vortex.types import Adapter, LowRank

Shapes = Mapping[str, tuple[int, int]]


def random_pairs(
    targets: Shapes, rank: int, seed: int, dtype: type[np.generic] = np.float32
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Large enough that every part is seen in the logits. uint16: bfloat16."""
    rng = np.random.default_rng(seed)

    def drawn(rows: int, columns: int, size: float) -> np.ndarray:
        values = (size * rng.standard_normal((rows, columns))).astype(np.float32)
        if dtype is np.uint16:
            return (values.view(np.uint32) >> 16).astype(np.uint16)
        return values.astype(dtype)

    return {
        name: (drawn(rank, columns, columns**-0.5), drawn(rows, rank, 0.5 * rank**-0.5))
        for name, (rows, columns) in targets.items()
    }


def random_adapter(
    targets: Shapes, rank: int = 4, seed: int = 0, *, dtype: type[np.generic] = np.float32, scale: float = 1.0
) -> Adapter:
    pairs = random_pairs(targets, rank, seed, dtype)
    parts = {name: LowRank(a, b, scale) for name, (a, b) in pairs.items()}
    return Adapter(adapter_hash(parts), parts)


def write_random(
    folder: Path, targets: Shapes, rank: int = 4, seed: int = 0, *, base: str = "tiny", identity: str = ""
) -> Path:
    config = PeftConfig(rank=rank, alpha=2.0 * rank, base=base)
    write_adapter(folder, config, random_pairs(targets, rank, seed), identity)
    return folder
