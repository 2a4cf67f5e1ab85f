"""Latent attention with shared and routed experts: GLM-4.7-Flash, DeepSeek V2 and V3.

Source: transformers' `glm4_moe_lite`, `deepseek_v2` and `deepseek_v3` classes. V3 and GLM choose experts by a sigmoid
and a bias that corrects the choice, within the best groups; V2 by a softmax. Layers behind the last guess ahead and are
left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vortex.errors import UnsupportedModel
from vortex.models.blueprint.blueprint import Blueprint, Step
from vortex.models.blueprint.feed_forward import Experts, FeedForward
from vortex.models.blueprint.latent import LatentAttention
from vortex.models.families.family import SILU, Family, Reading
from vortex.models.families.stored import Take
from vortex.records.foreign import ForeignValues

FIRST_DENSE = {"glm4_moe_lite": 1, "deepseek_v2": 0, "deepseek_v3": 3}


def draw(reading: Reading) -> Blueprint:
    kind = reading.values.text("model_type")
    activation = reading.activation(SILU)
    attention = _attention(reading)
    dense_until = reading.whole("first_k_dense_replace", FIRST_DENSE[kind])
    usual = ["dense" if layer < dense_until else "sparse" for layer in range(reading.layers)]
    kinds = reading.kinds(usual, ["dense", "sparse"], "mlp_layer_types")
    experts = _experts(reading, kind, activation) if "sparse" in kinds else None
    layers = []
    for layer in kinds:
        ffn = experts if layer == "sparse" else None
        dense = FeedForward(ffn_width=reading.whole("intermediate_size", least=1), activation=activation)
        layers.append((Step(blocks=(attention,), norm="attention_norm"), Step(blocks=(ffn or dense,), norm="ffn_norm")))
    return Blueprint(
        architecture=kind,
        width=reading.width,
        vocab_size=reading.vocab_size,
        context_length=reading.context_length,
        epsilon=reading.epsilon,
        layers=tuple(layers),
        rotations={"all": _frequencies(reading, attention.rotary_width)},
        tied_head=reading.flag("tie_word_embeddings"),
    )


def _attention(reading: Reading) -> LatentAttention:
    plain, rotary = reading.whole("qk_nope_head_dim", 128), reading.whole("qk_rope_head_dim", 64, least=2)
    scale, rotary_scale = _yarn_scales(reading.rope(), reading.origin)
    biased = reading.flag("attention_bias")
    return LatentAttention(
        heads=reading.heads,
        plain_width=plain,
        rotary_width=rotary,
        value_width=reading.whole("v_head_dim", 128, least=1),
        latent_width=reading.whole("kv_lora_rank", 512, least=1),
        scale=float(plain + rotary) ** -0.5 * scale,
        rotary_scale=rotary_scale,
        rotation="all",
        query_rank=reading.whole("q_lora_rank", 0),
        neighbours=reading.flag("rope_interleave", True),
        bias=biased,
        out_bias=biased,
    )


def _yarn_scales(rope: ForeignValues, origin: str) -> tuple[float, float]:
    """Of a whole score, and of its rotated part alone, beside what heads of any model have."""
    if (rope.raw("rope_type") or rope.raw("type") or "default") != "yarn":
        return 1.0, 1.0
    factor = rope.real("factor", least=1e-6, most=1e6)
    both, one = rope.real("mscale_all_dim", 0.0), rope.real("mscale", 0.0)

    def grown(by: float) -> float:
        return 0.1 * by * math.log(factor) + 1.0 if factor > 1 else 1.0

    whole = grown(both) ** 2 if both else 1.0
    said = rope.real("attention_factor", 0.0)
    turned = said or (grown(one) / grown(both) if one and both else grown(1.0))
    if not turned > 0:
        raise UnsupportedModel(f"{origin}: rope's scales of attention are no positive numbers")
    return whole, turned**2


def _frequencies(reading: Reading, width: int) -> tuple[float, ...]:
    rope = reading.rope()
    hidden = {"mscale", "mscale_all_dim", "attention_factor"}
    plain = ForeignValues({key: value for key, value in rope.items() if key not in hidden}, reading.origin)
    return reading.frequencies(width, rope=plain)


def _experts(reading: Reading, kind: str, activation: str) -> Experts:
    is_v2 = kind == "deepseek_v2"
    method = reading.values.text("topk_method", "greedy" if is_v2 else "noaux_tc", most=64)
    if method not in ({"greedy", "group_limited_greedy"} if is_v2 else {"noaux_tc"}):
        raise UnsupportedModel(f"{reading.origin}: experts chosen by {method!r} are not supported")
    reading.need("scoring_func", ("softmax",) if is_v2 else ("sigmoid",))
    reading.need("moe_layer_freq", (1,))
    grouped = not is_v2 or method == "group_limited_greedy"
    ffn_width = reading.whole("moe_intermediate_size", least=1)
    return Experts(
        num_experts=reading.whole("n_routed_experts", least=1),
        used=reading.whole("num_experts_per_tok", least=1),
        ffn_width=ffn_width,
        shared_width=ffn_width * reading.whole("n_shared_experts", 1),
        scoring="softmax" if is_v2 else "sigmoid",
        corrected=not is_v2,
        groups=(reading.whole("n_group", 1) or 1) if grouped else 1,
        groups_used=(reading.whole("topk_group", 1) or 1) if grouped else 1,
        group_best=is_v2,
        normalise=not is_v2 and reading.flag("norm_topk_prob", True),
        share_scale=reading.real("routed_scaling_factor", 1.0),
        activation=activation,
    )


def takes(blueprint: Blueprint, layer: int, part: str) -> Sequence[Take]:
    block = next(blueprint.blocks(layer))
    assert isinstance(block, LatentAttention), "every layer of this family has one"
    joined, latent = "self_attn.kv_a_proj_with_mqa", block.latent_width
    if part in {"latent", "latent_bias"}:
        return [Take(f"{joined}.{'bias' if part.endswith('bias') else 'weight'}", slice(0, latent))]
    if part in {"latent_rotary", "latent_rotary_bias"}:
        return [Take(f"{joined}.{'bias' if part.endswith('bias') else 'weight'}", slice(latent, None))]
    if part in {"key_up", "value_up"}:
        each = block.plain_width + block.value_width
        first, count = (0, block.plain_width) if part == "key_up" else (block.plain_width, block.value_width)
        rows = np.arange(block.heads)[:, None] * each + first + np.arange(count)
        return [Take("self_attn.kv_b_proj.weight", tuple(rows.ravel().tolist()))]
    return ()


FAMILY = Family(
    name="DeepSeek and GLM-4.7-Flash",
    model_types=tuple(FIRST_DENSE),
    draw=draw,
    takes=takes,
    names={
        "q_down": "self_attn.q_a_proj.weight",
        "q_down_bias": "self_attn.q_a_proj.bias",
        "q_down_norm": "self_attn.q_a_layernorm.weight",
        "q_up": "self_attn.q_b_proj.weight",
        "latent_norm": "self_attn.kv_a_layernorm.weight",
    },
    guesses_ahead=True,
    harmless=frozenset({"ep_size", "num_nextn_predict_layers", "num_mtp_layers", "moe_intermediate_size", "head_dim"}),
)
