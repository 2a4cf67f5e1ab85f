"""Small random models on disk, in the files' own formats, for every architecture the decoder knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import save_file

from vortex.models.files.checkpoint import (
    GGUF_GPT_OSS_LAYER,
    GGUF_LAYER,
    GGUF_TOP,
    expected_shape,
    expert_vectors,
    layer_names,
)
from vortex.models.files.decoder_config import DecoderConfig
from vortex.models.files.hf_config import from_hf
from vortex.models.files.safetensors import LAYER, LAYER_WITH_POST_NORMS, MIXTRAL_EXPERTS, QWEN_EXPERTS, TOP

BASE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 160,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
LLAMA3_SCALING = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN_SCALING = {
    "rope_type": "yarn",
    "factor": 8.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
    "original_max_position_embeddings": 16,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {**BASE, "model_type": "llama", "architectures": ["LlamaForCausalLM"]},
    "llama3": {
        **BASE,
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "rope_scaling": LLAMA3_SCALING,
        "tie_word_embeddings": True,
    },
    "mistral": {**BASE, "model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": 12},
    "qwen2": {**BASE, "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "head_dim": 16},
    "qwen3": {**BASE, "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]},
    "qwen3_moe": {
        **BASE,
        "model_type": "qwen3_moe",
        "architectures": ["Qwen3MoeForCausalLM"],
        "moe_intermediate_size": 32,
        "num_experts": 8,
        "num_experts_per_tok": 3,
        "norm_topk_prob": True,
    },
    "mixtral": {
        **BASE,
        "model_type": "mixtral",
        "architectures": ["MixtralForCausalLM"],
        "intermediate_size": 32,
        "num_local_experts": 6,
        "num_experts_per_tok": 2,
        "sliding_window": None,
    },
    "gpt_oss": {
        **BASE,
        "model_type": "gpt_oss",
        "architectures": ["GptOssForCausalLM"],
        "intermediate_size": 32,
        "num_hidden_layers": 4,
        "num_local_experts": 8,
        "num_experts_per_tok": 3,
        "sliding_window": 12,
        "swiglu_limit": 1.5,
        "rope_scaling": YARN_SCALING,
    },
    "gemma3": {
        **BASE,
        "model_type": "gemma3_text",
        "architectures": ["Gemma3ForCausalLM"],
        "num_hidden_layers": 7,
        "sliding_window": 12,
        "query_pre_attn_scalar": 24,
        "rope_local_base_freq": 1000.0,
        "hidden_activation": "gelu_pytorch_tanh",
        "tie_word_embeddings": True,
    },
}

WITH_EXPERTS = ("qwen3_moe", "mixtral", "gpt_oss")
DENSE = [name for name in CONFIGS if name not in WITH_EXPERTS]


def random_weights(config: DecoderConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """By house names; norms are whole factors near 1."""
    rng = np.random.default_rng(seed)
    vectors, matrices = layer_names(config)
    names = ["embedding", "final_norm", *([] if config.tied_head else ["head"])]
    names += [
        f"layers.{i}.{name}"
        for i in range(config.num_layers)
        for name in (*vectors, *matrices, *expert_vectors(config))
    ]
    weights = {}
    for name in names:
        rows, columns = expected_shape(config, name)
        values = rng.standard_normal((rows, columns)).astype(np.float32)
        if name.endswith("norm"):
            weights[name] = 1 + 0.2 * values[0]
        elif name.endswith(("bias", "sinks")):
            weights[name] = 0.5 * values[0]
        else:
            weights[name] = values / np.sqrt(columns, dtype=np.float32)
    return weights


def write_safetensors(folder: Path, architecture: str, seed: int = 0, *, mxfp4: bool = False) -> Path:
    """mxfp4: the experts of gpt_oss as its makers publish them."""
    folder.mkdir(parents=True, exist_ok=True)
    values = CONFIGS[architecture]
    (folder / "config.json").write_text(json.dumps(values))
    config = from_hf(values, "test")
    names = LAYER_WITH_POST_NORMS if config.post_norms else LAYER
    tensors = {}
    weights = random_weights(config, seed)
    if architecture == "gpt_oss":
        tensors, weights = (gpt_oss_mxfp4 if mxfp4 else gpt_oss_experts)(config, weights)
    for name, weight in weights.items():
        if name in TOP:
            stored = TOP[name]
        else:
            _, layer, part = name.split(".", 2)
            if architecture == "gpt_oss" and part == "router":
                stored = f"model.layers.{layer}.mlp.router.weight"
            elif part == "router" or part.startswith("experts."):
                spelled = MIXTRAL_EXPERTS if architecture == "mixtral" else QWEN_EXPERTS
                part = ".".join(spelled.get(piece, piece) for piece in part.split("."))
                stored = f"model.layers.{layer}.{part}.weight"
            else:
                stored = f"model.layers.{layer}.{names[part]}"
        tensors[stored] = weight - 1 if architecture == "gemma3" and name.endswith("norm") else weight
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def gpt_oss_experts(
    config: DecoderConfig, weights: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """All experts of a layer in one tensor, gate and up interleaved, as transformers writes them; and what is left."""
    stored = {}
    for layer in range(config.num_layers):
        for bias in ("", "_bias"):

            def stacked(part: str, layer: int = layer, bias: str = bias) -> np.ndarray:
                experts = range(config.num_experts)
                return np.stack([weights[f"layers.{layer}.experts.{expert}.{part}{bias}"] for expert in experts])

            gate_up = np.stack([stacked("gate"), stacked("up")], 2)  # [E, ffn, 2, ...]
            gate_up = gate_up.reshape(config.num_experts, 2 * config.ffn_width, *gate_up.shape[3:])
            prefix = f"model.layers.{layer}.mlp.experts."
            for name, values in (("gate_up_proj", gate_up), ("down_proj", stacked("down"))):
                turned = values if bias else values.swapaxes(1, 2)
                stored[f"{prefix}{name}{bias}"] = np.ascontiguousarray(turned)
    return stored, {name: weight for name, weight in weights.items() if ".experts." not in name}


def gpt_oss_mxfp4(
    config: DecoderConfig, weights: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The same in blocks of 32 columns: two neighbours in a byte, and a scale."""
    stored, left = gpt_oss_experts(config, weights)
    for name in [name for name in stored if not name.endswith("_bias")]:
        rows = stored.pop(name).swapaxes(1, 2)
        blocks = gguf.quants.quantize(np.ascontiguousarray(rows), gguf.GGMLQuantizationType.MXFP4)
        blocks = blocks.reshape(*rows.shape[:2], -1, 17)
        codes = np.concatenate([blocks[..., 1:] & 15, blocks[..., 1:] >> 4], -1)
        stored[f"{name}_blocks"] = codes[..., 0::2] | (codes[..., 1::2] << 4)
        stored[f"{name}_scales"] = np.ascontiguousarray(blocks[..., 0])
    return stored, left


def write_gguf_gpt_oss(path: Path, seed: int = 0) -> Path:
    """The same weights as `write_safetensors(mxfp4=True)`, the experts of a layer stacked, the rest in float32."""
    config = from_hf(CONFIGS["gpt_oss"], "test")
    writer = gguf.GGUFWriter(path, "gpt-oss")
    writer.add_block_count(config.num_layers)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.width)
    writer.add_feed_forward_length(config.ffn_width)
    writer.add_expert_feed_forward_length(config.ffn_width)
    writer.add_expert_count(config.num_experts)
    writer.add_expert_used_count(config.experts_per_token)
    writer.add_head_count(config.num_heads)
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_key_length(config.head_width)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_sliding_window(config.sliding_window)
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(YARN_SCALING["factor"])
    writer.add_rope_scaling_orig_ctx_len(YARN_SCALING["original_max_position_embeddings"])
    weights = random_weights(config, seed)
    for name, weight in weights.items():
        if ".experts." not in name:
            layer, _, part = name.removeprefix("layers.").partition(".")
            writer.add_tensor(GGUF_TOP.get(name) or f"blk.{layer}.{GGUF_GPT_OSS_LAYER[part]}", weight)
    for layer in range(config.num_layers):
        for part in ("gate", "up", "down"):
            for bias in ("", "_bias"):
                experts = range(config.num_experts)
                values = np.stack([weights[f"layers.{layer}.experts.{expert}.{part}{bias}"] for expert in experts])
                kind = gguf.GGMLQuantizationType.F32 if bias else gguf.GGMLQuantizationType.MXFP4
                name = f"blk.{layer}.ffn_{part}_exps.{'bias' if bias else 'weight'}"
                writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_gguf(path: Path, architecture: str, seed: int = 0) -> Path:
    """The same weights as `write_safetensors`, float32, rotary rows interleaved where GGUF's llama wants them."""
    config = from_hf(CONFIGS[architecture], "test")
    name = config.architecture
    writer = gguf.GGUFWriter(path, name)
    writer.add_block_count(config.num_layers)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.width)
    writer.add_feed_forward_length(config.ffn_width)
    writer.add_head_count(config.num_heads)
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_key_length(config.head_width)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    writer.add_rope_freq_base(config.rope_theta)
    if config.sliding_window:
        writer.add_sliding_window(config.sliding_window)
    if config.rope_divisors:
        writer.add_tensor("rope_freqs.weight", np.asarray(config.rope_divisors, np.float32))
    for house_name, weight in random_weights(config, seed).items():
        if house_name in GGUF_TOP:
            writer.add_tensor(GGUF_TOP[house_name], weight)
            continue
        _, layer, part = house_name.split(".")
        if name == "llama" and part in {"q", "k"}:
            halves = weight.reshape(-1, 2, config.head_width // 2, config.width)
            weight = np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(weight.shape)
        writer.add_tensor(f"blk.{layer}.{GGUF_LAYER[part]}", weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_gguf_experts(path: Path, architecture: str, seed: int = 0) -> Path:
    """The same weights as `write_safetensors` for a Qwen3-MoE config, the experts of a layer stacked."""
    config = from_hf(CONFIGS[architecture], "test")
    writer = gguf.GGUFWriter(path, "qwen3moe")
    writer.add_block_count(config.num_layers)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.width)
    writer.add_feed_forward_length(CONFIGS[architecture]["intermediate_size"])
    writer.add_expert_feed_forward_length(config.ffn_width)
    writer.add_expert_count(config.num_experts)
    writer.add_expert_used_count(config.experts_per_token)
    writer.add_head_count(config.num_heads)
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_key_length(config.head_width)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    writer.add_rope_freq_base(config.rope_theta)
    weights = random_weights(config, seed)
    for name, weight in weights.items():
        if ".experts." not in name:
            layer, _, part = name.removeprefix("layers.").partition(".")
            writer.add_tensor(GGUF_TOP.get(name) or f"blk.{layer}.{GGUF_LAYER[part]}", weight)
    for layer in range(config.num_layers):
        for part in ("gate", "up", "down"):
            experts = [weights[f"layers.{layer}.experts.{expert}.{part}"] for expert in range(config.num_experts)]
            writer.add_tensor(f"blk.{layer}.ffn_{part}_exps.weight", np.stack(experts))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
