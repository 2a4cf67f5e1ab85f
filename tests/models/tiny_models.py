"""Small random models on disk, in the files' own formats, for every architecture the decoder knows."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import save_file

from vortex.models.checkpoint import GGUF_LAYER, GGUF_TOP, RawTensor, expected_shape, layer_names
from vortex.models.decoder_config import DecoderConfig, from_hf
from vortex.models.safetensors_checkpoint import LAYER, LAYER_WITH_POST_NORMS, MIXTRAL_EXPERTS, QWEN_EXPERTS, TOP

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

DENSE = [name for name in CONFIGS if name not in {"qwen3_moe", "mixtral"}]


def random_weights(config: DecoderConfig, seed: int = 0) -> dict[str, np.ndarray]:
    """By house names; norms are whole factors near 1."""
    rng = np.random.default_rng(seed)
    vectors, matrices = layer_names(config)
    names = ["embedding", "final_norm", *([] if config.tied_head else ["head"])]
    names += [f"layers.{i}.{name}" for i in range(config.num_layers) for name in (*vectors, *matrices)]
    weights = {}
    for name in names:
        rows, columns = expected_shape(config, name)
        values = rng.standard_normal((rows, columns)).astype(np.float32)
        if name.endswith("norm"):
            weights[name] = 1 + 0.2 * values[0]
        elif name.endswith("bias"):
            weights[name] = 0.5 * values[0]
        elif name.endswith("sinks"):
            weights[name] = values[0]
        else:
            weights[name] = values / np.sqrt(columns, dtype=np.float32)
    return weights


def write_safetensors(folder: Path, architecture: str, seed: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    values = CONFIGS[architecture]
    (folder / "config.json").write_text(json.dumps(values))
    config = from_hf(values, "test")
    names = LAYER_WITH_POST_NORMS if config.post_norms else LAYER
    tensors = {}
    for name, weight in random_weights(config, seed).items():
        if name in TOP:
            stored = TOP[name]
        else:
            _, layer, part = name.split(".", 2)
            if part == "router" or part.startswith("experts."):
                spelled = MIXTRAL_EXPERTS if architecture == "mixtral" else QWEN_EXPERTS
                part = ".".join(spelled.get(piece, piece) for piece in part.split("."))
                stored = f"model.layers.{layer}.{part}.weight"
            else:
                stored = f"model.layers.{layer}.{names[part]}"
        tensors[stored] = weight - 1 if architecture == "gemma3" and name.endswith("norm") else weight
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


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


class MemoryCheckpoint:
    """Random float32 weights of a shape that needs no file."""

    def __init__(self, config: DecoderConfig, seed: int = 0) -> None:
        self.config = config
        self.weights = random_weights(config, seed)

    def tensor(self, name: str) -> RawTensor:
        values = np.atleast_2d(self.weights["embedding" if name == "head" and self.config.tied_head else name])
        return RawTensor(gguf.GGMLQuantizationType.F32, *values.shape, np.ascontiguousarray(values).view(np.uint8))


def with_sinks() -> MemoryCheckpoint:
    """gpt-oss in small: sinks, every second layer local, biases everywhere, gates that biases drive to their limits."""
    plain = from_hf(CONFIGS["mixtral"], "test")
    config = dataclasses.replace(
        plain,
        sliding_window=12,
        global_every=2,
        activation="clamped_swiglu",
        qkv_bias=True,
        out_bias=True,
        attention_sinks=True,
        expert_bias=True,
    )
    checkpoint = MemoryCheckpoint(config)
    for name, values in checkpoint.weights.items():
        if name.endswith(("gate_bias", "up_bias")):
            values *= 12
    return checkpoint
