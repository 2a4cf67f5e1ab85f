"""Families out of GGUF files, laid out as llama.cpp's conversion does it: the logits of transformers' own class."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.models.families.random_models import TOKENS, write_model
from tests.models.families.test_families import swept
from vortex.errors import UnsupportedModel
from vortex.models.blueprint.compute import BlueprintCompute
from vortex.models.blueprint.dense import DenseWeights
from vortex.models.decoder.model import SweptModel
from vortex.models.families.gguf_checkpoint import GgufFamilyCheckpoint
from vortex.models.families.opening import is_family
from vortex.models.files.gguf import architecture_of

Tensors = dict[str, np.ndarray]
NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "self_attn.qkv_proj": "attn_qkv",
    "mlp.gate_up_proj": "ffn_up",
}  # fmt: skip
TOP = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
       "lm_head.weight": "output.weight"}  # fmt: skip


class Writing:
    """A GGUF file being written out of a folder of transformers."""

    def __init__(self, folder: Path, architecture: str) -> None:
        self.config = json.loads((folder / "config.json").read_text())
        self.tensors: Tensors = load_file(folder / "model.safetensors")
        self.path = folder / f"{architecture}.gguf"
        self.writer = gguf.GGUFWriter(self.path, architecture)
        said = self.config
        self.writer.add_block_count(said["num_hidden_layers"])
        self.writer.add_context_length(said["max_position_embeddings"])
        self.writer.add_embedding_length(said["hidden_size"])
        self.writer.add_head_count(said["num_attention_heads"])
        self.writer.add_layer_norm_rms_eps(said.get("rms_norm_eps") or said["norm_eps"])
        self.writer.add_rope_freq_base(said["rope_parameters"]["rope_theta"])

    def plain(self) -> None:
        self.writer.add_head_count_kv(self.config["num_key_value_heads"])
        self.writer.add_feed_forward_length(self.config["intermediate_size"])

    def add(
        self, names: dict[str, str], change: Callable[[str, np.ndarray], np.ndarray] = lambda _, values: values
    ) -> Path:
        for name, values in self.tensors.items():
            if name in TOP:
                stored = TOP[name]
            else:
                _, _, layer, rest = name.split(".", 3)
                stem, _, end = rest.rpartition(".")
                known = {**NAMES, **names}
                stored = f"blk.{layer}.{known[rest] if rest in known else f'{known[stem]}.{end}'}"
            self.writer.add_tensor(stored, np.ascontiguousarray(change(name, values)))
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()
        return self.path


def neighbours(width: int) -> Callable[[str, np.ndarray], np.ndarray]:
    """Rotary halves side by side, as for Llama's kin."""

    def change(name: str, values: np.ndarray) -> np.ndarray:
        if "q_proj" not in name and "k_proj" not in name:
            return values
        return values.reshape(-1, 2, width // 2, values.shape[-1]).swapaxes(1, 2).reshape(values.shape)

    return change


def smollm3(folder: Path) -> Path:
    writing = Writing(folder, "smollm3")
    writing.plain()
    return writing.add({}, neighbours(16))


def granite(folder: Path) -> Path:
    writing = Writing(folder, "granite")
    writing.plain()
    said = writing.config
    writing.writer.add_attention_scale(said["attention_multiplier"])
    writing.writer.add_embedding_scale(said["embedding_multiplier"])
    writing.writer.add_residual_scale(said["residual_multiplier"])
    writing.writer.add_logit_scale(said["logits_scaling"])
    return writing.add({}, neighbours(16))


def olmo2(folder: Path) -> Path:
    writing = Writing(folder, "olmo2")
    writing.plain()
    return writing.add(
        {"post_attention_layernorm": "post_attention_norm", "post_feedforward_layernorm": "post_ffw_norm"}
    )


def phi3(folder: Path) -> Path:
    writing = Writing(folder, "phi3")
    writing.plain()
    writing.writer.add_rope_dimension_count(8)
    return writing.add({})


def lfm2(folder: Path) -> Path:
    writing = Writing(folder, "lfm2")
    said = writing.config
    kv = [said["num_key_value_heads"] if kind == "full_attention" else 0 for kind in said["layer_types"]]
    writing.writer.add_head_count_kv(kv)
    writing.writer.add_feed_forward_length(len(writing.tensors["model.layers.0.feed_forward.w1.weight"]))
    writing.writer.add_shortconv_l_cache(said["conv_L_cache"])
    writing.tensors["model.norm.weight"] = writing.tensors.pop("model.embedding_norm.weight")
    names = {
        "operator_norm": "attn_norm", "ffn_norm": "ffn_norm", "self_attn.q_layernorm": "attn_q_norm",
        "self_attn.k_layernorm": "attn_k_norm", "self_attn.out_proj": "attn_output",
        "conv.in_proj": "shortconv.in_proj", "conv.conv": "shortconv.conv", "conv.out_proj": "shortconv.out_proj",
        "feed_forward.w1": "ffn_gate",
        "feed_forward.w3": "ffn_up", "feed_forward.w2": "ffn_down",
    }  # fmt: skip
    return writing.add(names, lambda name, values: values.squeeze(1) if "conv.conv" in name else values)


DELTA_NAMES = {
    "post_attention_layernorm": "post_attention_norm", "linear_attn.in_proj_qkv": "attn_qkv",
    "linear_attn.in_proj_z": "attn_gate", "linear_attn.in_proj_b": "ssm_beta", "linear_attn.in_proj_a": "ssm_alpha",
    "linear_attn.in_proj_ba": "ssm_ba", "linear_attn.A_log": "ssm_a", "linear_attn.dt_bias": "ssm_dt.bias",
    "linear_attn.conv1d": "ssm_conv1d", "linear_attn.norm": "ssm_norm", "linear_attn.out_proj": "ssm_out",
}  # fmt: skip


def delta_keys(writing: Writing) -> None:
    said = writing.config
    writing.plain()
    writing.writer.add_key_length(said["head_dim"])
    writing.writer.add_value_length(said["head_dim"])
    writing.writer.add_rope_dimension_count(said["head_dim"] // 4)
    writing.writer.add_ssm_conv_kernel(said["linear_conv_kernel_dim"])
    writing.writer.add_ssm_state_size(said["linear_key_head_dim"])
    writing.writer.add_ssm_group_count(said["linear_num_key_heads"])
    writing.writer.add_ssm_time_step_rank(said["linear_num_value_heads"])
    writing.writer.add_ssm_inner_size(said["linear_value_head_dim"] * said["linear_num_value_heads"])


def raised(name: str, values: np.ndarray) -> np.ndarray:
    if name.endswith("A_log"):
        return -np.exp(values)
    if "conv1d" in name:
        return values.squeeze(1)
    return values + 1 if name.endswith("norm.weight") and "linear_attn.norm" not in name else values


def qwen35(folder: Path) -> Path:
    """Value heads of one key head lie apart: first one of each, then the next."""
    writing = Writing(folder, "qwen35")
    delta_keys(writing)
    said = writing.config
    keys, share = said["linear_num_key_heads"], said["linear_num_value_heads"] // said["linear_num_key_heads"]
    width, before = said["linear_value_head_dim"], 2 * keys * said["linear_key_head_dim"]

    def tiled(values: np.ndarray, each: int) -> np.ndarray:
        return values.reshape(keys, share, each, -1).swapaxes(0, 1).reshape(values.shape)

    def change(name: str, values: np.ndarray) -> np.ndarray:
        values = raised(name, values)
        if "in_proj_qkv" in name or "conv1d" in name:
            return np.concatenate([values[:before], tiled(values[before:], width)])
        if "in_proj_z" in name:
            return tiled(values, width)
        if any(part in name for part in ("in_proj_a", "in_proj_b", "A_log", "dt_bias")):
            return tiled(values, 1)
        return tiled(np.ascontiguousarray(values.T), width).T if "linear_attn.out_proj" in name else values

    return writing.add(DELTA_NAMES, change)


def qwen3next(folder: Path) -> Path:
    """Queries, keys and values of all heads one after the other, gates apart; experts of a layer in one tensor."""
    writing = Writing(folder, "qwen3next")
    delta_keys(writing)
    said = writing.config
    writing.writer.add_expert_count(said["num_experts"])
    writing.writer.add_expert_used_count(said["num_experts_per_tok"])
    writing.writer.add_expert_feed_forward_length(said["moe_intermediate_size"])
    writing.writer.add_expert_shared_feed_forward_length(said["shared_expert_intermediate_size"])
    keys, wide = said["linear_num_key_heads"], said["linear_key_head_dim"]
    values = said["linear_num_value_heads"] // keys * said["linear_value_head_dim"]
    for layer in range(said["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        if (joined := writing.tensors.pop(f"{prefix}linear_attn.in_proj_qkvz.weight", None)) is not None:
            parts = np.split(joined.reshape(keys, -1, joined.shape[-1]), np.cumsum([wide, wide, values]), axis=1)
            q, k, v, z = (part.reshape(-1, joined.shape[-1]) for part in parts)
            writing.tensors[f"{prefix}linear_attn.in_proj_qkv.weight"] = np.concatenate([q, k, v])
            writing.tensors[f"{prefix}linear_attn.in_proj_z.weight"] = z
        for part in ("gate", "up", "down"):
            names = [f"{prefix}mlp.experts.{expert}.{part}_proj.weight" for expert in range(said["num_experts"])]
            writing.tensors[f"{prefix}mlp.{part}_exps.weight"] = np.stack([writing.tensors.pop(name) for name in names])
    experts = {f"mlp.{part}_exps": f"ffn_{part}_exps" for part in ("gate", "up", "down")}
    shared = {f"mlp.shared_expert.{part}_proj": f"ffn_{part}_shexp" for part in ("gate", "up", "down")}
    names = {"mlp.gate": "ffn_gate_inp", "mlp.shared_expert_gate": "ffn_gate_inp_shexp", **experts, **shared}
    return writing.add({**DELTA_NAMES, **names}, raised)


WRITERS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "qwen35": ("qwen3_5", qwen35), "qwen3next": ("qwen3_next", qwen3next), "lfm2": ("lfm2", lfm2),
    "smollm3": ("smollm3", smollm3), "granite": ("granite", granite), "olmo2": ("olmo2", olmo2),
    "phi3": ("phi3", phi3),
}  # fmt: skip
QUICK = ("qwen35",)
CASES: list[Any] = [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in WRITERS]


@pytest.mark.parametrize("name", CASES)
def test_a_gguf_file_gives_the_logits_of_transformers(name: str, tmp_path: Path) -> None:
    model, write = WRITERS[name]
    logits = write_model(tmp_path, model)
    path = write(tmp_path)
    assert architecture_of(path) == name
    assert is_family(path)
    checkpoint = GgufFamilyCheckpoint(path)
    ours = SweptModel(checkpoint.blueprint, BlueprintCompute(checkpoint.blueprint, DenseWeights(checkpoint)), 1)
    assert np.abs(swept(ours, TOKENS, [len(TOKENS)]) - logits).max() < 1e-4 * np.abs(logits).max()


@pytest.mark.long
def test_keys_and_tensors_that_nobody_knows_are_refused_by_name(tmp_path: Path) -> None:
    write_model(tmp_path, "olmo2")
    writing = Writing(tmp_path, "olmo2")
    writing.plain()
    writing.writer.add_float32("olmo2.attention.clamp_kqv", 8.0)
    names = {"post_attention_layernorm": "post_attention_norm", "post_feedforward_layernorm": "post_ffw_norm"}
    with pytest.raises(UnsupportedModel, match=r"olmo2\.attention\.clamp_kqv is 8\.0"):
        GgufFamilyCheckpoint(writing.add(names))
    writing = Writing(tmp_path, "olmo2")
    writing.plain()
    writing.writer.add_tensor("blk.1.attn_sinks.weight", np.ones(4, np.float32))
    with pytest.raises(UnsupportedModel, match=r"attn_sinks\.weight' is none that a olmo2 decoder has"):
        GgufFamilyCheckpoint(writing.add(names))
