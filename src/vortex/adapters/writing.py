"""An adapter's folder in peft's format: what is trained here is read by peft and by everything that reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vortex.adapters.peft_config import CONFIG_FILE, PeftConfig
from vortex.adapters.reading import BASE_KEY, WEIGHTS_FILE
from vortex.adapters.tensor_file import write_tensor_file
from vortex.records.atomic import atomic_write

Pair = tuple[np.ndarray, np.ndarray]


def write_adapter(
    folder: Path, config: PeftConfig, pairs: Mapping[str, Pair], base_identity: str, more: Mapping[str, str] = {}
) -> None:
    """pairs: (a [rank, columns], b [rows, rank]) by the layer's name in transformers (`model.layers.3.mlp.up_proj`);
    float32, float16, or bfloat16 as uint16. base_identity: of the weights it was made on. more: further metadata.

    The configuration goes last: a folder with one is whole. Raises OSError.
    """
    tensors = {}
    for module, (a, b) in sorted(pairs.items()):
        tensors[f"base_model.model.{module}.lora_A.weight"] = a
        tensors[f"base_model.model.{module}.lora_B.weight"] = b
    with atomic_write(folder / WEIGHTS_FILE) as file:
        write_tensor_file(file, tensors, {"format": "pt", BASE_KEY: base_identity, **more})
    values = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": config.base,
        "r": config.rank,
        "lora_alpha": config.alpha,
        "use_rslora": config.rslora,
        "rank_pattern": dict(config.rank_pattern),
        "alpha_pattern": dict(config.alpha_pattern),
        "target_modules": sorted({module.rsplit(".", 1)[-1] for module in pairs}),
        "bias": "none",
        "lora_dropout": 0.0,
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "modules_to_save": None,
    }
    with atomic_write(folder / CONFIG_FILE) as file:
        file.write(json.dumps(values, indent=1).encode())
