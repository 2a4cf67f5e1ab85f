"""A core through C3: packed, resident and paged under a budget, the logits are the same bits."""

import numpy as np
import pytest

from tests.vblocks.core_models import one_thread, tiny_network, tokens
from tests.vblocks.test_model import core_of, swept
from vortex.c3.format.folder import C3Folder, C3Writer
from vortex.c3.paging.options import PagerOptions
from vortex.c3.paging.pager import Pager
from vortex.c3.sources import ResidentSource
from vortex.vblocks.checkpoint import CoreCheckpoint
from vortex.vblocks.model import VortexCore
from vortex.vblocks.network.network import weights_of
from vortex.vblocks.weights import FORMS, CoreWeights, write_core

__all__ = ["one_thread"]  # a fixture


def packed(network, path, form: str = "auto") -> C3Folder:
    with C3Writer(path, {}) as writer:
        write_core(CoreCheckpoint(network.config, weights_of(network)), writer, form)
    return C3Folder(path)


def test_resident_and_paged_are_the_same_bits(tmp_path) -> None:
    network, ids = tiny_network(num_layers=6, width=32, mlp_width=64), tokens(1, 30)[0].tolist()
    folder = packed(network, tmp_path / "core.c3")
    resident = VortexCore(network.config, CoreWeights(ResidentSource(folder)))
    source = Pager(folder, PagerOptions(budget_bytes=200_000))
    paged = VortexCore(network.config, CoreWeights(source))
    expected = swept(core_of(network), core_of(network).new_state(), ids)
    assert source.bytes_to_fetch > 0
    assert np.array_equal(swept(resident, resident.new_state(), ids), expected)
    state = paged.new_state()
    assert np.array_equal(np.concatenate([swept(paged, state, ids[:11]), swept(paged, state, ids[11:])]), expected)
    assert paged.counters()["bytes_compressed_read"] > 0
    paged.close()


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_weights_answers_alike(tmp_path, form: str) -> None:
    network, ids = tiny_network(width=32, mlp_width=64, key_dim=8, lava_key_dim=8), tokens(1, 20)[0].tolist()
    expected = swept(core_of(network), core_of(network).new_state(), ids)
    folder = packed(network, tmp_path / "core.c3", form)
    model = VortexCore(network.config, CoreWeights(ResidentSource(folder)))
    found = swept(model, model.new_state(), ids)
    error = np.abs(found - expected).mean() / np.abs(expected).mean()
    assert error < {"auto": 1e-6, "float32": 1e-6, "bf16": 0.02, "int8": 0.04, "int4": 0.3}[form]
