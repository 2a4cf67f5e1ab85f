"""Qwen3.5, 3.6 and Qwen3-Next: three layers of the gated delta rule to one of gated attention; dense or with experts.

Source: transformers' `qwen3_5*` and `qwen3_next` classes. Norms are stored minus one, but for the one behind the delta
rule. Qwen3-Next keeps queries, keys, values and gates of a key head together; Qwen3.5 has a matrix for each. The head
that guesses ahead (`mtp.`) is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vortex.models.blueprint.attention import Attention
from vortex.models.blueprint.blueprint import Blueprint, Step
from vortex.models.blueprint.feed_forward import Experts, FeedForward
from vortex.models.blueprint.recurrences import DeltaRule
from vortex.models.families.family import SILU, Family, Reading
from vortex.models.families.stored import Take

EVERY = 4
TEXT_TYPES = ("qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text", "qwen3_next")


def draw(reading: Reading) -> Blueprint:
    every = reading.whole("full_attention_interval", EVERY, least=1)
    usual = ["full_attention" if (layer + 1) % every == 0 else "linear_attention" for layer in range(reading.layers)]
    kinds = reading.kinds(usual, ["full_attention", "linear_attention"])
    attention = Attention(
        heads=reading.heads,
        kv_heads=reading.kv_heads,
        head_width=reading.whole("head_dim", 256),
        scale=reading.attention_scale(reading.whole("head_dim", 256)),
        rotation="all",
        qk_norm="head",
        gated=True,
        bias=reading.flag("attention_bias"),
        out_bias=reading.flag("attention_bias"),
    )
    delta = DeltaRule(
        key_heads=reading.whole("linear_num_key_heads", 16, least=1),
        value_heads=reading.whole("linear_num_value_heads", 32, least=1),
        key_width=reading.whole("linear_key_head_dim", 128, least=1),
        value_width=reading.whole("linear_value_head_dim", 128, least=1),
        taps=reading.whole("linear_conv_kernel_dim", 4, least=2),
    )
    activation = reading.activation(SILU)
    layers = []
    for layer, kind in enumerate(kinds):
        mixing = Step(blocks=(attention if kind == "full_attention" else delta,), norm="attention_norm")
        layers.append((mixing, Step(blocks=(_feed_forward(reading, layer, activation),), norm="ffn_norm")))
    return Blueprint(
        architecture=reading.values.text("model_type"),
        width=reading.width,
        vocab_size=reading.vocab_size,
        context_length=reading.context_length,
        epsilon=reading.epsilon,
        layers=tuple(layers),
        rotations={"all": reading.frequencies(attention.head_width, 0.25)},
        tied_head=reading.flag("tie_word_embeddings"),
    )


def _feed_forward(reading: Reading, layer: int, activation: str) -> FeedForward | Experts:
    num_experts = reading.whole("num_experts", 0)
    sparse = layer not in reading.values.items_of("mlp_only_layers", [], most=1 << 16)
    sparse = sparse and (layer + 1) % max(reading.whole("decoder_sparse_step", 1), 1) == 0
    if not num_experts or not sparse:
        return FeedForward(ffn_width=reading.whole("intermediate_size", 5632, least=1), activation=activation)
    return Experts(
        num_experts=num_experts,
        used=reading.whole("num_experts_per_tok", 8, least=1),
        ffn_width=reading.whole("moe_intermediate_size", 512, least=1),
        shared_width=reading.whole("shared_expert_intermediate_size", 512, least=1),
        shared_gated=True,
        normalise=reading.flag("norm_topk_prob", True),
        activation=activation,
    )


def takes(blueprint: Blueprint, layer: int, part: str) -> Sequence[Take]:
    block = next(blueprint.blocks(layer))
    if part in {"q", "gate_q"} and isinstance(block, Attention):
        first = 0 if part == "q" else block.head_width  # of each head, its query and then its gate
        rows = np.arange(block.heads)[:, None] * 2 * block.head_width + first + np.arange(block.head_width)
        return [Take("self_attn.q_proj.weight", tuple(rows.ravel().tolist()))]
    if part == "delta_rate":
        return [Take("linear_attn.A_log", change=np.exp)]
    if isinstance(block, DeltaRule) and part in {"delta_qkv", "delta_gate", "delta_beta", "delta_decay"}:
        return [Take(f"linear_attn.{NAMES_35[part]}.weight"), of_next(block, part)]
    return ()


NAMES_35 = {
    "delta_qkv": "in_proj_qkv",
    "delta_gate": "in_proj_z",
    "delta_beta": "in_proj_b",
    "delta_decay": "in_proj_a",
}


def of_next(block: DeltaRule, part: str) -> Take:
    """Rows of Qwen3-Next's joined matrices, key head by key head."""
    share = block.value_heads // block.key_heads
    heads = np.arange(block.key_heads)[:, None]
    if part in {"delta_beta", "delta_decay"}:
        rows = heads * 2 * share + (0 if part == "delta_beta" else share) + np.arange(share)
        return Take("linear_attn.in_proj_ba.weight", tuple(rows.ravel().tolist()))
    values = share * block.value_width
    start = heads * (2 * block.key_width + 2 * values)

    def rows_from(first: int, count: int) -> list[int]:
        return list((start + first + np.arange(count)).ravel().tolist())

    if part == "delta_gate":
        picked = rows_from(2 * block.key_width + values, values)
    else:
        picked = rows_from(0, block.key_width) + rows_from(block.key_width, block.key_width)
        picked += rows_from(2 * block.key_width, values)
    return Take("linear_attn.in_proj_qkvz.weight", tuple(picked))


FAMILY = Family(
    name="Qwen3.5",
    model_types=TEXT_TYPES,
    draw=draw,
    takes=takes,
    names={
        "delta_kernel": "linear_attn.conv1d.weight",
        "delta_time": "linear_attn.dt_bias",
        "delta_norm": "linear_attn.norm.weight",
        "delta_out": "linear_attn.out_proj.weight",
        "shared_router": "mlp.shared_expert_gate.weight",
        "shared_gate": "mlp.shared_expert.gate_proj.weight",
        "shared_up": "mlp.shared_expert.up_proj.weight",
        "shared_down": "mlp.shared_expert.down_proj.weight",
    },
    raised=("attention_norm", "ffn_norm", "q_norm", "k_norm", "final_norm"),
    left_out=("mtp.",),
    harmless=frozenset(
        {
            "mtp_num_hidden_layers",
            "mtp_use_dedicated_embeddings",
            "use_sliding_window",
            "attn_output_gate",
            "mlp_only_layers",
            "moe_intermediate_size",
            "mamba_ssm_dtype",
            "output_gate_type",
        }
    ),
)
