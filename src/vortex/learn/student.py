"""A core shaped like its teacher, with the teacher's embeddings, MLPs and norms, and mixers that begin from attention.

The delta rule's queries, keys, values and output begin as the attention's (keys and values of grouped heads repeated);
the local mixer and LAVA begin silent (their last matrix is zero) and are learnt. Only Llama-like teachers can be
copied: separate q, k, v, o and gate, up, down, two norms per layer.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from vortex.errors import UnsupportedModel
from vortex.models.core_config import CoreConfig
from vortex.models.core_network import CoreNetwork

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
LOGIT_CHANGES = ("final_logit_softcapping", "logits_scaling", "logit_scale")
MIXERS = (".local.", ".local_norm.", ".delta.", ".mixer_norm.", ".lava.")


def student_config(teacher: Any, *, lava_slots: int = 512) -> CoreConfig:
    """`teacher`: a transformers model. Raises UnsupportedModel for one that cannot be copied."""
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
    head_width = getattr(settings, "head_dim", None) or settings.hidden_size // settings.num_attention_heads
    return CoreConfig(
        vocab_size=teacher.get_input_embeddings().weight.shape[0],
        width=settings.hidden_size,
        num_layers=settings.num_hidden_layers,
        num_heads=settings.num_attention_heads,
        key_dim=head_width,
        value_dim=head_width,
        mlp_width=settings.intermediate_size,
        norm_epsilon=settings.rms_norm_eps,
        tie_embeddings=bool(settings.tie_word_embeddings),
        lava_slots=lava_slots,
        mtp_k=0,
    )


def _is_plain(layer: Any) -> bool:
    parts = [getattr(getattr(layer, "self_attn", None), name, None) for name in ATTENTION]
    parts += [getattr(getattr(layer, "mlp", None), name, None) for name in MLP]
    return all(isinstance(part, nn.Linear) for part in parts)


@torch.no_grad()  # type: ignore[untyped-decorator]
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
        _copy_attention(ours, theirs.self_attn)
        ours.local.out_proj.weight.zero_()
        if ours.lava is not None:
            ours.lava.out_proj.weight.zero_()


def _copy_attention(ours: Any, theirs: Any) -> None:
    delta = ours.delta
    rows = delta.num_heads * delta.key_dim
    weight = delta.in_proj.weight
    weight[:rows].copy_(theirs.q_proj.weight)
    for at, source in ((1, theirs.k_proj.weight), (2, theirs.v_proj.weight)):
        groups = rows // source.shape[0]
        per_head = source.view(-1, delta.key_dim, source.shape[1])
        weight[at * rows : (at + 1) * rows].copy_(per_head.repeat_interleave(groups, 0).flatten(0, 1))
    delta.out_proj.weight.copy_(theirs.o_proj.weight)
    delta.conv.begin_at(slice(None), 0)  # an attention's key is that of the value's own token


def mixer_parameters(network: CoreNetwork) -> list[nn.Parameter]:
    """What replaces the attention: all that is learnt while hidden states are aligned."""
    return [p for name, p in network.named_parameters() if any(part in name for part in MIXERS)]
