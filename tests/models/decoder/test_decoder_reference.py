"""The numpy decoder against transformers, architecture by architecture; then files against each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.models.tiny_models import CONFIGS, write_gguf, write_safetensors
from vortex.models.decoder.model import Decoder
from vortex.models.decoder.reference_compute import ReferenceCompute
from vortex.models.files.checkpoint import GgufCheckpoint
from vortex.models.files.safetensors import SafetensorsCheckpoint
from vortex.types import Span, Want

TOKENS = [int(token) for token in np.random.default_rng(7).integers(0, 160, 40)]


def all_logits(model: Decoder, cuts: tuple[int, ...] = ()) -> np.ndarray:
    state, parts = model.new_state(), []
    edges = (0, *cuts, len(TOKENS))
    for start, end in zip(edges, edges[1:], strict=False):
        parts.append(model.sweep([Span(state, TOKENS[start:end], Want.ALL_LOGITS)]).logits)
        state.commit(end - start)
    return np.concatenate(parts)


@pytest.mark.long  # importing transformers alone takes seconds
@pytest.mark.parametrize("architecture", list(CONFIGS))
def test_logits_are_transformers(architecture: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    folder = write_safetensors(tmp_path / architecture, architecture)
    peer = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.inference_mode():
        expected = peer(torch.tensor([TOKENS])).logits[0].numpy()
    ours = all_logits(Decoder(*_reference(SafetensorsCheckpoint(folder))))
    np.testing.assert_allclose(ours, expected, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("architecture", ["llama", "llama3", "qwen2", "qwen3"])
def test_gguf_and_safetensors_give_the_same_bits(architecture: str, tmp_path: Path) -> None:
    safetensors = SafetensorsCheckpoint(write_safetensors(tmp_path / "folder", architecture))
    gguf = GgufCheckpoint(write_gguf(tmp_path / "model.gguf", architecture))
    assert gguf.config.to_json() == {**safetensors.config.to_json(), "norm_epsilon": gguf.config.norm_epsilon,
                                     "rope_divisors": gguf.config.rope_divisors}  # fmt: skip
    ours, theirs = (all_logits(Decoder(*_reference(checkpoint))) for checkpoint in (gguf, safetensors))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("cuts", [(1,), (16, 32), tuple(range(1, 40))])
def test_chunking_changes_no_bit(cuts: tuple[int, ...], tmp_path: Path) -> None:
    model = Decoder(*_reference(SafetensorsCheckpoint(write_safetensors(tmp_path, "gemma3"))))
    np.testing.assert_array_equal(all_logits(model, cuts), all_logits(model))


def _reference(checkpoint: SafetensorsCheckpoint | GgufCheckpoint) -> tuple:
    return checkpoint.config, ReferenceCompute(checkpoint)
