"""The compile flags: the same logits and gradients, the same names of weights."""

import pytest
import torch

from tests.models.core_models import one_thread, tiny_network, tokens

pytestmark = pytest.mark.long
__all__ = ["one_thread"]  # a fixture


@pytest.mark.parametrize("flag", ["compile_step", "compile_local_mixer_step"])
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_core_is_the_same_core(flag: str) -> None:
    plain, compiled = (
        tiny_network(num_layers=2, local_window=4),
        tiny_network(num_layers=2, local_window=4, **{flag: True}),
    )
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    ids = tokens(2, 30)
    found = []
    for network in (plain, compiled):
        logits = network(ids).logits
        logits.log_softmax(-1)[..., 3].sum().backward()
        found.append((logits.detach(), network.layers[0].local.in_proj.weight.grad))
    torch.testing.assert_close(found[1][0], found[0][0], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found[1][1], found[0][1], atol=1e-3, rtol=1e-2)
