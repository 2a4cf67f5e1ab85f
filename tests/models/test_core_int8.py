"""A core in one byte per weight."""

from __future__ import annotations

import numpy as np
import pytest

from vortex.models.core_checkpoint import CoreCheckpoint, read_core, save_core
from vortex.models.core_config import CoreConfig
from vortex.models.core_int8 import packed, unpacked
from vortex.models.core_layout import tensor_shapes


def test_a_weight_is_off_by_half_a_step_of_its_row_at_most() -> None:
    weights = {"w": np.random.default_rng(0).normal(size=(64, 128)).astype(np.float32), "v": np.ones(9, np.float32)}
    weights["w"][3] = 0
    tensors = packed(weights)
    assert {name: tensor.dtype.name for name, tensor in tensors.items()} == {
        "w": "int8", "w.int8_scale": "float16", "v": "float16",
    }  # fmt: skip
    found = unpacked(tensors)
    step = np.abs(weights["w"]).max(axis=1, keepdims=True) / 127
    assert (np.abs(found["w"] - weights["w"]) <= 0.56 * step + 1e-6).all()
    assert found.keys() == weights.keys()


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_a_checkpoint_of_any_form_reads_as_float32(tmp_path, dtype: str) -> None:
    config = CoreConfig(vocab_size=80, width=64, num_layers=1)
    chance = np.random.default_rng(1)
    weights = {name: chance.normal(size=shape).astype(np.float32) for name, shape in tensor_shapes(config).items()}
    save_core(tmp_path, CoreCheckpoint(config, weights, "bytes"), dtype=dtype)
    found = read_core(tmp_path)
    assert all(value.dtype == np.float32 for value in found.weights.values())
    error = max(float(np.abs(found.weights[name] - weights[name]).max()) for name in weights)
    assert error <= {"float32": 0.0, "float16": 2e-3, "int8": 2e-2}[dtype]
