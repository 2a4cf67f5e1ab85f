"""Which experts a token uses, and how much of each: softmax over all experts, the likeliest k, by expert number."""

from __future__ import annotations

from collections.abc import Sequence

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
