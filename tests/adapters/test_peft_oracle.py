"""peft itself as the oracle: adapters that it writes, in models of transformers, against ours in each decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model

from tests.models.tiny_models import CONFIGS, write_safetensors
from vortex.adapters.reading import ModelTargets, read_adapter
from vortex.c3.format.folder import C3Folder, C3Writer
from vortex.c3.sources import ResidentSource
from vortex.kernels import dispatch
from vortex.models.decoder import native_pack
from vortex.models.decoder.model import Decoder
from vortex.models.decoder.native_compute import NativeCompute
from vortex.models.decoder.reference_compute import ReferenceCompute
from vortex.models.files.safetensors import SafetensorsCheckpoint
from vortex.types import Adapter, Span, Want

pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning"),  # a name that transformers renames
    pytest.mark.filterwarnings("ignore:The following rank_pattern keys did not match:RuntimeWarning"),  # no MLP there
]
TOKENS = [int(token) for token in np.random.default_rng(1).integers(0, 160, 24)]
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LORAS: dict[str, dict[str, Any]] = {
    "plain": {"r": 4, "lora_alpha": 12, "target_modules": LINEARS},
    "rank-stabilised": {"r": 9, "lora_alpha": 6, "use_rslora": True, "target_modules": ["q_proj", "down_proj"]},
    "patterns": {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": LINEARS,
        "rank_pattern": {"q_proj": 2, "model.layers.1.mlp.up_proj": 7, "^.*layers.2.*down_proj": 3},
        "alpha_pattern": {"layers.0.self_attn.v_proj": 20, "o_proj": 2},
        "exclude_modules": ["layers.2.self_attn.k_proj"],
    },
}
ARCHITECTURES = [
    pytest.param(name, marks=() if name in {"llama", "qwen2", "gemma3"} else pytest.mark.long) for name in CONFIGS
]


def with_peft(folder: Path, lora: dict[str, Any], to: Path) -> np.ndarray:
    """Saves a random adapter that peft made for the model; the logits of peft's own forward."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    targets = [name for name in lora["target_modules"] if any(n.endswith(name) for n, m in linears(model))]
    adapted = get_peft_model(model, LoraConfig(**{**lora, "target_modules": targets}))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn_like(parameter) * parameter.shape[1] ** -0.5)
        logits: np.ndarray = adapted.eval()(torch.tensor([TOKENS])).logits[0].numpy()
    adapted.save_pretrained(to)
    return logits


def linears(model: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    return [(name, module) for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]


def swept(model: Decoder, adapter: Adapter | None) -> np.ndarray:
    state = model.new_state()
    logits = model.sweep([Span(state, TOKENS, Want.ALL_LOGITS, adapter)]).logits
    state.close()
    return logits


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2)))


@pytest.mark.parametrize("lora", LORAS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_reference_answers_as_peft_does(architecture: str, lora: str, tmp_path: Path) -> None:
    folder = write_safetensors(tmp_path / "tiny", architecture)
    expected = with_peft(folder, LORAS[lora], tmp_path / "lora")
    checkpoint = SafetensorsCheckpoint(folder)
    model = Decoder(checkpoint.config, ReferenceCompute(checkpoint))
    adapter = read_adapter(tmp_path / "lora", ModelTargets("tiny", model.adapter_targets()))
    assert distance(swept(model, adapter), expected) < 1e-4
    assert distance(swept(model, None), expected) > 0.05


@pytest.mark.skipif(not dispatch.usable(), reason="the native core was not built")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_native_core_answers_nearly_so(architecture: str, tmp_path: Path) -> None:
    """Weights in bfloat16: what differs is their rounding, and which expert a token goes to by it."""
    folder = write_safetensors(tmp_path / "tiny", architecture)
    expected = with_peft(folder, LORAS["plain"], tmp_path / "lora")
    checkpoint = SafetensorsCheckpoint(folder)
    with C3Writer(tmp_path / "tiny.c3", {}) as writer:
        native_pack.pack(checkpoint, writer, "bf16")
    model = Decoder(checkpoint.config, NativeCompute(checkpoint.config, ResidentSource(C3Folder(tmp_path / "tiny.c3"))))
    adapter = read_adapter(tmp_path / "lora", ModelTargets("tiny", model.adapter_targets()))
    assert distance(swept(model, adapter), expected) < (0.3 if checkpoint.config.num_experts else 0.03)
