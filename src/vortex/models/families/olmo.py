"""OLMo 2 and 3: norms behind the blocks and none before, queries and keys normalised over all heads together.

Source: transformers' `olmo2` and `olmo3` classes. OLMo 3 has three layers with a window to one without; only the
latter's rotation is stretched.
"""

from __future__ import annotations

from vortex.models.blueprint.blueprint import Blueprint, Step
from vortex.models.blueprint.feed_forward import FeedForward
from vortex.models.families.family import SILU, Family, Reading, plain_attention, plain_blueprint
from vortex.records.foreign import ForeignValues

LOCAL, GLOBAL = "sliding_attention", "full_attention"


def draw(reading: Reading) -> Blueprint:
    has_windows = reading.values.text("model_type") == "olmo3"
    usual = [GLOBAL if not has_windows or (layer + 1) % 4 == 0 else LOCAL for layer in range(reading.layers)]
    kinds = reading.kinds(usual, [LOCAL, GLOBAL])
    biased = reading.flag("attention_bias")
    ffn = FeedForward(ffn_width=reading.whole("intermediate_size", least=1), activation=reading.activation(SILU))
    layers = []
    for kind in kinds:
        local = kind == LOCAL
        scale = float(reading.head_width) ** -0.5 if local else reading.attention_scale(reading.head_width, GLOBAL)
        attention = plain_attention(
            reading,
            qk_norm="whole",
            scale=scale,
            window=reading.whole("sliding_window", 4096) if local else 0,
            rotation=kind,
            bias=biased,
            out_bias=biased,
        )
        layers.append(
            (Step(blocks=(attention,), post_norm="post_attention_norm"), Step(blocks=(ffn,), post_norm="post_ffn_norm"))
        )
    rotations = {GLOBAL: reading.frequencies(reading.head_width, kind=GLOBAL)}
    if LOCAL in kinds:
        rope = reading.rope(LOCAL)
        plain = {"rope_theta": rope.values_by_key["rope_theta"]} if "rope_theta" in rope.values_by_key else {}
        rotations[LOCAL] = reading.frequencies(reading.head_width, rope=ForeignValues(plain, reading.origin))
    return plain_blueprint(reading, layers, rotations=rotations)


FAMILY = Family(
    name="OLMo",
    model_types=("olmo2", "olmo3"),
    draw=draw,
    names={
        "post_attention_norm": "post_attention_layernorm.weight",
        "post_ffn_norm": "post_feedforward_layernorm.weight",
    },
    harmless=frozenset({"sliding_window"}),
)
