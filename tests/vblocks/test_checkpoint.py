"""A core on disk: what is read is what was written; what is damaged or foreign is refused in one line."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.vblocks.core_models import tiny_network
from vortex.errors import ModelFileError, ModelNotFound
from vortex.vblocks.checkpoint import CoreCheckpoint, is_core, read_core, save_core
from vortex.vblocks.network.network import network_of, weights_of


@pytest.fixture
def saved(tmp_path):
    network = tiny_network()
    folder = tmp_path / "core"
    save_core(folder, CoreCheckpoint(network.config, weights_of(network), "some-tok", {"steps": 3}))
    return folder


def test_what_was_written_is_read(saved) -> None:
    found, network = read_core(saved), tiny_network()
    assert is_core(saved)
    assert found.config == network.config
    assert (found.tokenizer, found.notes) == ("some-tok", {"steps": 3})
    again = weights_of(network_of(found))
    assert all(np.array_equal(again[name], value) for name, value in weights_of(network).items())


def test_half_precision_and_a_tokenizer(saved, tmp_path) -> None:
    checkpoint = read_core(saved)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "tokenizer.json").write_text("{}")
    size = (saved / "model.safetensors").stat().st_size
    for _ in range(2):
        save_core(saved, checkpoint, tokenizer_files=tmp_path / "files", dtype="float16")
    found = read_core(saved)
    assert (saved / "model.safetensors").stat().st_size < 0.7 * size
    assert found.weights["norm.weight"].dtype == np.float32
    assert (found.tokenizer_folder / "tokenizer.json").read_text() == "{}"
    assert sorted(path.name for path in saved.iterdir()) == ["config.json", "model.safetensors", "tokenizer"]


def test_a_kill_between_the_files_leaves_a_whole_checkpoint(saved, monkeypatch) -> None:
    other = tiny_network(seed=5, width=32)
    monkeypatch.setattr("vortex.vblocks.checkpoint.CONFIG", "no/such\0name")  # the last write never happens
    with pytest.raises(ValueError, match="null byte"):
        save_core(saved, CoreCheckpoint(other.config, weights_of(other)))
    assert read_core(saved).config == other.config


def test_a_pickle_is_refused_and_its_neighbour_read(saved, tmp_path) -> None:
    with pytest.raises(ModelFileError, match=r"pickle.*last\.safetensors"):
        read_core(tmp_path / "last.pt")
    (saved / "model.safetensors").rename(tmp_path / "last.safetensors")
    assert read_core(tmp_path / "last.pt").config == tiny_network().config


def test_damage_is_named(saved, tmp_path) -> None:
    file = saved / "model.safetensors"
    data = bytearray(file.read_bytes())
    file.write_bytes(data[:-100])
    with pytest.raises(ModelFileError, match="damaged"):
        read_core(saved)
    data[-9] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelFileError, match="checksum"):
        read_core(saved)
    with pytest.raises(ModelNotFound, match="train-core"):
        read_core(tmp_path / "nothing")


def test_foreign_files_are_named(saved, tmp_path) -> None:
    save_file({"a": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelFileError, match="no V-Blocks core"):
        read_core(tmp_path / "other.safetensors")
    checkpoint = read_core(saved)
    without = {name: value for name, value in checkpoint.weights.items() if name != "norm.weight"}
    save_core(saved, CoreCheckpoint(checkpoint.config, without))
    with pytest.raises(ModelFileError, match=r"norm\.weight"):
        read_core(saved)
    save_core(saved, CoreCheckpoint(checkpoint.config, {**checkpoint.weights, "norm.weight": np.zeros(3)}))
    with pytest.raises(ModelFileError, match="shape"):
        read_core(saved)


def test_a_newer_version_asks_for_an_update(saved, monkeypatch) -> None:
    monkeypatch.setattr("vortex.vblocks.checkpoint.VERSION", 2)
    checkpoint = tiny_network()
    save_core(saved, CoreCheckpoint(checkpoint.config, weights_of(checkpoint)))
    monkeypatch.undo()
    assert json.loads((saved / "config.json").read_text())["version"] == 2
    with pytest.raises(ModelFileError, match="update"):
        read_core(saved)
