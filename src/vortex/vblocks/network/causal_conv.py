"""A short causal convolution, one filter per channel: y_t = sum_j w[:, j] x_{t - taps + 1 + j}.

In torch, for training; `conv_rows` of step/math.py is the same in numpy. Both add the taps oldest first.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from vortex.vblocks.network.ragged import Rows, next_tail


class _Taps(torch.autograd.Function):
    """The sum over the taps of [B, taps - 1 + T, C]; its own backward, since that of slices fills a tensor per tap."""

    @staticmethod
    def forward(ctx: Any, padded: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(padded, weight)
        num_rows = padded.shape[1] - weight.shape[1] + 1
        y = padded[:, :num_rows] * weight[:, 0]
        for tap in range(1, weight.shape[1]):
            y += padded[:, tap : tap + num_rows] * weight[:, tap]
        return y

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        padded, weight = ctx.saved_tensors
        num_rows = grad.shape[1]
        grad_padded, grad_weight = torch.zeros_like(padded, dtype=grad.dtype), torch.empty_like(weight)
        for tap in range(weight.shape[1]):
            grad_padded[:, tap : tap + num_rows] += grad * weight[:, tap]
            grad_weight[:, tap] = (grad * padded[:, tap : tap + num_rows]).sum((0, 1))
        return grad_padded.to(padded.dtype), grad_weight


class CausalConv(nn.Module):
    """weight [channels, taps]. State: the last taps - 1 inputs, zeros at the beginning of a sequence."""

    def __init__(self, channels: int, taps: int) -> None:
        super().__init__()
        self.taps = taps
        bound = taps**-0.5
        self.weight = nn.Parameter(torch.empty(channels, taps).uniform_(-bound, bound))

    def begin_at(self, channels: slice, back: int) -> None:
        """These channels begin as the input of `back` tokens ago (the oldest that is seen, where that is nearer)."""
        with torch.no_grad():
            self.weight[channels] = 0.0
            self.weight[channels, max(0, self.taps - 1 - back)] = 1.0

    def new_tail(self, batch: int) -> torch.Tensor:
        return self.weight.new_zeros(batch, self.taps - 1, self.weight.shape[0])

    def forward(self, x_BTC: torch.Tensor, tail_BNC: torch.Tensor, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """(y [B, T, C], the next tail [B, taps - 1, C])."""
        padded = torch.cat([tail_BNC, x_BTC], dim=1)
        y: torch.Tensor = _Taps.apply(padded, self.weight)
        return y, next_tail(padded, self.taps - 1, rows)
