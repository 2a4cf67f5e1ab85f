"""The numbers that make one Llama-shaped decoder differ from another, read from GGUF metadata or a config.json.

Sources: ggml's GGUF key names; transformers' configuration classes of the same architectures. Unknown architectures
are refused by name: running them almost right would be worse.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vortex.errors import ModelFileError, UnsupportedModel
from vortex.models.files import rope_scaling

GGUF_ARCHITECTURES = {
    "llama": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "qwen3moe": "qwen3",
    "gemma3": "gemma3",
    "gpt-oss": "gpt_oss",
}
HF_ARCHITECTURES = {
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
GEMMA3_GLOBAL_EVERY = 6
GEMMA3_LOCAL_ROPE_THETA = 10_000.0
GPT_OSS_LIMIT = 7.0
SWIGLU_ALPHA = 1.702  # clamped_swiglu: gate * sigmoid(alpha * gate) * (up + 1), both clamped before


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    architecture: str  # llama | qwen2 | qwen3 | gemma3 | gpt_oss
    num_layers: int
    width: int
    ffn_width: int  # of one expert, where there are experts
    num_heads: int
    num_kv_heads: int
    head_width: int
    vocab_size: int
    context_length: int
    norm_epsilon: float
    rope_theta: float
    rope_theta_local: float = 0.0  # of sliding-window layers; 0: the same
    rope_divisors: tuple[float, ...] = ()  # of the frequencies (not of layers with a theta of their own); empty: ones
    sliding_window: int = 0  # keys a local layer sees, its own included; 0: no local layers
    global_every: int = 1  # layer i sees everything when (i + 1) % global_every == 0; 0: never
    activation: str = "silu"  # silu | gelu_tanh | clamped_swiglu
    swiglu_limit: float = 0.0  # of clamped_swiglu
    embedding_scale: float = 1.0
    attention_scale: float = 0.0  # 0: 1 / sqrt(head_width)
    qk_norm: bool = False
    post_norms: bool = False
    qkv_bias: bool = False
    attention_out_bias: bool = False
    attention_sinks: bool = False  # a learned logit per head that takes its share of attention and brings no value
    tied_head: bool = False
    num_experts: int = 0  # per layer; 0: one dense feed-forward
    experts_per_token: int = 0
    normalise_experts: bool = True  # the chosen experts' weights add up to 1
    expert_biases: bool = False  # of the router and of every expert's products

    @property
    def query_scale(self) -> float:
        return self.attention_scale or self.head_width**-0.5

    @property
    def group_size(self) -> int:
        """Query heads that share one key and value head."""
        return self.num_heads // self.num_kv_heads

    def is_local(self, layer: int) -> bool:
        return self.sliding_window > 0 and not (self.global_every and (layer + 1) % self.global_every == 0)

    def window(self, layer: int) -> int:
        """Keys that layer `layer` sees, 0 for all."""
        return self.sliding_window if self.is_local(layer) else 0

    def inverse_frequencies(self, layer: int) -> list[float]:
        """Rotary frequencies of `layer`, [head_width / 2], scaled as the model's makers did."""
        local = self.is_local(layer)
        theta = self.rope_theta_local if local and self.rope_theta_local else self.rope_theta
        half = self.head_width // 2
        plain = [theta ** (-i / half) for i in range(half)]
        if not self.rope_divisors or (local and self.rope_theta_local):
            return plain
        return [frequency / divisor for frequency, divisor in zip(plain, self.rope_divisors, strict=True)]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> DecoderConfig:
        return cls(**{**values, "rope_divisors": tuple(values["rope_divisors"])})


def _check(config: DecoderConfig, origin: str) -> DecoderConfig:
    positive = ("num_layers", "width", "ffn_width", "num_heads", "num_kv_heads", "head_width", "vocab_size")
    for name in (*positive, "context_length"):
        if getattr(config, name) <= 0:
            raise ModelFileError(f"{origin} says {name} is {getattr(config, name)}; the file is damaged")
    if not 0 <= config.experts_per_token <= config.num_experts or (config.num_experts and not config.experts_per_token):
        raise ModelFileError(f"{origin} uses {config.experts_per_token} of {config.num_experts} experts per token")
    if config.num_heads % config.num_kv_heads:
        raise ModelFileError(f"{origin} has {config.num_heads} heads over {config.num_kv_heads} key heads")
    return config


def _refuse(architecture: str, known: Mapping[str, str], origin: str) -> UnsupportedModel:
    return UnsupportedModel(f"{origin}: architecture {architecture!r} is not supported; known: {', '.join(known)}")


@dataclass(frozen=True, slots=True)
class Family:
    """What an architecture fixes for all of its models and their GGUF files leave out."""

    has_window: bool = False  # some layers see a window; its size is in the file
    qk_norm: bool = False
    qkv_bias: bool = False


GGUF_FAMILIES = {
    "qwen2": Family(qkv_bias=True),
    "qwen3": Family(qk_norm=True),
    "gemma3": Family(qk_norm=True, has_window=True),
    "gpt_oss": Family(has_window=True),
}


def from_gguf(metadata: Mapping[str, Any], vocab_size: int, tied_head: bool, origin: str) -> DecoderConfig:
    """Llama 3's divisors are a tensor in GGUF: the caller adds them.

    Raises UnsupportedModel for another architecture, ModelFileError for missing keys.
    """
    name = str(metadata.get("general.architecture"))
    if name not in GGUF_ARCHITECTURES:
        raise _refuse(name, GGUF_ARCHITECTURES, origin)
    architecture = GGUF_ARCHITECTURES[name]
    family = GGUF_FAMILIES.get(architecture, Family())

    def key(suffix: str, default: Any = None) -> Any:
        value = metadata.get(f"{name}.{suffix}", default)
        if value is None:
            raise ModelFileError(f"{origin} lacks the key {name}.{suffix}; it is not a complete model")
        return value

    width, heads = int(key("embedding_length")), int(key("attention.head_count"))
    head_width = int(key("attention.key_length", width // max(heads, 1)))
    divisors, attention_scale = _gguf_rope(key, str(metadata.get(f"{name}.rope.scaling.type")), name, head_width)
    config = DecoderConfig(
        architecture=architecture,
        num_layers=int(key("block_count")),
        width=width,
        ffn_width=int(metadata.get(f"{name}.expert_feed_forward_length") or key("feed_forward_length")),
        num_heads=heads,
        num_kv_heads=int(key("attention.head_count_kv", heads)),
        head_width=head_width,
        vocab_size=vocab_size,
        context_length=int(key("context_length")),
        norm_epsilon=float(key("attention.layer_norm_rms_epsilon")),
        rope_theta=float(key("rope.freq_base", 10_000.0)),
        rope_divisors=divisors,
        sliding_window=int(key("attention.sliding_window")) if family.has_window else 0,
        attention_scale=attention_scale,
        qk_norm=family.qk_norm,
        qkv_bias=family.qkv_bias,
        tied_head=tied_head,
        num_experts=int(metadata.get(f"{name}.expert_count", 0)),
        experts_per_token=int(metadata.get(f"{name}.expert_used_count", 0)),
    )
    if architecture == "gpt_oss":
        config = _as_gpt_oss(config, GPT_OSS_LIMIT)
    return _check(_as_gemma3(config, is_27b=config.num_layers == 62) if architecture == "gemma3" else config, origin)


def _gguf_rope(key: Callable[..., Any], scaling: str, name: str, head_width: int) -> tuple[tuple[float, ...], float]:
    """Divisors of the frequencies, and the scale of attention (0: the usual one)."""
    if scaling == "linear":
        return (float(key("rope.scaling.factor")),) * (head_width // 2), 0.0
    if name != "gpt-oss" or scaling != "yarn":
        return (), 0.0
    rope = {
        "rope_type": "yarn",
        "factor": float(key("rope.scaling.factor")),
        "truncate": False,
        "original_max_position_embeddings": float(key("rope.scaling.original_context_length")),
    }
    divisors = rope_scaling.yarn_divisors(rope, head_width, float(key("rope.freq_base")))
    return divisors, rope_scaling.attention_scale(rope, head_width)


def _as_gpt_oss(config: DecoderConfig, limit: float) -> DecoderConfig:
    """What gpt-oss fixes by architecture: every other layer sees a window, the first one too."""
    return dataclasses.replace(
        config,
        global_every=2,
        activation="clamped_swiglu",
        swiglu_limit=limit,
        qkv_bias=True,
        attention_out_bias=True,
        attention_sinks=True,
        expert_biases=True,
    )


def _as_gemma3(config: DecoderConfig, *, is_27b: bool) -> DecoderConfig:
    """What Gemma 3 fixes by architecture and its files leave out (the 27B alone scales queries by width / heads)."""
    return dataclasses.replace(
        config,
        rope_theta_local=config.rope_theta_local or GEMMA3_LOCAL_ROPE_THETA,
        global_every=GEMMA3_GLOBAL_EVERY,
        activation="gelu_tanh",
        embedding_scale=float(config.width) ** 0.5,
        attention_scale=(config.width // config.num_heads) ** -0.5 if is_27b else config.attention_scale,
        post_norms=True,
    )


def from_hf(raw: Mapping[str, Any], origin: str) -> DecoderConfig:
    """From a config.json as transformers writes it (4.x `rope_theta`/`rope_scaling` and 5.x `rope_parameters`)."""
    values = {**raw, **raw.get("text_config", {})}
    name = str(values.get("model_type"))
    if name not in HF_ARCHITECTURES:
        raise _refuse(name, HF_ARCHITECTURES, origin)
    architecture = HF_ARCHITECTURES[name]
    gemma = architecture == "gemma3"
    rope, local_theta = _hf_rope(values)
    try:
        width, heads = int(values["hidden_size"]), int(values["num_attention_heads"])
        head_width = int(values.get("head_dim") or width // heads)
        theta = float(rope.get("rope_theta", 150_000.0 if name == "gpt_oss" else 10_000.0))
        window = (
            values.get("sliding_window")
            if gemma or values.get("use_sliding_window", name in {"mistral", "mixtral", "gpt_oss"})
            else 0
        )
        config = DecoderConfig(
            architecture=architecture,
            num_layers=int(values["num_hidden_layers"]),
            width=width,
            ffn_width=int(values["moe_intermediate_size" if name == "qwen3_moe" else "intermediate_size"]),
            num_heads=heads,
            num_kv_heads=int(values.get("num_key_value_heads") or heads),
            head_width=head_width,
            vocab_size=int(values["vocab_size"]),
            context_length=int(values.get("max_position_embeddings", 2048)),
            norm_epsilon=float(values.get("rms_norm_eps", 1e-6)),
            rope_theta=theta,
            rope_theta_local=local_theta,
            rope_divisors=rope_scaling.divisors_of(rope, head_width, theta, origin),
            sliding_window=int(window or 0),
            global_every=1 if not window else 0,
            attention_scale=float(values.get("query_pre_attn_scalar") or 0) ** -0.5
            if gemma
            else rope_scaling.attention_scale(rope, head_width),
            qk_norm=architecture in {"qwen3", "gemma3"},
            qkv_bias=name == "qwen2" or bool(values.get("attention_bias", False)),
            tied_head=bool(values.get("tie_word_embeddings", gemma)),
            **_hf_experts(values, name, origin),
        )
    except KeyError as error:
        raise ModelFileError(f"{origin} lacks {error}; it is not a complete model") from error
    if architecture == "gpt_oss":
        config = _as_gpt_oss(config, _hf_swiglu_limit(values, origin))
    return _check(_as_gemma3(config, is_27b=False) if gemma else config, origin)


def _hf_swiglu_limit(values: Mapping[str, Any], origin: str) -> float:
    """The rest of gpt-oss is fixed: another gain, or layers in another order, is refused."""
    kinds = values.get("layer_types")
    alternating = [("sliding_attention", "full_attention")[i % 2] for i in range(int(values["num_hidden_layers"]))]
    if values.get("swiglu_alpha", SWIGLU_ALPHA) != SWIGLU_ALPHA or (kinds and kinds != alternating):
        raise UnsupportedModel(f"{origin}: a gpt_oss with another gain, or whose layers do not alternate")
    return float(values.get("swiglu_limit", GPT_OSS_LIMIT))


def _hf_experts(values: Mapping[str, Any], name: str, origin: str) -> dict[str, Any]:
    if name not in {"qwen3_moe", "mixtral", "gpt_oss"}:
        return {}
    if values.get("mlp_only_layers") or values.get("decoder_sparse_step", 1) != 1:
        raise UnsupportedModel(f"{origin}: layers without experts between layers with experts are not supported")
    return {
        "num_experts": int(values["num_experts" if name == "qwen3_moe" else "num_local_experts"]),
        "experts_per_token": int(values["num_experts_per_tok"]),
        "normalise_experts": name != "qwen3_moe" or bool(values.get("norm_topk_prob", False)),
    }


def _hf_rope(values: Mapping[str, Any]) -> tuple[Mapping[str, Any], float]:
    """Rope settings of full-attention layers, and the local layers' theta (0: the same)."""
    parameters = values.get("rope_parameters")
    if parameters is None:
        scaling = values.get("rope_scaling") or {}
        rope = {"rope_theta": values.get("rope_theta", 10_000.0), **scaling}
        return rope, float(values.get("rope_local_base_freq") or 0.0)
    if "full_attention" in parameters:
        local = parameters.get("sliding_attention", {})
        return parameters["full_attention"], float(local.get("rope_theta", 0.0))
    return parameters, 0.0
