"""Gemma 4, text: wide heads where layers see everything, keys shared by late layers, per-layer inputs, experts.

Source: transformers' `gemma4` classes. Values are normalised without weights, attention has no scale of its own. Layers
that see everything turn a quarter of their heads, by frequencies of the whole width; in the larger models their values
are their keys. With experts a dense feed-forward runs beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vortex.errors import UnsupportedModel
from vortex.models.blueprint.attention import Attention
from vortex.models.blueprint.blocks import Block
from vortex.models.blueprint.blueprint import Blueprint, Step
from vortex.models.blueprint.feed_forward import Experts, FeedForward
from vortex.models.blueprint.per_layer import PerLayerEmbedding, PerLayerInput
from vortex.models.families.family import GELU, Family, Reading
from vortex.models.families.stored import Take

LOCAL, GLOBAL = "sliding_attention", "full_attention"
EVERY = 6


def draw(reading: Reading) -> Blueprint:
    usual = [GLOBAL if (layer + 1) % EVERY == 0 else LOCAL for layer in range(reading.layers)]
    kinds = reading.kinds(usual, [LOCAL, GLOBAL])
    reading.need("use_bidirectional_attention", (False, None, "vision"))  # images look both ways, words do not
    activation = reading.activation(GELU, "hidden_activation", "gelu_pytorch_tanh")
    first_shared = reading.layers - reading.whole("num_kv_shared_layers", 0)
    attentions = _attentions(reading)
    layers = []
    for layer, kind in enumerate(kinds):
        shares = _shared_layer(kinds, layer, first_shared, reading.origin)
        attention = attentions[kind](shares)
        wide = reading.flag("use_double_wide_mlp") and shares >= 0
        ffn = FeedForward(
            ffn_width=reading.whole("intermediate_size", least=1) * (2 if wide else 1), activation=activation
        )
        layers.append(_layer(reading, attention, ffn))
    global_width = attentions[GLOBAL](-1).head_width
    return Blueprint(
        architecture=reading.values.text("model_type"),
        width=reading.width,
        vocab_size=reading.vocab_size,
        context_length=reading.context_length,
        epsilon=reading.epsilon,
        layers=tuple(layers),
        rotations={
            LOCAL: reading.frequencies(attentions[LOCAL](-1).head_width, kind=LOCAL),
            GLOBAL: _proportional(reading, global_width),
        },
        embedding_scale=float(reading.width) ** 0.5,
        logit_cap=reading.real("final_logit_softcapping", 0.0),
        tied_head=reading.flag("tie_word_embeddings", True),
        per_layer=_per_layer(reading),
    )


def _attentions(reading: Reading) -> Mapping[str, Any]:
    """By kind of layer: whose keys it reads, to the block."""
    overrides = reading.values.nested("per_layer_config")
    same = reading.flag("attention_k_eq_v")
    global_width = reading.whole("global_head_dim", 512)
    global_kv = reading.whole("num_global_key_value_heads", 0) if same else 0
    for said in overrides.values_by_key.values():  # how transformers itself writes the two numbers
        if isinstance(said, Mapping):
            global_width = int(said.get("head_dim") or global_width)
            global_kv = int(said.get("num_key_value_heads") or global_kv)
    fixed: dict[str, Any] = {
        "heads": reading.heads,
        "scale": 1.0,
        "qk_norm": "head",
        "value_norm": True,
        "bias": reading.flag("attention_bias"),
        "out_bias": reading.flag("attention_bias"),
    }
    return {
        LOCAL: lambda shares: Attention(
            **fixed,
            kv_heads=reading.kv_heads,
            head_width=reading.whole("head_dim", 256),
            window=reading.whole("sliding_window", 512, least=1),
            rotation=LOCAL,
            shares=shares,
        ),
        GLOBAL: lambda shares: Attention(
            **fixed,
            kv_heads=global_kv or reading.kv_heads,
            head_width=global_width,
            rotation=GLOBAL,
            keys_are_values=same,
            shares=shares,
        ),
    }


def _shared_layer(kinds: Sequence[str], layer: int, first_shared: int, origin: str) -> int:
    """The last layer of the same kind that has keys of its own; -1 for one of those."""
    if layer < first_shared:
        return -1
    own = [other for other in range(first_shared) if kinds[other] == kinds[layer]]
    if not own:
        raise UnsupportedModel(f"{origin}: layer {layer} shares the keys of a layer that is not there")
    return own[-1]


def _layer(reading: Reading, attention: Attention, ffn: FeedForward) -> tuple[Step, ...]:
    mixing = Step(blocks=(attention,), norm="attention_norm", post_norm="post_attention_norm")
    width, after = reading.whole("hidden_size_per_layer_input", 0), "layer_scalar"
    last = "" if width else after
    if reading.flag("enable_moe_block"):
        blocks: tuple[Block, ...] = (ffn, _experts(reading, ffn.activation))
        feeding = Step(
            blocks=blocks,
            block_norms=("ffn_norm", ""),
            block_post_norms=("post_ffn_norm_1", "post_ffn_norm_2"),
            post_norm="post_ffn_norm",
            after=last,
        )
    else:
        feeding = Step(blocks=(ffn,), norm="ffn_norm", post_norm="post_ffn_norm", after=last)
    if not width:
        return mixing, feeding
    extra = PerLayerInput(input_width=width, activation=ffn.activation)
    return mixing, feeding, Step(blocks=(extra,), post_norm="per_layer_post_norm", after=after)


def _experts(reading: Reading, activation: str) -> Experts:
    return Experts(
        num_experts=reading.whole("num_experts", least=1),
        used=reading.whole("top_k_experts", least=1),
        ffn_width=reading.whole("moe_intermediate_size", least=1),
        scaled=True,
        inner_norm="ffn_norm_2",
        activation=activation,
    )


def _per_layer(reading: Reading) -> PerLayerEmbedding | None:
    width = reading.whole("hidden_size_per_layer_input", 0)
    if not width:
        return None
    return PerLayerEmbedding(
        input_width=width,
        vocab_size=reading.whole("vocab_size_per_layer_input", reading.vocab_size, least=1),
        embedding_scale=float(width) ** 0.5,
        projection_scale=float(reading.width) ** -0.5,
        sum_scale=2.0**-0.5,
    )


def _proportional(reading: Reading, width: int) -> tuple[float, ...]:
    """The first of a head's frequencies, by its whole width; the rest of it does not turn."""
    rope = reading.rope(GLOBAL)
    if rope.text("rope_type", "proportional", most=64) not in {"proportional", "default"}:
        raise UnsupportedModel(f"{reading.origin}: rope scaling of layers that see everything is not supported")
    theta, factor = rope.real("rope_theta", 1_000_000.0, least=1.1), rope.real("factor", 1.0, least=1e-6)
    turning = int(rope.real("partial_rotary_factor", 0.25, least=0, most=1) * width // 2)
    return tuple(theta ** (-2 * i / width) / factor if i < turning else 0.0 for i in range(width // 2))


def takes(blueprint: Blueprint, layer: int, part: str) -> Sequence[Take]:
    if part == "router":  # the norm's weights and the root of the width go into its columns
        width = blueprint.width
        return [Take("router.proj.weight", beside="router.scale", joined=lambda w, scale: w * (scale * width**-0.5))]
    if part.startswith("experts."):
        _, number, name = part.split(".")
        experts = blueprint.experts(layer)
        assert experts is not None, "a layer with experts"
        if name == "down":
            return [Take("experts.down_proj", index=int(number))]
        start = 0 if name == "gate" else experts.ffn_width
        return [Take("experts.gate_up_proj", slice(start, start + experts.ffn_width), int(number))]
    return ()


def idle(blueprint: Blueprint, layer: int, stored: str) -> bool:
    """Published files hold keys and values of layers that read another one's."""
    block = next(blueprint.blocks(layer))
    mine = ("self_attn.k_proj.", "self_attn.v_proj.", "self_attn.k_norm.")
    return isinstance(block, Attention) and block.shares >= 0 and stored.startswith(mine)


FAMILY = Family(
    name="Gemma 4",
    model_types=("gemma4", "gemma4_text"),
    draw=draw,
    takes=takes,
    idle=idle,
    names={
        "post_attention_norm": "post_attention_layernorm.weight",
        "ffn_norm": "pre_feedforward_layernorm.weight",
        "ffn_norm_2": "pre_feedforward_layernorm_2.weight",
        "post_ffn_norm": "post_feedforward_layernorm.weight",
        "post_ffn_norm_1": "post_feedforward_layernorm_1.weight",
        "post_ffn_norm_2": "post_feedforward_layernorm_2.weight",
        "layer_scalar": "layer_scalar",
        "input_gate": "per_layer_input_gate.weight",
        "input_out": "per_layer_projection.weight",
        "per_layer_post_norm": "post_per_layer_input_norm.weight",
        "expert_scale": "router.per_expert_scale",
    },
    top={
        "per_layer_embedding": "model.embed_tokens_per_layer.weight",
        "per_layer_projection": "model.per_layer_model_projection.weight",
        "per_layer_norm": "model.per_layer_projection_norm.weight",
    },
    harmless=frozenset({"moe_intermediate_size", "expert_intermediate_size"}),
)
