"""An adapter's folder: what peft writes is read as peft means it, everything else is refused in one line."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from tests.adapters.random_adapters import write_random
from vortex.adapters.peft_config import CONFIG_FILE, parse_peft_config
from vortex.adapters.reading import (
    BASE_KEY,
    WEIGHTS_FILE,
    ModelTargets,
    adapter_hash,
    fit,
    read_adapter,
    read_adapter_file,
)
from vortex.adapters.tensor_file import read_tensor_file
from vortex.errors import AdapterError

LAYERS = {"model.layers.0.self_attn.q_proj": (24, 16), "model.layers.1.mlp.down_proj": (16, 40)}
TARGETS = ModelTargets("tiny", LAYERS)
PLAIN: dict[str, Any] = {"peft_type": "LORA", "r": 4, "lora_alpha": 8}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_random(tmp_path / "lora", LAYERS)


def changed(folder: Path, **values: Any) -> Path:
    path = folder / CONFIG_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return folder


def with_tensors(folder: Path, tensors: dict[str, np.ndarray]) -> Path:
    save_file(tensors, folder / WEIGHTS_FILE)
    return folder


def test_what_is_written_is_read(folder: Path) -> None:
    adapter = read_adapter(folder, TARGETS)
    stored = load_file(folder / WEIGHTS_FILE)
    assert adapter.parts.keys() == LAYERS.keys()
    for name, part in adapter.parts.items():
        np.testing.assert_array_equal(part.a, stored[f"base_model.model.{name}.lora_A.weight"])
        np.testing.assert_array_equal(part.b, stored[f"base_model.model.{name}.lora_B.weight"])
        assert (part.scale, part.rank, part.shape) == (2.0, 4, LAYERS[name])


def test_the_hash_is_of_what_can_change_an_answer(folder: Path, tmp_path: Path) -> None:
    before = read_adapter(folder, TARGETS).hash
    assert read_adapter(changed(folder, base_model_name_or_path="another", lora_dropout=0.1), TARGETS).hash == before
    assert adapter_hash(read_adapter_file(folder).parts) == before, "no model is needed for it"
    assert read_adapter(changed(folder, lora_alpha=9.0), TARGETS).hash != before
    assert read_adapter(write_random(tmp_path / "other", LAYERS, seed=1), TARGETS).hash != before


def test_scales_as_peft_has_them() -> None:
    patterns = {"rank_pattern": {"q_proj": 16, "layers.1.mlp.down_proj": 2}, "alpha_pattern": {"^model.*q_proj": 3}}
    config = parse_peft_config({**PLAIN, **patterns}, "x")
    assert config.rank_of("model.layers.0.self_attn.q_proj") == 16
    assert config.scale_of("model.layers.0.self_attn.q_proj") == 3 / 16
    assert config.rank_of("model.layers.1.mlp.down_proj") == 2
    assert config.rank_of("model.layers.11.mlp.down_proj") == 4
    assert parse_peft_config({**PLAIN, "use_rslora": True}, "x").scale_of("any") == 8 / 2


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"peft_type": "LOHA"}, "LOHA"),
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "lora_only"}, "biases"),
        ({"lora_bias": True}, "lora_bias"),
        ({"trainable_token_indices": [5]}, "trainable_token_indices"),
        ({"target_parameters": ["experts.gate_up_proj"]}, "target_parameters"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"alora_invocation_tokens": [1]}, "alora"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa"),
        ({"init_lora_weights": "loftq"}, "loftq"),
        ({"init_lora_weights": []}, "init_lora_weights"),
        ({"kasa_config": {"beta": 1}}, "kasa_config"),
        ({"a_later_invention": True}, "a_later_invention"),
        ({"r": 0}, "rank of 0"),
        ({"r": 2.5}, "rank of 2.5"),
        ({"r": True}, "rank of True"),
        ({"r": 10**9}, "rank"),
        ({"lora_alpha": float("nan")}, "alpha of nan"),
        ({"lora_alpha": 1e9}, "alpha"),
        ({"rank_pattern": {"(a+)+": 4}}, "too involved"),
        ({"rank_pattern": {"a*" * 9: 4}}, "too involved"),
        ({"rank_pattern": {"(": 4}}, "peft writes"),
        ({"rank_pattern": [4]}, "peft writes"),
    ],
)
def test_other_kinds_and_nonsense_are_refused_by_name(folder: Path, values: dict[str, Any], named: str) -> None:
    with pytest.raises(AdapterError, match=named):
        read_adapter(changed(folder, **values), TARGETS)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_numbers_that_could_break_a_sum_are_refused(folder: Path, bad: float) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    tensors["base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"][3, 1] = bad
    with pytest.raises(AdapterError, match=r"q_proj\.lora_B.* holds a number"):
        read_adapter(with_tensors(folder, tensors), TARGETS)


def test_every_tensor_is_used_or_named(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    extra = "base_model.model.lm_head.weight"
    with pytest.raises(AdapterError, match="lm_head"):
        read_adapter(with_tensors(folder, {**tensors, extra: np.zeros((2, 2), np.float32)}), TARGETS)
    half = dict(list(tensors.items())[1:])
    with pytest.raises(AdapterError, match="only one of"):
        read_adapter(with_tensors(folder, half), TARGETS)
    with pytest.raises(AdapterError, match="no tensors"):
        read_adapter(with_tensors(folder, {}), TARGETS)
    dora = {**tensors, "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector": np.ones(3, np.float32)}
    with pytest.raises(AdapterError, match="magnitude"):
        read_adapter(with_tensors(folder, dora), TARGETS)


def test_another_models_adapter_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"another model: layers\.0\.self_attn\.q_proj is 24 x 16 there and 32 x 16"):
        read_adapter(folder, ModelTargets("m", {**LAYERS, "model.layers.0.self_attn.q_proj": (32, 16)}))
    with pytest.raises(AdapterError, match=r"changes layers\.1\.mlp\.down_proj, which m"):
        read_adapter(folder, ModelTargets("m", {"model.layers.0.self_attn.q_proj": (24, 16)}))
    vision = write_random(tmp_path / "v", {"vision_tower.layers.0.self_attn.q_proj": (24, 16)})
    with pytest.raises(AdapterError, match="vision_tower"):
        read_adapter(vision, TARGETS)


def test_weights_it_was_made_on(tmp_path: Path) -> None:
    folder = write_random(tmp_path / "lora", LAYERS, identity="sha256:ab/auto")
    assert read_adapter_file(folder).base_identity == "sha256:ab/auto"
    read_adapter(folder, ModelTargets("m", LAYERS, lambda: "sha256:ab/auto"))
    with pytest.raises(AdapterError, match=r"another quantisation.*sha256:ab/auto, here is sha256:ab/int4"):
        read_adapter(folder, ModelTargets("m", LAYERS, lambda: "sha256:ab/int4"))
    read_adapter(write_random(tmp_path / "foreign", LAYERS), ModelTargets("m", LAYERS, lambda: "sha256:ab/int4"))


def test_names_with_and_without_wrappers(tmp_path: Path) -> None:
    folder = write_random(tmp_path / "lora", {f"language_model.{name}": shape for name, shape in LAYERS.items()})
    assert read_adapter(folder, TARGETS).parts.keys() == LAYERS.keys()
    twice = {**LAYERS, "layers.0.self_attn.q_proj": (24, 16)}
    with pytest.raises(AdapterError, match="twice"):
        fit(read_adapter_file(write_random(tmp_path / "twice", twice)), TARGETS)


def test_two_files_that_do_not_belong_together(folder: Path) -> None:
    with pytest.raises(AdapterError, match="do not belong together"):
        read_adapter(changed(folder, r=8), TARGETS)


def test_types_are_kept_or_joined(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    halves = {name: values.astype(np.float16) for name, values in tensors.items()}
    adapter = read_adapter(with_tensors(folder, halves), TARGETS)
    assert {part.a.dtype for part in adapter.parts.values()} == {np.dtype(np.float16)}
    mixed = {name: values if "lora_A" in name else tensors[name] for name, values in halves.items()}
    adapter = read_adapter(with_tensors(folder, mixed), TARGETS)
    assert {part.a.dtype for part in adapter.parts.values()} == {np.dtype(np.float32)}
    doubles = {name: values.astype(np.float64) for name, values in tensors.items()}
    with pytest.raises(AdapterError, match="F64"):
        read_adapter(with_tensors(folder, doubles), TARGETS)


def test_a_pickle_is_never_loaded(folder: Path) -> None:
    (folder / WEIGHTS_FILE).rename(folder / "adapter_model.bin")
    with pytest.raises(AdapterError, match="pickle"):
        read_adapter(folder, TARGETS)


def test_no_adapter_at_all(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="no adapter"):
        read_adapter(tmp_path, TARGETS)
    (tmp_path / CONFIG_FILE).write_text("[" * 100_000)
    with pytest.raises(AdapterError, match="cannot be read"):
        read_adapter(tmp_path, TARGETS)


def test_larger_than_the_limit(folder: Path) -> None:
    with pytest.raises(AdapterError, match="larger than"):
        read_adapter(folder, TARGETS, limit_bytes=100)


def tensor_bytes(header: bytes, data: bytes = b"\0" * 16) -> bytes:
    return struct.pack("<Q", len(header)) + header + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 40,
        struct.pack("<Q", 2**63) + b"{}",
        tensor_bytes(b"[]"),
        tensor_bytes(b'{"a": 1}'),
        tensor_bytes(b'{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 20]}}'),
        tensor_bytes(b'{"a": {"dtype": "F32", "shape": [4], "data_offsets": [16, 32]}}'),
        tensor_bytes(b'{"a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}}'),
        tensor_bytes(b'{"a": {"dtype": "F32", "shape": [true, 4], "data_offsets": [0, 16]}}'),
        tensor_bytes(b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}'),
        tensor_bytes(
            b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},'
            b' "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}',
            b"\0" * 12,
        ),
        tensor_bytes(
            b'{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},'
            b' "a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}'
        ),
        tensor_bytes(b'{"__metadata__": {"a": 1}}', b""),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(AdapterError, match="not a whole safetensors file"):
        read_tensor_file(tmp_path / WEIGHTS_FILE, 1000)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_no_flipped_byte_does_more_than_raise(place: int, byte: int) -> None:
    content = bytearray(whole_file())
    content[place % len(content)] = byte
    path = FLIPPED / WEIGHTS_FILE
    path.write_bytes(content)
    try:
        file = read_tensor_file(path, 100_000)
    except AdapterError:
        return
    assert all(values.nbytes <= len(content) for values in file.tensors.values())


FLIPPED = Path()


@pytest.fixture(autouse=True, scope="module")
def _flipped(tmp_path_factory: pytest.TempPathFactory) -> None:
    global FLIPPED
    FLIPPED = write_random(tmp_path_factory.mktemp("flipped"), LAYERS)
    (FLIPPED / "whole").write_bytes((FLIPPED / WEIGHTS_FILE).read_bytes())


def whole_file() -> bytes:
    return (FLIPPED / "whole").read_bytes()


def test_metadata_says_the_base(tmp_path: Path) -> None:
    folder = write_random(tmp_path / "lora", LAYERS, identity="sha256:12/auto")
    assert read_tensor_file(folder / WEIGHTS_FILE, 10**6).metadata[BASE_KEY] == "sha256:12/auto"
