"""LocalMixer: what stands right before a token. A gated short convolution; optionally attention over a small window.

    u, gate, [q, k, v] = in_proj x
    y = out_proj [conv(u) * silu(gate), window attention]

The window holds the token itself and the `window` - 1 before it, each distance with a learned bias per head instead of
a position encoding. Keys and values may have fewer heads than queries (`kv_heads`). With `rope_base` queries and keys
are rotated too (RoPE, arXiv 2104.09864). With `sink` there is a learned pair beside the window, where attention goes
that has nothing to find (arXiv 2309.17453).
State: the last taps - 1 inputs of the convolution, the last window - 1 keys and values.
Shapes: B, T, D width, H heads, G heads of keys and values, K head width, W window.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from vortex.vblocks.network.causal_conv import CausalConv
from vortex.vblocks.network.ragged import Rows, next_tail


@dataclass(frozen=True, slots=True)
class LocalState:
    """tail [B, taps - 1, D]; window_kv [B, W - 1, 2, G, K] or None; seen [B] int64: tokens so far, W - 1 at most."""

    tail: torch.Tensor
    window_kv: torch.Tensor | None
    seen: torch.Tensor


class LocalMixer(nn.Module):
    def __init__(
        self, width: int, taps: int, window: int, num_heads: int, *, kv_heads: int = 0, rope_base: float = 0.0,
        sink: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.width, self.window, self.num_heads, self.rope_base = width, window, num_heads, rope_base
        self.head_width, self.kv_heads = width // num_heads, kv_heads or num_heads
        self.kv_width = self.kv_heads * self.head_width
        self.in_proj = nn.Linear(width, 3 * width + 2 * self.kv_width if window else 2 * width, bias=False)
        self.conv = CausalConv(width, taps)
        self.out_proj = nn.Linear((2 if window else 1) * width, width, bias=False)
        self.distance_bias = nn.Parameter(torch.zeros(num_heads, window)) if window else None
        has_sink = bool(window and sink)
        self.sink_key = nn.Parameter(torch.zeros(self.kv_heads, self.head_width)) if has_sink else None
        self.sink_value = nn.Parameter(torch.zeros(self.kv_heads, self.head_width)) if has_sink else None

    def new_state(self, batch: int) -> LocalState:
        weight = self.conv.weight
        kv = None
        if self.window:
            kv = weight.new_zeros(batch, self.window - 1, 2, self.kv_heads, self.head_width)
        return LocalState(self.conv.new_tail(batch), kv, torch.zeros(batch, dtype=torch.int64, device=weight.device))

    def forward(self, x_BTD: torch.Tensor, state: LocalState, rows: Rows) -> tuple[torch.Tensor, LocalState]:
        num_rows = x_BTD.shape[1]
        qkv = [self.width, self.kv_width, self.kv_width] if self.window else []
        u, gate, *rest = self.in_proj(x_BTD).split([self.width, self.width, *qkv], dim=-1)
        mixed, tail = self.conv(u, state.tail, rows)
        y = mixed * F.silu(gate)
        window_kv = None
        if self.window and state.window_kv is not None:
            q, k, v = (part.unflatten(-1, (-1, self.head_width)) for part in rest)
            padded = torch.cat([state.window_kv, torch.stack([k, v], dim=2)], dim=1)
            y = torch.cat([y, self._attend(q, padded, state.seen)], dim=-1)
            window_kv = next_tail(padded, self.window - 1, rows)
        seen = state.seen + (num_rows if rows.lengths_B is None else rows.lengths_B)
        out: torch.Tensor = self.out_proj(y)
        return out, LocalState(tail, window_kv, seen.clamp(max=max(0, self.window - 1)))

    def _attend(self, q_BTHK: torch.Tensor, kv: torch.Tensor, seen_B: torch.Tensor) -> torch.Tensor:
        """Blocks of W queries against their own block of keys and the one before: [B, T, H * K]."""
        num_rows, window, group = q_BTHK.shape[1], self.window, self.num_heads // self.kv_heads
        sink = None
        if self.sink_key is not None:
            sink = torch.einsum("bthk,hk->bht", q_BTHK, self.sink_key.to(q_BTHK.dtype).repeat_interleave(group, 0))
        if self.rope_base:
            q_BTHK = rotated(q_BTHK, window - 1, self.rope_base)
            kv = torch.stack([rotated(kv[:, :, 0], 0, self.rope_base), kv[:, :, 1]], dim=2)
        padding = -num_rows % window
        q = F.pad(q_BTHK, (0, 0, 0, 0, 0, padding)).unflatten(1, (-1, window))  # B n W H K
        kv = F.pad(kv, (0, 0, 0, 0, 0, 0, 1, padding))  # one before: blocks begin at multiples of W
        blocks = kv.unflatten(1, (-1, window))
        k, v = torch.cat([blocks[:, :-1], blocks[:, 1:]], dim=2).repeat_interleave(group, 4).unbind(3)  # B n 2W H K
        scores = torch.einsum("bnqhk,bnjhk->bnhqj", q, k) * self.head_width**-0.5
        scores = scores + self._bias(seen_B, q.shape[1])
        if sink is None:
            y = torch.einsum("bnhqj,bnjhk->bnqhk", scores.softmax(-1), v)
            return y.flatten(1, 2)[:, :num_rows].flatten(2)
        assert self.sink_value is not None, "a sink is a key and a value"
        sink = F.pad(sink, (0, padding)).unflatten(2, (-1, window)).transpose(1, 2) * self.head_width**-0.5
        share = torch.cat([scores, sink[..., None].to(scores.dtype)], dim=-1).softmax(-1)
        y = torch.einsum("bnhqj,bnjhk->bnqhk", share[..., :-1], v)
        value = self.sink_value.to(share.dtype).repeat_interleave(group, 0)
        y = y + torch.einsum("bnhq,hk->bnqhk", share[..., -1], value)
        return y.flatten(1, 2)[:, :num_rows].flatten(2)

    def _bias(self, seen_B: torch.Tensor, num_blocks: int) -> torch.Tensor:
        """[B, n, H, W, 2W]: the bias of each distance; -inf outside the window and before the sequence began."""
        assert self.distance_bias is not None, "a window has biases"
        window, device = self.window, seen_B.device
        query, key = torch.arange(window, device=device), torch.arange(2 * window, device=device) - window
        distance = query[:, None] - key
        inside = (distance >= 0) & (distance < window)
        bias = self.distance_bias[:, distance.clamp(0, window - 1)]  # H W 2W
        first = torch.arange(num_blocks, device=device)[:, None] * window + key  # place of each key, n 2W
        exists = first + seen_B[:, None, None] >= 0
        mask = inside & exists[:, :, None, None, :]
        return torch.where(mask, bias, float("-inf"))


def rotated(x_BTHK: torch.Tensor, first: int, base: float) -> torch.Tensor:
    """Rows turned by their place, `first` onwards: channels i and i + K / 2 by place * base^(-2 i / K). float32."""
    half = x_BTHK.shape[-1] // 2
    speeds = base ** (-torch.arange(half, device=x_BTHK.device, dtype=torch.float32) / half)
    angle = (first + torch.arange(x_BTHK.shape[1], device=x_BTHK.device))[:, None, None] * speeds  # T 1 K/2
    a, b = x_BTHK.float().split(half, dim=-1)
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], dim=-1)
