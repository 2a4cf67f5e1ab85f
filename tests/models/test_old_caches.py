"""Packed weights of an earlier version in the cache: packed anew, or one line that says what to delete."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.models.tiny_transformers import one_thread, write_folder
from vortex.c3.format.folder import INDEX
from vortex.errors import ModelFileError
from vortex.models.decoder.opening import packed_folder
from vortex.models.hf.opening import open_hf
from vortex.models.opened import LoadOptions

pytestmark = pytest.mark.usefixtures("one_thread")
__all__ = ["one_thread"]


def make_old(folder: Path) -> None:
    index = folder / INDEX
    index.write_text(json.dumps({**json.loads(index.read_text()), "version": 1}))


def test_the_decoders_own_cache_is_packed_anew(tmp_path: Path) -> None:
    source, options = write_folder(tmp_path / "model", "llama"), LoadOptions(packed_root=tmp_path / "made", threads=1)
    first = packed_folder(source, options)
    wanted = {name: np.array(first.read(name)) for name in first.entries}
    make_old(first.path)
    again = packed_folder(source, options)
    assert again.path == first.path
    assert json.loads((again.path / INDEX).read_text())["version"] > 1
    assert wanted.keys() == again.entries.keys()
    assert all(np.array_equal(again.read(name), values) for name, values in wanted.items())


def test_a_cache_of_the_transformers_backend_says_what_to_delete(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "model", "llama")
    options = LoadOptions(packed_root=tmp_path / "made", device="cpu", threads=1, budget_bytes=200_000)
    open_hf(source, options).model.close()
    (packed,) = (tmp_path / "made").glob("*.c3")
    make_old(packed)
    with pytest.raises(ModelFileError, match=rf"{packed.name} is version 1.*delete it"):
        open_hf(source, options)
