"""Ministral 3: Mistral's layers with YaRN, and queries that grow beyond the context it was trained on.

Source: transformers' `ministral3` class.
"""

from __future__ import annotations

from vortex.errors import UnsupportedModel
from vortex.models.blueprint.blueprint import Blueprint, Step
from vortex.models.blueprint.feed_forward import FeedForward
from vortex.models.families.family import SILU, Family, Reading, plain_attention, plain_blueprint
from vortex.models.files import rope_scaling
from vortex.records.foreign import ForeignValues

OTHERS = {"llama_4_scaling_beta", "mscale", "mscale_all_dim"}


def draw(reading: Reading) -> Blueprint:
    rope = reading.rope()
    one, every = rope.real("mscale", 0.0), rope.real("mscale_all_dim", 0.0)
    if one != every:  # what lengthens queries is the one over the other
        raise UnsupportedModel(f"{reading.origin}: yarn with mscale {one:g} and mscale_all_dim {every:g}")
    plain = ForeignValues({key: value for key, value in rope.items() if key not in OTHERS}, reading.origin)
    width = reading.head_width
    scale = float(width) ** -0.5 if one else rope_scaling.attention_scale(plain, width) or float(width) ** -0.5
    tuned_by = rope.real("llama_4_scaling_beta", 0.0)
    attention = plain_attention(
        reading,
        scale=scale,
        window=reading.whole("sliding_window", 0),
        tuned_from=rope.real("original_max_position_embeddings", 0.0, least=0) if tuned_by else 0.0,
        tuned_by=tuned_by,
    )
    ffn = FeedForward(ffn_width=reading.whole("intermediate_size", least=1), activation=reading.activation(SILU))
    layer = (Step(blocks=(attention,), norm="attention_norm"), Step(blocks=(ffn,), norm="ffn_norm"))
    frequencies = reading.frequencies(width, rope=plain)
    return plain_blueprint(reading, [layer] * reading.layers, rotations={"all": frequencies})


FAMILY = Family(name="Ministral 3", model_types=("ministral3",), draw=draw)
