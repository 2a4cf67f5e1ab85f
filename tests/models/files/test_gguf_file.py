"""The GGUF header reader against the gguf package's, and against files that are not whole."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.tiny_models import write_gguf
from vortex.errors import ModelFileError, UnsupportedModel
from vortex.models.files.checkpoint import GgufCheckpoint
from vortex.models.files.gguf import GgufFile


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", "llama3")


def test_reads_what_the_gguf_package_reads(path: Path) -> None:
    ours, theirs = GgufFile(path), gguf.GGUFReader(path)
    expected = {key: field.contents() for key, field in theirs.fields.items() if not key.startswith("GGUF.")}
    assert ours.metadata == expected
    assert list(ours.tensors) == [tensor.name for tensor in theirs.tensors]
    for tensor in theirs.tensors:
        np.testing.assert_array_equal(ours.read(tensor.name).reshape(-1), tensor.data.view(np.uint8).reshape(-1))


def test_metadata_of_every_kind(tmp_path: Path) -> None:
    path = tmp_path / "kinds.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    values = {"text": "héllo", "yes": True, "list": [1, 2, 3], "words": ["a", "", "ß"], "half": 0.5, "minus": -7}
    writer.add_string("text", values["text"])
    writer.add_bool("yes", True)
    writer.add_array("list", values["list"])
    writer.add_array("words", values["words"])
    writer.add_float32("half", 0.5)
    writer.add_int64("minus", -7)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert GgufFile(path).metadata == {"general.architecture": "llama", **values}


@given(share=st.floats(0, 0.999))
@settings(max_examples=60, deadline=None)
def test_a_file_cut_anywhere_is_one_clear_error(path: Path, share: float) -> None:
    whole = path.read_bytes()
    cut = path.with_name("cut.gguf")
    cut.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelFileError, match=r"truncated|not a GGUF|cannot read"):
        GgufFile(cut)


@given(position=st.integers(4, 400), value=st.integers(0, 255))
@settings(max_examples=150, deadline=None)
def test_a_damaged_header_never_escapes_as_another_exception(path: Path, position: int, value: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] = value
    damaged = path.with_name("damaged.gguf")
    damaged.write_bytes(data)
    try:
        checkpoint = GgufCheckpoint(damaged)
        for index in range(checkpoint.config.num_layers):
            checkpoint.tensor(f"layers.{index}.q")
    except (ModelFileError, UnsupportedModel):
        pass


def test_another_architecture_is_refused_by_name(tmp_path: Path, path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(path.read_bytes().replace(b"llama", b"mamba"))
    with pytest.raises(UnsupportedModel, match=r"'mamba' is not supported; known: llama"):
        GgufCheckpoint(other)


def test_a_missing_tensor_is_named(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(path.read_bytes().replace(b"blk.1.attn_q.weight", b"blk.1.attn_X.weight"))
    with pytest.raises(ModelFileError, match=r"no tensor 'blk.1.attn_q.weight'"):
        GgufCheckpoint(other).tensor("layers.1.q")
