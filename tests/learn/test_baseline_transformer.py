"""The Transformer beside the core: causal, windowed, and begun as recall."""

import pytest
import torch

from tests.vblocks.core_models import one_thread
from vortex.learn.baseline_transformer import BaselineConfig, BaselineTransformer

__all__ = ["one_thread"]  # a fixture


def baseline(**changes) -> BaselineTransformer:
    torch.manual_seed(0)
    sizes = {"vocab_size": 61, "width": 64, "num_layers": 2, "num_heads": 1, "mlp_width": 40}
    return BaselineTransformer(BaselineConfig(**{**sizes, **changes})).eval()


@pytest.mark.parametrize("window", [0, 4])
def test_a_token_hears_the_past_alone(window: int) -> None:
    network, ids = baseline(window=window), torch.randint(0, 61, (1, 40))
    changed = ids.clone()
    changed[0, 20] += 1 if ids[0, 20] < 60 else -1
    with torch.no_grad():
        difference = (network(ids).logits - network(changed).logits).abs().amax((0, 2))
    assert not difference[:20].any()
    assert difference[20] > 1e-3
    reach = 2 * (window - 1) + 2 * 3  # two layers, each a window of attention behind a convolution of four
    if window:
        assert difference[20 + reach + 1 :].max() < 1e-6


def test_begun_as_recall_it_is_silent_and_its_attention_finds_the_companion() -> None:
    network = baseline(as_recall=True)
    ids = torch.arange(1, 41)[None]
    ids[0, 30] = 8  # its companion of old is 9, at place 8
    heard: dict[str, torch.Tensor] = {}
    attention = network.layers[0].attention
    attention.out_proj.register_forward_pre_hook(lambda _, inputs: heard.update(y=inputs[0]))
    with torch.no_grad():
        torch.testing.assert_close(network(ids).hidden, network.norm(network.embedding(ids)))
        values = attention.in_proj(network.layers[0].attention_norm(network.embedding(ids)))[0, :, 128:]
    assert int((values @ heard["y"][0, 30])[:28].argmax()) == 8
