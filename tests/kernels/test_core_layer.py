"""The native blocks of a core: numpy's to rounding, and the same bits on every instruction set, for any threads, cuts
and company. Sizes on both sides of a vector's sixteen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from vortex.bench.vblocks.flat import random_checkpoint
from vortex.kernels import dispatch
from vortex.vblocks.config import CoreConfig
from vortex.vblocks.native import layer as core_native
from vortex.vblocks.native.layer import NativeBlocks
from vortex.vblocks.step.blocks import NumpyBlocks, block_vectors
from vortex.vblocks.step.lava_slots import slots_last
from vortex.vblocks.step.sequence import BlockRecord, LayerSequence
from vortex.vblocks.weights import CoreWeights, MemorySource

pytestmark = pytest.mark.skipif(dispatch.native_module() is None, reason="the native core was not built")
ODD = {"width": 24, "key_dim": 6, "value_dim": 9, "mlp_width": 40, "lava_key_dim": 5, "lava_value_dim": 7}
EVEN = {"width": 64, "key_dim": 16, "value_dim": 80, "mlp_width": 96, "lava_key_dim": 16, "lava_value_dim": 80}
ROTATED = {"local_window": 6, "local_rope_base": 50.0, "local_sink": True}
CASES: dict[str, dict[str, Any]] = {
    "odd": ODD | {"lava_slots": 37},
    "even": EVEN | {"lava_slots": 100},
    "window": ODD | {"local_window": 5, "lava_slots": 20},
    "rotated window": ODD | ROTATED,
    "grouped window": EVEN | ROTATED | {"local_heads": 4, "local_kv_heads": 2},
    "evicting": EVEN | {"lava_slots": 21, "lava_half_life": 2.0},
    "merging": ODD | {"lava_merge_cosine": 0.3, "lava_slots": 24},
    "top_k": EVEN | {"lava_top_k": 3, "lava_slots": 70},
    "surprise": ODD | {"lava_write_on_surprise": True, "lava_surprise_threshold": 0.5, "lava_read_every": 3},
    "random": ODD | {"lava_rank": "random", "lava_slots": 19},
    "gate": ODD | {"lava_rank": "gate", "lava_slots": 19},
    "without": EVEN | {"lava_period": 0},
    "one tap": ODD | {"local_conv": 1, "ssm_conv": 1, "lava_conv": 1, "lava_slots": 19},
}
QUICK = {"odd", "even", "window", "evicting"}
CASE_PARAMETERS = [case if case in QUICK else pytest.param(case, marks=pytest.mark.long) for case in CASES]
ROWS = 40
CUTS = ((0, 1), (1, 2), (2, 17), (17, 19), (19, 40))


class Layer:
    """One layer with LAVA, both forms over the same packed matrices."""

    def __init__(self, changes: dict[str, Any]) -> None:
        rest = {"vocab_size": 11, "num_layers": 1, "lava_write_every": 6, "lava_writes": 4, "lava_merge_cosine": 2.0}
        self.config = CoreConfig(**rest | changes)
        checkpoint = random_checkpoint(self.config, seed=5)
        self.weights = CoreWeights(MemorySource(checkpoint))
        vectors = block_vectors(self.config, 0, self.weights)
        self.numpy, self.native = NumpyBlocks(self.config, vectors), NativeBlocks(self.config, vectors)
        self.empty = _empty(self.config, vectors)
        self.x = np.random.default_rng(7).standard_normal((ROWS, self.config.width), np.float32)

    def run(
        self, blocks: Any, x: np.ndarray, befores: Sequence[LayerSequence], pieces: Sequence[slice]
    ) -> tuple[np.ndarray, list[LayerSequence], list[BlockRecord]]:
        with self.weights.matrices("layers.0.matrices") as matrices:
            return blocks.run(x, befores, pieces, matrices)

    def in_cuts(self, blocks: Any, cuts: Sequence[tuple[int, int]]) -> tuple[np.ndarray, LayerSequence]:
        state, rows = self.empty, []
        for start, stop in cuts:
            y, (state,), _ = self.run(blocks, self.x[start:stop], [state], [slice(0, stop - start)])
            rows.append(y)
        return np.concatenate(rows), state


def _empty(config: CoreConfig, vectors: Any) -> LayerSequence:
    from vortex.vblocks.step.delta import DeltaSequence
    from vortex.vblocks.step.lava import LavaSequence
    from vortex.vblocks.step.local import LocalSequence

    lava = LavaSequence.empty(vectors.lava) if vectors.lava else None
    return LayerSequence(LocalSequence.empty(vectors.local), DeltaSequence.empty(vectors.delta), lava)


def arrays(state: LayerSequence) -> list[np.ndarray]:
    found = [state.local.tail, state.delta.tail, state.delta.matrix]
    if state.local.window_kv is not None:
        found.append(state.local.window_kv[len(state.local.window_kv) - state.local.seen :])
    if state.lava:
        slots, waiting = state.lava.slots, state.lava.position % state.lava.slots.options.write_every
        found += [slots.keys, slots.values, slots.strength, slots.use, slots.touched, state.lava.held, state.lava.tail]
        found += [np.array([slots.occupied, state.lava.position])]
        found += [part[:waiting] for part in (state.lava.keys, state.lava.values, state.lava.gate, state.lava.surprise)]
    return found


def same_bits(a: LayerSequence, b: LayerSequence) -> bool:
    return all(np.array_equal(left, right) for left, right in zip(arrays(a), arrays(b), strict=True))


@pytest.mark.parametrize("case", CASE_PARAMETERS)
def test_it_is_numpys_to_rounding(native: Any, case: str) -> None:
    layer = Layer(CASES[case])
    expected, state = layer.in_cuts(layer.numpy, [(0, ROWS)])
    found, native_state = layer.in_cuts(layer.native, [(0, ROWS)])
    np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-4)
    for ours, theirs in zip(arrays(native_state), arrays(state), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize("case", CASE_PARAMETERS)
def test_instruction_sets_threads_and_cuts_give_the_same_bits(native: Any, case: str) -> None:
    layer = Layer(CASES[case])
    expected, state = layer.in_cuts(layer.native, [(0, ROWS)])
    for name in native.available():
        for threads in (1, 3):
            native.use(name)
            native.set_threads(threads)
            found, other = layer.in_cuts(layer.native, CUTS)
            assert np.array_equal(found, expected), (name, threads)
            assert same_bits(other, state), (name, threads)


@pytest.mark.parametrize("case", ["odd", "window", "evicting"])
def test_company_and_replay_give_the_same_bits(native: Any, case: str) -> None:
    layer = Layer(CASES[case])
    _, alone = layer.in_cuts(layer.native, [(0, 9)])
    other = layer.in_cuts(layer.native, [(3, 20)])[1]
    pieces = [slice(0, 5), slice(5, 5), slice(5, 22), slice(22, 31)]
    befores = [other, alone, alone, layer.empty]
    x = np.concatenate([layer.x[:5], layer.x[9:26], layer.x[:9]])
    rows, states, records = layer.run(layer.native, x, befores, pieces)
    expected, _ = layer.in_cuts(layer.native, [(0, 26)])
    assert np.array_equal(rows[5:22], expected[9:])
    assert np.array_equal(rows[22:], expected[:9])
    assert same_bits(states[3], alone)
    assert states[1] is alone
    for count in (1, 8, 17):
        replayed = layer.native.replay(alone, records[2].first(count))
        assert same_bits(replayed, layer.in_cuts(layer.native, [(0, 9), (9, 9 + count)])[1]), count


def test_a_state_stays_as_it_is_when_others_go_on_from_it(native: Any) -> None:
    layer = Layer(CASES["evicting"])
    _, state = layer.in_cuts(layer.native, [(0, 23)])
    before = [array.copy() for array in arrays(state)]
    first = layer.run(layer.native, layer.x[23:], [state], [slice(0, 17)])
    second = layer.run(layer.native, layer.x[23:], [state], [slice(0, 17)])
    assert all(np.array_equal(a, b) for a, b in zip(arrays(state), before, strict=True))
    assert np.array_equal(first[0], second[0])
    assert same_bits(first[1][0], second[1][0])


def test_foreign_states_and_shapes_are_refused(native: Any) -> None:
    layer, wider = Layer(CASES["odd"]), Layer(CASES["even"])
    with pytest.raises(ValueError, match="does not fit the layer"):
        layer.run(layer.native, layer.x[:1], [wider.empty], [slice(0, 1)])
    with pytest.raises(ValueError, match="x does not fit"):
        layer.run(layer.native, wider.x[:1], [layer.empty], [slice(0, 1)])
    with pytest.raises(ValueError, match="another layer"), wider.weights.matrices("layers.0.matrices") as matrices:
        layer.native.run(layer.x[:1], [layer.empty], [slice(0, 1)], matrices)


def test_what_it_leaves_to_numpy() -> None:
    shape = {"vocab_size": 11, "num_layers": 2, "lava_period": 2}
    assert core_native.can_run(CoreConfig(**shape), 1)
    assert not core_native.can_run(CoreConfig(**shape, lava_clusters=4), 1)
    assert core_native.can_run(CoreConfig(**shape, lava_clusters=4), 0)
    assert not core_native.can_run(CoreConfig(**shape, ssm_conv=33), 0)


def test_keys_keep_their_order_in_memory() -> None:
    keys = slots_last(np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    assert keys[1, 2, 3] == 23
    assert keys.transpose(0, 2, 1).flags.c_contiguous
