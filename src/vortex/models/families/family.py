"""What a family says of itself: how a config.json becomes a blueprint, and where its tensors are.

Names are those that nearly all families share (`STANDARD`); a family adds what it calls otherwise. A configuration is
read through `Reading`, which knows what was looked at: a key that speaks of arithmetic and that nobody read is refused
by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vortex.errors import UnsupportedModel
from vortex.models.blueprint.attention import Attention
from vortex.models.blueprint.blueprint import Blueprint, Step
from vortex.models.families.stored import Take
from vortex.models.files import rope_scaling
from vortex.models.files.hf_config import ARITHMETIC
from vortex.records.foreign import ForeignValues, shown

STANDARD: Mapping[str, str] = {
    "attention_norm": "input_layernorm.weight",
    "ffn_norm": "post_attention_layernorm.weight",
    "q": "self_attn.q_proj.weight",
    "k": "self_attn.k_proj.weight",
    "v": "self_attn.v_proj.weight",
    "q_bias": "self_attn.q_proj.bias",
    "k_bias": "self_attn.k_proj.bias",
    "v_bias": "self_attn.v_proj.bias",
    "q_norm": "self_attn.q_norm.weight",
    "k_norm": "self_attn.k_norm.weight",
    "attention_out": "self_attn.o_proj.weight",
    "attention_out_bias": "self_attn.o_proj.bias",
    "gate": "mlp.gate_proj.weight",
    "up": "mlp.up_proj.weight",
    "down": "mlp.down_proj.weight",
    "router": "mlp.gate.weight",
    "router_bias": "mlp.gate.e_score_correction_bias",
    "shared_gate": "mlp.shared_experts.gate_proj.weight",
    "shared_up": "mlp.shared_experts.up_proj.weight",
    "shared_down": "mlp.shared_experts.down_proj.weight",
}
TOP: Mapping[str, str] = {
    "embedding": "model.embed_tokens.weight",
    "final_norm": "model.norm.weight",
    "head": "lm_head.weight",
}
NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "final_logit_softcapping": (0,),
    "attn_logit_softcapping": (0,),
    "use_bidirectional_attention": (False,),
    "mlp_bias": (False,),
}
HARMLESS = {
    "attention_dropout", "hidden_dropout", "initializer_range", "rope_scaling", "rope_theta", "rope_parameters",
    "router_aux_loss_coef", "router_jitter_noise", "output_router_logits", "aux_loss_alpha", "seq_aux", "layer_types",
    "expert_capacity", "original_max_position_embeddings", "activation_dropout", "max_window_layers", "embd_pdrop",
    "resid_pdrop", "input_jitter_noise", "rescale_prenorm_residual", "moe_router_activation_func", "norm_topk_prob",
}  # fmt: skip
Takes = Callable[[Blueprint, int, str], Sequence[Take]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """names: parts that are called otherwise than in STANDARD, under `model.layers.N.`. takes: for parts that are no
    plain tensor, all places they may be in; empty where the names say it. raised: norms that are stored minus one.
    left_out: stored tensors (by what their name holds) that text needs not. guesses_ahead: layers behind the last one
    are heads that guess ahead, and are left out. idle: whether a layer's stored tensor is one that the layer does not
    use. top: as TOP. harmless: keys of the configuration that change nothing here.
    """

    name: str
    model_types: tuple[str, ...]
    draw: Callable[[Reading], Blueprint]
    names: Mapping[str, str] = field(default_factory=dict)
    takes: Takes = lambda blueprint, layer, part: ()
    raised: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    guesses_ahead: bool = False
    idle: Callable[[Blueprint, int, str], bool] = lambda blueprint, layer, stored: False
    top: Mapping[str, str] = field(default_factory=dict)
    harmless: frozenset[str] = frozenset()


def layer_takes(family: Family, blueprint: Blueprint, layer: int, part: str) -> Sequence[Take]:
    """Where a layer's tensor may be; the first one that is there is meant."""
    prefix = f"model.layers.{layer}."
    if found := family.takes(blueprint, layer, part):
        return [
            dataclasses.replace(one, name=prefix + one.name, beside=prefix + one.beside if one.beside else "")
            for one in found
        ]
    if part.startswith("experts."):
        return expert_takes(blueprint, layer, part, prefix)
    name = family.names.get(part) or STANDARD.get(part)
    if name is None:
        raise UnsupportedModel(f"no tensor of {family.name} is called {part}")
    return [Take(prefix + name, change=_raised if part in family.raised else None)]


def plain_attention(reading: Reading, **changes: Any) -> Attention:
    """As Llama has it, with what a family changes."""
    width = changes.get("head_width") or reading.head_width
    usual: dict[str, Any] = {
        "heads": reading.heads,
        "kv_heads": reading.kv_heads,
        "head_width": width,
        "scale": changes.get("scale") or reading.attention_scale(width),
        "rotation": "all",
    }
    return Attention(**{**usual, **changes})


def plain_blueprint(reading: Reading, layers: Sequence[tuple[Step, ...]], **changes: Any) -> Blueprint:
    """As Llama has it around its layers."""
    usual: dict[str, Any] = {
        "architecture": reading.values.text("model_type"),
        "width": reading.width,
        "vocab_size": reading.vocab_size,
        "context_length": reading.context_length,
        "epsilon": reading.epsilon,
        "layers": tuple(layers),
        "tied_head": reading.flag("tie_word_embeddings"),
    }
    return Blueprint(**{**usual, **changes})


def slices(name: str, part: str, sizes: Mapping[str, int]) -> list[Take]:
    """A part's rows of a matrix in which several lie one after the other."""
    start = 0
    for other, count in sizes.items():
        if other == part:
            return [Take(name, slice(start, start + count))]
        start += count
    return []


def expert_takes(blueprint: Blueprint, layer: int, part: str, prefix: str, folder: str = "mlp.experts") -> list[Take]:
    """An expert's matrix: on its own, or in a stack of all (gate above up)."""
    _, number, name = part.split(".")
    experts = blueprint.experts(layer)
    assert experts is not None, "a layer with experts"
    alone = Take(f"{prefix}{folder}.{number}.{name}_proj.weight")
    if name == "down":
        return [alone, Take(f"{prefix}{folder}.down_proj", index=int(number))]
    start = 0 if name == "gate" else experts.ffn_width
    return [alone, Take(f"{prefix}{folder}.gate_up_proj", slice(start, start + experts.ffn_width), int(number))]


def _raised(values: Any) -> Any:
    return values + 1


class Reading:
    """A configuration being read."""

    def __init__(self, values: ForeignValues) -> None:
        self.values = values
        self.origin = values.origin
        self.width = values.whole("hidden_size", least=1)
        kinds = values.raw("layers_block_type")
        counted = len(kinds) if isinstance(kinds, list) and values.raw("num_hidden_layers") is None else None
        self.layers = counted or values.whole("num_hidden_layers", least=1, most=1 << 16)
        self.vocab_size = values.whole("vocab_size", least=1)
        self.context_length = values.whole("max_position_embeddings", 2048, least=1)

    def whole(self, key: str, default: Any = None, least: int = 0) -> int:
        return self.values.whole(key, least=least) if default is None else self.values.whole(key, default, least=least)

    def real(self, key: str, default: float) -> float:
        return self.values.real(key, default)

    def flag(self, key: str, default: bool = False) -> bool:
        return self.values.flag(key, default)

    @property
    def heads(self) -> int:
        return self.whole("num_attention_heads", least=1)

    @property
    def kv_heads(self) -> int:
        return self.whole("num_key_value_heads", 0) or self.heads

    @property
    def head_width(self) -> int:
        return self.whole("head_dim", 0) or max(self.width // self.heads, 1)

    @property
    def epsilon(self) -> float:
        return self.values.real("rms_norm_eps", 1e-6, least=0, most=1)

    def kinds(self, default: Sequence[str], known: Sequence[str], key: str = "layer_types") -> list[str]:
        """One word for every layer. Raises UnsupportedModel for another word, or too few of them."""
        kinds = self.values.texts(key, list(default), most=1 << 16, longest=64)
        if unknown := set(kinds) - set(known):
            raise UnsupportedModel(f"{self.origin}: layers of kind {sorted(unknown)[0]!r} are not supported")
        if len(kinds) != self.layers:
            raise UnsupportedModel(f"{self.origin}: {key} names {len(kinds)} of {self.layers} layers")
        return kinds

    def rope(self, kind: str = "") -> ForeignValues:
        """Of one kind of layers where they differ, else of all."""
        parameters = self.values.nested("rope_parameters")
        if not parameters.values_by_key:
            return self.values.nested("rope_scaling")
        return parameters.nested(kind) if kind and kind in parameters.values_by_key else parameters

    def frequencies(
        self,
        width: int,
        share: float = 1.0,
        kind: str = "",
        theta: float = 10_000.0,
        rope: ForeignValues | None = None,
    ) -> tuple[float, ...]:
        """Of heads of this width, inverse; of them `share` turns by default. rope: instead of the file's."""
        rope = self.rope(kind) if rope is None else rope
        theta = rope.real("rope_theta", self.values.real("rope_theta", theta), least=1.1)
        share = rope.real("partial_rotary_factor", self.values.real("partial_rotary_factor", share), least=0, most=1)
        turning = int(width * share)
        plain = [theta ** (-2 * i / turning) for i in range(turning // 2)]
        scaling = {key: value for key, value in rope.items() if key != "partial_rotary_factor"}
        divisors = rope_scaling.divisors_of(scaling, turning, theta, self.origin)
        return tuple(one / divisor for one, divisor in zip(plain, divisors or [1.0] * len(plain), strict=True))

    def attention_scale(self, width: int, kind: str = "") -> float:
        """1 / √width, with what YaRN adds."""
        rope = self.rope(kind)
        return rope_scaling.attention_scale(rope, width) or float(width) ** -0.5

    def activation(self, known: Mapping[str, str], key: str = "hidden_act", default: str = "silu") -> str:
        said = self.values.text(key, default, most=64)
        if said not in known:
            raise UnsupportedModel(f"{self.origin}: the activation {shown(said)} is not supported here")
        return known[said]

    def need(self, key: str, neutral: Sequence[object]) -> None:
        """Raises UnsupportedModel where a key says something that nothing here computes."""
        if (value := self.values.raw(key, neutral[0])) not in neutral:
            raise UnsupportedModel(f"{self.origin}: {key} is {shown(value)}, which is not supported")

    def refuse_unread(self, family: Family) -> None:
        for key, neutral in NEUTRAL.items():
            if key in self.values.unread():
                self.need(key, neutral)
        for key in self.values.unread():
            value = self.values.values_by_key[key]
            known = key in HARMLESS or key in family.harmless or value in (False, 0, 0.0, "", [], {})
            if not known and ARITHMETIC.search(key):
                raise UnsupportedModel(
                    f"{self.origin}: {key} is {shown(value)}, which is not known here; answers could be wrong"
                )


SILU = {"silu": "silu", "swish": "silu"}
GELU = {"gelu_pytorch_tanh": "gelu_tanh"}
