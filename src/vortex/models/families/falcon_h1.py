"""Falcon-H1: Mamba 2 and attention side by side in every layer, each with multipliers of its own.

Source: transformers' `falcon_h1` class. The multipliers go into the weights when they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from vortex.models.blueprint.blueprint import Blueprint, Step
from vortex.models.blueprint.feed_forward import FeedForward
from vortex.models.blueprint.recurrences import Mamba2
from vortex.models.families.family import SILU, Family, Reading, plain_attention, plain_blueprint
from vortex.models.families.granite import MAMBA_NAMES
from vortex.models.families.stored import Take

PARTS = 5  # of what goes into Mamba: gate, values, writing keys, reading keys, steps


def draw(reading: Reading) -> Blueprint:
    biased, ffn_biased = reading.flag("attention_bias"), reading.flag("mlp_bias")
    inner = reading.whole("mamba_d_ssm", 0) or reading.whole("mamba_expand", 2) * reading.width
    heads, groups = reading.whole("mamba_n_heads", 128, least=1), reading.whole("mamba_n_groups", 1, least=1)
    mamba = Mamba2(
        heads=heads,
        head_width=inner // heads,
        groups=groups,
        state_width=reading.whole("mamba_d_state", 256, least=1),
        taps=reading.whole("mamba_d_conv", 4, least=2),
        bias=reading.flag("mamba_conv_bias", True),
        norm_groups=groups if reading.flag("mamba_rms_norm") else 0,
        norm_first=reading.flag("mamba_norm_before_gate", True),
    )
    reading.need("mamba_proj_bias", (False,))
    reading.need("projectors_bias", (False,))
    attention = plain_attention(reading, bias=biased, out_bias=biased)
    ffn = FeedForward(
        ffn_width=reading.whole("intermediate_size", least=1), activation=reading.activation(SILU), bias=ffn_biased
    )
    layer = (Step(blocks=(mamba, attention), norm="attention_norm"), Step(blocks=(ffn,), norm="ffn_norm"))
    return plain_blueprint(
        reading,
        [layer] * reading.layers,
        rotations={"all": reading.frequencies(attention.head_width, theta=100_000.0)},
        embedding_scale=reading.real("embedding_multiplier", 1.0),
        logit_scale=reading.real("lm_head_multiplier", 1.0),
        multipliers=_multipliers(reading),
    )


def _multipliers(reading: Reading) -> dict[str, tuple[float, ...]]:
    gate, down = (reading.values.reals("mlp_multipliers") or (1.0, 1.0))[:2]
    into = reading.real("attention_in_multiplier", 1.0)
    parts = tuple(reading.values.reals("ssm_multipliers") or (1.0,) * PARTS)[:PARTS]
    return {
        "q": (into,),
        "k": (into * reading.real("key_multiplier", 1.0),),
        "v": (into,),
        "attention_out": (reading.real("attention_out_multiplier", 1.0),),
        "gate": (gate,),
        "down": (down,),
        "mamba_in": tuple(reading.real("ssm_in_multiplier", 1.0) * part for part in parts),
        "mamba_out": (reading.real("ssm_out_multiplier", 1.0),),
    }


def takes(blueprint: Blueprint, layer: int, part: str) -> Sequence[Take]:
    if part == "mamba_rate":
        return [Take("mamba.A_log", change=np.exp)]
    by = blueprint.multipliers.get(part)
    if by is None:
        return ()
    if part != "mamba_in":
        return [Take(NAMES[part], change=_times(np.float32(by[0])))]
    mamba = next(block for block in blueprint.blocks(layer) if isinstance(block, Mamba2))
    keys = mamba.groups * mamba.state_width
    counts = [mamba.inner, mamba.inner, keys, keys, mamba.heads]
    return [Take(NAMES[part], change=_times(np.repeat(np.asarray(by, np.float32), counts)[:, None]))]


def _times(factor: np.ndarray | np.float32) -> Callable[[np.ndarray], np.ndarray]:
    return lambda values: values * factor


NAMES = {
    "q": "self_attn.q_proj.weight",
    "k": "self_attn.k_proj.weight",
    "v": "self_attn.v_proj.weight",
    "attention_out": "self_attn.o_proj.weight",
    "gate": "feed_forward.gate_proj.weight",
    "up": "feed_forward.up_proj.weight",
    "down": "feed_forward.down_proj.weight",
    **{part: f"mamba.{name}" for part, name in MAMBA_NAMES.items()},
    "ffn_norm": "pre_ff_layernorm.weight",
}
FAMILY = Family(
    name="Falcon-H1",
    model_types=("falcon_h1",),
    draw=draw,
    takes=takes,
    names=NAMES,
    top={"final_norm": "model.final_layernorm.weight"},
    harmless=frozenset(
        {
            "mamba_chunk_size",
            "mamba_d_head",
            "num_logits_to_keep",
            "time_step_limit",
            "mamba_use_mlp",
            "mamba_expand",
            "attn_layer_indices",
        }
    ),
)
