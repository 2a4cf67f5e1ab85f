"""Which experts a token uses, and how much of each: softmax over all experts, the likeliest k, by expert number.

`route` says it for one row; `RoutedBatch` is the same for many, arranged by expert.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Route = list[tuple[int, np.float32]]  # (expert, share), ascending by expert


def route(scores_E: np.ndarray, top_k: int, normalise: bool) -> Route:
    """One row's route. Ties go to the lowest expert. `normalise`: the chosen shares add up to 1."""
    shares = np.exp(scores_E - scores_E.max(), dtype=np.float32)
    shares /= shares.sum(dtype=np.float32)
    chosen = sorted(np.argsort(-scores_E, kind="stable")[:top_k].tolist())
    total = np.float32(sum(shares[expert] for expert in chosen)) if normalise else np.float32(1)
    return [(expert, np.float32(shares[expert] / total)) for expert in chosen]


def rows_of(expert: int, routes: Sequence[Route]) -> tuple[list[int], np.ndarray]:
    """Rows whose route has the expert, and its share in each: float32 [rows]."""
    found = [(row, share) for row, taken in enumerate(routes) for each, share in taken if each == expert]
    return [row for row, _ in found], np.asarray([share for _, share in found], np.float32)


@dataclass(frozen=True, slots=True)
class RoutedBatch:
    """experts: int64 [B, K], ascending in each row. rows, shares: int64 and float32 [B * K], expert by expert."""

    experts_BK: np.ndarray
    rows: np.ndarray
    shares: np.ndarray
    ends: np.ndarray  # int64 [E + 1]: expert e's rows are rows[ends[e] : ends[e + 1]]

    def of(self, expert: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows that the expert sees, ascending, and its share in each."""
        part = slice(self.ends[expert], self.ends[expert + 1])
        return self.rows[part], self.shares[part]


def route_batch(scores_BE: np.ndarray, top_k: int, normalise: bool) -> RoutedBatch:
    """The bits of `route`, row by row; no row's route depends on another's."""
    shares_BE = np.exp(scores_BE - scores_BE.max(-1, keepdims=True), dtype=np.float32)
    shares_BE /= shares_BE.sum(-1, keepdims=True, dtype=np.float32)
    experts_BK = np.sort(np.argsort(-scores_BE, axis=-1, kind="stable")[:, :top_k], axis=-1)
    shares_BK = np.take_along_axis(shares_BE, experts_BK, axis=-1)
    if normalise:
        total_B = shares_BK[:, 0].copy()
        for column in range(1, top_k):  # one after the other, as `route` adds them
            total_B += shares_BK[:, column]
        shares_BK /= total_B[:, None]
    order = np.argsort(experts_BK.ravel(), kind="stable")
    ends = np.searchsorted(experts_BK.ravel()[order], np.arange(scores_BE.shape[1] + 1))
    return RoutedBatch(experts_BK, order // top_k, shares_BK.ravel()[order], ends)
