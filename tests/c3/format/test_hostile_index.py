"""An index that was changed by hand: refused in one line, before a byte outside a tensor is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vortex.c3.format.folder import C3Folder, C3Writer
from vortex.errors import ModelFileError


def folder_with(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    with C3Writer(tmp_path / "a.c3", {"config": {}}) as writer:
        writer.add("a", "f32", (16, 64), np.ones((16, 64), np.float32))
    path = tmp_path / "a.c3" / "index.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))
    return path.parent


def set_in_tensor(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda index: index["tensors"][0].update({key: value})


def set_in_tile(place: int, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda index: index["tensors"][0]["tiles"][0].__setitem__(place, value)


CHANGES = [
    set_in_tensor("shape", [2**57 + 153, 64]),  # wraps around 2^64 as bytes
    set_in_tensor("shape", [2**33, 64]),
    set_in_tensor("shape", []),
    set_in_tensor("shape", [16, -64]),
    set_in_tensor("shape", [16.5, 64]),
    set_in_tensor("shape", "ab"),
    set_in_tensor("num_bytes", 4096.5),
    set_in_tensor("num_bytes", 2**60),
    set_in_tensor("tiles", []),
    set_in_tensor("tiles", [[0, 1]]),
    set_in_tensor("tiles", 3),
    set_in_tensor("name", 3),
    set_in_tensor("layout", [1]),
    *(set_in_tile(place, value) for place in range(3) for value in (-4096, 2**60, "0", None, [1])),
    set_in_tile(3, 1),
    set_in_tile(4, None),
    lambda index: index.update(version=[2]),
    lambda index: index.update(metadata=[1]),
    lambda index: index.update(tensors={"a": 1}),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_index_is_one_line(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    with pytest.raises(ModelFileError, match="delete") as caught:
        C3Folder(folder_with(tmp_path, change))
    assert len(str(caught.value).splitlines()) == 1


def test_the_unchanged_one_opens(tmp_path: Path) -> None:
    assert C3Folder(folder_with(tmp_path, lambda _: None)).read("a").nbytes == 4096
