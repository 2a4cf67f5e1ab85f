"""Rows of different lengths as one row: no place is computed that is not a token, and no token sees another row's.

Each row's positions begin at zero, by which transformers tells one row from the next. `kept_apart` gives models whose
attention can be replaced one that computes each row alone, by plain products: for rows as short as corrections a fused
kernel on a CPU takes five times as long forwards and backwards. Others keep their own attention, with a mask.
Shapes: M tokens of all rows, L of one row, N places that are asked for, H heads, G queries of a key head, D width of a
head, V vocabulary.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import torch
from transformers import AttentionInterface

from vortex.models.hf.spans import can_join, layer_windows

CHANGED_LOGITS = ("final_logit_softcapping", "logits_scaling", "logit_scale")  # what a model does behind its last layer
CHANGED_SCORES = ("attn_logit_softcapping",)
NAME = "vortex_rows"


@dataclass(frozen=True, slots=True)
class Packed:
    """ids, positions: int64 [1, M]. lengths: of the rows."""

    ids_1M: torch.Tensor
    positions_1M: torch.Tensor
    lengths: Sequence[int]

    @property
    def starts(self) -> list[int]:
        return list(accumulate(self.lengths[:-1], initial=0))

    @property
    def num_tokens(self) -> int:
        return self.ids_1M.shape[1]


_lengths: ContextVar[Sequence[int]] = ContextVar("lengths")


def packed(rows: Sequence[Sequence[int]], device: torch.device) -> Packed:
    ids = [token for row in rows for token in row]
    positions = [position for row in rows for position in range(len(row))]
    return Packed(_row(ids, device), _row(positions, device), [len(row) for row in rows])


@contextlib.contextmanager
def kept_apart(model: Any) -> Iterator[bool]:
    """Inside, the model attends row by row (True), or goes on by itself where that would change its meaning."""
    own = model.config._attn_implementation
    plain = not any(getattr(model.config, name, None) for name in CHANGED_SCORES)
    sinks = any(name.rsplit(".", 1)[-1] == "sinks" for name, _ in model.named_parameters())
    if not plain or sinks or not can_join(model, inspect.signature(model.forward).parameters):
        yield False
        return
    model.set_attn_implementation(NAME)
    try:
        yield bool(model.config._attn_implementation == NAME)
    finally:
        model.set_attn_implementation(own)


def logits_at(model: Any, rows: Packed, places_N: torch.Tensor) -> torch.Tensor:
    """float32 [N, V] behind some places alone: a vocabulary is wide, and most places teach nothing."""
    _lengths.set(rows.lengths)
    inputs = {"input_ids": rows.ids_1M, "position_ids": rows.positions_1M, "use_cache": False}
    if any(getattr(model.config, name, None) for name in CHANGED_LOGITS):
        whole: torch.Tensor = model(**inputs).logits
        return whole[0, places_N].float()
    hidden_MD = model.model(**inputs).last_hidden_state[0]
    logits: torch.Tensor = model.get_output_embeddings()(hidden_MD[places_N])
    return logits.float()


def rows_attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any, **options: Any
) -> tuple[torch.Tensor, None]:
    """query [1, H, M, D], key and value [1, H / G, M, D] to [1, M, H, D]. attention_mask: not asked, there is none."""
    lengths = list(_lengths.get())
    window = options.get("sliding_window") or layer_windows(module.config)[module.layer_idx]
    scale = options.get("scaling") or query.shape[-1] ** -0.5
    queries, keys, values = (each[0].split(lengths, dim=1) for each in (query, key, value))
    parts = zip(queries, keys, values, strict=True)
    return torch.cat([_attend(q, k, v, scale, window) for q, k, v in parts])[None], None


def _attend(q_HLD: torch.Tensor, k_KLD: torch.Tensor, v_KLD: torch.Tensor, scale: float, window: int) -> torch.Tensor:
    """[L, H, D] of one row."""
    heads, length, width = q_HLD.shape
    key_heads = k_KLD.shape[0]
    q_KQD = q_HLD.reshape(key_heads, heads // key_heads * length, width) * scale
    scores_KGLL = (q_KQD @ k_KLD.mT).view(key_heads, heads // key_heads, length, length)
    masked = scores_KGLL.float() + _unseen(length, window, q_HLD.device)
    weights_KQL = masked.softmax(-1).to(v_KLD.dtype).view(key_heads, -1, length)
    return (weights_KQL @ v_KLD).view(heads, length, -1).transpose(0, 1)


@lru_cache(maxsize=64)  # a step has a dozen lengths, each met in every layer
def _unseen(length: int, window: int, device: torch.device) -> torch.Tensor:
    """[L, L]: -inf where a token may not look."""
    hidden = torch.ones(length, length, dtype=torch.bool, device=device).triu_(1)
    if 0 < window < length:
        hidden |= torch.ones_like(hidden).tril_(-window)
    return torch.zeros(length, length, device=device).masked_fill_(hidden, float("-inf"))


def _row(values: Sequence[int], device: torch.device) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64, device=device)[None]


AttentionInterface.register(NAME, rows_attention)
