"""core.compile_step and core.compile_local_mixer_step: torch.compile gives the same logits. One layer, forward only:
CPU time with a cold cache 18 s for the local mixer and 41 s for the layer."""

from __future__ import annotations

import pytest
import torch

from tests.vblocks.core_models import one_thread, tiny_network, tokens

__all__ = ["one_thread"]  # a fixture


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own
@pytest.mark.parametrize("flag", ["compile_local_mixer_step", "compile_step"])
def test_a_compiled_core_is_the_same(flag: str) -> None:
    shape = {"num_layers": 1, "lava_period": 0, "mtp_k": 0}
    plain, compiled = tiny_network(**shape), tiny_network(**shape, **{flag: True})
    compiled.load_state_dict(plain.state_dict())
    ids = tokens(1, 16)
    with torch.no_grad():
        torch.testing.assert_close(compiled(ids).logits, plain(ids).logits, atol=1e-4, rtol=1e-4)
