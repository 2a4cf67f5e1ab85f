"""LFM2 and LFM2.5: gated short convolutions with a layer of attention now and then; dense or with experts.

Source: transformers' `lfm2` and `lfm2_moe` classes.
"""

from __future__ import annotations

from collections.abc import Sequence

from vortex.models.blueprint.attention import Attention
from vortex.models.blueprint.blueprint import Blueprint, Step
from vortex.models.blueprint.feed_forward import Experts, FeedForward
from vortex.models.blueprint.recurrences import ShortConvolution
from vortex.models.families.family import Family, Reading
from vortex.models.families.stored import Take


def draw(reading: Reading) -> Blueprint:
    whole = set(reading.values.wholes("full_attn_idxs", [], most=1 << 16))
    usual = ["full_attention" if layer in whole or not whole else "conv" for layer in range(reading.layers)]
    kinds = reading.kinds(usual, ["full_attention", "conv"])
    attention = Attention(
        heads=reading.heads,
        kv_heads=reading.kv_heads,
        head_width=reading.width // reading.heads,
        scale=reading.attention_scale(reading.width // reading.heads),
        rotation="all",
        qk_norm="head",
    )
    convolution = ShortConvolution(
        taps=reading.whole("conv_L_cache", 3, least=2), channels=reading.width, bias=reading.flag("conv_bias")
    )
    dense_until = reading.whole("num_dense_layers", 2) if _is_sparse(reading) else reading.layers
    layers = []
    for layer, kind in enumerate(kinds):
        mixing = Step(blocks=(attention if kind == "full_attention" else convolution,), norm="attention_norm")
        ffn = _dense(reading) if layer < dense_until else _experts(reading)
        layers.append((mixing, Step(blocks=(ffn,), norm="ffn_norm")))
    return Blueprint(
        architecture=reading.values.text("model_type"),
        width=reading.width,
        vocab_size=reading.vocab_size,
        context_length=reading.context_length,
        epsilon=reading.values.real("norm_eps", 1e-5, least=0, most=1),
        layers=tuple(layers),
        rotations={"all": reading.frequencies(attention.head_width, theta=1_000_000.0)},
        tied_head=reading.flag("tie_word_embeddings", reading.flag("tie_embedding", True)),
    )


def _is_sparse(reading: Reading) -> bool:
    return reading.values.text("model_type") == "lfm2_moe"


def _dense(reading: Reading) -> FeedForward:
    width = reading.whole("intermediate_size", reading.whole("block_ff_dim", 0) or None, least=1)
    if not _is_sparse(reading) and reading.flag("block_auto_adjust_ff_dim", True):
        width = int(reading.real("block_ffn_dim_multiplier", 1.0) * int(2 * width / 3))
        multiple = reading.whole("block_multiple_of", 256, least=1)
        width = multiple * ((width + multiple - 1) // multiple)
    return FeedForward(ffn_width=width)


def _experts(reading: Reading) -> Experts:
    return Experts(
        num_experts=reading.whole("num_experts", 32, least=1),
        used=reading.whole("num_experts_per_tok", 4, least=1),
        ffn_width=reading.whole("moe_intermediate_size", least=1),
        scoring="sigmoid",
        corrected=reading.flag("use_expert_bias", True),
        normalise=reading.flag("norm_topk_prob", True),
        share_scale=reading.real("routed_scaling_factor", 1.0),
    )


def takes(blueprint: Blueprint, layer: int, part: str) -> Sequence[Take]:
    if not part.startswith("experts."):
        return ()
    _, number, name = part.split(".")
    experts = blueprint.experts(layer)
    assert experts is not None, "a layer with experts"
    alone = Take(f"feed_forward.experts.{number}.{ {'gate': 'w1', 'up': 'w3', 'down': 'w2'}[name] }.weight")
    if name == "down":
        return [alone, Take("feed_forward.experts.down_proj", index=int(number))]
    start = 0 if name == "gate" else experts.ffn_width
    rows = slice(start, start + experts.ffn_width)
    return [alone, Take("feed_forward.experts.gate_up_proj", rows, int(number))]


FAMILY = Family(
    name="LFM2",
    model_types=("lfm2", "lfm2_moe"),
    draw=draw,
    takes=takes,
    names={
        "attention_norm": "operator_norm.weight",
        "ffn_norm": "ffn_norm.weight",
        "q_norm": "self_attn.q_layernorm.weight",
        "k_norm": "self_attn.k_layernorm.weight",
        "attention_out": "self_attn.out_proj.weight",
        "conv_in": "conv.in_proj.weight",
        "conv_in_bias": "conv.in_proj.bias",
        "conv_kernel": "conv.conv.weight",
        "conv_bias": "conv.conv.bias",
        "conv_out": "conv.out_proj.weight",
        "conv_out_bias": "conv.out_proj.bias",
        "gate": "feed_forward.w1.weight",
        "up": "feed_forward.w3.weight",
        "down": "feed_forward.w2.weight",
        "router": "feed_forward.gate.weight",
        "router_bias": "feed_forward.expert_bias",
    },
    top={"final_norm": "model.embedding_norm.weight"},
    harmless=frozenset(
        {
            "block_norm_eps",
            "block_use_swiglu",
            "block_use_xavier_init",
            "block_dim",
            "conv_dim",
            "conv_dim_out",
            "block_mlp_init_scale",
            "block_out_init_scale",
            "conv_use_xavier_init",
            "use_pos_enc",
            "num_heads",
            "moe_intermediate_size",
            "conv_bias",
        }
    ),
)
