"""LAVA's bounded memory in torch: slots, and the chunk that waits to be written. A batch stands at the same position.

A read attends to the slots (all, the `top_k` likeliest, or those of the likeliest clusters). A write merges with the
most similar slot where the cosine exceeds `merge_cosine`, else takes an empty slot, else evicts the one whose
(strength + use) * recency is least. Everything is functional: a memory is never changed, so gradients may flow.
Shapes: B sequences, M slots, P waiting tokens, C clusters, H, K, V as in vblocks/network/lava.py.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch

from vortex.vblocks.lava_options import OPEN_BELOW, LavaOptions
from vortex.vblocks.network.gated_delta import unit
from vortex.vblocks.network.lava_selection import Pairs, Queries, selection_ranks, write_scores

NOWHERE = float("-inf")


@dataclass(frozen=True, slots=True)
class LavaMemory:
    """keys [B, M, H, K], values [B, M, H, V]; strength (0: empty), use, touched (chunk number) [B, M]; cluster [B, M].

    pending: pairs of the chunk under way. held [B, H, V]: the last read. position: tokens so far.
    """

    keys: torch.Tensor
    values: torch.Tensor
    strength: torch.Tensor
    use: torch.Tensor
    touched: torch.Tensor
    cluster: torch.Tensor
    pending: Pairs
    held: torch.Tensor
    position: int

    @classmethod
    def empty(cls, batch: int, options: LavaOptions, device: torch.device) -> LavaMemory:
        heads, slots = options.heads, options.slots
        zeros = torch.zeros(batch, slots, device=device)
        keys = torch.zeros(batch, slots, heads, options.key_dim, device=device)
        values = torch.zeros(batch, slots, heads, options.value_dim, device=device)
        nothing = Pairs(keys[:, :0], values[:, :0], zeros[:, :0], zeros[:, :0])
        cluster = torch.zeros(batch, slots, dtype=torch.int64, device=device)
        return cls(keys, values, zeros, zeros, zeros, cluster, nothing, values.new_zeros(values[:, 0].shape), 0)

    @property
    def pending_tokens(self) -> int:
        return self.pending.surprise.shape[1]

    def with_pending(self, pairs: Pairs) -> LavaMemory:
        names = ("keys", "values", "log_gate", "surprise")
        joined = Pairs(*(torch.cat([getattr(self.pending, name), getattr(pairs, name)], 1) for name in names))
        return dataclasses.replace(self, pending=joined, position=self.position + pairs.surprise.shape[1])


def read_memory(
    queries: Queries, options: LavaOptions, memory: LavaMemory
) -> tuple[torch.Tensor, torch.Tensor, LavaMemory]:
    """(reads [B, T, H, V], the null slot's probability [B, reads, H], the memory with their use counted)."""
    num_tokens, every = queries.q.shape[1], options.read_every
    first = -memory.position % every  # of these tokens, the first that reads
    q = queries.q[:, first::every]
    share = read_shares(q, queries, options, memory)
    null_share = share[..., 0].transpose(1, 2)
    read = torch.einsum("bhtm,bmhv->bthv", share[..., 1:], memory.values)
    read = read + null_share[..., None] * queries.null_value
    use = memory.use + share[..., 1:].detach().mean(1).sum(1)
    if every > 1:
        held = torch.cat([memory.held[:, None], read], 1)
        which = (torch.arange(num_tokens, device=q.device) - first).div(every, rounding_mode="floor") + 1
        read = held[:, which.clamp(min=0)]
    return read, null_share, dataclasses.replace(memory, use=use, held=read[:, -1])


def read_shares(q: torch.Tensor, queries: Queries, options: LavaOptions, memory: LavaMemory) -> torch.Tensor:
    """[B, H, T, 1 + M]: the probability of the null slot and of each slot."""
    logits = torch.einsum("bthk,bmhk->bhtm", q, memory.keys) * queries.gamma[:, None, None]
    empty = memory.strength <= 0
    log_strength = memory.strength.clamp(min=1e-30).log().masked_fill(empty, NOWHERE)
    logits = logits + log_strength[:, None, None, :]
    if options.clusters:
        near = _near_clusters(q, options, memory)  # B T C
        inside = near.gather(2, memory.cluster[:, None, :].expand(-1, q.shape[1], -1))
        logits = logits.masked_fill(~inside[:, None], NOWHERE)
    if 0 < options.top_k < logits.shape[-1]:
        least = logits.topk(options.top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < least, NOWHERE)
    null = queries.null_logit[:, None, None].expand(*logits.shape[:3], 1)
    return torch.cat([null, logits], dim=-1).softmax(-1)


def write_memory(memory: LavaMemory, options: LavaOptions) -> LavaMemory:
    """The chunk that waited is written, its best pairs in the order of time; nothing waits any more."""
    pairs, chunk = memory.pending, memory.position // options.write_every
    ranks = selection_ranks(pairs, options, memory.position - options.write_every)
    order = torch.sort(ranks, dim=-1, descending=True, stable=True).indices
    chosen = pairs.gather(order[:, : options.writes_per_chunk].sort(-1).values)
    for index in range(options.writes_per_chunk):
        memory = _write_one(memory, options, chosen.part(index, index + 1), chunk)
    return dataclasses.replace(memory, pending=pairs.part(0, 0))


def _write_one(memory: LavaMemory, options: LavaOptions, pair: Pairs, chunk: int) -> LavaMemory:
    key, value, gate = pair.keys[:, 0], pair.values[:, 0], pair.log_gate[:, 0].exp()
    wanted = torch.ones_like(gate, dtype=torch.bool)
    if options.write_on_surprise:
        wanted = write_scores(pair)[:, 0] > options.surprise_threshold
    batch = torch.arange(len(gate), device=gate.device)
    slot, merges = _choose_slot(memory, options, key, chunk)
    old = torch.where(merges, memory.strength[batch, slot], 0.0)
    total = old + gate
    old_share = (old / total)[:, None, None]
    new_key = unit(memory.keys[batch, slot] * old_share + key * (1 - old_share))
    new_key = torch.where(merges[:, None, None], new_key, key)
    new_value = memory.values[batch, slot] * old_share + value * (1 - old_share)
    cluster = memory.cluster
    if options.clusters:
        chosen = torch.where(merges, cluster[batch, slot], _choose_cluster(memory, options, key, slot))
        cluster = _put(cluster, batch, slot, chosen, wanted)
    return dataclasses.replace(
        memory,
        keys=_put(memory.keys, batch, slot, new_key, wanted),
        values=_put(memory.values, batch, slot, new_value, wanted),
        strength=_put(memory.strength, batch, slot, total, wanted),
        use=_put(memory.use, batch, slot, torch.where(merges, memory.use[batch, slot], 0.0), wanted),
        touched=_put(memory.touched, batch, slot, torch.full_like(gate, chunk), wanted),
        cluster=cluster,
    )


def _choose_slot(
    memory: LavaMemory, options: LavaOptions, key_BHK: torch.Tensor, chunk: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(slot [B], whether the pair merges there [B])."""
    empty = memory.strength <= 0
    cosine = torch.einsum("bmhk,bhk->bm", memory.keys, key_BHK).detach() / options.heads
    closest = cosine.masked_fill(empty, NOWHERE).max(1)
    recency = 0.5 ** ((chunk - memory.touched) / options.half_life)
    worth = ((memory.strength.detach() + memory.use) * recency).masked_fill(empty, -1.0)
    merges = closest.values > options.merge_cosine
    return torch.where(merges, closest.indices, worth.argmin(1)), merges


def _put(
    target: torch.Tensor, batch: torch.Tensor, slot: torch.Tensor, new: torch.Tensor, wanted: torch.Tensor
) -> torch.Tensor:
    """`target` with `new` [B, ...] in each sequence's slot, where wanted."""
    shape = (-1, *[1] * (new.dim() - 1))
    return target.index_put((batch, slot), torch.where(wanted.reshape(shape), new, target[batch, slot]))


def centroids(memory: LavaMemory, options: LavaOptions) -> tuple[torch.Tensor, torch.Tensor]:
    """(mean keys [B, C, H, K] of unit length per head, zero where empty; members [B, C])."""
    member = torch.nn.functional.one_hot(memory.cluster, options.clusters) * (memory.strength > 0)[..., None]
    member = member.to(memory.keys.dtype)
    sums = torch.einsum("bmc,bmhk->bchk", member, memory.keys.detach())
    return unit(sums), member.sum(1)


def _near_clusters(q_BTHK: torch.Tensor, options: LavaOptions, memory: LavaMemory) -> torch.Tensor:
    """[B, T, C] bool: the `cluster_top` clusters whose centroids are most like the query, heads together."""
    means, members = centroids(memory, options)
    likeness = torch.einsum("bthk,bchk->btc", q_BTHK, means).masked_fill((members == 0)[:, None], NOWHERE)
    top = likeness.topk(min(options.cluster_top, options.clusters), dim=-1).indices
    return torch.zeros_like(likeness, dtype=torch.bool).scatter(2, top, True)


def _choose_cluster(
    memory: LavaMemory, options: LavaOptions, key_BHK: torch.Tensor, slot_B: torch.Tensor
) -> torch.Tensor:
    """[B]: the most similar cluster with room; an empty one where none is similar. The evicted pair has left."""
    batch = torch.arange(len(slot_B), device=slot_B.device)
    left = dataclasses.replace(
        memory, strength=memory.strength.detach().index_put((batch, slot_B), memory.strength.new_zeros(()))
    )
    means, members = centroids(left, options)
    likeness = torch.einsum("bchk,bhk->bc", means, key_BHK.detach()) / options.heads
    likeness = likeness.masked_fill(members == 0, OPEN_BELOW).masked_fill(members >= options.cluster_slots, NOWHERE)
    return likeness.argmax(1)
