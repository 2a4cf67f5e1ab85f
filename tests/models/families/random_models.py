"""Small random models of transformers' own classes, saved as published ones are: the oracle of every family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

transformers.utils.logging.set_verbosity_error()

BASE: dict[str, Any] = {
    "vocab_size": 160, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0,
    "tie_word_embeddings": False, "attn_implementation": "eager",
}  # fmt: skip
DELTA: dict[str, Any] = {
    "head_dim": 32, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
}  # fmt: skip
SPARSE: dict[str, Any] = {
    "num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 48,
}  # fmt: skip
GEMMA: dict[str, Any] = {
    "num_hidden_layers": 6, "head_dim": 16, "global_head_dim": 32, "sliding_window": 8, "tie_word_embeddings": True,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"] * 2,
    "hidden_size_per_layer_input": 16, "vocab_size_per_layer_input": 160,
}  # fmt: skip
GEMMA = {**BASE, **GEMMA}
LATENT: dict[str, Any] = {
    "q_lora_rank": 24, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 12,
    "n_routed_experts": 8, "moe_intermediate_size": 32, "n_group": 4, "topk_group": 2, "num_key_value_heads": 4,
}  # fmt: skip
MAMBA: dict[str, Any] = {
    "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_n_groups": 2, "mamba_d_state": 16, "mamba_expand": 2,
    "mamba_chunk_size": 8,
}  # fmt: skip
CONVOLUTIONS = ["conv", "full_attention", "conv", "full_attention"]
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3_5": ("Qwen3_5TextConfig", {**BASE, **DELTA}),
    "qwen3_5_moe": ("Qwen3_5MoeTextConfig", {**BASE, **DELTA, **SPARSE}),
    "qwen3_next": ("Qwen3NextConfig", {**BASE, **DELTA, **SPARSE}),
    "gemma4": ("Gemma4TextConfig", {**GEMMA, "num_kv_shared_layers": 2, "use_double_wide_mlp": True}),
    "gemma4_moe": ("Gemma4TextConfig", {
        **GEMMA, "hidden_size_per_layer_input": 0, "attention_k_eq_v": True, "num_global_key_value_heads": 1,
        "enable_moe_block": True, "num_experts": 8, "top_k_experts": 3, "moe_intermediate_size": 32,
        "final_logit_softcapping": 5.0}),
    "glm4_moe_lite": ("Glm4MoeLiteConfig", {**BASE, **LATENT, "num_experts_per_tok": 3, "n_shared_experts": 2}),
    "deepseek_v2": ("DeepseekV2Config", {
        **BASE, **LATENT, "q_lora_rank": None, "num_experts_per_tok": 3, "topk_method": "group_limited_greedy",
        "first_k_dense_replace": 1}),
    "deepseek_v3": ("DeepseekV3Config", {
        **BASE, **LATENT, "num_experts_per_tok": 3, "first_k_dense_replace": 1, "rope_parameters": {
            "rope_type": "yarn", "rope_theta": 10000.0, "factor": 8.0, "original_max_position_embeddings": 16,
            "mscale": 1.0, "mscale_all_dim": 1.0, "beta_fast": 32, "beta_slow": 1}}),
    "lfm2": ("Lfm2Config", {**BASE, "layer_types": CONVOLUTIONS, "block_multiple_of": 32}),
    "lfm2_moe": ("Lfm2MoeConfig", {
        **BASE, "layer_types": CONVOLUTIONS, "num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 32,
        "num_dense_layers": 1}),
    "granite": ("GraniteConfig", {
        **BASE, "embedding_multiplier": 3.0, "logits_scaling": 2.0, "residual_multiplier": 0.4,
        "attention_multiplier": 0.2}),
    "granitemoehybrid": ("GraniteMoeHybridConfig", {
        **BASE, **MAMBA, "num_local_experts": 8, "num_experts_per_tok": 3, "shared_intermediate_size": 48,
        "intermediate_size": 32, "embedding_multiplier": 3.0, "residual_multiplier": 0.4, "attention_multiplier": 0.2,
        "layer_types": ["mamba", "attention", "mamba", "mamba"]}),
    "nemotron_h": ("NemotronHConfig", {
        **BASE, "layers_block_type": ["mamba", "mlp", "attention", "mamba"], "head_dim": 16, "mamba_num_heads": 8,
        "mamba_head_dim": 16, "n_groups": 2, "ssm_state_size": 16, "chunk_size": 8}),
    "falcon_h1": ("FalconH1Config", {
        **BASE, **MAMBA, "mamba_d_ssm": 128, "mamba_rms_norm": True, "key_multiplier": 0.5, "ssm_in_multiplier": 1.2,
        "attention_in_multiplier": 0.7, "attention_out_multiplier": 1.3, "ssm_out_multiplier": 0.8,
        "mlp_multipliers": [0.9, 1.1], "ssm_multipliers": [0.5, 1.5, 0.7, 1.2, 0.9], "embedding_multiplier": 2.0,
        "lm_head_multiplier": 0.5}),
    "phi3": ("Phi3Config", {**BASE, "rope_parameters": {
        "rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}}),
    "phi4_mini": ("Phi3Config", {
        **BASE, "max_position_embeddings": 256, "original_max_position_embeddings": 64, "rope_parameters": {
            "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.5,
            "original_max_position_embeddings": 64, "short_factor": [1.0, 1.1, 1.2, 1.5],
            "long_factor": [1.0, 2.0, 3.0, 4.0]}}),
    "smollm3": ("SmolLM3Config", BASE),
    "ministral3": ("Ministral3Config", {**BASE, "head_dim": 16, "rope_parameters": {
        "rope_type": "yarn", "rope_theta": 10000.0, "factor": 8.0, "original_max_position_embeddings": 16,
        "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1}}),
    "llama4": ("Llama4TextConfig", {
        **BASE, "head_dim": 16, "intermediate_size_mlp": 80, "num_local_experts": 4, "num_experts_per_tok": 2,
        "interleave_moe_layer_step": 2, "no_rope_layer_interval": 2, "attention_chunk_size": 8, "floor_scale": 4}),
    "olmo2": ("Olmo2Config", BASE),
    "olmo3": ("Olmo3Config", {**BASE, "sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"] * 2}),
    "qwen3_vl_text": ("Qwen3Config", {**BASE, "head_dim": 32}),  # with only words it is Qwen3
}  # fmt: skip
TOKENS = np.random.default_rng(5).integers(2, 160, 40).tolist()


def write_model(folder: Path, name: str, seed: int = 0) -> np.ndarray:
    """A model in the folder, every weight random (norms and biases too); its logits [tokens, vocab_size] of TOKENS."""
    kind, values = CONFIGS[name]
    torch.manual_seed(seed)
    config = getattr(transformers, kind)(**values)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").to(torch.float32).eval()
    with torch.no_grad():
        for parameter_name, parameter in [*model.named_parameters(), *model.named_buffers()]:
            if any(part in parameter_name for part in ("inv_freq", "embed_scale", "mup_vector")):
                continue
            if parameter.ndim < 2 or "A_log" in parameter_name:
                parameter.add_(0.3 * torch.randn_like(parameter))
            else:
                parameter.copy_(torch.randn_like(parameter) / parameter.shape[-1] ** 0.5)
        logits = model(torch.tensor([TOKENS])).logits[0]
    model.save_pretrained(folder, safe_serialization=True)
    if name == "gemma4":  # published files hold keys of layers that read another one's
        tensors = load_file(folder / "model.safetensors")
        tensors["model.layers.5.self_attn.k_proj.weight"] = torch.ones(8, 64)
        save_file(tensors, folder / "model.safetensors")
    if name == "qwen3_vl_text":
        said = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**said, "model_type": name}))
    return np.asarray(logits.float().numpy())
