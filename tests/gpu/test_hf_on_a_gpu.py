"""The transformers backend on a GPU: the library's tokens, rows that are their own affair, paged as resident."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

import vortex.c3
from tests.models.hf.test_hf import check_generates_alike, prompts_of
from tests.models.tiny_transformers import tiny_model, write_folder
from vortex.c3.torch.attachment import linear_sites, unit_sizes
from vortex.models.hf.model import HfModel
from vortex.models.hf.opening import open_hf
from vortex.models.opened import LoadOptions
from vortex.types import Exactness, Span, Want

pytestmark = pytest.mark.gpu
DEVICE = torch.device("cuda")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2", "qwen3_moe", "bloom"])
def test_streams_swept_together_are_what_the_library_generates(name: str, dtype: torch.dtype) -> None:
    model = check_generates_alike(name, dtype, DEVICE)
    assert model.device.type == "cuda"


def test_a_row_is_as_steady_as_the_model_says() -> None:
    """At widths that matter, in bfloat16, as models are served: the same bits where it promises them."""
    config = LlamaConfig(
        hidden_size=2048, intermediate_size=5632, num_hidden_layers=2, num_attention_heads=16, num_key_value_heads=4,
        vocab_size=8192, max_position_embeddings=512,
    )  # fmt: skip
    torch.manual_seed(0)
    model = HfModel(AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).to(DEVICE))

    def row(others: Sequence[int]) -> np.ndarray:
        prompts = prompts_of(7, *others)
        states = [model.new_state() for _ in prompts]
        model.sweep([Span(state, prompt, Want.NOTHING) for state, prompt in zip(states, prompts, strict=True)])
        for state, prompt in zip(states, prompts, strict=True):
            state.commit(len(prompt))
        return model.sweep([Span(state, [3]) for state in reversed(states)]).logits[-1]

    alone = row([])
    for others in ([3], [33, 1, 1, 16, 17]):
        if model.exactness is Exactness.ARGMAX:
            assert np.array_equal(alone, row(others)), model.how
        else:
            assert np.corrcoef(alone, row(others))[0, 1] > 0.999


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_paged_logits_are_the_resident_bits(
    dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VORTEX_HOME", str(tmp_path))
    ids = torch.tensor([[1, 2, 3, 4, 5]], device=DEVICE)
    wanted = tiny_model("llama", dtype).to(DEVICE)(ids).logits
    total = sum(unit_sizes(linear_sites(tiny_model("llama", dtype))).values())
    for share in (1, 0.4):
        model = tiny_model("llama", dtype).to(DEVICE)
        with vortex.c3.attach(model, int(share * total)) as attached:
            for _ in range(3):
                assert torch.equal(model(ids).logits, wanted)
            assert attached.counters()["bytes_h2d"] > 0


def test_a_folder_is_loaded_onto_the_gpu_resident_and_paged(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model", "llama", torch.bfloat16)

    def logits(budget_bytes: int) -> np.ndarray:
        model = open_hf(folder, LoadOptions(packed_root=tmp_path / "made", budget_bytes=budget_bytes)).model
        assert model.device.type == "cuda"
        return model.sweep([Span(model.new_state(), [3, 4, 5], Want.ALL_LOGITS)]).logits

    assert np.array_equal(logits(0), logits(150_000))
