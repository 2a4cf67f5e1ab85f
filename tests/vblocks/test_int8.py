"""A core in one byte per weight."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize

from vortex.errors import ConfigError
from vortex.vblocks.checkpoint import CoreCheckpoint, read_core, save_core
from vortex.vblocks.config import CoreConfig
from vortex.vblocks.int8 import packed, unpacked
from vortex.vblocks.layout import tensor_shapes
from vortex.vblocks.weights import exact_q8_rows, stored_tensors


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


def test_int8_rows_become_q8_0_without_another_rounding() -> None:
    rows = np.random.default_rng(3).normal(size=(48, 96)).astype(np.float32) * np.geomspace(1e-3, 30, 48)[:, None]
    rows[7] = 0
    kept = unpacked(packed({"a.weight": rows.astype(np.float32)}))["a.weight"]
    blocks = exact_q8_rows(kept)
    assert blocks is not None
    assert np.array_equal(dequantize(blocks, GGMLQuantizationType.Q8_0), kept)


def test_other_matrices_are_not_taken_for_int8() -> None:
    rows = np.random.default_rng(4).normal(size=(16, 64)).astype(np.float32)
    assert exact_q8_rows(rows) is None
    assert exact_q8_rows(np.zeros((16, 40), np.float32)) is None, "no whole blocks"


def test_auto_keeps_a_small_core_in_float32_and_one_of_int8_as_it_is() -> None:
    config = CoreConfig(vocab_size=128, width=64, num_layers=1, mlp_width=64)
    chance = np.random.default_rng(5)
    weights = {name: chance.normal(size=shape).astype(np.float32) for name, shape in tensor_shapes(config).items()}
    checkpoint = CoreCheckpoint(config, weights)
    layouts = {t.layout for t in stored_tensors(checkpoint) if t.layout.startswith("tiles16")}
    assert layouts == {"tiles16_F32"}
    rounded = dataclasses.replace(checkpoint, weights=unpacked(packed(checkpoint.weights)))
    kinds = {t.name: t.layout for t in stored_tensors(rounded) if t.layout.startswith("tiles16")}
    assert kinds["head.0"] == kinds["layers.0.matrices.0"] == "tiles16_Q8_0"


def test_a_form_that_cores_do_not_have_is_named() -> None:
    config = CoreConfig(vocab_size=80, width=64, num_layers=1)
    weights = {name: np.zeros(shape, np.float32) for name, shape in tensor_shapes(config).items()}
    with pytest.raises(ConfigError, match="not kept as mxfp4"):
        list(stored_tensors(CoreCheckpoint(config, weights), "mxfp4"))
