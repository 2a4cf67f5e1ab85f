"""What LAVA's two forms have in common: its options, and the order in which pairs are written.

Their defaults are those of a core's `lava_*` fields (config.py); a setting of `vortex_model` changes them by name.
"""

from __future__ import annotations

from dataclasses import dataclass

OPEN_BELOW = 0.5  # a key less like every centroid than this opens an empty cluster while there is one
CLUSTER_FILL = 2  # a cluster holds at most this many times its fair share of the slots


@dataclass(frozen=True, slots=True, kw_only=True)
class LavaOptions:
    """slots: pairs that are kept. write_every: tokens of a chunk; writes: pairs of it that are written at most.

    write_on_surprise: of those only the ones whose surprise times write gate exceeds `surprise_threshold`.
    rank: what chooses them, `surprise` (times the write gate) or, to compare with, the write `gate` alone or `random`.
    read_every: tokens per read; between reads the last one is kept.
    top_k: slots per read, 0: all. clusters: coarse to fine over this many, `cluster_top` of them looked into; 0: exact.
    merge_cosine: more similar keys share a slot. half_life: chunks after which an unused pair counts half.
    """

    heads: int
    key_dim: int
    value_dim: int
    slots: int
    write_every: int
    writes: int
    write_on_surprise: bool
    surprise_threshold: float
    rank: str
    read_every: int
    top_k: int
    clusters: int
    cluster_top: int
    merge_cosine: float
    half_life: float

    @property
    def writes_per_chunk(self) -> int:
        return min(self.writes, self.write_every)

    @property
    def cluster_slots(self) -> int:
        """Most slots of one cluster."""
        return -(-CLUSTER_FILL * self.slots // max(1, self.clusters))


def random_rank(position: int) -> float:
    """A number in [0, 1) that depends on the token's position alone."""
    return ((position * 2654435761 + 12345) & 0xFFFFFFFF) / 2**32
