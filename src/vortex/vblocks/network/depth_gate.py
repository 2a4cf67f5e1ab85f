"""The depth gate: whether a token takes a layer, decided by the past alone.

A Schmitt trigger over the sequence: the gate opens where the score's sigmoid exceeds 1/2 + hysteresis, closes below
1/2 - hysteresis, and else stays as it was at the token before (open at the beginning). `schmitt_reference` is the
definition; `schmitt` finds each token's last decided one by a running maximum. A token that skips leaves the layer's
state unchanged. What the layer adds is scaled by `weight_of` the score: whole at 1, nothing where the gate closes, so
that nothing jumps there. Shapes: B sequences, T tokens, D width.
"""

from __future__ import annotations

import torch
from torch import nn


class DepthGate(nn.Module):
    """One score per token. Starts open."""

    def __init__(self, width: int, hysteresis: float) -> None:
        super().__init__()
        self.hysteresis = hysteresis
        self.weight = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.full((1,), 2.0))

    def forward(self, x_BTD: torch.Tensor, was_open_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(open [B, T] bool, the score's sigmoid [B, T] float32)."""
        score = (x_BTD.float() * self.weight).sum(-1)  # no product that autocast would round: a gate turns on little
        probability = (score + self.bias).sigmoid()
        return schmitt(probability.detach(), was_open_B, self.hysteresis), probability


def weight_of(probability_BT: torch.Tensor, hysteresis: float) -> torch.Tensor:
    """By how much what a layer adds counts, 0 to 1, float32; vblocks/layer.py and core_stack.cpp have the same."""
    closes = 0.5 - hysteresis
    return ((probability_BT - closes) / (1 - closes)).clamp(min=0)


def schmitt(probability_BT: torch.Tensor, was_open_B: torch.Tensor, hysteresis: float) -> torch.Tensor:
    opens = probability_BT > 0.5 + hysteresis
    decided = opens | (probability_BT < 0.5 - hysteresis)
    places = torch.arange(1, probability_BT.shape[1] + 1, device=probability_BT.device)
    last = torch.where(decided, places, 0).cummax(dim=1).values  # 0: none yet
    return torch.cat([was_open_B[:, None], opens], dim=1).gather(1, last)


def schmitt_reference(probability_BT: torch.Tensor, was_open_B: torch.Tensor, hysteresis: float) -> torch.Tensor:
    rows, state = [], was_open_B
    for t in range(probability_BT.shape[1]):
        opens, closes = probability_BT[:, t] > 0.5 + hysteresis, probability_BT[:, t] < 0.5 - hysteresis
        state = (state | opens) & ~closes
        rows.append(state)
    return torch.stack(rows, 1)
