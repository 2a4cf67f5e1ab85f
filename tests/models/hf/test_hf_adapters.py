"""Adapters on transformers models: what peft's own forward gives, span by span in one sweep."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.adapters.random_adapters import random_adapter
from tests.models.tiny_transformers import VOCAB_SIZE, one_thread, tiny_model
from vortex.adapters.reading import ModelTargets, read_adapter
from vortex.models.hf.model import HfModel
from vortex.types import Adapter, Exactness, Span, Want

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning"),  # a name that transformers renames
]
__all__ = ["one_thread"]
TOKENS = np.random.default_rng(0).integers(2, VOCAB_SIZE, 24).tolist()


def swept(model: HfModel, adapters: list[Adapter | None]) -> list[np.ndarray]:
    """Logits of the same tokens with each adapter, all in the same two sweeps."""
    states = [model.new_state() for _ in adapters]
    parts = []
    for first, stop in ((0, 20), (20, 24)):
        pairs = zip(states, adapters, strict=True)
        output = model.sweep([Span(state, TOKENS[first:stop], Want.ALL_LOGITS, adapter) for state, adapter in pairs])
        parts.append([output.logits[rows] for rows in output.logits_rows])
        for state in states:
            state.commit(stop - first)
    for state in states:
        state.close()
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


@pytest.mark.parametrize(
    "name", ["llama", "gpt2", *(pytest.param(name, marks=pytest.mark.long) for name in ("phi3", "bloom", "qwen3_moe"))]
)
def test_what_peft_gives(name: str, tmp_path: Path) -> None:
    targets = "all-linear" if name != "qwen3_moe" else ["q_proj", "o_proj"]
    adapted = get_peft_model(
        tiny_model(name), LoraConfig(r=4, lora_alpha=8, target_modules=targets, fan_in_fan_out=name == "gpt2")
    )
    torch.manual_seed(0)
    with torch.no_grad():
        for key, parameter in adapted.named_parameters():
            if "lora_" in key:
                parameter.copy_(torch.randn_like(parameter) * 0.1)
        expected = adapted.eval()(torch.tensor([TOKENS])).logits[0].numpy()
    adapted.save_pretrained(tmp_path)
    model = HfModel(tiny_model(name))
    alone = swept(model, [None])[0]
    adapter = read_adapter(tmp_path, ModelTargets(name, model.adapter_targets()))
    other = random_adapter(model.adapter_targets(), seed=9, scale=0.5)
    found = swept(model, [None, adapter, other, adapter])
    np.testing.assert_allclose(found[1], expected, atol=2e-3 * float(np.abs(expected).max()))
    pairs = ((found[3], found[1]), (found[0], alone), (swept(model, [adapter])[0], found[1]))
    for one, another in pairs:
        if model.exactness is Exactness.DISTRIBUTION:  # transformers' experts meet all rows at once
            np.testing.assert_allclose(one, another, atol=1e-5)
        else:
            np.testing.assert_array_equal(one, another)
    assert not np.allclose(found[1], alone, atol=1e-2)
    assert not np.allclose(found[2], found[1], atol=1e-2)
    model.close()
