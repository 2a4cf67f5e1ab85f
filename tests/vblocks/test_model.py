"""The core as a LanguageModel: the numpy step form is the torch network, keeps the law bit for bit, and rolls back."""

import numpy as np
import pytest
import torch

from tests.vblocks.core_models import BOUNDED, VARIANTS, one_thread, tiny_network, tokens, variants
from vortex.types import Span, Want
from vortex.vblocks.checkpoint import CoreCheckpoint
from vortex.vblocks.layers import LayerByLayer
from vortex.vblocks.model import CoreSequence, VortexCore
from vortex.vblocks.network.network import CoreNetwork, weights_of
from vortex.vblocks.weights import CoreWeights, MemorySource

__all__ = ["one_thread"]  # a fixture
ALL = VARIANTS | BOUNDED


def core_of(network: CoreNetwork, *, native: bool | None = None, **options) -> VortexCore:
    checkpoint = CoreCheckpoint(network.config, weights_of(network))
    return VortexCore(network.config, CoreWeights(MemorySource(checkpoint, native=native)), **options)


def swept(model: VortexCore, state: CoreSequence, ids: list[int], keep: int | None = None) -> np.ndarray:
    output = model.sweep([Span(state, ids, Want.ALL_LOGITS)])
    state.commit(len(ids) if keep is None else keep)
    return output.logits


def bits(states) -> list[np.ndarray]:
    arrays = []
    for layer in states.layers:
        arrays += [layer.local.tail, layer.delta.tail, layer.delta.matrix, np.array(layer.gate_open)]
        if layer.lava:
            slots = layer.lava.slots
            waiting = layer.lava.position % slots.options.write_every
            arrays += [slots.keys, slots.values, slots.strength, slots.use, slots.touched, layer.lava.held]
            arrays += [layer.lava.keys[:waiting], layer.lava.surprise[:waiting]]
    return arrays


@pytest.mark.parametrize("variant", variants(VARIANTS, BOUNDED))
@pytest.mark.parametrize("native", [True, False])
def test_the_step_form_is_the_network(variant: str, native: bool) -> None:
    network, ids = tiny_network(**ALL[variant]), tokens(1, 75)
    with torch.no_grad():
        expected = network(ids, network.new_state(1))
    model = core_of(network, native=native)
    state = model.new_state()
    output = model.sweep([Span(state, ids[0].tolist(), Want.ALL_LOGITS)])
    np.testing.assert_allclose(output.logits, expected.logits[0].numpy(), atol=1e-4, rtol=1e-3)
    if network.config.mtp_k:
        drafts = torch.stack([rows[0] for rows in expected.mtp_logits], 1).numpy()
        found = np.stack([output.draft_logits[row] for row in range(len(drafts))])
        np.testing.assert_allclose(found, drafts, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("variant", variants(VARIANTS, BOUNDED))
def test_any_cut_and_any_company_give_the_same_bits(variant: str) -> None:
    model, ids = core_of(tiny_network(**ALL[variant])), tokens(2, 50).tolist()
    whole = model.new_state()
    expected = swept(model, whole, ids[0])
    pieces, other, rows = model.new_state(), model.new_state(), []
    for start, stop in ((0, 1), (1, 20), (20, 22), (22, 50)):
        spans = [Span(other, ids[1][start:stop], Want.NOTHING), Span(pieces, ids[0][start:stop], Want.ALL_LOGITS)]
        output = model.sweep(spans)
        assert output.logits_rows[0] == slice(0, 0)
        rows.append(output.logits[output.logits_rows[1]])
        other.commit(stop - start)
        pieces.commit(stop - start)
    assert np.array_equal(np.concatenate(rows), expected)
    assert all(np.array_equal(a, b) for a, b in zip(bits(pieces), bits(whole), strict=True))


@pytest.mark.parametrize("variant", variants(VARIANTS, BOUNDED))
def test_a_partial_commit_is_as_if_the_rest_had_never_been(variant: str) -> None:
    model, ids = core_of(tiny_network(**ALL[variant])), tokens(1, 60)[0].tolist()
    plain, drafted, at = model.new_state(), model.new_state(), 0
    for width, keep in ((20, 20), (9, 3), (8, 0), (7, 6), (16, 9)):
        block = ids[at : at + keep] + [7] * (width - keep)
        swept(model, drafted, block, keep)
        at += keep
    expected = [swept(model, plain, [token]) for token in ids[: at + 1]]
    assert all(np.array_equal(a, b) for a, b in zip(bits(drafted), bits_before(model, ids[:at]), strict=True))
    assert drafted.length == at
    assert np.array_equal(swept(model, drafted, ids[at : at + 1]), expected[-1])


def bits_before(model: VortexCore, ids: list[int]) -> list[np.ndarray]:
    state = model.new_state()
    swept(model, state, ids)
    return bits(state)


@pytest.mark.parametrize("variant", variants(VARIANTS, BOUNDED))
def test_one_call_and_layer_by_layer_give_the_same_bits(variant: str) -> None:
    """A paged core goes layer by layer."""
    network, ids = tiny_network(**ALL[variant]), tokens(1, 60)[0].tolist()
    together, apart = core_of(network), core_of(network)
    apart.steps = LayerByLayer(apart.config, apart.weights)
    states = [model.new_state() for model in (together, apart)]
    rows = [swept(model, state, ids, 47) for model, state in zip((together, apart), states, strict=True)]
    assert np.array_equal(*rows)
    assert all(np.array_equal(a, b) for a, b in zip(*map(bits, states), strict=True))


def test_a_snapshot_goes_its_own_way() -> None:
    model, ids = core_of(tiny_network(lava_slots=9)), tokens(1, 60)[0].tolist()
    state = model.new_state()
    swept(model, state, ids[:30])
    copy = state.snapshot()
    expected = swept(model, state, ids[30:])
    assert np.array_equal(swept(model, copy, ids[30:]), expected)
    assert copy.length == 60
    copy.close()
    copy.close()
    swept(model, state, [1])


@pytest.mark.parametrize("variant", ["plain", "window", "gated", "clusters"])
def test_a_state_never_grows(variant: str) -> None:
    model = core_of(tiny_network(**ALL[variant]))
    state = model.new_state()
    size = state.resident_bytes
    assert size > 0
    swept(model, state, tokens(1, 200)[0].tolist())
    assert state.resident_bytes == size
    assert model.context_length is None


def test_wanted_rows_and_cost() -> None:
    model = core_of(tiny_network())
    states = [model.new_state() for _ in range(3)]
    wants = (Want.LAST_LOGITS, Want.ALL_HIDDEN, Want.NOTHING)
    spans = [Span(state, [1, 2, 3], want) for state, want in zip(states, wants, strict=True)]
    cost = model.sweep_cost(spans)
    output = model.sweep(spans)
    assert output.logits.shape == (1, 61)
    assert output.draft_logits[0].shape == (2, 61)
    assert output.hidden.shape == (3, 24)
    assert output.hidden_rows == (slice(0, 0), slice(0, 3), slice(3, 3))
    assert cost.bytes_to_fetch == 0
    assert cost.bytes_to_read > model.weights.weight_bytes
    assert cost.flops == 2 * 9 * sum(p.numel() for n, p in tiny_network().named_parameters() if "_proj" in n) + (
        2 * 9 * 61 * 24
    )
