"""Reciprocal rank fusion: lists of different makers become one by ranks alone, since their scores do not compare.

Source: Cormack, Clarke and Büttcher, SIGIR 2009 (k = 60).
"""

from __future__ import annotations

from collections.abc import Sequence

K = 60


def fuse(rankings: Sequence[Sequence[int]], k: int = K) -> list[tuple[int, float]]:
    """(id, score), best first; 1.0 is first place in every list. Ties go to the smaller id."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, 1):
            scores[item] = scores.get(item, 0.0) + (k + 1) / (k + rank) / len(rankings)
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))
