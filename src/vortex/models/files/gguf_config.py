"""A decoder's numbers from a GGUF file: its keys by ggml's names, bounded by the tensors beside them.

Every key of the architecture is either used, or must have the value that this decoder computes with (`_check_fixed`),
or is known to be harmless; any other one is refused by name. Sources: ggml's key names, and what llama.cpp does where
a key is missing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vortex.errors import ModelFileError, UnsupportedModel
from vortex.models.files import rope_scaling
from vortex.models.files.decoder_config import (
    GEMMA3_GLOBAL_EVERY,
    GPT_OSS_LIMIT,
    DecoderConfig,
    as_gemma3,
    as_gpt_oss,
    check_config,
    period_of,
    refuse_architecture,
)
from vortex.models.files.gguf import GgufTensor
from vortex.records.foreign import ForeignValues, shown

ARCHITECTURES = {
    "llama": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "qwen3moe": "qwen3",
    "gemma3": "gemma3",
    "gpt-oss": "gpt_oss",
}
LAYERS_OF_27B = 62
HARMLESS = {
    "vocab_size",  # the embedding's rows are counted
    "name",
    "tensor_data_layout",
    "pooling_type",
    "attention.layer_norm_epsilon",  # of norms that these architectures do not have
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",  # used where the kind of scaling asks for it
    "feed_forward_length",  # of dense layers, where a model of experts has none
    "mm.tokens_per_image",
}
NEUTRAL: dict[str, tuple[object, ...]] = {  # values that change nothing
    "attention.causal": (True,),
    "use_parallel_residual": (False,),
    "rope.scale_linear": (0, 1),
    "rope.scaling.attn_factor": (0, 1),
    "rope.scaling.yarn_attn_factor": (0, 1),
    "rope.scaling.yarn_ext_factor": (-1, 1),
    "rope.scaling.yarn_log_multiplier": (0,),
    "rope.scaling.alpha": (0, 1),
    "expert_shared_count": (0,),
    "expert_weights_scale": (0, 1),
    "expert_weights_norm": (True,),
    "expert_gating_func": (0, 1),
    "expert_group_count": (0, 1),
    "expert_group_used_count": (0, 1),
    "leading_dense_block_count": (0,),
    "interleave_moe_layer_step": (0, 1),
    "moe_every_n_layers": (0, 1),
    "nextn_predict_layers": (0,),
    "attn_logit_softcapping": (0,),
    "final_logit_softcapping": (0,),
    "logit_scale": (0, 1),
    "residual_scale": (0, 1),
    "embedding_scale": (0, 1),
    "attention.clamp_kqv": (0,),
    "attention.max_alibi_bias": (0,),
    "attention.shared_kv_layers": (0,),
}
HEAD_WIDTHS = ("rope.dimension_count", "attention.value_length", "rope.dimension_count_swa",
               "attention.key_length_swa", "attention.value_length_swa")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Family:
    """What an architecture fixes for all of its models and their GGUF files leave out."""

    global_every: int = 0  # where some layers see a window, whose size is in the file
    qk_norm: bool = False
    qkv_bias: bool = False


FAMILIES = {
    "qwen2": Family(qkv_bias=True),
    "qwen3": Family(qk_norm=True),
    "gemma3": Family(qk_norm=True, global_every=GEMMA3_GLOBAL_EVERY),
    "gpt_oss": Family(global_every=2),
}


def from_gguf(
    metadata: Mapping[str, Any], tensors: Mapping[str, GgufTensor], divisors: tuple[float, ...], origin: str
) -> DecoderConfig:
    """divisors: of the rotary frequencies, where the file has them as a tensor (Llama 3).

    Raises UnsupportedModel for what is not known here, ModelFileError for what is missing or impossible.
    """
    values = ForeignValues(metadata, origin)
    name = values.text("general.architecture", "None", most=64)
    if name not in ARCHITECTURES:
        raise refuse_architecture(name, ARCHITECTURES, origin)
    architecture = ARCHITECTURES[name]
    keys = _Keys(values.under(f"{name}."), max(max(tensor.shape) for tensor in tensors.values()), len(tensors))
    config = _read(keys, architecture, tensors)
    scaled, attention_scale = _rope(keys, name, config)
    if scaled and divisors:
        scaled = tuple(one * other for one, other in zip(scaled, divisors, strict=False))
    config = dataclasses.replace(
        config,
        rope_divisors=scaled or divisors,
        attention_scale=keys.values.real("attention.scale", 0.0, least=0) or attention_scale,
    )
    if architecture == "gpt_oss":
        config = as_gpt_oss(config, GPT_OSS_LIMIT)
    if architecture == "gemma3":
        config = as_gemma3(config, is_27b=config.num_layers == LAYERS_OF_27B)
    config = check_config(config, origin)
    _check_fixed(keys.values, config)
    return config


@dataclass(frozen=True, slots=True)
class _Keys:
    """Keys of the architecture. No size is above the largest dimension of a tensor, no layer without a tensor."""

    values: ForeignValues
    largest: int
    num_tensors: int

    def size(self, key: str, default: Any = None, *, least: int = 1) -> int:
        """One number, or the same for every layer."""
        found = self.values.raw(key, default)
        if isinstance(found, list):
            if not found or any(value != found[0] for value in found):
                raise UnsupportedModel(
                    f"{self.values.origin}: {self.values.prefix}{key} differs from layer to layer; "
                    "such models are not supported"
                )
            return ForeignValues({key: found[0]}, self.values.origin).whole(key, least=least, most=self.largest)
        if default is None:
            return self.values.whole(key, least=least, most=self.largest)
        return self.values.whole(key, default, least=least, most=self.largest)


def _read(keys: _Keys, architecture: str, tensors: Mapping[str, GgufTensor]) -> DecoderConfig:
    values, family = keys.values, FAMILIES.get(architecture, Family())
    width, heads = keys.size("embedding_length"), keys.size("attention.head_count")
    num_layers = values.whole("block_count", least=1, most=keys.num_tensors)
    num_experts = keys.size("expert_count", 0, least=0)
    expert_width = keys.size("expert_feed_forward_length", 0, least=0)
    context_length = values.whole("context_length", least=1)
    window = values.whole("attention.sliding_window", *([] if family.global_every else [0]))
    if not family.global_every and 0 < window < context_length:
        raise UnsupportedModel(
            f"{values.origin}: {values.prefix}attention.sliding_window is {window}; "
            f"windows are not known of {architecture} in GGUF"
        )
    return DecoderConfig(
        architecture=architecture,
        num_layers=num_layers,
        width=width,
        ffn_width=expert_width or keys.size("feed_forward_length"),
        num_heads=heads,
        num_kv_heads=keys.size("attention.head_count_kv", heads),
        head_width=keys.size("attention.key_length", max(width // heads, 1)),
        vocab_size=tensors["token_embd.weight"].shape[0],
        context_length=context_length,
        norm_epsilon=values.real("attention.layer_norm_rms_epsilon", least=0, most=1),
        rope_theta=values.real("rope.freq_base", 10_000.0, least=1.1),
        rope_theta_local=_local_theta(values, architecture),
        sliding_window=window if family.global_every else 0,
        global_every=_global_every(values, family, num_layers),
        qk_norm=family.qk_norm,
        qkv_bias=family.qkv_bias or "blk.0.attn_q.bias" in tensors,
        attention_out_bias="blk.0.attn_output.bias" in tensors,
        tied_head="output.weight" not in tensors,
        num_experts=num_experts,
        experts_per_token=keys.size("expert_used_count", 0, least=0),
    )


def _local_theta(values: ForeignValues, architecture: str) -> float:
    """Of layers that see a window; 0: as the others."""
    local = values.real("rope.freq_base_swa", 0.0, least=0)
    if architecture != "gemma3" and local not in {0.0, values.real("rope.freq_base", 10_000.0)}:
        raise UnsupportedModel(f"{values.origin}: {values.prefix}rope.freq_base_swa is {local} and not as freq_base")
    return local if architecture == "gemma3" else 0.0


def _global_every(values: ForeignValues, family: Family, num_layers: int) -> int:
    pattern = values.raw("attention.sliding_window_pattern")
    if pattern is None or not family.global_every:
        return family.global_every or 1
    if isinstance(pattern, list):
        return period_of([not bool(local) for local in pattern[:num_layers]], values.origin)
    return values.whole("attention.sliding_window_pattern")


def _rope(keys: _Keys, name: str, config: DecoderConfig) -> tuple[tuple[float, ...], float]:
    """Divisors of the frequencies, and the scale of attention (0: the usual one)."""
    values = keys.values
    kind = values.text("rope.scaling.type", "linear", most=64)
    if kind not in {"none", "linear", "yarn"}:
        raise UnsupportedModel(f"{values.origin}: rope scaling {kind!r} is not supported; known: linear, yarn")
    factor = values.real("rope.scaling.factor", 1.0, least=0) or 1.0
    if kind == "none" or (kind == "linear" and factor == 1.0):
        return (), 0.0
    if kind == "linear":
        linear = {"rope_type": "linear", "factor": factor}
        return rope_scaling.divisors_of(linear, config.head_width, config.rope_theta, values.origin), 0.0
    rope = {
        "rope_type": "yarn",
        "factor": factor,
        "truncate": name != "gpt-oss",
        "original_max_position_embeddings": values.real("rope.scaling.original_context_length", least=1),
        "beta_fast": values.real("rope.scaling.yarn_beta_fast", rope_scaling.BETA_FAST, least=1e-3, most=1e6),
        "beta_slow": values.real("rope.scaling.yarn_beta_slow", rope_scaling.BETA_SLOW, least=1e-3, most=1e6),
    }
    divisors = rope_scaling.divisors_of(rope, config.head_width, config.rope_theta, values.origin)
    return divisors, rope_scaling.attention_scale(rope, config.head_width)


def _check_fixed(values: ForeignValues, config: DecoderConfig) -> None:
    """Keys that must say what this decoder does anyway; then whatever is left."""
    for key in HEAD_WIDTHS:
        width = values.raw(key, config.head_width)
        if width != config.head_width:
            raise UnsupportedModel(
                f"{values.origin}: {values.prefix}{key} is {shown(width)} and heads are {config.head_width} wide; "
                "partial rotation and other widths of values are not supported"
            )
    gating = (3,) if config.architecture == "gpt_oss" else ()
    for key, neutral in NEUTRAL.items():
        value = values.raw(key, neutral[0])
        if value not in neutral and not (key == "expert_gating_func" and value in gating):
            raise UnsupportedModel(f"{values.origin}: {values.prefix}{key} is {shown(value)}, which is not supported")
    for key in values.unread():
        part = key.removeprefix(values.prefix)
        if part not in HARMLESS and not part.startswith("vision."):
            raise UnsupportedModel(
                f"{values.origin}: the key {key} is not known here; answers could be wrong without what it means"
            )


def frequency_divisors(values: Any, origin: str) -> tuple[float, ...]:
    """A tensor of divisors as numbers. Raises ModelFileError where they are none."""
    divisors = tuple(float(value) for value in values)
    if not all(1e-9 <= divisor <= 1e9 for divisor in divisors):
        raise ModelFileError(f"{origin}: rope_freqs.weight holds what is no positive number; the file is damaged")
    return divisors
