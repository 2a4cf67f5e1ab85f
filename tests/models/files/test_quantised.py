"""Published 4-bit and 8-bit safetensors: written here as their formats are defined, read as what they stand for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.models.tiny_models import CONFIGS, write_safetensors
from vortex.errors import ModelFileError, UnsupportedModel
from vortex.models.files.formats import dense
from vortex.models.files.quantised import FP8_VALUES, read_quantisation
from vortex.models.files.safetensors import SafetensorsCheckpoint, read_safetensors
from vortex.records.foreign import ForeignValues

GROUP = 32
Tensors = dict[str, torch.Tensor]


def quantised(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """codes [R, C], scales and zeros [R, groups]."""
    groups = weight.reshape(len(weight), -1, GROUP)
    low, high = groups.min(-1), groups.max(-1)
    scale = ((high - low) / 15).astype(np.float16).astype(np.float32)
    zero = np.clip(np.rint(-low / scale), 0, 15)
    codes = np.clip(np.rint(groups / scale[..., None]) + zero[..., None], 0, 15)
    return codes.reshape(weight.shape).astype(np.int64), scale, zero.astype(np.int64)


def words(codes: np.ndarray) -> torch.Tensor:
    """Eight of the last axis to an int32, the first one lowest."""
    shifted = codes.reshape(*codes.shape[:-1], -1, 8).astype(np.uint64) << (4 * np.arange(8, dtype=np.uint64))
    return torch.from_numpy(shifted.sum(-1).astype(np.uint32).view(np.int32).copy())


def half(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(torch.float16)


def gptq(base: str, weight: np.ndarray) -> tuple[Tensors, np.ndarray]:
    codes, scale, zero = quantised(weight)
    zero = np.maximum(zero, 1)  # the first format stores it minus one
    stored = {
        f"{base}qweight": words(codes).T.contiguous(),
        f"{base}qzeros": words(np.ascontiguousarray((zero - 1).T)),
        f"{base}scales": half(scale.T),
        f"{base}g_idx": torch.arange(weight.shape[1], dtype=torch.int32) // GROUP,
    }
    return stored, value(codes, scale, zero)


def awq(base: str, weight: np.ndarray) -> tuple[Tensors, np.ndarray]:
    codes, scale, zero = quantised(weight)
    order = [0, 2, 4, 6, 1, 3, 5, 7]  # nibble i holds column order[i]

    def across(numbers: np.ndarray) -> torch.Tensor:
        return words(np.ascontiguousarray(numbers.reshape(len(numbers), -1, 8)[..., order].reshape(numbers.shape)))

    stored = {
        f"{base}qweight": across(np.ascontiguousarray(codes.T)),
        f"{base}qzeros": across(np.ascontiguousarray(zero.T)),
        f"{base}scales": half(scale.T),
    }
    return stored, value(codes, scale, zero)


def compressed(base: str, weight: np.ndarray) -> tuple[Tensors, np.ndarray]:
    codes, scale, zero = quantised(weight)
    stored = {
        f"{base}weight_packed": words(codes),
        f"{base}weight_scale": torch.from_numpy(scale),
        f"{base}weight_zero_point": words(np.ascontiguousarray(zero.T)).T.contiguous(),
        f"{base}weight_shape": torch.tensor(weight.shape),
    }
    return stored, value(codes, scale, zero)


def fp8(base: str, weight: np.ndarray) -> tuple[Tensors, np.ndarray]:
    blocks = weight.reshape(len(weight) // GROUP, GROUP, -1, GROUP)
    scale = np.abs(blocks).max((1, 3)) / 448
    codes = torch.from_numpy((blocks / scale[:, None, :, None]).reshape(weight.shape)).to(torch.float8_e4m3fn)
    stored = {f"{base}weight": codes, f"{base}weight_scale_inv": torch.from_numpy(scale)}
    full = np.repeat(np.repeat(scale, GROUP, 0), GROUP, 1)
    return stored, codes.to(torch.float32).numpy() * full


def value(codes: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    return np.repeat(scale, GROUP, 1) * (codes - np.repeat(zero, GROUP, 1))


SAID: dict[str, tuple[Callable[[str, np.ndarray], tuple[Tensors, np.ndarray]], dict[str, Any]]] = {
    "gptq": (gptq, {"quant_method": "gptq", "bits": 4, "group_size": GROUP, "desc_act": False}),
    "awq": (awq, {"quant_method": "awq", "bits": 4, "group_size": GROUP, "version": "gemm", "zero_point": True}),
    "compressed": (
        compressed,
        {
            "quant_method": "compressed-tensors",
            "format": "pack-quantized",
            "config_groups": {
                "group_0": {"weights": {"num_bits": 4, "type": "int", "symmetric": False, "group_size": GROUP}}
            },
        },
    ),
    "fp8": (fp8, {"quant_method": "fp8", "weight_block_size": [GROUP, GROUP], "activation_scheme": "dynamic"}),
}


def write(folder: Path, kind: str) -> dict[str, np.ndarray]:
    """A Qwen3 whose layers' matrices are quantised; what they stand for, by their names there."""
    make, said = SAID[kind]
    write_safetensors(folder, "qwen3")
    tensors: Tensors = {}
    wanted = {}
    for name, stored in read_safetensors(folder / "model.safetensors").items():
        values = stored.data.view(np.float32).reshape(stored.shape).copy()
        if name.endswith("_proj.weight"):
            parts, wanted[name] = make(name.removesuffix("weight"), values)
            tensors |= parts
        else:
            tensors[name] = torch.from_numpy(values)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({**CONFIGS["qwen3"], "quantization_config": said}))
    return wanted


@pytest.mark.parametrize("kind", list(SAID))
def test_matrices_are_the_numbers_they_stand_for(kind: str, tmp_path: Path) -> None:
    wanted = write(tmp_path, kind)
    checkpoint = SafetensorsCheckpoint(tmp_path)
    for part, name in (("q", "self_attn.q_proj"), ("down", "mlp.down_proj"), ("attention_out", "self_attn.o_proj")):
        expected = wanted[f"model.layers.1.{name}.weight"]
        found = dense(checkpoint.tensor(f"layers.1.{part}"))
        assert np.abs(found - expected).max() <= 2e-3 * np.abs(expected).max()


def test_every_code_of_fp8() -> None:
    codes = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).to(torch.float32).numpy()
    assert np.array_equal(FP8_VALUES, codes, equal_nan=True)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"quant_method": "bitsandbytes"}, "quantised by 'bitsandbytes' are not supported"),
        ({"quant_method": "gptq", "bits": 8}, "gptq of 8 bits"),
        ({"quant_method": "compressed-tensors", "config_groups": {}}, "0 groups of quantisation"),
    ],
)
def test_others_are_refused_by_name(said: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        read_quantisation(ForeignValues({"quantization_config": said}, "test"))


def test_columns_out_of_order_and_missing_parts_are_told(tmp_path: Path) -> None:
    write(tmp_path, "gptq")
    stored = read_safetensors(tmp_path / "model.safetensors")
    tensors = {}
    for name, one in stored.items():
        kind = {"I32": np.int32, "F16": np.float16, "F32": np.float32}[one.dtype]
        tensors[name] = torch.from_numpy(one.data.view(kind).reshape(one.shape).copy())
    tensors["model.layers.0.self_attn.q_proj.g_idx"] = tensors["model.layers.0.self_attn.q_proj.g_idx"].flip(0)
    del tensors["model.layers.1.self_attn.q_proj.scales"]
    save_file(tensors, tmp_path / "model.safetensors")
    checkpoint = SafetensorsCheckpoint(tmp_path)
    with pytest.raises(UnsupportedModel, match="out of order"):
        checkpoint.tensor("layers.0.q")
    with pytest.raises(ModelFileError, match="no scales"):
        checkpoint.tensor("layers.1.q")
