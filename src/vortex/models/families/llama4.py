"""Llama 4, text: chunks of attention with rotation, whole attention without; experts that scale what goes into them.

Source: transformers' `llama4` classes.
"""

from __future__ import annotations

from collections.abc import Sequence

from vortex.models.blueprint.blueprint import Blueprint, Step
from vortex.models.blueprint.feed_forward import Experts, FeedForward
from vortex.models.families.family import SILU, Family, Reading, plain_attention, plain_blueprint
from vortex.models.families.stored import Take

EVERY = 4


def draw(reading: Reading) -> Blueprint:
    every = reading.whole("no_rope_layer_interval", EVERY, least=1)
    usual = [int((layer + 1) % every != 0) for layer in range(reading.layers)]
    turns = reading.values.wholes("no_rope_layers", usual, most=1)
    turns = turns if len(turns) == reading.layers else usual
    chunk = reading.whole("attention_chunk_size", 8192)
    kinds = reading.kinds(
        ["chunked_attention" if turn and chunk else "full_attention" for turn in turns],
        ["chunked_attention", "full_attention"],
    )
    step = reading.whole("interleave_moe_layer_step", 1, least=1)
    sparse = set(reading.values.wholes("moe_layers", list(range(step - 1, reading.layers, step)), most=1 << 16))
    tuned = bool(reading.values.raw("attn_temperature_tuning", True))  # early files say a number
    biased = reading.flag("attention_bias")
    layers = []
    for layer, (turn, kind) in enumerate(zip(turns, kinds, strict=True)):
        attention = plain_attention(
            reading,
            rotation="all" if turn else "",
            neighbours=True,
            qk_norm="plain" if turn and reading.flag("use_qk_norm", True) else "",
            chunk=chunk if kind == "chunked_attention" else 0,
            bias=biased,
            out_bias=biased,
            tuned_from=0.0 if turn or not tuned else reading.real("floor_scale", 8192.0),
            tuned_by=reading.real("attn_scale", 0.1),
            tuned_first=1,
        )
        ffn = _experts(reading) if layer in sparse else _dense(reading)
        layers.append((Step(blocks=(attention,), norm="attention_norm"), Step(blocks=(ffn,), norm="ffn_norm")))
    frequencies = reading.frequencies(reading.head_width, theta=500_000.0)
    return plain_blueprint(reading, layers, rotations={"all": frequencies})


def _dense(reading: Reading) -> FeedForward:
    width = reading.whole("intermediate_size_mlp", 16384, least=1)
    return FeedForward(ffn_width=width, activation=reading.activation(SILU))


def _experts(reading: Reading) -> Experts:
    width = reading.whole("intermediate_size", least=1)
    return Experts(
        num_experts=reading.whole("num_local_experts", 16, least=1),
        used=reading.whole("num_experts_per_tok", 1, least=1),
        ffn_width=width,
        shared_width=width,
        scoring="sigmoid",
        normalise=False,
        shares_first=True,
        activation=reading.activation(SILU),
    )


def takes(blueprint: Blueprint, layer: int, part: str) -> Sequence[Take]:
    if not part.startswith("experts."):
        return ()
    _, number, name = part.split(".")
    experts = blueprint.experts(layer)
    assert experts is not None, "a layer with experts"
    if name == "down":
        return [Take("feed_forward.experts.down_proj", index=int(number), turned=True)]
    start = 0 if name == "gate" else experts.ffn_width
    rows = slice(start, start + experts.ffn_width)
    return [Take("feed_forward.experts.gate_up_proj", rows, int(number), turned=True)]


FAMILY = Family(
    name="Llama 4",
    model_types=("llama4", "llama4_text"),
    draw=draw,
    takes=takes,
    names={
        "gate": "feed_forward.gate_proj.weight",
        "up": "feed_forward.up_proj.weight",
        "down": "feed_forward.down_proj.weight",
        "router": "feed_forward.router.weight",
        "shared_gate": "feed_forward.shared_expert.gate_proj.weight",
        "shared_up": "feed_forward.shared_expert.up_proj.weight",
        "shared_down": "feed_forward.shared_expert.down_proj.weight",
    },
    harmless=frozenset({"for_llm_compressor", "moe_layers", "floor_scale", "attn_scale", "intermediate_size_mlp"}),
)
