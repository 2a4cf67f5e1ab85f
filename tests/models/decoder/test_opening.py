"""From a file to a model: packed once, mapped ever after, the same answers either way. With the real default model."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from vortex.c3.format.folder import INDEX
from vortex.errors import ModelFileError, ModelNotFound, StorageError, UnsupportedModel
from vortex.hub.names import resolve
from vortex.models.decoder.model import Decoder
from vortex.models.decoder.opening import open_decoder
from vortex.models.opened import LoadOptions, Opened
from vortex.models.weight_source import fingerprint
from vortex.types import Span, Want

PROMPT = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def source() -> Path:
    return resolve("smollm2-135m").path


@pytest.fixture(scope="module")
def packed_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packed")


def greedy(loaded: Opened[Decoder], num_tokens: int) -> str:
    state, token_ids, answer = loaded.model.new_state(), loaded.tokenizer.encode(PROMPT, special=True), []
    for _ in range(num_tokens):
        output = loaded.model.sweep([Span(state, token_ids)])
        state.commit(len(token_ids))
        token_ids = [int(output.logits[0].argmax())]
        answer += token_ids
    return loaded.tokenizer.decode(answer)


def test_packed_once_then_mapped(source: Path, packed_root: Path) -> None:
    steps: list[tuple[int, int]] = []
    first = open_decoder(source, LoadOptions(packed_root=packed_root, progress=lambda *step: steps.append(step)))
    assert steps[-1][0] == steps[-1][1]
    assert "Paris" in greedy(first, 8)
    steps.clear()
    second = open_decoder(source, LoadOptions(packed_root=packed_root, progress=lambda *step: steps.append(step)))
    assert steps == []
    assert greedy(second, 8) == greedy(first, 8)
    assert len(list(packed_root.iterdir())) == 1


@pytest.mark.long
def test_packed_weights_are_near_the_files_own(source: Path, packed_root: Path) -> None:
    """Mean KL to float32 weights over a prompt, in nats (engine.md's bound over real text is in `bench fidelity`)."""
    packed = open_decoder(source, LoadOptions(packed_root=packed_root))
    exact = open_decoder(source, LoadOptions(packed_root=packed_root, form="float32"))
    token_ids = packed.tokenizer.encode(PROMPT, special=True)
    rows = [loaded.model.sweep([Span(loaded.model.new_state(), token_ids, Want.ALL_LOGITS)]).logits
            for loaded in (packed, exact)]  # fmt: skip
    ours, theirs = (logits - logits.max(-1, keepdims=True) for logits in rows)
    ours, theirs = (logits - np.log(np.exp(logits).sum(-1, keepdims=True)) for logits in (ours, theirs))
    assert float((np.exp(theirs) * (theirs - ours)).sum(-1).mean()) < 0.02


def test_a_damaged_packed_folder_is_packed_anew(source: Path, packed_root: Path, tmp_path: Path) -> None:
    open_decoder(source, LoadOptions(packed_root=packed_root))
    (whole,) = packed_root.iterdir()
    damaged = tmp_path / whole.name
    damaged.mkdir()
    (damaged / INDEX).write_text("{")
    assert "Paris" in greedy(open_decoder(source, LoadOptions(packed_root=tmp_path)), 8)
    assert (damaged / INDEX).read_bytes() == (whole / INDEX).read_bytes()


def test_a_changed_source_has_another_fingerprint(source: Path, tmp_path: Path) -> None:
    copy = tmp_path / source.name
    shutil.copy(source, copy)
    before = fingerprint(copy)
    with copy.open("r+b") as file:
        file.seek(-5, 2)
        file.write(b"x")
    assert fingerprint(copy) != before


def test_the_context_can_be_limited_but_not_stretched(source: Path, packed_root: Path) -> None:
    for limit, expected in ((100, 100), (1 << 20, 8192), (0, 8192)):
        loaded = open_decoder(source, LoadOptions(packed_root=packed_root, context_limit=limit))
        assert loaded.model.context_length == expected


def test_what_cannot_be_loaded_is_one_clear_line(source: Path, tmp_path: Path) -> None:
    options = LoadOptions(packed_root=tmp_path / "packed")
    with pytest.raises(ModelNotFound, match="no model at"):
        open_decoder(tmp_path / "absent.gguf", options)
    (tmp_path / "pickle.gguf").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(ModelFileError, match="not a GGUF file"):
        open_decoder(tmp_path / "pickle.gguf", options)
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(source.read_bytes()[:50_000_000])
    with pytest.raises(ModelFileError, match="truncated"):
        open_decoder(cut, options)
    other = tmp_path / "other.gguf"
    other.write_bytes(source.read_bytes().replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0mamba", 1))
    with pytest.raises(UnsupportedModel, match="mamba"):
        open_decoder(other, options)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        open_decoder(source, LoadOptions(packed_root=tmp_path / "file"))
    assert not (tmp_path / "packed").exists()
