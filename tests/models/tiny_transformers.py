"""Small random models of the transformers library, and folders of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PretrainedConfig

transformers.utils.logging.set_verbosity_error()

VOCAB_SIZE = 320
BASE = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": VOCAB_SIZE, "max_position_embeddings": 128, "bos_token_id": 0,
    "eos_token_id": 1, "pad_token_id": 0,
}  # fmt: skip
GPT = {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": VOCAB_SIZE, "bos_token_id": 0, "eos_token_id": 1}
CONFIGS: dict[str, tuple[str, dict[str, object]]] = {
    "llama": ("LlamaConfig", {**BASE, "head_dim": 32, "tie_word_embeddings": True}),
    "qwen2": ("Qwen2Config", BASE),
    "qwen3": ("Qwen3Config", {**BASE, "head_dim": 32}),
    "mistral": ("MistralConfig", {**BASE, "sliding_window": 12}),
    "gemma2": ("Gemma2Config", {**BASE, "head_dim": 16, "sliding_window": 12}),
    "gemma3": ("Gemma3TextConfig", {**BASE, "num_hidden_layers": 6, "head_dim": 16, "sliding_window": 12}),
    "gpt2": ("GPT2Config", {**GPT, "n_positions": 128}),
    "phi3": ("Phi3Config", BASE),
    "neox": ("GPTNeoXConfig", {name: BASE[name] for name in BASE if name != "num_key_value_heads"}),
    "qwen3_moe": (
        "Qwen3MoeConfig",
        {**BASE, "head_dim": 32, "moe_intermediate_size": 32, "num_experts": 8, "num_experts_per_tok": 3},
    ),
    "gpt_oss": (
        "GptOssConfig",
        {**BASE, "head_dim": 32, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 12},
    ),
    "bloom": ("BloomConfig", {**GPT, "hidden_size": 64, "pad_token_id": 0}),
}


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Tiny products are faster so, and threads do not wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny_config(name: str) -> PretrainedConfig:
    class_name, values = CONFIGS[name]
    return getattr(transformers, class_name)(**copy.deepcopy(values))


def tiny_model(name: str, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.nn.Module:
    """Weights six times as large as the library draws them, so that logits differ."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(tiny_config(name), dtype=dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6)
    return model


def write_folder(folder: Path, name: str, dtype: torch.dtype = torch.float32) -> Path:
    """A whole model folder, with a tokenizer of bytes."""
    tiny_model(name, dtype).save_pretrained(folder)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<s>": 0, "</s>": 1} | {piece: index + 2 for index, piece in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
