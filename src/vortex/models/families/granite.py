"""Granite 3 and 4: Llama's layers with scales of their own; in the hybrids Mamba 2 for most attention, and experts.

Source: transformers' `granite` and `granitemoehybrid` classes. What published files call `mamba` and `attention` layers
transformers calls `linear_attention` and `full_attention`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vortex.models.blueprint.blocks import Block
from vortex.models.blueprint.blueprint import Blueprint, Step
from vortex.models.blueprint.feed_forward import Experts, FeedForward
from vortex.models.blueprint.recurrences import Mamba2
from vortex.models.families.family import SILU, Family, Reading, plain_attention, plain_blueprint, slices
from vortex.models.families.stored import Take

MAMBA = ("mamba", "linear_attention")


def draw(reading: Reading) -> Blueprint:
    hybrid = reading.values.text("model_type") == "granitemoehybrid"
    kinds = reading.kinds(["attention"] * reading.layers, [*MAMBA, "attention", "full_attention"])
    turns = not hybrid or reading.values.text("position_embedding_type", "", most=64) == "rope"
    biased = reading.flag("attention_bias")
    attention = plain_attention(
        reading,
        scale=reading.real("attention_multiplier", 1.0),
        rotation="all" if turns else "",
        bias=biased,
        out_bias=biased,
    )
    feeding = Step(blocks=_feeding(reading, hybrid), norm="ffn_norm", scale=reading.real("residual_multiplier", 1.0))
    layers = []
    for kind in kinds:
        block: Block = _mamba(reading) if kind in MAMBA else attention
        layers.append((Step(blocks=(block,), norm="attention_norm", scale=feeding.scale), feeding))
    rotations: dict[str, Any] = {"all": reading.frequencies(attention.head_width)} if turns else {}
    return plain_blueprint(
        reading,
        layers,
        rotations=rotations,
        embedding_scale=reading.real("embedding_multiplier", 1.0),
        logit_scale=1.0 / reading.values.real("logits_scaling", 1.0, least=1e-6),
    )


def _feeding(reading: Reading, hybrid: bool) -> tuple[Block, ...]:
    activation = reading.activation(SILU)
    if not hybrid:
        return (FeedForward(ffn_width=reading.whole("intermediate_size", least=1), activation=activation),)
    shared = FeedForward(ffn_width=reading.whole("shared_intermediate_size", 1024, least=1), activation=activation)
    num_experts = reading.whole("num_local_experts", 8)
    if not num_experts:
        return (shared,)
    experts = Experts(
        num_experts=num_experts,
        used=reading.whole("num_experts_per_tok", 2, least=1),
        ffn_width=reading.whole("intermediate_size", least=1),
        scoring="softmax_chosen",
        activation=activation,
    )
    return experts, shared


def _mamba(reading: Reading) -> Mamba2:
    inner = reading.whole("mamba_expand", 2, least=1) * reading.width
    heads = reading.whole("mamba_n_heads", 128, least=1)
    groups = reading.whole("mamba_n_groups", 1, least=1)
    return Mamba2(
        heads=heads,
        head_width=inner // heads,
        groups=groups,
        state_width=reading.whole("mamba_d_state", 256, least=1),
        taps=reading.whole("mamba_d_conv", 4, least=2),
        bias=reading.flag("mamba_conv_bias", True),
        norm_groups=groups,
        out_bias=reading.flag("mamba_proj_bias"),
    )


def takes(blueprint: Blueprint, layer: int, part: str) -> Sequence[Take]:
    feed_forward = [block for block in blueprint.blocks(layer) if isinstance(block, FeedForward)]
    if part in {"gate", "up"} and blueprint.architecture == "granitemoehybrid":
        width = feed_forward[0].ffn_width
        return slices("shared_mlp.input_linear.weight", part, {"gate": width, "up": width})
    if part == "mamba_rate":
        return [Take("mamba.A_log", change=np.exp)]
    if part == "router":
        return [Take("block_sparse_moe.router.layer.weight"), Take("block_sparse_moe.router.weight")]
    if not part.startswith("experts."):
        return ()
    _, number, name = part.split(".")
    experts = blueprint.experts(layer)
    assert experts is not None, "a layer with experts"
    start = experts.ffn_width if name == "up" else 0
    rows = None if name == "down" else slice(start, start + experts.ffn_width)
    stored = (
        ("output_linear.weight", "experts.down_proj")
        if name == "down"
        else ("input_linear.weight", "experts.gate_up_proj")
    )
    return [Take(f"block_sparse_moe.{one}", rows, int(number)) for one in stored]


MAMBA_NAMES = {
    "mamba_in": "in_proj.weight",
    "mamba_in_bias": "in_proj.bias",
    "mamba_kernel": "conv1d.weight",
    "mamba_bias": "conv1d.bias",
    "mamba_time": "dt_bias",
    "mamba_skip": "D",
    "mamba_norm": "norm.weight",
    "mamba_out": "out_proj.weight",
    "mamba_out_bias": "out_proj.bias",
}
FAMILY = Family(
    name="Granite hybrid",
    model_types=("granitemoehybrid",),
    draw=draw,
    takes=takes,
    names={
        **{part: f"mamba.{name}" for part, name in MAMBA_NAMES.items()},
        "down": "shared_mlp.output_linear.weight",
    },
    harmless=frozenset(
        {"mamba_chunk_size", "mamba_d_head", "init_method", "normalization_function", "time_step_limit"}
    ),
)
DENSE = Family(name="Granite", model_types=("granite",), draw=draw)
