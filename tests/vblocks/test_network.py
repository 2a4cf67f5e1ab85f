"""The core in torch: every form gives the same logits and gradients, whatever the options and the cut."""

import pytest
import torch

from tests.vblocks.core_models import BOUNDED, VARIANTS, one_thread, tiny_config, tiny_network, tokens, variants
from vortex.vblocks.layout import tensor_shapes
from vortex.vblocks.network.gated_delta import GatedDelta
from vortex.vblocks.network.lava import foresight_loss, read_exact
from vortex.vblocks.network.network import CoreNetwork
from vortex.vblocks.network.ragged import ALL_ROWS
from vortex.vblocks.network.state import CoreState, detached

__all__ = ["one_thread"]  # a fixture
CUTS = ((0, 13), (13, 14), (14, 37), (37, 47))


def in_pieces(network: CoreNetwork, ids: torch.Tensor, cuts=CUTS) -> torch.Tensor:
    state: CoreState | None = network.new_state(len(ids))
    rows = []
    for start, stop in cuts:
        output = network(ids[:, start:stop], state)
        state = output.state
        rows.append(output.logits)
    return torch.cat(rows, 1)


@pytest.mark.parametrize("variant", variants(VARIANTS))
def test_exact_in_pieces_and_token_by_token_are_the_same(variant: str) -> None:
    network, ids = tiny_network(**VARIANTS[variant]), tokens(1, 47)
    with torch.no_grad():
        exact = network(ids).logits
        limit = 1e-4 * float(exact.abs().max())
        torch.testing.assert_close(in_pieces(network, ids), exact, atol=limit, rtol=0)
        for module in network.modules():
            if isinstance(module, GatedDelta):
                module.chunked = False
        steps = in_pieces(network, ids, [(at, at + 1) for at in range(47)])
    torch.testing.assert_close(steps, exact, atol=limit, rtol=0)


@pytest.mark.parametrize("variant", variants(VARIANTS))
def test_gradients_of_the_forms_are_the_same(variant: str) -> None:
    network, ids = tiny_network(**VARIANTS[variant]), tokens(1, 33)
    forms = (lambda: network(ids).logits, lambda: in_pieces(network, ids, [(0, 8), (8, 33)]))
    found = []
    for form in forms:
        network.zero_grad()
        form().log_softmax(-1)[..., 5].sum().backward()
        found.append({n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        distance = (found[1][name] - gradient).abs().max() / gradient.abs().max().clamp(min=1e-6)
        assert distance <= 1e-3, name


@pytest.mark.parametrize("variant", variants(VARIANTS, BOUNDED))
def test_a_sequence_does_not_depend_on_its_batch(variant: str) -> None:
    network, ids = tiny_network(**(VARIANTS | BOUNDED)[variant]), tokens(3, 40)
    with torch.no_grad():
        together = network(ids).logits
        alone = torch.cat([network(row[None]).logits for row in ids])
        torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
        if not network.config.depth_gating:
            pieces = torch.cat([in_pieces(network, row[None], [(0, 9), (9, 40)]) for row in ids])
            torch.testing.assert_close(in_pieces(network, ids, [(0, 22), (22, 40)]), pieces, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("variant", variants(VARIANTS))
def test_no_position_sees_the_future(variant: str) -> None:
    network, ids = tiny_network(**VARIANTS[variant]), tokens(1, 40)
    changed = ids.clone()
    changed[0, 29:] = (changed[0, 29:] + 7) % 61
    with torch.no_grad():
        before, after = network(ids).logits, network(changed).logits
    torch.testing.assert_close(before[:, :29], after[:, :29], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(before[:, 29], after[:, 29], atol=1e-3)


@pytest.mark.parametrize("variant", variants(VARIANTS))
def test_the_layout_names_every_tensor(variant: str) -> None:
    network = tiny_network(**VARIANTS[variant])
    assert {n: tuple(v.shape) for n, v in network.state_dict().items()} == tensor_shapes(network.config)


def test_the_memory_is_read_and_its_gates_learn() -> None:
    network, ids = tiny_network(), tokens(4, 60)
    network(ids).logits.log_softmax(-1)[..., 3].sum().backward()
    lava = network.layers[1].lava
    assert lava is not None
    for parameter in (lava.in_proj.weight, lava.log_gamma, lava.write_bias, lava.null_logit, lava.null_value):
        assert parameter.grad.abs().max() > 0
    assert network(ids, paths=True).path_use["layers.1.lava"] > 0.01


def test_path_dropout_is_for_training_alone() -> None:
    network, ids = tiny_network(), tokens(2, 20)
    network.set_path_dropout(ssm=1.0, local=1.0)
    with torch.no_grad():
        evaluated = network(ids).logits
        network.train()
        assert not torch.allclose(network(ids).logits, evaluated, atol=1e-3)
        network.set_path_dropout(ssm=0.0, local=0.0)
        torch.testing.assert_close(network(ids).logits, evaluated)


def test_every_so_manieth_layer_has_a_gate() -> None:
    network = tiny_network(depth_gating=True, gated_from=1, gated_period=2, num_layers=6)
    assert [layer.gate is not None for layer in network.layers] == [False, True] * 3


def test_what_is_skipped_counts_and_not_the_score() -> None:
    network = tiny_network(depth_gating=True, depth_target=0.6)
    for layer in network.layers[1:]:
        torch.nn.init.zeros_(layer.gate.weight)
        layer.gate.bias.data.fill_(0.5)  # a score of 0.62 for every token: near the target, and nothing is skipped
    output = network(tokens(2, 20))
    output.losses["depth"].backward()
    torch.testing.assert_close(output.losses["depth"].detach(), torch.tensor(2 * 0.4**2))
    assert network.layers[1].gate.bias.grad > 0  # downhill is towards skipping
    assert output.path_use["mean_depth"] == 3


def test_an_untrained_core_is_silent_and_recalls() -> None:
    """A token's own earlier companion is what both memories hold for it, before any training."""
    torch.manual_seed(0)
    config = tiny_config(lava_key_dim=32, lava_write_every=4, lava_writes=4, lava_gamma=16.0, num_layers=2)
    network, ids = CoreNetwork(config).eval(), torch.arange(1, 41)[None]
    ids[0, 30] = 8  # its companion of old is 9
    with torch.no_grad():
        embedded = network.embedding(ids)
        torch.testing.assert_close(network(ids).hidden, network.norm(embedded))
        lava, h = network.layers[1].lava, network.layers[1].mixer_norm(embedded)
        mixed, _ = lava.conv(lava.in_proj(h)[..., : lava.mixed], lava.conv.new_tail(1), ALL_ROWS)
        queries, pairs = lava._heads(mixed, torch.full((1, 40), 2.0), torch.ones(1, 40))
        read, _, _ = read_exact(queries, pairs, lava.options)
    likeness = torch.einsum("hv,thv->t", read[0, 30], pairs.values[0])
    assert int(likeness[:28].argmax()) == 8  # place 8 holds token 9


def test_a_gate_learns_whether_its_pair_is_read() -> None:
    share = torch.zeros(1, 2, 5, 3)
    share[0, :, 4, 1] = 1.0  # the second of three pairs was read once, by both heads
    log_gate = torch.zeros(1, 3, requires_grad=True)
    foresight_loss(torch.nn.functional.logsigmoid(log_gate), share).backward()
    first, second, third = log_gate.grad[0].sign().tolist()
    assert (first, second, third) == (1.0, -1.0, 1.0)  # downhill: only the second opens


def test_random_writes_are_drawn_anew_in_training_alone() -> None:
    network, ids = tiny_network(lava_rank="random", lava_writes=2), tokens(2, 40)
    with torch.no_grad():
        torch.testing.assert_close(network(ids).logits, network(ids).logits)
        network.train()
        assert not torch.allclose(network(ids).logits, network(ids).logits, atol=1e-4)


def test_parameter_groups_hold_every_parameter_once() -> None:
    network = tiny_network(depth_gating=True, local_window=4)
    groups = network.parameter_groups(1e-3, 0.1, gate_factor=10.0)
    ids = [id(p) for group in groups for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in network.parameters())
    gates = {id(p) for p in groups[2]["params"]}
    assert id(network.layers[1].lava.log_gamma) in gates
    assert groups[2]["weight_decay"] == groups[3]["weight_decay"] == 0.0
    assert groups[2]["lr"] == pytest.approx(1e-2)
    assert {id(p) for layer in network.layers[1:] for p in layer.gate.parameters()} == {
        id(p) for p in groups[3]["params"]
    }
    assert groups[3]["lr"] == pytest.approx(3e-4), "depth gates are slower than all else"


def test_a_detached_state_stops_gradients() -> None:
    network, ids = tiny_network(), tokens(1, 20)
    state = detached(network(ids, network.new_state(1)).state)
    assert not state[1].lava.memory.keys.requires_grad
    assert not state[0].delta.matrix.requires_grad
