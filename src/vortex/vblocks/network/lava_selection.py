"""Which pairs of a chunk are written: the most surprising ones, weighed by their write gate.

Shapes: B sequences, T tokens, N chunks of C tokens, W of them written, H, K, V as in vblocks/network/lava.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vortex.vblocks.lava_options import LavaOptions


@dataclass(frozen=True, slots=True)
class Queries:
    """What a read needs: q [B, T, H, K] of unit length, gamma [H], null_logit [H], null_value [H, V]."""

    q: torch.Tensor
    gamma: torch.Tensor
    null_logit: torch.Tensor
    null_value: torch.Tensor


@dataclass(frozen=True, slots=True)
class Pairs:
    """keys [B, T, H, K] of unit length, values [B, T, H, V], log_gate [B, T] (log sigmoid), surprise [B, T]."""

    keys: torch.Tensor
    values: torch.Tensor
    log_gate: torch.Tensor
    surprise: torch.Tensor

    def part(self, start: int, stop: int) -> Pairs:
        return Pairs(*(getattr(self, name)[:, start:stop] for name in self.__slots__))

    def gather(self, index_BN: torch.Tensor) -> Pairs:
        """Rows `index_BN` of each sequence."""

        def take(part: torch.Tensor) -> torch.Tensor:
            index = index_BN.reshape(*index_BN.shape, *[1] * (part.dim() - 2)).expand(-1, -1, *part.shape[2:])
            return part.gather(1, index)

        return Pairs(*(take(getattr(self, name)) for name in self.__slots__))


def write_scores(pairs: Pairs) -> torch.Tensor:
    """[B, T] float32 without gradient: surprise times the open share of the write gate."""
    return pairs.surprise.detach() * pairs.log_gate.detach().exp()


def selection_ranks(pairs: Pairs, options: LavaOptions, first_position: int) -> torch.Tensor:
    """[B, T] float32: the highest of a chunk are written, ties to the earlier token."""
    if options.rank == "random":
        positions = torch.arange(pairs.surprise.shape[1], device=pairs.surprise.device) + first_position
        ranks = ((positions * 2654435761 + 12345) & 0xFFFFFFFF).to(torch.float64) / 2**32
        return ranks.float() + 16 * pairs.surprise  # whose place noise took in training, else nothing
    if options.rank == "gate":
        return pairs.log_gate.detach()
    return write_scores(pairs)


def select_pairs(pairs: Pairs, options: LavaOptions) -> tuple[Pairs, torch.Tensor]:
    """Of every whole chunk, the pairs that it writes, [B, N * W, ...] in the order of time, and which count, bool."""
    whole = pairs.surprise.shape[1] // options.write_every * options.write_every
    pairs, writes = pairs.part(0, whole), options.writes_per_chunk
    if writes == options.write_every:
        chosen = pairs
    else:
        scores = selection_ranks(pairs, options, 0).unflatten(1, (-1, options.write_every))
        inside = torch.sort(scores, dim=-1, descending=True, stable=True).indices[..., :writes].sort(-1).values
        first = torch.arange(scores.shape[1], device=inside.device)[:, None] * options.write_every
        chosen = pairs.gather((inside + first).flatten(1))
    alive = torch.ones_like(chosen.surprise, dtype=torch.bool)
    if options.write_on_surprise:
        alive = write_scores(chosen) > options.surprise_threshold
    return chosen, alive
