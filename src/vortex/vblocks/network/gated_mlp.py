"""Gated MLP (SwiGLU, arXiv 2002.05202): down(silu(gate x) * up x). Gate and up are one matrix, gate first."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class GatedMLP(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.out_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        gate, up = self.in_proj(x_BTD).chunk(2, dim=-1)
        y: torch.Tensor = self.out_proj(F.silu(gate) * up)
        return y
