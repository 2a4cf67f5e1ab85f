"""The memory between sessions: what was written is remembered, another core's memory is refused."""

import numpy as np
import pytest

from tests.vblocks.core_models import one_thread, tiny_network, tokens
from tests.vblocks.test_model import core_of, swept
from vortex.errors import ModelFileError
from vortex.vblocks.memory import load_memory, save_memory

__all__ = ["one_thread"]  # a fixture


def test_a_session_begins_with_the_slots_of_the_last(tmp_path) -> None:
    path, network, ids = tmp_path / "memory.safetensors", tiny_network(lava_slots=16), tokens(1, 60)[0].tolist()
    options = network.config.lava
    assert load_memory(path, options, 1) is None
    first = core_of(network, memory_path=path)
    state = first.new_state()
    swept(first, state, ids)
    first.close()
    memory = load_memory(path, options, 1)
    slots = state.layers[1].lava.slots
    assert np.array_equal(memory[0].keys, slots.keys)
    assert memory[0].occupied == slots.occupied > 0
    second = core_of(network, memory=memory)
    with_memory, without = swept(second, second.new_state(), ids[:8]), swept(first, first.new_state(), ids[:8])
    assert not np.allclose(with_memory, without, atol=1e-3)
    assert np.array_equal(swept(second, second.new_state(), ids[:8]), with_memory)  # a sequence writes into its own
    swept(second, second.new_state(), ids)
    assert np.array_equal(swept(second, second.new_state(), ids[:8]), with_memory)


def test_recency_counts_from_the_new_session(tmp_path) -> None:
    network = tiny_network()
    model = core_of(network)
    state = model.new_state()
    swept(model, state, tokens(1, 60)[0].tolist())
    save_memory(tmp_path / "m", [state.layers[1].lava.slots])
    assert load_memory(tmp_path / "m", network.config.lava, 1)[0].touched.max() == 0


def test_what_is_damaged_or_of_another_core_is_refused(tmp_path) -> None:
    network, path = tiny_network(), tmp_path / "memory"
    model = core_of(network)
    save_memory(path, [model.new_state().layers[1].lava.slots])
    with pytest.raises(ModelFileError, match="another core"):
        load_memory(path, tiny_network(lava_slots=8).config.lava, 1)
    with pytest.raises(ModelFileError, match="another core"):
        load_memory(path, network.config.lava, 2)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ModelFileError, match="damaged"):
        load_memory(path, network.config.lava, 1)
