"""Qwen3-VL, text: Qwen3's layers; three grids of positions are one where there are only words.

Source: transformers' `qwen3_vl` classes.
"""

from __future__ import annotations

from vortex.models.blueprint.blueprint import Blueprint, Step
from vortex.models.blueprint.feed_forward import Experts, FeedForward
from vortex.models.families.family import SILU, Family, Reading, plain_attention, plain_blueprint
from vortex.records.foreign import ForeignValues

GRIDS = {"mrope_section", "mrope_interleaved"}


def draw(reading: Reading) -> Blueprint:
    biased, activation = reading.flag("attention_bias"), reading.activation(SILU)
    width = reading.whole("head_dim", 128, least=2)
    attention = plain_attention(
        reading, head_width=width, scale=float(width) ** -0.5, qk_norm="head", bias=biased, out_bias=biased
    )
    dense = reading.values.wholes("mlp_only_layers", [], most=1 << 16)
    step = reading.whole("decoder_sparse_step", 1, least=1)
    layers = []
    for layer in range(reading.layers):
        sparse = reading.whole("num_experts", 0) and layer not in dense and (layer + 1) % step == 0
        ffn: FeedForward | Experts = FeedForward(
            ffn_width=reading.whole("intermediate_size", least=1), activation=activation
        )
        if sparse:
            ffn = Experts(
                num_experts=reading.whole("num_experts"),
                used=reading.whole("num_experts_per_tok", 8, least=1),
                ffn_width=reading.whole("moe_intermediate_size", least=1),
                normalise=reading.flag("norm_topk_prob", True),
                activation=activation,
            )
        layers.append((Step(blocks=(attention,), norm="attention_norm"), Step(blocks=(ffn,), norm="ffn_norm")))
    rope = reading.rope()
    plain = {key: value for key, value in rope.items() if key not in GRIDS}
    plain |= {"rope_type": "default"} if plain.get("rope_type") == "mrope" else {}
    frequencies = reading.frequencies(width, theta=5_000_000.0, rope=ForeignValues(plain, reading.origin))
    return plain_blueprint(reading, layers, rotations={"all": frequencies})


FAMILY = Family(
    name="Qwen3-VL",
    model_types=("qwen3_vl", "qwen3_vl_text", "qwen3_vl_moe", "qwen3_vl_moe_text"),
    draw=draw,
    harmless=frozenset({"moe_intermediate_size", "num_experts", "num_experts_per_tok", "decoder_sparse_step"}),
)
