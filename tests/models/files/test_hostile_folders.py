"""Folders of config.json and safetensors that lie or are strange: used as transformers does, or refused by name."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.models.tiny_models import CONFIGS, write_safetensors
from vortex.errors import ModelFileError, UnsupportedModel, VortexError
from vortex.models.files.hf_config import from_hf
from vortex.models.files.safetensors import SafetensorsCheckpoint, read_safetensors

NAN = float("nan")
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"hidden_size": [64]}, "hidden_size"),
        ({"num_hidden_layers": NAN}, "num_hidden_layers"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"head_dim": 2**31 - 1, "rope_scaling": LLAMA3}, "heads 2,147,483,647 wide"),
        ({"hidden_size": 2**31 - 8, "head_dim": None, "rope_scaling": LLAMA3}, "heads .* wide"),
        ({"vocab_size": None}, "vocab_size"),
        ({"rms_norm_eps": "1e-6x"}, "rms_norm_eps"),
        ({"rope_theta": 0}, "rope_theta"),
        ({"rope_scaling": [1]}, "rope_scaling"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 0}}, "factor"),
        ({"rope_scaling": {"rope_type": "linear", "factor": float("inf")}}, "factor"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2}}, "original_max_position_embeddings"),
        ({"tie_word_embeddings": 3}, "tie_word_embeddings"),
        ({"model_type": 5}, "model_type"),
        ({"model_type": "llama", "text_config": [1]}, "text_config"),
    ],
)
def test_a_value_that_cannot_be_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(VortexError, match=named) as caught:
        from_hf({**CONFIGS["llama"], **change}, "folder")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("architecture", "change", "named"),
    [
        ("llama", {"mlp_bias": True}, "mlp_bias"),
        ("llama", {"hidden_act": "gelu"}, "gelu"),
        ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ("llama", {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "dynamic"),
        ("llama", {"quantization_config": {"quant_method": "bitsandbytes"}}, "bitsandbytes"),
        ("llama", {"residual_multiplier": 0.2}, "residual_multiplier"),
        ("llama", {"clip_qkv": 8.0}, "clip_qkv"),
        ("qwen3", {"layer_types": ["linear_attention"] * 3}, "linear_attention"),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 2}, "max_window_layers"),
        ("gemma3", {"final_logit_softcapping": 30.0}, "final_logit_softcapping"),
        ("gemma3", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
    ],
)
def test_arithmetic_that_nobody_here_does_is_refused(architecture: str, change: dict[str, Any], named: str) -> None:
    with pytest.raises(UnsupportedModel, match=named):
        from_hf({**CONFIGS[architecture], **change}, "folder")


def test_keys_without_arithmetic_are_ignored_as_transformers_ignores_them() -> None:
    extra = {"unsloth_fixed": True, "torch_dtype": "bfloat16", "transformers_version": "9", "auto_map": {"a": "b"}}
    assert from_hf({**CONFIGS["llama"], **extra}, "x") == from_hf(CONFIGS["llama"], "x")


def test_gemma_3_without_its_scalar_is_as_in_transformers() -> None:
    """Honest models leave out what is their class's default: 256, and eight heads 256 wide."""
    config = {key: value for key, value in CONFIGS["gemma3"].items() if key != "query_pre_attn_scalar"}
    assert from_hf(config, "x").attention_scale == 256**-0.5
    few = {"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "hidden_size": 2560,
           "intermediate_size": 10240, "num_hidden_layers": 34, "sliding_window": 1024}}  # fmt: skip
    found = from_hf(few, "x")
    assert (found.num_heads, found.num_kv_heads, found.head_width, found.vocab_size) == (8, 4, 256, 262_208)
    assert (found.rope_theta, found.rope_theta_local, found.global_every) == (1e6, 1e4, 6)
    with pytest.raises(ModelFileError, match="query_pre_attn_scalar"):
        from_hf({**config, "query_pre_attn_scalar": 0}, "x")


def test_biases_of_the_configuration_are_of_all_four_products() -> None:
    config = from_hf({**CONFIGS["llama"], "attention_bias": True}, "x")
    assert (config.qkv_bias, config.attention_out_bias) == (True, True)


def spoiled(folder: Path, name: str, value: np.ndarray) -> Path:
    path = write_safetensors(folder, "llama") / "model.safetensors"
    save_file({**load_file(path), name: value}, path)
    return folder


@pytest.mark.parametrize("name", ["model.layers.0.mlp.up_proj.bias", "model.layers.9.input_layernorm.weight", "other"])
def test_a_tensor_that_nobody_reads_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsupportedModel, match=name):
        SafetensorsCheckpoint(spoiled(tmp_path, name, np.ones(4, np.float32)))


def test_tensors_known_to_be_harmless_are_taken(tmp_path: Path) -> None:
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    assert SafetensorsCheckpoint(spoiled(tmp_path, name, np.ones(16, np.float32))).config.num_layers == 3


def test_weights_that_are_no_numbers_are_said(tmp_path: Path) -> None:
    values = np.ones((160, 64), np.float32)
    values[7, 3] = np.inf
    checkpoint = SafetensorsCheckpoint(spoiled(tmp_path, "model.embed_tokens.weight", values))
    with pytest.raises(ModelFileError, match="row 7 that are no numbers"):
        checkpoint.tensor("embedding")


ENTRY: dict[str, Any] = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


@pytest.mark.parametrize(
    "header",
    [
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[1]",
        b'{"a": 3}',
        *(
            json.dumps({"a": {**ENTRY, **change}}).encode()
            for change in (
                {"shape": []},
                {"shape": [0, 4]},
                {"shape": [2, NAN]},
                {"shape": "22"},
                {"shape": [2**57 + 153, 64]},
                {"data_offsets": [0]},
                {"data_offsets": [0, 1e300]},
                {"data_offsets": [8, 24]},
                {"dtype": ["F32"]},
            )
        ),
    ],
)
def test_a_header_that_lies_is_one_line(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
    with pytest.raises(ModelFileError) as caught:
        read_safetensors(path)
    assert len(str(caught.value)) < 400
