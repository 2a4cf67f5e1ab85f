"""Rows of different lengths as one row: no place is computed that is not a token.

Each row's positions begin at zero, by which transformers tells one row from the next: no token sees another row's.
Shapes: M tokens of all rows, N places that are asked for, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch

CHANGED_LOGITS = ("final_logit_softcapping", "logits_scaling", "logit_scale")  # what a model does behind its last layer


@dataclass(frozen=True, slots=True)
class Packed:
    """ids, positions: int64 [1, M]. starts: where each row begins."""

    ids_1M: torch.Tensor
    positions_1M: torch.Tensor
    starts: Sequence[int]

    @property
    def num_tokens(self) -> int:
        return self.ids_1M.shape[1]


def packed(rows: Sequence[Sequence[int]], device: torch.device) -> Packed:
    ids = [token for row in rows for token in row]
    positions = [position for row in rows for position in range(len(row))]
    starts = list(accumulate((len(row) for row in rows[:-1]), initial=0))
    return Packed(_row(ids, device), _row(positions, device), starts)


def logits_at(model: Any, rows: Packed, places_N: torch.Tensor) -> torch.Tensor:
    """float32 [N, V] behind some places alone: a vocabulary is wide, and most places teach nothing."""
    inputs = {"input_ids": rows.ids_1M, "position_ids": rows.positions_1M, "use_cache": False}
    if any(getattr(model.config, name, None) for name in CHANGED_LOGITS):
        whole: torch.Tensor = model(**inputs).logits
        return whole[0, places_N].float()
    hidden_MD = model.model(**inputs).last_hidden_state[0]
    logits: torch.Tensor = model.get_output_embeddings()(hidden_MD[places_N])
    return logits.float()


def _row(values: Sequence[int], device: torch.device) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64, device=device)[None]
