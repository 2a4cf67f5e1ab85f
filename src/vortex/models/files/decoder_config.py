"""The numbers that make one Llama-shaped decoder differ from another.

Read from a GGUF file by gguf_config.py, from a config.json by hf_config.py. What architectures fix and files leave out
is here; unknown ones are refused by name: running them almost right would be worse.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vortex.errors import ModelFileError, UnsupportedModel
from vortex.models.files.rope_scaling import MAX_HEAD_WIDTH
from vortex.records.foreign import ForeignValues

GEMMA3_GLOBAL_EVERY = 6
GEMMA3_LOCAL_ROPE_THETA = 10_000.0
GPT_OSS_LIMIT = 7.0
ACTIVATIONS = ("silu", "gelu_tanh", "clamped_swiglu")
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
    def from_json(cls, values: Mapping[str, Any], origin: str = "the packed model") -> DecoderConfig:
        """What `to_json` wrote. Raises ModelFileError for anything else."""
        found = ForeignValues(values, origin)
        divisors = tuple(found.reals("rope_divisors"))
        return check_config(cls(**found.fields_of(cls, rope_divisors=divisors)), origin)


def check_config(config: DecoderConfig, origin: str) -> DecoderConfig:
    """Raises ModelFileError for numbers that make no model."""
    positive = ("num_layers", "width", "ffn_width", "num_heads", "num_kv_heads", "head_width", "vocab_size")
    for name in (*positive, "context_length"):
        if getattr(config, name) <= 0:
            raise ModelFileError(f"{origin} says {name} is {getattr(config, name)}; the file is damaged")
    if not 0 <= config.experts_per_token <= config.num_experts or (config.num_experts and not config.experts_per_token):
        raise ModelFileError(f"{origin} uses {config.experts_per_token} of {config.num_experts} experts per token")
    if config.num_heads % config.num_kv_heads:
        raise ModelFileError(f"{origin} has {config.num_heads} heads over {config.num_kv_heads} key heads")
    if config.activation not in ACTIVATIONS:
        raise ModelFileError(f"{origin} has the activation {config.activation!r}; known: {', '.join(ACTIVATIONS)}")
    if config.head_width > MAX_HEAD_WIDTH:
        raise ModelFileError(f"{origin} has heads {config.head_width:,} wide; at most {MAX_HEAD_WIDTH:,} are possible")
    if config.head_width % 2:
        raise ModelFileError(f"{origin} has heads {config.head_width} wide; rotary halves need an even width")
    if config.rope_divisors and len(config.rope_divisors) != config.head_width // 2:
        raise ModelFileError(
            f"{origin} has {len(config.rope_divisors)} rotary divisors for heads {config.head_width} wide; "
            f"{config.head_width // 2} belong there"
        )
    if any(not 1e-9 <= divisor <= 1e9 for divisor in config.rope_divisors):
        raise ModelFileError(f"{origin} has rotary divisors that are no positive numbers; the file is damaged")
    return config


def refuse_architecture(architecture: str, known: Mapping[str, str], origin: str) -> UnsupportedModel:
    return UnsupportedModel(f"{origin}: architecture {architecture!r} is not supported; known: {', '.join(known)}")


def period_of(is_global: Sequence[bool], origin: str) -> int:
    """`global_every` of layers of which some see everything; 0: none does. Raises UnsupportedModel for no period."""
    if not any(is_global):
        return 0
    period = is_global.index(True) + 1
    if list(is_global) != [(layer + 1) % period == 0 for layer in range(len(is_global))]:
        raise UnsupportedModel(f"{origin}: layers with a window and layers without alternate in no known order")
    return period


def as_gpt_oss(config: DecoderConfig, limit: float) -> DecoderConfig:
    """What gpt-oss fixes by architecture."""
    return dataclasses.replace(
        config,
        activation="clamped_swiglu",
        swiglu_limit=limit,
        qkv_bias=True,
        attention_out_bias=True,
        attention_sinks=True,
        expert_biases=True,
    )


def as_gemma3(config: DecoderConfig, *, is_27b: bool) -> DecoderConfig:
    """What Gemma 3 fixes by architecture and its files leave out (the 27B alone scales queries by width / heads)."""
    return dataclasses.replace(
        config,
        rope_theta_local=config.rope_theta_local or GEMMA3_LOCAL_ROPE_THETA,
        activation="gelu_tanh",
        embedding_scale=float(config.width) ** 0.5,
        attention_scale=config.attention_scale
        or ((config.width // config.num_heads) ** -0.5 if is_27b and config.width >= config.num_heads else 0.0),
        post_norms=True,
    )
