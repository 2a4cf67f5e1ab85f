"""The gated delta rule: the chunked form is the definition, forward and backward, whatever the cut."""

import pytest
import torch
import torch.nn.functional as F

from vortex.vblocks.network.gated_delta import DeltaInputs, gated_delta_chunked, gated_delta_recurrent, relative_error


def inputs(num_tokens: int, *, strong_decay: bool = False) -> DeltaInputs:
    generator = torch.Generator().manual_seed(num_tokens)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    q, k = (F.normalize(random(2, num_tokens, 3, 8), dim=-1) for _ in range(2))
    decay = -F.softplus(random(2, num_tokens, 3)) * (20 if strong_decay else 0.3)
    parts = (q, k, random(2, num_tokens, 3, 5), decay, random(2, num_tokens, 3).sigmoid())
    return DeltaInputs(*(part.requires_grad_() for part in parts))


def gradients(rule, x: DeltaInputs, state: torch.Tensor) -> list[torch.Tensor]:
    result = rule(x, state)
    weight = torch.linspace(0.5, 2, result.output.numel()).view_as(result.output)
    loss = (result.output * weight).sum() + result.error.square().sum() + result.state.square().sum()
    return list(torch.autograd.grad(loss, [x.q, x.k, x.v, x.log_decay, x.rate, state]))


@pytest.mark.parametrize("strong_decay", [False, True])
@pytest.mark.parametrize(("num_tokens", "chunk"), [(1, 32), (31, 8), (45, 16), (64, 32)])
def test_the_chunked_form_is_the_definition(num_tokens: int, chunk: int, strong_decay: bool) -> None:
    x, state = inputs(num_tokens, strong_decay=strong_decay), torch.randn(2, 3, 8, 5).requires_grad_()
    expected, found = gated_delta_recurrent(x, state), gated_delta_chunked(x, state, chunk)
    for name in ("output", "error", "state"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=2e-5, rtol=1e-4)
    fast = gradients(lambda x, state: gated_delta_chunked(x, state, chunk), x, state)
    for found_gradient, gradient in zip(fast, gradients(gated_delta_recurrent, x, state), strict=True):
        torch.testing.assert_close(found_gradient, gradient, atol=2e-4, rtol=1e-3)


def test_a_state_is_carried_over_any_cut() -> None:
    x, state = inputs(50), torch.zeros(2, 3, 8, 5)
    whole, outputs = gated_delta_chunked(x, state), []
    for start, stop in ((0, 7), (7, 8), (8, 41), (41, 50)):
        piece = DeltaInputs(*(getattr(x, name)[:, start:stop] for name in x.__slots__))
        result = gated_delta_chunked(piece, state)
        outputs.append(result.output)
        state = result.state
    torch.testing.assert_close(torch.cat(outputs, 1), whole.output, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(state, whole.state, atol=1e-5, rtol=1e-4)


def test_what_is_stored_surprises_no_more() -> None:
    k = F.normalize(torch.randn(1, 1, 1, 8), dim=-1).expand(1, 2, 1, 8)
    v = torch.randn(1, 1, 1, 5).expand(1, 2, 1, 5)
    x = DeltaInputs(k, k, v, torch.zeros(1, 2, 1), torch.ones(1, 2, 1))
    result = gated_delta_chunked(x, torch.zeros(1, 1, 8, 5))
    surprise = relative_error(result.error, v)
    assert surprise[0, 0] > 0.99
    assert surprise[0, 1] < 1e-6
    torch.testing.assert_close(result.output[0, 1], v[0, 0])
