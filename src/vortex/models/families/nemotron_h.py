"""Nemotron-H and Nemotron 3: one block a layer: Mamba 2, attention without rotation, or a squared feed-forward.

Source: transformers' `nemotron_h` class. Layers of experts are refused: theirs have no gate, and no product here takes
them so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vortex.models.blueprint.blocks import Block
from vortex.models.blueprint.blueprint import Blueprint, Step
from vortex.models.blueprint.feed_forward import FeedForward
from vortex.models.blueprint.recurrences import Mamba2
from vortex.models.families.family import Family, Reading, plain_attention, plain_blueprint
from vortex.models.families.granite import MAMBA_NAMES
from vortex.models.families.stored import Take

LARGEST = 3.4e38  # of float32
LETTERS = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}
KNOWN = {
    "mamba": "mamba",
    "linear_attention": "mamba",
    "attention": "attention",
    "full_attention": "attention",
    "mlp": "mlp",
}


def draw(reading: Reading) -> Blueprint:
    pattern = reading.values.text("hybrid_override_pattern", "", most=1 << 16)
    usual = [LETTERS.get(letter, letter) for letter in pattern] or ["mamba"] * reading.layers
    key = "layers_block_type" if "layers_block_type" in reading.values.values_by_key else "layer_types"
    kinds = reading.kinds(usual, list(KNOWN), key)
    reading.need("mlp_hidden_act", ("relu2",))
    reading.need("mamba_hidden_act", ("silu",))
    width = reading.whole("head_dim", reading.whole("attention_head_dim", 128), least=1)
    biased, ffn_biased = reading.flag("attention_bias"), reading.flag("mlp_bias")
    blocks: dict[str, Block] = {
        "mamba": _mamba(reading),
        "attention": plain_attention(
            reading,
            head_width=width,
            scale=float(width) ** -0.5,
            rotation="",
            bias=biased,
            out_bias=biased,
        ),
        "mlp": FeedForward(
            ffn_width=reading.whole("intermediate_size", 21504, least=1),
            activation="relu_squared",
            plain=True,
            bias=ffn_biased,
        ),
    }
    layers = [(Step(blocks=(blocks[KNOWN[kind]],), norm="norm"),) for kind in kinds]
    epsilon = reading.values.real("layer_norm_epsilon", 1e-5, least=0, most=1)
    return plain_blueprint(reading, layers, epsilon=epsilon)


def _mamba(reading: Reading) -> Mamba2:
    groups = reading.whole("n_groups", 8, least=1)
    return Mamba2(
        heads=reading.whole("mamba_num_heads", 128, least=1),
        head_width=reading.whole("mamba_head_dim", 64, least=1),
        groups=groups,
        state_width=reading.whole("ssm_state_size", 128, least=1),
        taps=reading.whole("conv_kernel", 4, least=2),
        bias=reading.flag("use_conv_bias", True),
        norm_groups=groups,
        out_bias=reading.flag("use_bias") or reading.flag("mamba_proj_bias"),
        steps=(reading.real("time_step_min", 0.001), LARGEST),
    )


def takes(blueprint: Blueprint, layer: int, part: str) -> Sequence[Take]:
    return [Take("mixer.A_log", change=np.exp)] if part == "mamba_rate" else ()


FAMILY = Family(
    name="Nemotron-H",
    model_types=("nemotron_h",),
    draw=draw,
    takes=takes,
    names={
        **{part: f"mixer.{name}" for part, name in MAMBA_NAMES.items()},
        "norm": "norm.weight",
        **{part: f"mixer.{part}_proj.weight" for part in ("q", "k", "v", "up", "down")},
        **{f"{part}_bias": f"mixer.{part}_proj.bias" for part in ("q", "k", "v", "up", "down")},
        "attention_out": "mixer.o_proj.weight",
        "attention_out_bias": "mixer.o_proj.bias",
    },
    left_out=("mtp.",),
    top={"embedding": "model.embeddings.weight", "final_norm": "model.norm_f.weight"},
    harmless=frozenset(
        {
            "time_step_limit",
            "time_step_max",
            "time_step_floor",
            "chunk_size",
            "expand",
            "use_mamba_kernels",
            "mamba_ssm_cache_dtype",
            "residual_in_fp32",
            "n_routed_experts",
            "n_shared_experts",
            "moe_intermediate_size",
            "moe_shared_expert_intermediate_size",
            "moe_shared_expert_overlap",
            "num_experts_per_tok",
            "routed_scaling_factor",
            "num_nextn_predict_layers",
            "num_logits_to_keep",
            "mtp_layers_block_type",
            "layers_block_type",
            "sliding_window",
            "moe_latent_size",
        }
    ),
)
