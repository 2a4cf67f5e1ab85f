"""A core shaped like its teacher, with the teacher's embeddings, MLPs and norms, and mixers that begin from attention.

The local mixer's window begins as the attention itself, for as many tokens as the window holds, with a sink in place of
the first token that attention falls back on; the delta rule and LAVA begin silent and learn what lies before it.
A teacher whose attention a window cannot copy (norms or biases on q and k, heads wider than the model) has no window
in its student: there the delta rule's queries, keys, values and output begin as the attention's. Only Llama-like
teachers can be copied: separate q, k, v, o and gate, up, down, two norms per layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from vortex.errors import UnsupportedModel
from vortex.vblocks.config import CoreConfig
from vortex.vblocks.network.local_mixer import rotated
from vortex.vblocks.network.network import CoreNetwork

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
LOGIT_CHANGES = ("final_logit_softcapping", "logits_scaling", "logit_scale")
MIXERS = (".local.", ".local_norm.", ".delta.", ".mixer_norm.", ".lava.")
NEW_BESIDE_A_WINDOW = (".local.conv.", ".local.distance_bias", ".local.sink_", ".delta.", ".lava.")
FIRST_TOKENS = 64


def student_config(teacher: Any, *, window: int = 128, lava_slots: int = 512) -> CoreConfig:
    """`teacher`: of transformers. window: tokens, 0 for none. Raises UnsupportedModel for one that cannot be copied."""
    settings = teacher.config
    layers = getattr(getattr(teacher, "model", None), "layers", None)
    if layers is None or not all(_is_plain(layer) for layer in layers):
        raise UnsupportedModel(
            f"a core cannot be made of a {settings.model_type} model: its layers are not q, k, v, o and gate, up, down"
        )
    if any(hasattr(layer, "pre_feedforward_layernorm") for layer in layers) or any(
        getattr(settings, name, None) for name in LOGIT_CHANGES
    ):
        raise UnsupportedModel(
            f"a core cannot be made of a {settings.model_type} model: it has further norms or changes its logits, "
            "which a core does not"
        )
    if getattr(settings, "hidden_act", "silu") != "silu":
        raise UnsupportedModel(
            f"a core cannot be made of a {settings.model_type} model: its MLPs use {settings.hidden_act}"
        )
    copies = window > 1 and all(_has_plain_attention(layer, settings) for layer in layers)
    return CoreConfig(
        vocab_size=teacher.get_input_embeddings().weight.shape[0],
        width=settings.hidden_size,
        num_layers=settings.num_hidden_layers,
        num_heads=settings.num_attention_heads,
        key_dim=_head_width(settings),
        value_dim=_head_width(settings),
        mlp_width=settings.intermediate_size,
        local_window=window if copies else 0,
        local_heads=settings.num_attention_heads,
        local_kv_heads=settings.num_key_value_heads if copies else 0,
        local_rope_base=_rope_base(settings) if copies else 0.0,
        local_sink=copies,
        norm_epsilon=settings.rms_norm_eps,
        tie_embeddings=bool(settings.tie_word_embeddings),
        lava_slots=lava_slots,
        mtp_k=0,
    )


def _is_plain(layer: Any) -> bool:
    parts = [getattr(getattr(layer, "self_attn", None), name, None) for name in ATTENTION]
    parts += [getattr(getattr(layer, "mlp", None), name, None) for name in MLP]
    return all(isinstance(part, nn.Linear) for part in parts)


def _has_plain_attention(layer: Any, settings: Any) -> bool:
    attention = layer.self_attn
    is_wide = settings.num_attention_heads * _head_width(settings) == settings.hidden_size
    has_norms = any(getattr(attention, name, None) is not None for name in ("q_norm", "k_norm"))
    has_biases = any(getattr(attention, name).bias is not None for name in ATTENTION)
    is_rotated = _rope_base(settings) > 1 and not getattr(settings, "no_rope_layers", None)
    is_whole = (getattr(settings, "partial_rotary_factor", None) or 1.0) == 1.0
    return is_wide and is_rotated and is_whole and not has_norms and not has_biases


def _head_width(settings: Any) -> int:
    return int(getattr(settings, "head_dim", None) or settings.hidden_size // settings.num_attention_heads)


def _rope_base(settings: Any) -> float:
    """Its scaling for long texts is left out: a window is short."""
    parameters = getattr(settings, "rope_parameters", None) or {}
    return float(parameters.get("rope_theta") or getattr(settings, "rope_theta", None) or 0.0)


@torch.no_grad()
def copy_teacher(network: CoreNetwork, teacher: Any) -> None:
    """Everything a core and its teacher have in common; the rest stays as it was initialised."""
    network.embedding.weight.copy_(teacher.get_input_embeddings().weight)
    network.norm.weight.copy_(teacher.model.norm.weight)
    if network.head is not None:
        network.head.weight.copy_(teacher.get_output_embeddings().weight)
    for ours, theirs in zip(network.layers, teacher.model.layers, strict=True):
        ours.local_norm.weight.copy_(theirs.input_layernorm.weight)
        ours.mixer_norm.weight.copy_(theirs.input_layernorm.weight)
        ours.mlp_norm.weight.copy_(theirs.post_attention_layernorm.weight)
        ours.mlp.in_proj.weight.copy_(torch.cat([theirs.mlp.gate_proj.weight, theirs.mlp.up_proj.weight]))
        ours.mlp.out_proj.weight.copy_(theirs.mlp.down_proj.weight)
        ours.local.out_proj.weight.zero_()
        if ours.lava is not None:
            ours.lava.out_proj.weight.zero_()
        _copy_into_rule(ours.delta, theirs.self_attn)
        if ours.local.window:
            ours.delta.out_proj.weight.zero_()
            _copy_into_window(ours.local, theirs.self_attn)
    if network.config.local_sink:
        _copy_sinks(network, teacher)


def _copy_into_rule(delta: Any, theirs: Any) -> None:
    rows = delta.num_heads * delta.key_dim
    weight = delta.in_proj.weight
    for at, part in enumerate(_heads_repeated(theirs, delta.num_heads, delta.key_dim)):
        weight[at * rows : (at + 1) * rows].copy_(part)
    delta.out_proj.weight.copy_(theirs.o_proj.weight)
    delta.conv.begin_at(slice(None), 0)  # an attention's key is that of the value's own token


def _copy_into_window(local: Any, theirs: Any) -> None:
    width = local.width
    qkv = torch.cat([theirs.q_proj.weight, theirs.k_proj.weight, theirs.v_proj.weight])
    local.in_proj.weight[2 * width :].copy_(qkv)
    local.out_proj.weight[:, width:].copy_(theirs.o_proj.weight)


def _heads_repeated(theirs: Any, num_heads: int, head_width: int) -> list[torch.Tensor]:
    """Rows of q, k and v, as many heads of each; grouped heads are repeated."""
    return [_per_head(getattr(theirs, name).weight, num_heads, head_width) for name in ATTENTION[:3]]


def _per_head(rows: torch.Tensor, num_heads: int, head_width: int) -> torch.Tensor:
    """[heads * K, ...] of few heads to those of `num_heads`."""
    parts = rows.view(-1, head_width, *rows.shape[1:])
    return parts.repeat_interleave(num_heads // len(parts), 0).flatten(0, 1)


def _copy_sinks(network: CoreNetwork, teacher: Any) -> None:
    """A first token's key and value, the mean over many tokens: attention falls back on it whatever it is."""
    embedding = teacher.get_input_embeddings()
    step = max(1, embedding.weight.shape[0] // FIRST_TOKENS)
    ids = torch.arange(0, embedding.weight.shape[0], step, device=embedding.weight.device)[:, None]
    hidden = teacher.model(ids, use_cache=False, output_hidden_states=True).hidden_states
    for ours, theirs, x in zip(network.layers, teacher.model.layers, hidden, strict=False):
        first = theirs.input_layernorm(x[:, 0])
        local = ours.local
        for name, into in (("k_proj", local.sink_key), ("v_proj", local.sink_value)):
            into.copy_(getattr(theirs.self_attn, name)(first).float().mean(0).view_as(into))
        far = rotated(local.sink_key[None, None], -local.window, local.rope_base)  # as it looks from behind the window
        local.sink_key.copy_(far[0, 0])


def mixer_parameters(network: CoreNetwork) -> list[nn.Parameter]:
    """All that is learnt while hidden states are aligned: what replaces the attention, or what stands beside a window
    that is the attention already."""
    wanted = NEW_BESIDE_A_WINDOW if network.config.local_window else MIXERS
    return [p for name, p in network.named_parameters() if any(part in name for part in wanted)]


def copied_parameters(network: CoreNetwork) -> list[nn.Parameter]:
    """The others."""
    new = {id(p) for p in mixer_parameters(network)}
    return [p for p in network.parameters() if id(p) not in new]
