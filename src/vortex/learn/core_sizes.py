"""Named sizes of cores, and the Transformer of equal size to hold each against."""

from __future__ import annotations

from typing import Any

from vortex.errors import ConfigError
from vortex.learn.baseline_transformer import BaselineConfig
from vortex.vblocks.config import CoreConfig
from vortex.vblocks.layout import tensor_shapes

# Small chunks, all of them written, and gates that learn what will be read: 3% fewer bits than half of 16 written
# (docs/core-training.md).
WRITES_FOR_TEXT = {"lava_write_every": 8, "lava_writes": 8, "lava_foresight": 0.1}
SIZES: dict[str, dict[str, int]] = {
    "tiny": {"width": 64, "num_layers": 2, "num_heads": 2, "key_dim": 16, "value_dim": 32, "mlp_width": 128,
             "lava_key_dim": 16, "lava_value_dim": 32, "lava_slots": 64},
    "small": {"width": 128, "num_layers": 4, "num_heads": 2, "key_dim": 32, "value_dim": 64, "mlp_width": 320},
    "deep": {"width": 128, "num_layers": 12, "num_heads": 2, "key_dim": 32, "value_dim": 64, "mlp_width": 320},
    "shipped": {"width": 256, "num_layers": 6, "num_heads": 4, "key_dim": 32, "value_dim": 64, "mlp_width": 512,
                "lava_slots": 512},
    "medium": {"width": 512, "num_layers": 8, "num_heads": 8, "key_dim": 64, "value_dim": 64, "mlp_width": 1408,
               "lava_slots": 1024},
    "large": {"width": 1024, "num_layers": 16, "num_heads": 16, "key_dim": 64, "value_dim": 64, "mlp_width": 2816,
              "lava_slots": 4096},
}  # fmt: skip


def core_of_size(size: str, vocab_size: int, **changes: Any) -> CoreConfig:
    """Raises ConfigError for a size that has no name here."""
    if size not in SIZES:
        raise ConfigError(f"no size is called {size!r}: {', '.join(SIZES)}")
    return CoreConfig(vocab_size=vocab_size, **{**WRITES_FOR_TEXT, **SIZES[size], **changes})


def num_weights(config: CoreConfig) -> int:
    """Without the embedding and the heads of multi-token prediction."""
    total = 0
    for name, shape in tensor_shapes(config).items():
        if not name.startswith(("embedding.", "head.", "mtp.")):
            count = 1
            for extent in shape:
                count *= extent
            total += count
    return total


def transformer_like(config: CoreConfig, *, window: int = 0, as_recall: bool = False) -> BaselineConfig:
    """The Transformer of the same width and depth whose MLP makes up for the difference in weights."""
    heads = max(1, config.width // 64)
    per_layer = num_weights(config) / config.num_layers
    attention = 4 * config.width**2 + 3 * config.width * 4
    mlp_width = round((per_layer - attention) / (3 * config.width) / 8) * 8
    return BaselineConfig(
        vocab_size=config.vocab_size,
        width=config.width,
        num_layers=config.num_layers,
        num_heads=heads,
        mlp_width=max(8, mlp_width),
        window=window,
        as_recall=as_recall,
    )
