"""What a family's GGUF files call things: keys as its config.json would say them, and tensors by ggml's names.

A GGUF file says less than a config.json and stores some tensors otherwise: norms as whole factors, what decays as minus
itself, the rotary halves of Llama's kin as neighbours. Names are those of the `gguf` package, layouts those of
llama.cpp's conversion.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vortex.errors import UnsupportedModel
from vortex.models.blueprint.attention import Attention
from vortex.models.blueprint.blueprint import Blueprint, Step
from vortex.models.blueprint.recurrences import DeltaRule
from vortex.models.families import granite, lfm2, olmo, phi3, qwen35, smollm3
from vortex.models.families.family import Family, Takes
from vortex.models.families.stored import Take
from vortex.models.files.checkpoint import GGUF_LAYER
from vortex.models.files.gguf import GgufTensor
from vortex.records.foreign import ForeignValues

STANDARD: Mapping[str, str] = {
    **GGUF_LAYER,
    "router_bias": "exp_probs_b.bias",
    "shared_gate": "ffn_gate_shexp.weight",
    "shared_up": "ffn_up_shexp.weight",
    "shared_down": "ffn_down_shexp.weight",
    "shared_router": "ffn_gate_inp_shexp.weight",
}
TOP: Mapping[str, tuple[str, ...]] = {
    "embedding": ("token_embd.weight",),
    "final_norm": ("output_norm.weight", "token_embd_norm.weight"),
    "head": ("output.weight",),
}
Said = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Keys:
    """The architecture's own keys, and the tensors beside them."""

    values: ForeignValues
    tensors: Mapping[str, GgufTensor]

    def whole(self, key: str, default: int | None = None) -> int:
        return self.values.whole(key) if default is None else self.values.whole(key, default)

    def common(self, model_type: str) -> Said:
        """What every family reads."""
        values, heads = self.values, self.whole("attention.head_count")
        scaling = values.text("rope.scaling.type", "none", most=64)
        if scaling != "none" and values.real("rope.scaling.factor", 1.0) != 1.0:
            raise UnsupportedModel(
                f"{values.origin}: rope scaling {scaling!r} of {model_type} in GGUF is not supported"
            )
        width = self.whole("embedding_length")
        head_width = self.whole("attention.key_length", max(width // max(heads, 1), 1))
        share = self.whole("rope.dimension_count", head_width) / head_width
        for key in ("attention.value_length", "rope.dimension_sections"):
            values.raw(key)  # of one grid of positions, and as wide as keys
        return {
            "model_type": model_type,
            "hidden_size": width,
            "num_hidden_layers": self.whole("block_count") - self.whole("nextn_predict_layers", 0),
            "vocab_size": self.tensors["token_embd.weight"].shape[0],
            "max_position_embeddings": self.whole("context_length"),
            "num_attention_heads": heads,
            "head_dim": head_width,
            "rms_norm_eps": values.real("attention.layer_norm_rms_epsilon", least=0, most=1),
            "tie_word_embeddings": "output.weight" not in self.tensors,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": values.real("rope.freq_base", 10_000.0, least=1.1),
                "partial_rotary_factor": share,
            },
        }

    def plain(self, model_type: str) -> Said:
        """With one number of key heads and one width of a feed-forward."""
        heads = self.whole("attention.head_count_kv", self.whole("attention.head_count"))
        return {
            **self.common(model_type),
            "num_key_value_heads": heads,
            "intermediate_size": self.whole("feed_forward_length", 0),
        }

    def experts(self) -> Said:
        if not self.whole("expert_count", 0):
            return {}
        return {
            "num_experts": self.whole("expert_count"),
            "num_experts_per_tok": self.whole("expert_used_count"),
            "moe_intermediate_size": self.whole("expert_feed_forward_length"),
            "norm_topk_prob": self.values.flag("expert_weights_norm", True),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufFamily:
    """architectures: as general.architecture says it. adapt: what the file's layout changes in the blueprint."""

    architectures: tuple[str, ...]
    family: Family
    config: Callable[[Keys, str], Said]
    adapt: Callable[[Blueprint], Blueprint] = lambda blueprint: blueprint
    names: Mapping[str, str] = field(default_factory=dict)
    takes: Takes = lambda blueprint, layer, part: ()


def takes_of(one: GgufFamily, blueprint: Blueprint, layer: int, part: str) -> list[Take]:
    prefix = f"blk.{layer}."
    if found := one.takes(blueprint, layer, part):
        return [dataclasses.replace(take, name=prefix + take.name) for take in found]
    if part.startswith("experts."):
        _, number, kind = part.split(".")
        rows, _ = blueprint.shapes(layer)[part]
        return [Take(f"{prefix}ffn_{kind}_exps.weight", slice(int(number) * rows, (int(number) + 1) * rows))]
    name = one.names.get(part) or STANDARD.get(part)
    if name is None:
        raise UnsupportedModel(f"no GGUF tensor of {one.family.name} is called {part}")
    return [Take(prefix + name)]


def _neighbours(blueprint: Blueprint) -> Blueprint:
    """Pairs that turn lie side by side."""
    return _blocks(blueprint, Attention, {"neighbours": True})


def _tiled(blueprint: Blueprint) -> Blueprint:
    """Value head h goes with key head h mod key heads."""
    return _blocks(blueprint, DeltaRule, {"tiled": True})


def _blocks(blueprint: Blueprint, kind: type[Any], changes: Said) -> Blueprint:
    def changed(step: Step) -> Step:
        blocks = tuple(dataclasses.replace(one, **changes) if isinstance(one, kind) else one for one in step.blocks)
        return dataclasses.replace(step, blocks=blocks)

    return dataclasses.replace(blueprint, layers=tuple(tuple(map(changed, layer)) for layer in blueprint.layers))


def _qwen35(keys: Keys, architecture: str) -> Said:
    values, value_heads = keys.values, keys.whole("ssm.time_step_rank")
    shared = {}
    if keys.whole("expert_count", 0):
        shared = {"shared_expert_intermediate_size": keys.whole("expert_shared_feed_forward_length")}
    return {
        **keys.plain({"qwen35": "qwen3_5", "qwen35moe": "qwen3_5_moe", "qwen3next": "qwen3_next"}[architecture]),
        "full_attention_interval": values.whole("full_attention_interval", qwen35.EVERY, least=1),
        "linear_num_key_heads": keys.whole("ssm.group_count"),
        "linear_num_value_heads": value_heads,
        "linear_key_head_dim": keys.whole("ssm.state_size"),
        "linear_value_head_dim": keys.whole("ssm.inner_size") // max(value_heads, 1),
        "linear_conv_kernel_dim": keys.whole("ssm.conv_kernel"),
        **keys.experts(),
        **shared,
    }


def _qwen35_takes(blueprint: Blueprint, layer: int, part: str) -> list[Take]:
    if part == "delta_rate":
        return [Take("ssm_a", change=lambda values: -values)]
    if part in {"q", "gate_q"}:
        (one,) = qwen35.takes(blueprint, layer, part)
        return [Take("attn_q.weight", one.rows)]
    if part in {"delta_beta", "delta_decay"}:
        block = next(blueprint.blocks(layer))
        assert isinstance(block, DeltaRule), "a layer of the delta rule"
        joined = dataclasses.replace(qwen35.of_next(block, part), name="ssm_ba.weight")
        return [Take({"delta_beta": "ssm_beta.weight", "delta_decay": "ssm_alpha.weight"}[part]), joined]
    return []


def _lfm2(keys: Keys, architecture: str) -> Said:
    heads = keys.values.wholes("attention.head_count_kv", most=1 << 16)
    return {
        **keys.common("lfm2"),
        "num_key_value_heads": max(heads, default=0),
        "layer_types": ["full_attention" if count else "conv" for count in heads],
        "intermediate_size": keys.whole("feed_forward_length"),
        "block_auto_adjust_ff_dim": False,
        "conv_L_cache": keys.whole("shortconv.l_cache"),
        "norm_eps": keys.values.real("attention.layer_norm_rms_epsilon", least=0, most=1),
    }


def _granite(keys: Keys, architecture: str) -> Said:
    values = keys.values
    return {
        **keys.plain("granite"),
        "embedding_multiplier": values.real("embedding_scale", 1.0),
        "residual_multiplier": values.real("residual_scale", 1.0),
        "logits_scaling": values.real("logit_scale", 1.0),
        "attention_multiplier": values.real("attention.scale", float(keys.common("granite")["head_dim"]) ** -0.5),
    }


def _phi3(keys: Keys, architecture: str) -> Said:
    window = keys.whole("attention.sliding_window", 0)
    original = keys.whole("rope.scaling.original_context_length", 0)
    keys.values.raw("rope.scaling.attn_factor")
    if "rope_factors_short.weight" in keys.tensors:
        raise UnsupportedModel(
            f"{keys.values.origin}: Phi-3 with two sets of rope factors is read from safetensors, not from GGUF"
        )
    said = keys.plain("phi3")
    longest = original or said["max_position_embeddings"]
    return {**said, "sliding_window": window if window < longest else 0}


def _phi3_takes(blueprint: Blueprint, layer: int, part: str) -> list[Take]:
    names = {"self_attn.qkv_proj.weight": "attn_qkv.weight", "mlp.gate_up_proj.weight": "ffn_up.weight"}
    return [dataclasses.replace(one, name=names[one.name]) for one in phi3.takes(blueprint, layer, part)]


GGUF_FAMILIES: tuple[GgufFamily, ...] = (
    GgufFamily(
        architectures=("qwen35", "qwen35moe"),
        family=qwen35.FAMILY,
        config=_qwen35,
        adapt=_tiled,
        takes=_qwen35_takes,
        names={
            "ffn_norm": "post_attention_norm.weight",
            "delta_qkv": "attn_qkv.weight",
            "delta_gate": "attn_gate.weight",
            "delta_kernel": "ssm_conv1d.weight",
            "delta_time": "ssm_dt.bias",
            "delta_norm": "ssm_norm.weight",
            "delta_out": "ssm_out.weight",
        },
    ),
    GgufFamily(
        architectures=("lfm2",),
        family=lfm2.FAMILY,
        config=_lfm2,
        names={
            "conv_in": "shortconv.in_proj.weight",
            "conv_kernel": "shortconv.conv.weight",
            "conv_out": "shortconv.out_proj.weight",
        },
    ),
    GgufFamily(
        architectures=("smollm3",),
        family=smollm3.FAMILY,
        config=lambda keys, _: keys.plain("smollm3"),
        adapt=_neighbours,
    ),
    GgufFamily(architectures=("granite",), family=granite.DENSE, config=_granite, adapt=_neighbours),
    GgufFamily(architectures=("phi3",), family=phi3.FAMILY, config=_phi3, takes=_phi3_takes),
    GgufFamily(
        architectures=("olmo2",),
        family=olmo.FAMILY,
        config=lambda keys, _: keys.plain("olmo2"),
        names={"post_attention_norm": "post_attention_norm.weight", "post_ffn_norm": "post_ffw_norm.weight"},
    ),
)
QWEN3_NEXT = dataclasses.replace(
    GGUF_FAMILIES[0], architectures=("qwen3next",), adapt=lambda blueprint: blueprint
)  # value heads stay with their key head
BY_ARCHITECTURE = {name: one for one in (*GGUF_FAMILIES, QWEN3_NEXT) for name in one.architectures}
