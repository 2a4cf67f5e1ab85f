"""Folders of a family that are wrong, damaged or of a near relative: one line that names what, never a wrong answer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.models.families.random_models import write_model
from vortex.errors import ModelFileError, UnsupportedModel, VortexError
from vortex.hub.names import resolve
from vortex.models.blueprint.blueprint import Blueprint
from vortex.models.families.checkpoint import FamilyCheckpoint
from vortex.models.families.opening import is_family


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smollm3")
    write_model(folder, "smollm3")
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "model")


def change(folder: Path, **values: Any) -> None:
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**said, **values}))


def retensor(folder: Path, edit: Callable[[dict[str, np.ndarray]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ({"model_type": "smollm4"}, UnsupportedModel, "architecture 'smollm4' is not supported; known: .*smollm3"),
        ({"model_type": "qwen3_5_next"}, UnsupportedModel, "architecture 'qwen3_5_next' is not supported"),
        ({"hidden_size": 96}, ModelFileError, "the model's shape asks for"),
        (
            {"num_hidden_layers": 5, "no_rope_layers": None, "layer_types": None},
            ModelFileError,
            "no tensor 'model.layers.4",
        ),
        ({"num_key_value_heads": 3}, ModelFileError, "4 heads over 3 key heads"),
        ({"layer_types": ["mamba"] * 4}, UnsupportedModel, "layers of kind 'mamba'"),
        ({"residual_multiplier": 0.3}, UnsupportedModel, "residual_multiplier is 0.3"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, UnsupportedModel, "'dynamic' is not supported"),
        ({"hidden_act": "mish"}, UnsupportedModel, "the activation 'mish'"),
        ({"hidden_size": 2**40}, ModelFileError, "hidden_size"),
        ({"vocab_size": "many"}, ModelFileError, "a whole number belongs there"),
        ({"quantization_config": {"quant_method": "mxfp4"}}, UnsupportedModel, "this quantisation of SmolLM3"),
    ],
)
def test_configurations(values: dict[str, Any], kind: type[VortexError], message: str, folder: Path) -> None:
    change(folder, **values)
    with pytest.raises(kind, match=message) as caught:
        assert is_family(folder)
        checkpoint = FamilyCheckpoint(folder)
        for name in checkpoint.blueprint.all_shapes():
            checkpoint.tensor(name)
    assert "\n" not in str(caught.value)


def test_tensors_that_are_missing_foreign_or_no_numbers(folder: Path) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    weight = load_file(folder / "model.safetensors")[name]
    retensor(folder, lambda tensors: tensors.pop(name))
    with pytest.raises(ModelFileError, match=f"no tensor '{name}'"):
        FamilyCheckpoint(folder)
    retensor(folder, lambda tensors: tensors.update({name: weight, "model.layers.1.self_attn.gate": weight}))
    with pytest.raises(UnsupportedModel, match=r"self_attn\.gate' is none that a smollm3 decoder has"):
        FamilyCheckpoint(folder)
    weight[3, 4] = np.nan
    retensor(folder, lambda tensors: (tensors.pop("model.layers.1.self_attn.gate"), tensors.update({name: weight})))
    with pytest.raises(ModelFileError, match="row 3"):
        FamilyCheckpoint(folder).tensor("layers.1.up")


def test_a_missing_shard_is_named(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "model.safetensors", "b": "two.safetensors"}}'
    )
    with pytest.raises(ModelFileError, match=r"two\.safetensors missing"):
        resolve(str(folder))


@pytest.mark.parametrize(
    "harm",
    [
        lambda said: said.pop("layers"),
        lambda said: said["layers"][0][0]["blocks"][0].update(kind="oracle"),
        lambda said: said["layers"][0][0]["blocks"][0].update(heads="four"),
        lambda said: said["layers"][0][0]["blocks"][0].update(heads=0),
        lambda said: said["layers"][0][0]["blocks"][0].update(shares=3),
        lambda said: said.update(rotations={"all": [1.0] * 99}),
        lambda said: said.update(width=True),
    ],
)
def test_a_blueprint_that_was_tampered_with_is_no_model(harm: Callable[[Any], Any], whole: Path) -> None:
    said = json.loads(json.dumps(FamilyCheckpoint(whole).blueprint.to_json()))
    assert Blueprint.from_json(said, "here") == FamilyCheckpoint(whole).blueprint
    harm(said)
    with pytest.raises(ModelFileError):
        Blueprint.from_json(said, "here")
