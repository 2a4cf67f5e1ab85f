"""The shape of a V-Blocks core and what it does at each token. Plain values; knows no torch.

`from_json` refuses what it does not know, naming it. Settings (`core.*`, `vortex_model.*`, `depth_gating.*`) change
fields of the same names where they are set (cli/composition.py), on a trained checkpoint without touching its weights;
`mtp_k` can only be lowered.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vortex.errors import ConfigError, ModelFileError
from vortex.records.foreign import ForeignValues
from vortex.vblocks.lava_options import LavaOptions

MOST_OF_A_SIZE = 1 << 20  # as src/native/bindings/arrays.h
MOST_STATE_BYTES = 1 << 28
LAVA_NAMES = tuple(field.name for field in dataclasses.fields(LavaOptions))


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreConfig:
    """Widths are numbers of channels; `key_dim` and `value_dim` are per head; `*_conv` are taps, `local_window` tokens.

    local_kv_heads: heads of the window's keys and values, each for a group of queries (0: as many as `local_heads`);
    local_rope_base: the window's queries and keys are rotated (0: not); local_sink: a learned pair beside the window.

    lava_period: LAVA sits in the last of each so many layers (fewer layers than that: in the last one); 0: nowhere.
    lava_foresight: weight of the loss by which write gates learn to say which pairs will be read; the other `lava_*`
    fields are those of vblocks/lava_options.py. mtp_k: tokens predicted beyond the next.
    depth_gating: every `gated_period`-th layer from `gated_from` on has a gate. A token always takes the first
    `depth_min` layers and at most `depth_max` in all (0: no limit); `depth_target` is the share of gated layers that
    training aims at.
    compile_step: torch.compile of every layer, compile_local_mixer_step: of the local mixers alone.
    ssm_path_dropout: share of training sequences for which LAVA layers hear nothing of the delta rule; local_dropout:
    the same for local mixers.
    """

    vocab_size: int
    width: int = 128
    num_layers: int = 4
    num_heads: int = 2
    key_dim: int = 32
    value_dim: int = 64
    mlp_width: int = 384
    local_conv: int = 4
    local_window: int = 0
    local_heads: int = 2
    local_kv_heads: int = 0
    local_rope_base: float = 0.0
    local_sink: bool = False
    ssm_conv: int = 4
    lava_period: int = 4
    lava_heads: int = 2
    lava_key_dim: int = 32
    lava_value_dim: int = 64
    lava_conv: int = 4
    lava_gamma: float = 8.0
    lava_slots: int = 256
    lava_write_every: int = 16
    lava_writes: int = 8
    lava_write_on_surprise: bool = False
    lava_surprise_threshold: float = 0.25
    lava_rank: str = "surprise"
    lava_read_every: int = 1
    lava_top_k: int = 0
    lava_clusters: int = 0
    lava_cluster_top: int = 4
    lava_merge_cosine: float = 0.98
    lava_half_life: float = 256.0
    lava_foresight: float = 0.0
    mtp_k: int = 0
    depth_gating: bool = False
    gated_from: int = 1
    gated_period: int = 1
    depth_min: int = 1
    depth_max: int = 0
    depth_hysteresis: float = 0.05
    depth_target: float = 0.7
    compile_step: bool = False
    compile_local_mixer_step: bool = False
    tie_embeddings: bool = True
    ssm_path_dropout: float = 0.0
    local_dropout: float = 0.0
    norm_epsilon: float = 1e-6

    def __post_init__(self) -> None:
        problems = [
            (self.local_window and self.width % self.local_heads, "width must be a multiple of local_heads"),
            (
                self.local_window and self.local_heads % (self.local_kv_heads or self.local_heads),
                "local_heads must be a multiple of local_kv_heads",
            ),
            (
                self.local_window and self.local_rope_base and self.width // self.local_heads % 2,
                "heads of a rotated window must have an even width",
            ),
            (self.local_rope_base and self.local_rope_base < 1, "local_rope_base is 0 or at least 1"),
            (self.lava_rank not in {"surprise", "gate", "random"}, "lava_rank must be surprise, gate or random"),
            (min(self.local_conv, self.ssm_conv, self.lava_conv) < 1, "convolutions need at least one tap"),
            (min(self.lava_slots, self.lava_write_every, self.lava_read_every) < 1, "LAVA needs slots and chunks"),
            (not 0 <= self.depth_hysteresis < 0.5, "depth_hysteresis must be below 0.5"),
            (min(self.gated_from, self.gated_period - 1) < 0, "gated layers need a first one and a period"),
            (self.depth_max and self.depth_max < self.depth_min, "depth_max is below depth_min"),
            (min(self.vocab_size, self.width, self.num_layers, self.num_heads) < 1, "sizes must be positive"),
        ]
        for is_wrong, problem in problems:
            if is_wrong:
                raise ConfigError(f"a core of this shape is not possible: {problem}")

    @property
    def lava(self) -> LavaOptions:
        """Its `lava_*` fields, by the same names."""
        return LavaOptions(**{name: getattr(self, f"lava_{name}") for name in LAVA_NAMES})

    @property
    def local_kv_width(self) -> int:
        """Channels of the window's keys, and as many of its values."""
        return (self.local_kv_heads or self.local_heads) * (self.width // self.local_heads)

    def has_lava(self, layer: int) -> bool:
        if not self.lava_period:
            return False
        period = min(self.lava_period, self.num_layers)
        return layer % period == period - 1

    def is_gated(self, layer: int) -> bool:
        beyond = layer - self.gated_from
        return self.depth_gating and beyond >= 0 and beyond % self.gated_period == 0

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CoreConfig:
        """Raises ModelFileError for fields that are unknown or missing."""
        fields = ForeignValues(values, "the core's configuration").fields_of(cls)
        if fields.get("local_heads", 1) < 1:  # what is divided by
            raise ModelFileError("the core's configuration says local_heads is below 1; the file is damaged")
        try:
            config = cls(**fields)
        except ConfigError as error:
            raise ModelFileError(f"the core's configuration is not usable: {error}") from error
        config._check_bounds()
        return config

    def _check_bounds(self) -> None:
        """No number that a file brought asks for more than a machine has; tensors say the rest (checkpoint.py)."""
        for name, value in self.to_json().items():
            if isinstance(value, int) and not 0 <= value <= MOST_OF_A_SIZE:
                raise ModelFileError(
                    f"the core's configuration says {name} is {value:,}; 0 to {MOST_OF_A_SIZE:,} is possible"
                )
        pairs = self.lava_heads * (self.lava_key_dim + self.lava_value_dim)
        lava_bytes = 4 * pairs * (self.lava_slots + self.lava_write_every) if self.lava_period else 0
        window_bytes = 4 * 2 * self.width * self.local_window
        state_bytes = lava_bytes + window_bytes + 4 * self.num_heads * self.key_dim * self.value_dim
        if state_bytes > MOST_STATE_BYTES:
            raise ModelFileError(
                f"the core's configuration asks for {state_bytes:,} bytes of state per layer and sequence "
                f"(lava_slots, lava_write_every, local_window); at most {MOST_STATE_BYTES:,} are possible"
            )
