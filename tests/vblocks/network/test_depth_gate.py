"""The depth gate's trigger: the scan is the definition; hysteresis holds."""

import torch

from vortex.vblocks.network.depth_gate import schmitt, schmitt_reference, weight_of


def test_the_scan_is_the_definition() -> None:
    probability = torch.rand(8, 57, generator=torch.Generator().manual_seed(1))
    was_open = torch.arange(8) % 2 == 0
    for hysteresis in (0.0, 0.1, 0.45):
        expected = schmitt_reference(probability, was_open, hysteresis)
        assert torch.equal(schmitt(probability, was_open, hysteresis), expected)


def test_inside_the_band_nothing_changes() -> None:
    probability = torch.tensor([[0.55, 0.45, 0.7, 0.45, 0.3, 0.55]])
    found = schmitt(probability, torch.tensor([True]), 0.1)
    assert found.tolist() == [[True, True, True, True, False, False]]
    assert schmitt(probability, torch.tensor([False]), 0.1).tolist() == [[False, False, True, True, False, False]]


def test_what_a_layer_adds_is_nothing_where_the_gate_closes() -> None:
    weight = weight_of(torch.tensor([0.2, 0.4, 0.7, 1.0]), 0.1)
    torch.testing.assert_close(weight, torch.tensor([0.0, 0.0, 0.5, 1.0]))
