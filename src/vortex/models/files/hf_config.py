"""A decoder's numbers from a config.json, as transformers writes and reads it (4.x and 5.x).

A missing key means what the same class of transformers takes for it. Keys that this decoder does not use must say what
it does anyway; of the others, transformers' own classes ignore what they do not know, and so does this reader, unless
a key's name speaks of arithmetic: then it is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vortex.errors import UnsupportedModel
from vortex.models.files import rope_scaling
from vortex.models.files.decoder_config import (
    GEMMA3_GLOBAL_EVERY,
    GPT_OSS_LIMIT,
    SWIGLU_ALPHA,
    DecoderConfig,
    as_gemma3,
    as_gpt_oss,
    check_config,
    period_of,
    refuse_architecture,
)
from vortex.models.files.quantised import read_quantisation
from vortex.records.foreign import ForeignValues, shown

ARCHITECTURES = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "qwen3_moe": "qwen3",
    "mixtral": "llama",
    "gemma3_text": "gemma3",
    "gemma3": "gemma3",
    "gpt_oss": "gpt_oss",
}
DEFAULTS: dict[str, dict[str, Any]] = {  # where transformers' class differs from what is read below
    "gemma3": {
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "vocab_size": 262_208,
        "max_position_embeddings": 131_072,
        "rope_theta": 1_000_000.0,
        "sliding_window": 4096,
        "query_pre_attn_scalar": 256,
    },
    "gpt_oss": {"head_dim": 64, "rope_theta": 150_000.0, "sliding_window": 128},
    "qwen3": {"head_dim": 128},
    "mixtral": {"rope_theta": 1_000_000.0},
}
NEUTRAL: dict[str, tuple[object, ...]] = {  # values that change nothing
    "mlp_bias": (False,),
    "partial_rotary_factor": (1,),
    "final_logit_softcapping": (0,),
    "attn_logit_softcapping": (0,),
    "use_bidirectional_attention": (False,),
    "pretraining_tp": (0, 1),
    "add_cross_attention": (False,),
    "swiglu_alpha": (SWIGLU_ALPHA,),
}
HARMLESS = {"attention_dropout", "hidden_dropout", "initializer_range", "max_window_layers", "rope_scaling",
            "rope_theta", "rope_local_base_freq", "rope_parameters", "router_aux_loss_coef", "router_jitter_noise",
            "output_router_logits", "sliding_window", "use_sliding_window", "query_pre_attn_scalar", "hidden_act",
            "rms_norm_eps", "layer_norm_eps", "initial_context_length", "experts_per_token", "norm_topk_prob",
            "num_local_experts", "num_experts", "num_experts_per_tok", "moe_intermediate_size", "activation_dropout",
            "expert_capacity", "sliding_window_pattern", "_sliding_window_pattern", "layer_types",
            "original_max_position_embeddings"}  # fmt: skip
ARITHMETIC = re.compile(
    "multiplier|softcap|scal|rotary|rope|clip|clamp|bias|norm|window|layer_types|expert|activation|hidden_act|sparse|"
    "residual|alibi|position_embedding_type|quantization_config|mup_|attention_type|parallel|nope|altup|laurel|_eps"
)


def from_hf(raw: Mapping[str, Any], origin: str) -> DecoderConfig:
    """Raises UnsupportedModel for what is not known here, ModelFileError for what is missing or impossible."""
    whole = ForeignValues(raw, origin)
    name = whole.text("model_type", "None", most=64)
    inner = {key: value for key, value in whole.nested("text_config").values_by_key.items() if value is not None}
    merged = {**raw, **inner, "model_type": inner.get("model_type", name)}
    values = ForeignValues(merged, origin)
    name = values.text("model_type", most=64)
    if name not in ARCHITECTURES:
        raise refuse_architecture(name, ARCHITECTURES, origin)
    architecture = ARCHITECTURES[name]
    for key, value in {**DEFAULTS.get(architecture, {}), **DEFAULTS.get(name, {})}.items():
        if merged.get(key) is None:
            merged[key] = value
    config = _read(values, name, architecture)
    if architecture == "gpt_oss":
        config = as_gpt_oss(config, values.real("swiglu_limit", GPT_OSS_LIMIT, least=0))
    _check_fixed(values, name, architecture)
    return check_config(as_gemma3(config, is_27b=False) if architecture == "gemma3" else config, origin)


def _read(values: ForeignValues, name: str, architecture: str) -> DecoderConfig:
    gemma, origin = architecture == "gemma3", values.origin
    width, heads = values.whole("hidden_size", least=1), values.whole("num_attention_heads", least=1)
    head_width = values.whole("head_dim", 0) or max(width // heads, 1)
    num_layers = values.whole("num_hidden_layers", least=1, most=1 << 16)
    rope, local_theta = _rope(values)
    theta = rope.real("rope_theta", values.real("rope_theta", 10_000.0), least=1.1)
    window, global_every = _window(values, name, architecture, num_layers)
    scale = rope_scaling.attention_scale(rope, head_width)
    biases = values.flag("attention_bias", architecture == "gpt_oss") and architecture != "qwen2" and name != "mistral"
    return DecoderConfig(
        architecture=architecture,
        num_layers=num_layers,
        width=width,
        ffn_width=values.whole("moe_intermediate_size" if name == "qwen3_moe" else "intermediate_size", least=1),
        num_heads=heads,
        num_kv_heads=values.whole("num_key_value_heads", 0) or heads,
        head_width=head_width,
        vocab_size=values.whole("vocab_size", least=1),
        context_length=values.whole("max_position_embeddings", 2048, least=1),
        norm_epsilon=values.real("rms_norm_eps", 1e-6, least=0, most=1),
        rope_theta=theta,
        rope_theta_local=local_theta,
        rope_divisors=rope_scaling.divisors_of(rope, head_width, theta, origin),
        sliding_window=window,
        global_every=global_every,
        attention_scale=values.real("query_pre_attn_scalar", least=1e-6) ** -0.5 if gemma else scale,
        qk_norm=architecture in {"qwen3", "gemma3"},
        qkv_bias=name == "qwen2" or biases,
        attention_out_bias=biases,
        tied_head=values.flag("tie_word_embeddings", gemma),
        **_experts(values, name),
    )


def _window(values: ForeignValues, name: str, architecture: str, num_layers: int) -> tuple[int, int]:
    """Keys that local layers see (0: there are none), and which layers see everything (DecoderConfig.global_every)."""
    used = name in {"mistral", "mixtral", "gpt_oss"} or architecture == "gemma3"
    used = values.flag("use_sliding_window", used) if architecture != "gemma3" else True
    window = values.whole("sliding_window", 0) if used else 0
    kinds = values.texts("layer_types", [], most=1 << 16, longest=64)
    if unknown := set(kinds) - {"full_attention", "sliding_attention"}:
        raise UnsupportedModel(f"{values.origin}: layers of kind {sorted(unknown)[0]!r} are not supported")
    if not window:
        return 0, 1
    if kinds and len(kinds) != num_layers:
        raise UnsupportedModel(f"{values.origin}: layer_types names {len(kinds)} of {num_layers} layers")
    if kinds:
        return window, period_of([kind == "full_attention" for kind in kinds], values.origin)
    if architecture == "gpt_oss":
        return window, 2
    if architecture == "gemma3":
        pattern = values.raw("_sliding_window_pattern", values.raw("sliding_window_pattern", GEMMA3_GLOBAL_EVERY))
        return window, ForeignValues({"sliding_window_pattern": pattern}, values.origin).whole("sliding_window_pattern")
    first = values.whole("max_window_layers", 0) if architecture in {"qwen2", "qwen3"} else 0
    if first >= num_layers:
        return 0, 1
    if first and name != "qwen3_moe":
        raise UnsupportedModel(f"{values.origin}: windows from layer {first} on (max_window_layers) are not supported")
    return window, 0


def _experts(values: ForeignValues, name: str) -> dict[str, Any]:
    if name not in {"qwen3_moe", "mixtral", "gpt_oss"}:
        return {}
    sparse_step = values.whole("decoder_sparse_step", 1, least=0)
    if values.items_of("mlp_only_layers", [], most=1 << 16) or sparse_step != 1:
        raise UnsupportedModel(f"{values.origin}: layers without experts between layers with experts are not supported")
    count = "num_experts" if name == "qwen3_moe" and values.raw("num_experts") is not None else "num_local_experts"
    return {
        "num_experts": values.whole(count, least=1, most=1 << 16),
        "experts_per_token": values.whole("num_experts_per_tok", least=1, most=1 << 16),
        "normalise_experts": name != "qwen3_moe" or values.flag("norm_topk_prob", False),
    }


def _rope(values: ForeignValues) -> tuple[ForeignValues, float]:
    """Rope settings of full-attention layers, and the local layers' theta (0: the same)."""
    parameters = values.nested("rope_parameters")
    if not parameters.values_by_key:
        return values.nested("rope_scaling"), values.real("rope_local_base_freq", 0.0, least=0)
    if "full_attention" in parameters.values_by_key:
        local = parameters.nested("sliding_attention")
        if local.text("rope_type", "default", most=64) != "default":
            raise UnsupportedModel(f"{values.origin}: rope scaling of layers with a window is not supported")
        return parameters.nested("full_attention"), local.real("rope_theta", 0.0, least=0)
    return parameters, 0.0


def _check_fixed(values: ForeignValues, name: str, architecture: str) -> None:
    """Keys that must say what this decoder does anyway, and keys that nobody here knows."""
    origin, gemma = values.origin, architecture == "gemma3"
    activation = values.text("hidden_activation" if gemma else "hidden_act", "gelu_pytorch_tanh" if gemma else "silu")
    if activation not in ({"gelu_pytorch_tanh"} if gemma else {"silu", "swish"}):
        raise UnsupportedModel(f"{origin}: the activation {shown(activation)} is not supported in {name}")
    for key, neutral in NEUTRAL.items():
        if (value := values.raw(key, neutral[0])) not in neutral:
            raise UnsupportedModel(f"{origin}: {key} is {shown(value)}, which is not supported")
    quantised = values.nested("quantization_config")
    method = quantised.text("quant_method", "none", most=64)
    if read_quantisation(values) is None and quantised.values_by_key and architecture != "gpt_oss":
        raise UnsupportedModel(f"{origin}: weights quantised by {method!r} are not supported; use the GGUF file")
    for key in values.unread():
        value = values.values_by_key[key]
        if key in HARMLESS or value in (False, 0, 0.0, "", [], {}) or not ARITHMETIC.search(key):
            continue
        raise UnsupportedModel(f"{origin}: {key} is {shown(value)}, which is not known here; answers could be wrong")
