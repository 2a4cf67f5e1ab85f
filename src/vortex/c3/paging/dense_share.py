"""Which tiles of a dense model stay in memory: a sweep reads all of them in a fixed order, so nothing is learned.

A cyclic scan defeats every recency policy (LRU over a cycle longer than the cache hits nothing). Pinning C of N bytes
saves C / N of every sweep, which no order beats by more than one tile. The pinned tiles are spread evenly, so that the
disk always has something to read while pinned tiles are computed.
"""

from __future__ import annotations

from collections.abc import Sequence


def spread_pinned(item_bytes: Sequence[int], pinned_budget_bytes: int) -> frozenset[int]:
    """Indices to pin: never more than the budget, and as even along the sweep as sizes allow.

    Walks the sweep with an error accumulator, so every stretch of the sweep holds its share; what is left of the
    budget is then filled with the largest items that still fit.
    """
    total_bytes = sum(item_bytes)
    if total_bytes <= pinned_budget_bytes:
        return frozenset(range(len(item_bytes)))
    share = max(0, pinned_budget_bytes) / total_bytes if total_bytes else 0.0
    pinned: set[int] = set()
    used_bytes, owed_bytes = 0, 0.0
    for index, num_bytes in enumerate(item_bytes):
        owed_bytes += share * num_bytes
        if owed_bytes >= num_bytes / 2 and used_bytes + num_bytes <= pinned_budget_bytes:
            pinned.add(index)
            used_bytes += num_bytes
            owed_bytes -= num_bytes
    for index in sorted(range(len(item_bytes)), key=lambda i: (-item_bytes[i], i)):
        if index not in pinned and used_bytes + item_bytes[index] <= pinned_budget_bytes:
            pinned.add(index)
            used_bytes += item_bytes[index]
    return frozenset(pinned)


def smallest_budget(item_bytes: Sequence[int], ring_items: int) -> int:
    """Bytes below which the largest items do not fit the ring of streaming buffers."""
    return ring_items * max(item_bytes, default=0)
