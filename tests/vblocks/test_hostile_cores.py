"""Cores whose head lies: numbers of another type, sizes that no tensor justifies, weights that are no numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from safetensors.numpy import save

from tests.fuzz.targets import CORE
from vortex.errors import ModelFileError
from vortex.vblocks.checkpoint import is_core, read_core, read_core_head
from vortex.vblocks.layout import tensor_shapes


def written(folder: Path, head: Any, tensors: dict[str, np.ndarray] | None = None) -> Path:
    """With a checksum that fits."""
    if tensors is None:
        tensors = {name: np.ones(shape, np.float32) for name, shape in tensor_shapes(CORE).items()}
    digest = xxhash.xxh3_64()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].tobytes())
    said = head if isinstance(head, str) else json.dumps(head)
    (folder / "model.safetensors").write_bytes(save(tensors, {"vortex": said, "xxh3": digest.hexdigest()}))
    return folder


def head_with(**changes: Any) -> dict[str, Any]:
    core = {**CORE.to_json(), **changes}
    return {"format": "vortex-core", "version": 1, "tokenizer": "bytes", "core": core, "notes": {}}


def test_the_good_one_opens(tmp_path: Path) -> None:
    assert read_core(written(tmp_path, head_with())).config == CORE


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("lava_slots", 2**40),
        ("lava_slots", 2**20),  # within a size's bounds, but gigabytes of state
        ("lava_write_every", 10**9),
        ("num_layers", 10**6),
        ("num_layers", 500),
        ("mtp_k", 10**6),
        ("mtp_k", 500),
        ("mtp_k", -1),
        ("local_heads", 0),
        ("width", "32"),
        ("width", [32]),
        ("vocab_size", None),
        ("norm_epsilon", float("nan")),
        ("lava_half_life", float("inf")),
        ("tie_embeddings", 1),
        ("lava_rank", 3),
    ],
)
def test_a_number_that_no_tensor_justifies_is_named(tmp_path: Path, field: str, value: object) -> None:
    with pytest.raises(ModelFileError, match=r"layers|heads|" + field) as caught:
        read_core(written(tmp_path, head_with(**{field: value})))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("head", ["[1]", "3", "{}", "[" * 100_000, '{"format": "vortex-core"}', '{"format": [1]}'])
def test_a_head_of_another_kind_is_one_line(tmp_path: Path, head: str) -> None:
    for read in (read_core, read_core_head):
        with pytest.raises(ModelFileError) as caught:
            read(written(tmp_path, head))
        assert len(str(caught.value).splitlines()) == 1


def test_weights_that_are_no_numbers_are_said(tmp_path: Path) -> None:
    tensors = {name: np.ones(shape, np.float32) for name, shape in tensor_shapes(CORE).items()}
    tensors["layers.1.mlp.in_proj.weight"][3, 2] = np.nan
    with pytest.raises(ModelFileError, match=r"layers\.1\.mlp\.in_proj\.weight holds weights that are no numbers"):
        read_core(written(tmp_path, head_with(), tensors))


def test_int8_without_its_scales_is_one_line(tmp_path: Path) -> None:
    tensors = {name: np.ones(shape, np.int8) for name, shape in tensor_shapes(CORE).items()}
    with pytest.raises(ModelFileError, match="restore it from a copy"):
        read_core(written(tmp_path, head_with(), tensors))


@pytest.mark.parametrize("text", ["[1]", "{", "[" * 100_000])
def test_a_folder_with_a_strange_configuration_is_no_core(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert not is_core(tmp_path)
