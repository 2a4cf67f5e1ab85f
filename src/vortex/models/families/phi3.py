"""Phi-3 and Phi-4: fused projections, heads that turn in part. Source: transformers' `phi3` class.

Long contexts by two sets of factors (`longrope`) are held at the context the model was trained on, with the factors for
that one: which set applies would otherwise depend on how long a prompt is, and change what was computed before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from vortex.errors import ModelFileError
from vortex.models.blueprint.attention import Attention
from vortex.models.blueprint.blueprint import Blueprint, Step
from vortex.models.blueprint.feed_forward import FeedForward
from vortex.models.families.family import SILU, Family, Reading, plain_attention, plain_blueprint, slices
from vortex.models.families.stored import Take


def draw(reading: Reading) -> Blueprint:
    frequencies, turned_scale, context_length = _frequencies(reading)
    attention = plain_attention(
        reading,
        scale=float(reading.head_width) ** -0.5,
        window=reading.whole("sliding_window", 0),
        rotary_scale=turned_scale,
    )
    ffn = FeedForward(ffn_width=reading.whole("intermediate_size", least=1), activation=reading.activation(SILU))
    layer = (Step(blocks=(attention,), norm="attention_norm"), Step(blocks=(ffn,), norm="ffn_norm"))
    return plain_blueprint(
        reading, [layer] * reading.layers, rotations={"all": frequencies}, context_length=context_length
    )


def _frequencies(reading: Reading) -> tuple[tuple[float, ...], float, int]:
    """Of the heads, the square of what lengthens both rotated parts, and the context that they hold for."""
    rope = reading.rope()
    if (rope.raw("rope_type") or rope.raw("type") or "default") not in {"longrope", "su", "yarn_long"}:
        return reading.frequencies(reading.head_width), 1.0, reading.context_length
    trained = reading.whole("original_max_position_embeddings", reading.context_length, least=1)
    trained = rope.whole("original_max_position_embeddings", trained, least=1)
    short = rope.reals("short_factor")
    theta = rope.real("rope_theta", reading.values.real("rope_theta", 10_000.0), least=1.1)
    share = rope.real("partial_rotary_factor", reading.values.real("partial_rotary_factor", 1.0), least=0, most=1)
    turning = int(reading.head_width * share)
    if len(short) != turning // 2 or min(short, default=0.0) <= 0:
        raise ModelFileError(f"{reading.origin} has {len(short)} rope factors for {turning // 2} pairs that turn")
    grown = rope.real("factor", reading.context_length / trained, least=0)
    usual = math.sqrt(1 + math.log(grown) / math.log(trained)) if grown > 1 and trained > 1 else 1.0
    length = rope.real("attention_factor", 0.0, least=0) or usual
    frequencies = tuple(theta ** (-2 * i / turning) / factor for i, factor in enumerate(short))
    return frequencies, length**2, min(trained, reading.context_length)


def takes(blueprint: Blueprint, layer: int, part: str) -> Sequence[Take]:
    attention, ffn = blueprint.blocks(layer)
    assert isinstance(attention, Attention), "every layer has attention"
    assert isinstance(ffn, FeedForward), "every layer has a feed-forward"
    kv_width = attention.kv_heads * attention.head_width
    if part in {"q", "k", "v"}:
        sizes = {"q": attention.heads * attention.head_width, "k": kv_width, "v": kv_width}
        return slices("self_attn.qkv_proj.weight", part, sizes)
    if part in {"gate", "up"}:
        return slices("mlp.gate_up_proj.weight", part, {"gate": ffn.ffn_width, "up": ffn.ffn_width})
    return ()


FAMILY = Family(name="Phi-3", model_types=("phi3",), draw=draw, takes=takes)
