"""A short causal convolution, one filter per channel: y_t = sum_j w[:, j] x_{t - taps + 1 + j}.

Torch for training, `conv_step` in numpy for one token. Both add the taps in the same order, oldest first.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from vortex.blocks.ragged import Rows, next_tail


class CausalConv(nn.Module):
    """weight [channels, taps]. State: the last taps - 1 inputs, zeros at the beginning of a sequence."""

    def __init__(self, channels: int, taps: int) -> None:
        super().__init__()
        self.taps = taps
        bound = taps**-0.5
        self.weight = nn.Parameter(torch.empty(channels, taps).uniform_(-bound, bound))

    def new_tail(self, batch: int) -> torch.Tensor:
        return self.weight.new_zeros(batch, self.taps - 1, self.weight.shape[0])

    def forward(self, x_BTC: torch.Tensor, tail_BNC: torch.Tensor, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """(y [B, T, C], the next tail [B, taps - 1, C])."""
        num_rows = x_BTC.shape[1]
        padded = torch.cat([tail_BNC, x_BTC], dim=1)
        y = padded[:, :num_rows] * self.weight[:, 0]
        for tap in range(1, self.taps):
            y = y + padded[:, tap : tap + num_rows] * self.weight[:, tap]
        return y, next_tail(padded, self.taps - 1, rows)


def conv_step(inputs_NC: np.ndarray, weight_CN: np.ndarray) -> np.ndarray:
    """One output [C] from the last `taps` inputs, oldest first."""
    y = inputs_NC[0] * weight_CN[:, 0]
    for tap in range(1, len(inputs_NC)):
        y = y + inputs_NC[tap] * weight_CN[:, tap]
    return y
