"""The gated delta rule (Gated DeltaNet, arXiv 2412.06464): a matrix per head that learns while it reads.

    S <- a S;   e = v - S^T k;   S <- S + b k e^T;   o = S^T q

with unit q and k, decay a and rate b in (0, 1). e is what the state did not know yet: the surprise that LAVA writes by.
`gated_delta_recurrent` is the definition; `gated_delta_chunked` the same in chunks: inside a chunk the errors solve
a unit lower triangular system, (I + tril(D * (K K^T), -1) diag(b)) E = V - diag(exp g) K S_0, where g is the running
sum of log a and D_ij = exp(g_i - g_j); then the state moves on by a whole chunk. All in float32.
Shapes: B sequences, T tokens, H heads, K key width, V value width, N chunks of C tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from vortex.vblocks.network.causal_conv import CausalConv
from vortex.vblocks.network.ragged import Rows

CHUNK_TOKENS = 32
UNIT_EPSILON = 1e-6


@dataclass(frozen=True, slots=True)
class DeltaInputs:
    """q, k [B, T, H, K] of unit length; v [B, T, H, V]; log_decay <= 0 and rate [B, T, H]."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    log_decay: torch.Tensor
    rate: torch.Tensor


@dataclass(frozen=True, slots=True)
class DeltaResult:
    """output and error [B, T, H, V]; state [B, H, K, V] after the last token."""

    output: torch.Tensor
    error: torch.Tensor
    state: torch.Tensor


def gated_delta_recurrent(x: DeltaInputs, state_BHKV: torch.Tensor) -> DeltaResult:
    """Token by token, as it is written above."""
    outputs, errors, state = [], [], state_BHKV
    for t in range(x.q.shape[1]):
        state = state * x.log_decay[:, t].exp()[..., None, None]
        error = x.v[:, t] - torch.einsum("bhkv,bhk->bhv", state, x.k[:, t])
        state = state + torch.einsum("bhk,bhv->bhkv", x.rate[:, t, :, None] * x.k[:, t], error)
        outputs.append(torch.einsum("bhkv,bhk->bhv", state, x.q[:, t]))
        errors.append(error)
    return DeltaResult(torch.stack(outputs, 1), torch.stack(errors, 1), state)


def gated_delta_chunked(x: DeltaInputs, state_BHKV: torch.Tensor, chunk: int = CHUNK_TOKENS) -> DeltaResult:
    """The same in chunks; any number of tokens."""
    num_tokens, value_width = x.q.shape[1], x.v.shape[-1]
    q, k, v, log_decay, rate = (_chunks(part, chunk) for part in (x.q, x.k, x.v, x.log_decay, x.rate))
    g = log_decay.cumsum(-1)  # B H N C
    lower = torch.ones(chunk, chunk, dtype=torch.bool, device=g.device).tril()
    decay = (g[..., :, None] - g[..., None, :]).masked_fill(~lower, float("-inf")).exp()
    system = (decay * (k @ k.transpose(-1, -2)) * rate[..., None, :]).tril(-1)
    right = torch.cat([v, g.exp()[..., None] * k], dim=-1)
    solved = torch.linalg.solve_triangular(
        system + torch.eye(chunk, device=g.device), right, upper=False, unitriangular=True
    )
    from_values, from_state = solved.split([value_width, k.shape[-1]], dim=-1)
    attention = decay * (q @ k.transpose(-1, -2)) * rate[..., None, :]
    q_decayed = g.exp()[..., None] * q
    k_left = ((g[..., -1:] - g).exp() * rate)[..., None] * k  # what of each write is left at the chunk's end
    outputs, errors, state = [], [], state_BHKV
    for n in range(q.shape[2]):
        error = from_values[:, :, n] - from_state[:, :, n] @ state
        outputs.append(q_decayed[:, :, n] @ state + attention[:, :, n] @ error)
        errors.append(error)
        state = state * g[:, :, n, -1].exp()[..., None, None] + k_left[:, :, n].transpose(-1, -2) @ error
    return DeltaResult(_tokens(outputs, num_tokens), _tokens(errors, num_tokens), state)


def _chunks(part: torch.Tensor, chunk: int) -> torch.Tensor:
    """[B, T, H, ...] to [B, H, N, C, ...]; padding has rate 0 and decay 1, so it changes nothing."""
    padding = -part.shape[1] % chunk
    part = F.pad(part, (0, 0) * (part.dim() - 2) + (0, padding))
    return part.unflatten(1, (-1, chunk)).movedim(3, 1)


def _tokens(chunks: list[torch.Tensor], num_tokens: int) -> torch.Tensor:
    """N times [B, H, C, V] to [B, T, H, V]."""
    return torch.stack(chunks, 2).flatten(2, 3)[:, :, :num_tokens].transpose(1, 2)


@dataclass(frozen=True, slots=True)
class DeltaState:
    """tail [B, taps - 1, H (2 K + V)] before the convolution; matrix [B, H, K, V]."""

    tail: torch.Tensor
    matrix: torch.Tensor


class GatedDelta(nn.Module):
    """The rule with its projections: q, k, v through a convolution and silu; the output normed per head and gated.

    `chunked`: the fast form; else the definition.
    """

    def __init__(self, width: int, num_heads: int, key_dim: int, value_dim: int, taps: int) -> None:
        super().__init__()
        self.num_heads, self.key_dim, self.value_dim = num_heads, key_dim, value_dim
        self.chunked = True
        keys, values = num_heads * key_dim, num_heads * value_dim
        self.mixed = 2 * keys + values
        self.in_proj = nn.Linear(width, self.mixed + values + 2 * num_heads, bias=False)
        self.conv = CausalConv(self.mixed, taps)
        self.decay_rate = nn.Parameter(torch.empty(num_heads).uniform_(1, 8).log())
        self.decay_bias = nn.Parameter(_inverse_softplus(torch.empty(num_heads).uniform_(0.001, 0.05)))
        self.norm = nn.Parameter(torch.ones(value_dim))
        self.out_proj = nn.Linear(values, width, bias=False)

    def begin_as_recall(self) -> None:
        """Begin as an induction head: a key is the token before its value, and a query looks like it. So the rule's
        error is that of a pair from the first step."""
        keys = self.num_heads * self.key_dim
        self.conv.begin_at(slice(None), 0)
        self.conv.begin_at(slice(keys, 2 * keys), 1)
        with torch.no_grad():
            self.in_proj.weight[keys : 2 * keys] = self.in_proj.weight[:keys]

    def new_state(self, batch: int) -> DeltaState:
        shape = (batch, self.num_heads, self.key_dim, self.value_dim)
        return DeltaState(self.conv.new_tail(batch), self.norm.new_zeros(shape, dtype=torch.float32))

    def forward(
        self, x_BTD: torch.Tensor, state: DeltaState, rows: Rows
    ) -> tuple[torch.Tensor, torch.Tensor, DeltaState]:
        """(y [B, T, D], surprise [B, T] without gradient, the next state)."""
        values = self.num_heads * self.value_dim
        mixed, gate, decay, rate = self.in_proj(x_BTD).split(
            [self.mixed, values, self.num_heads, self.num_heads], dim=-1
        )
        mixed, tail = self.conv(mixed, state.tail, rows)
        inputs = self._inputs(F.silu(mixed).float(), decay.float(), rate.float(), rows)
        rule = gated_delta_chunked if self.chunked else gated_delta_recurrent
        with torch.autocast(x_BTD.device.type, enabled=False):  # the triangular system needs float32
            result = rule(inputs, state.matrix)
        surprise = relative_error(result.error.detach(), inputs.v.detach())
        normed = F.rms_norm(result.output, (self.value_dim,), eps=1e-6) * self.norm
        y = self.out_proj((normed.flatten(2) * F.silu(gate.float())).to(x_BTD.dtype))
        return y, surprise, DeltaState(tail, result.state)

    def _inputs(self, mixed: torch.Tensor, decay: torch.Tensor, rate: torch.Tensor, rows: Rows) -> DeltaInputs:
        keys = self.num_heads * self.key_dim
        q, k, v = mixed.split([keys, keys, mixed.shape[-1] - 2 * keys], dim=-1)
        q, k = (unit(part.unflatten(-1, (self.num_heads, self.key_dim))) for part in (q, k))
        log_decay = -self.decay_rate.float().exp() * F.softplus(decay + self.decay_bias)
        rate = rate.sigmoid()
        if rows.valid_BT is not None:
            log_decay = log_decay * rows.valid_BT[..., None]
            rate = rate * rows.valid_BT[..., None]
        return DeltaInputs(q, k, v.unflatten(-1, (self.num_heads, self.value_dim)), log_decay, rate)


def unit(x: torch.Tensor) -> torch.Tensor:
    """x / |x| along the last axis; nearly zero stays nearly zero."""
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + UNIT_EPSILON)


def relative_error(error_BTHV: torch.Tensor, v_BTHV: torch.Tensor) -> torch.Tensor:
    """|e|^2 / |v|^2, the mean over heads, [B, T]: 1 where nothing was known, near 0 where all was."""
    ratio = error_BTHV.square().sum(-1) / (v_BTHV.square().sum(-1) + UNIT_EPSILON)
    return ratio.mean(-1)


def _inverse_softplus(x: torch.Tensor) -> torch.Tensor:
    return x + torch.log(-torch.expm1(-x))
