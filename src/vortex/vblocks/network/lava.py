"""LAVA, latent-addressed vector attention: a memory of pairs that is read by similarity and written on surprise.

    read_t = softmax over slots i and a null slot of (gamma q_t . k_i + log s_i) applied to v_i

with unit q and k, gamma and the null slot learned per head, and s_i the pair's strength: the sigmoid of its write
gate, summed when pairs merge (so that a merge of equal keys changes no read). Tokens are taken in chunks of
`write_every`; a token reads what earlier chunks wrote; at a chunk's end its most surprising pairs are written.

Two forms. `read_exact` (training): attention over all pairs that earlier chunks would have written, nothing merged,
nothing evicted; gradients reach keys, values and gates. `read_bounded`: through the slots (lava_memory.py).
They agree while nothing is merged or evicted. vblocks/step/lava.py is the numpy twin of the second.
Shapes: B sequences, T tokens, H heads, K key width, V value width, N chunks, W pairs written per chunk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from vortex.vblocks.lava_options import LavaOptions
from vortex.vblocks.network.causal_conv import CausalConv
from vortex.vblocks.network.gated_delta import unit
from vortex.vblocks.network.lava_memory import LavaMemory, read_memory, write_memory
from vortex.vblocks.network.lava_selection import Pairs, Queries, select_pairs
from vortex.vblocks.network.ragged import Rows


@dataclass(frozen=True, slots=True)
class LavaState:
    """tail [B, taps - 1, C] before the convolution; the memory."""

    tail: torch.Tensor
    memory: LavaMemory


@dataclass(frozen=True, slots=True)
class LavaRead:
    """y [B, T, D]; null_share: mean probability of the null slot, without gradient; state: None in the exact form.

    gate_loss: how badly the write gates foretell which pairs are read (`foresight_loss`); None outside the exact form.
    """

    y: torch.Tensor
    null_share: torch.Tensor
    state: LavaState | None
    gate_loss: torch.Tensor | None


class Lava(nn.Module):
    def __init__(self, width: int, options: LavaOptions, taps: int, gamma: float) -> None:
        super().__init__()
        self.options = options
        keys, values = options.heads * options.key_dim, options.heads * options.value_dim
        self.mixed = 2 * keys + values
        self.in_proj = nn.Linear(width, self.mixed + values + 1, bias=False)
        self.conv = CausalConv(self.mixed, taps)
        self.log_gamma = nn.Parameter(torch.full((options.heads,), math.log(gamma)))
        self.write_bias = nn.Parameter(torch.full((1,), 2.0))
        self.null_logit = nn.Parameter(torch.zeros(options.heads))
        self.null_value = nn.Parameter(torch.zeros(options.heads, options.value_dim))
        self.out_proj = nn.Linear(values, width, bias=False)

    def begin_as_recall(self) -> None:
        """Begin as an induction head: a pair is (the token before, this token), a query looks like a key of the same
        token. So the memory answers from the first step, and what is left to learn is to use the answer."""
        keys = self.options.heads * self.options.key_dim
        self.conv.begin_at(slice(None), 0)
        self.conv.begin_at(slice(keys, 2 * keys), 1)
        with torch.no_grad():
            self.in_proj.weight[keys : 2 * keys] = self.in_proj.weight[:keys]

    def new_state(self, batch: int) -> LavaState:
        return LavaState(self.conv.new_tail(batch), LavaMemory.empty(batch, self.options, self.log_gamma.device))

    def forward(self, x_BTD: torch.Tensor, surprise_BT: torch.Tensor, state: LavaState | None, rows: Rows) -> LavaRead:
        """Exact without a state; with one through its slots, all sequences of equal length."""
        options = self.options
        if (
            options.rank == "random"
        ):  # by place alone when asked; fresh in training, so that nothing can be learned of it
            surprise_BT = torch.rand_like(surprise_BT) if self.training else torch.zeros_like(surprise_BT)
        values = options.heads * options.value_dim
        mixed, gate, write = self.in_proj(x_BTD).split([self.mixed, values, 1], dim=-1)
        tail = self.conv.new_tail(len(x_BTD)) if state is None else state.tail
        mixed, tail = self.conv(mixed, tail, rows)
        queries, pairs = self._heads(mixed.float(), write[..., 0].float() + self.write_bias, surprise_BT)
        gate_loss = None
        if state is None:
            read, null, gate_loss = read_exact(queries, pairs, options)
            next_state = None
        else:
            read, null, memory = read_bounded(queries, pairs, options, state.memory)
            next_state = LavaState(tail, memory)
        y = self.out_proj((read.flatten(2) * F.silu(gate.float())).to(x_BTD.dtype))
        return LavaRead(y, null.detach().mean(), next_state, gate_loss)

    def _heads(
        self, mixed: torch.Tensor, write_logit: torch.Tensor, surprise_BT: torch.Tensor
    ) -> tuple[Queries, Pairs]:
        heads, keys = self.options.heads, self.options.heads * self.options.key_dim
        q, k, v = mixed.split([keys, keys, mixed.shape[-1] - 2 * keys], dim=-1)
        q, k = (unit(part.unflatten(-1, (heads, self.options.key_dim))) for part in (q, k))
        v = v.unflatten(-1, (heads, self.options.value_dim))
        queries = Queries(q, self.log_gamma.exp(), self.null_logit, self.null_value)
        return queries, Pairs(k, v, F.logsigmoid(write_logit), surprise_BT)


def read_exact(queries: Queries, pairs: Pairs, options: LavaOptions) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(read [B, T, H, V], the null slot's probability [B, T', H], the gates' loss) of sequences that begin here."""
    num_tokens, every = queries.q.shape[1], options.read_every
    q = queries.q[:, ::every]
    chunk_of_read = torch.arange(0, num_tokens, every, device=q.device) // options.write_every
    written, alive_BN = select_pairs(pairs, options)  # [B, N * W, ...], in the order of time
    num_written = written.keys.shape[1]
    chunk_of_pair = torch.arange(num_written, device=q.device) // options.writes_per_chunk
    logits = torch.einsum("bthk,bnhk->bhtn", q, written.keys) * queries.gamma[:, None, None]
    logits = logits + written.log_gate[:, None, None, :]
    visible = (chunk_of_pair < chunk_of_read[:, None]) & alive_BN[:, None, :]
    logits = logits.masked_fill(~visible[:, None], float("-inf"))
    null = queries.null_logit[:, None, None].expand(*logits.shape[:3], 1)
    share = torch.cat([null, logits], dim=-1).softmax(-1)
    read = torch.einsum("bhtn,bnhv->bthv", share[..., 1:], written.values)
    null_share = share[..., 0].transpose(1, 2)
    read = read + null_share[..., None] * queries.null_value
    if every > 1:
        read = read.repeat_interleave(every, dim=1)[:, :num_tokens]
    return read, null_share, foresight_loss(written.log_gate, share[..., 1:].detach())


def foresight_loss(log_gate_BN: torch.Tensor, share_BHTN: torch.Tensor) -> torch.Tensor:
    """Cross entropy of the write gates against the largest share of a read that each pair ever got, heads averaged:
    a gate learns to say whether its pair will be read."""
    if not log_gate_BN.numel():
        return log_gate_BN.sum()
    use = share_BHTN.mean(1).amax(1)
    log_closed = torch.log1p(-log_gate_BN.exp().clamp(max=1 - 1e-6))
    return -(use * log_gate_BN + (1 - use) * log_closed).mean()


def read_bounded(
    queries: Queries, pairs: Pairs, options: LavaOptions, memory: LavaMemory
) -> tuple[torch.Tensor, torch.Tensor, LavaMemory]:
    """The same through the slots, chunk by chunk: read, then write what the chunk leaves."""
    num_tokens, start, reads, nulls = queries.q.shape[1], 0, [], []
    while start < num_tokens:
        stop = min(num_tokens, start + options.write_every - memory.pending_tokens)
        piece = Queries(queries.q[:, start:stop], queries.gamma, queries.null_logit, queries.null_value)
        read, null, memory = read_memory(piece, options, memory)
        reads.append(read)
        nulls.append(null)
        memory = memory.with_pending(pairs.part(start, stop))
        if memory.pending_tokens == options.write_every:
            memory = write_memory(memory, options)
        start = stop
    return torch.cat(reads, 1), torch.cat(nulls, 1), memory
