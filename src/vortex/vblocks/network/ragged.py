"""Sequences of different lengths in one batch, as the blocks need them: valid rows first, padding behind.

Shapes: B sequences, T rows, C channels. Padding never changes a state; what it computes is thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Rows:
    """How many rows of each sequence count: valid_BT bool, True rows first; lengths_B int64. None: all of them."""

    valid_BT: torch.Tensor | None = None
    lengths_B: torch.Tensor | None = None


ALL_ROWS = Rows()


def next_tail(padded_BTC: torch.Tensor, tail_rows: int, rows: Rows) -> torch.Tensor:
    """The last `tail_rows` valid rows, where `padded_BTC` is the former tail followed by T new rows."""
    if rows.lengths_B is None:
        return padded_BTC[:, padded_BTC.shape[1] - tail_rows :]
    index_BN = rows.lengths_B[:, None] + torch.arange(tail_rows, device=padded_BTC.device)
    index = index_BN.reshape(*index_BN.shape, *[1] * (padded_BTC.dim() - 2)).expand(-1, -1, *padded_BTC.shape[2:])
    return padded_BTC.gather(1, index)


def compact(x_BTC: torch.Tensor, keep_BT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, Rows]:
    """The kept rows of each sequence moved to the front: (rows [B, longest, C], their places [B, longest], Rows)."""
    lengths_B = keep_BT.sum(1)
    longest = max(1, int(lengths_B.max()))
    places_BN = torch.argsort((~keep_BT).to(torch.int8), dim=1, stable=True)[:, :longest]
    valid_BN = torch.arange(longest, device=x_BTC.device) < lengths_B[:, None]
    kept = x_BTC.gather(1, places_BN[..., None].expand(-1, -1, x_BTC.shape[2]))
    return kept, places_BN, Rows(valid_BN, lengths_B)
