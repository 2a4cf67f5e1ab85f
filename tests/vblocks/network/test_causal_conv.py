"""The convolution's own backward is that of the sum it is written as."""

import torch

from vortex.vblocks.network.causal_conv import CausalConv
from vortex.vblocks.network.ragged import ALL_ROWS


def reference(padded: torch.Tensor, weight: torch.Tensor, num_rows: int) -> torch.Tensor:
    return sum(padded[:, tap : tap + num_rows] * weight[:, tap] for tap in range(weight.shape[1]))


def test_values_and_gradients_are_those_of_the_definition() -> None:
    torch.manual_seed(0)
    conv, x, tail = CausalConv(5, 4), torch.randn(3, 7, 5, requires_grad=True), torch.randn(3, 3, 5, requires_grad=True)
    y, after = conv(x, tail, ALL_ROWS)
    found = torch.autograd.grad(y.square().sum(), (x, tail, conv.weight))
    wanted_y = reference(torch.cat([tail, x], 1), conv.weight, 7)
    wanted = torch.autograd.grad(wanted_y.square().sum(), (x, tail, conv.weight))
    torch.testing.assert_close(y, wanted_y)
    torch.testing.assert_close(after, x[:, -3:])
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_channels_can_begin_as_an_earlier_input() -> None:
    conv, x = CausalConv(4, 4), torch.randn(2, 6, 4)
    conv.begin_at(slice(0, 2), 0)
    conv.begin_at(slice(2, 4), 1)
    y, _ = conv(x, conv.new_tail(2), ALL_ROWS)
    torch.testing.assert_close(y[..., :2], x[..., :2])
    torch.testing.assert_close(y[:, 1:, 2:], x[:, :-1, 2:])
    assert not y[:, 0, 2:].any()
