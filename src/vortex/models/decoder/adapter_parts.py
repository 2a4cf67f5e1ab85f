"""An adapter as a decoder's layers see it: which of its matrices it may change, and what it adds to each.

Names are those of transformers (`model.layers.3.self_attn.q_proj`), which peft's files use. Experts, routers, the
embedding and the head stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

from vortex.models.files.checkpoint import FEED_FORWARD, expected_shape
from vortex.models.files.decoder_config import DecoderConfig
from vortex.models.files.safetensors import LAYER
from vortex.types import Adapter, LowRank

ATTENTION = ("q", "k", "v", "attention_out")


def adaptable(config: DecoderConfig) -> tuple[str, ...]:
    """House names of a layer's matrices that an adapter may change."""
    return ATTENTION if config.num_experts else (*ATTENTION, *FEED_FORWARD)


def adapter_targets(config: DecoderConfig) -> dict[str, tuple[int, int]]:
    """(rows, columns) of every matrix that an adapter may change."""
    return {
        _target(index, name): expected_shape(config, name)
        for index in range(config.num_layers)
        for name in adaptable(config)
    }


def layer_parts(config: DecoderConfig, adapter: Adapter, layer: int) -> Mapping[str, LowRank]:
    """By house name, what is added to the layer's matrices."""
    found = {name: adapter.parts.get(_target(layer, name)) for name in adaptable(config)}
    return {name: part for name, part in found.items() if part is not None}


def _target(layer: int, name: str) -> str:
    return f"model.layers.{layer}.{LAYER[name].removesuffix('.weight')}"
