"""Small random models of transformers' own classes, saved as published ones are: the oracle of every family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
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
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3_5": ("Qwen3_5TextConfig", {**BASE, **DELTA}),
    "qwen3_5_moe": ("Qwen3_5MoeTextConfig", {**BASE, **DELTA, **SPARSE}),
    "qwen3_next": ("Qwen3NextConfig", {**BASE, **DELTA, **SPARSE}),
}
TOKENS = np.random.default_rng(5).integers(2, 160, 40).tolist()


def write_model(folder: Path, name: str, seed: int = 0) -> np.ndarray:
    """A model in the folder, every weight random (norms and biases too); its logits [tokens, vocab_size] of TOKENS."""
    kind, values = CONFIGS[name]
    torch.manual_seed(seed)
    config = getattr(transformers, kind)(**values)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").to(torch.float32).eval()
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if parameter.ndim < 2 or "A_log" in parameter_name:
                parameter.add_(0.3 * torch.randn_like(parameter))
            else:
                parameter.copy_(torch.randn_like(parameter) / parameter.shape[-1] ** 0.5)
        logits = model(torch.tensor([TOKENS])).logits[0]
    model.save_pretrained(folder, safe_serialization=True)
    return np.asarray(logits.float().numpy())
