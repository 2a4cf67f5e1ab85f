"""The core in torch: every form gives the same logits and gradients, whatever the options and the cut."""

import pytest
import torch

from tests.models.core_models import BOUNDED, VARIANTS, one_thread, tiny_network, tokens, variants
from vortex.blocks.gated_delta import GatedDelta
from vortex.models.core_layout import tensor_shapes
from vortex.models.core_network import CoreNetwork
from vortex.models.core_state import CoreState, detached

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
        torch.testing.assert_close(in_pieces(network, ids), exact, atol=1e-4, rtol=1e-4)
        for module in network.modules():
            if isinstance(module, GatedDelta):
                module.chunked = False
        steps = in_pieces(network, ids, [(at, at + 1) for at in range(47)])
    torch.testing.assert_close(steps, exact, atol=1e-4, rtol=1e-4)


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
        torch.testing.assert_close(found[1][name], gradient, atol=1e-4, rtol=2e-3, msg=name)


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


def test_depth_that_exceeds_its_target_costs() -> None:
    network = tiny_network(depth_gating=True, depth_target=0.1)
    output = network(tokens(2, 20))
    output.losses["depth"].backward()
    assert network.layers[1].gate.bias.grad.abs() > 0
    assert 1 <= output.path_use["mean_depth"] <= 3


def test_parameter_groups_hold_every_parameter_once() -> None:
    network = tiny_network(depth_gating=True, local_window=4)
    groups = network.parameter_groups(1e-3, 0.1, gate_factor=10.0)
    ids = [id(p) for group in groups for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in network.parameters())
    gates = {id(p) for p in groups[2]["params"]}
    assert id(network.layers[1].lava.log_gamma) in gates
    assert id(network.layers[1].gate.weight) in gates
    assert groups[2]["weight_decay"] == 0.0
    assert groups[2]["lr"] == pytest.approx(1e-2)


def test_a_detached_state_stops_gradients() -> None:
    network, ids = tiny_network(), tokens(1, 20)
    state = detached(network(ids, network.new_state(1)).state)
    assert not state[1].lava.memory.keys.requires_grad
    assert not state[0].delta.matrix.requires_grad
