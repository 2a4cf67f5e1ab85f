"""Coarse to fine reads of LAVA's slots against exact ones: what they find, and what they cost.

Slots are filled with keys in loose groups, as keys of text are; queries are noisy copies of stored keys. Recall is the
share of queries whose best slot, found exactly, is among the candidates. Times take turns.
"""

from __future__ import annotations

import dataclasses
import statistics
import time

import numpy as np

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Curves, Report
from vortex.vblocks.config import CoreConfig
from vortex.vblocks.step.lava_slots import LavaSlots
from vortex.vblocks.step.math import unit

SLOTS = (256, 1024, 4096, 16384)
QUERIES = 200
NOISE = 0.4  # of a query beside the key it looks for
GROUP_SPREAD = 0.8  # of a key around the middle of its group


class ClustersMeasurement:
    def __init__(self, *, slots: tuple[int, ...] = SLOTS, queries: int = QUERIES) -> None:
        self.slots, self.queries = slots, queries
        self.base = CoreConfig(
            vocab_size=1,
            lava_heads=2,
            lava_key_dim=32,
            lava_value_dim=32,
            lava_slots=slots[0],
            lava_merge_cosine=2.0,
        ).lava

    def check(self) -> None:
        """With all clusters looked into, a coarse to fine read is the exact one."""
        exact, coarse, queries = self._filled(256, clusters=16, top=16)
        gamma, null = np.full(2, 20, np.float32), np.zeros(2, np.float32)
        for query in queries[:20]:
            if not np.allclose(exact.read(query, gamma, null)[0], coarse.read(query, gamma, null)[0], atol=1e-4):
                raise CheckFailed("a coarse to fine read over all clusters differs from the exact one")

    def measure(self) -> Report:
        rows, figures = [], {}
        lines: dict[str, list[tuple[float, float]]] = {"exact": [], "coarse to fine": []}
        for slots in self.slots:
            clusters = 2 ** round(np.log2(slots**0.5))
            top = max(2, clusters // 8)
            exact, coarse, queries = self._filled(slots, clusters=clusters, top=top)
            exact_us, coarse_us = self._times(exact, coarse, queries)
            found = self._recall(exact, coarse, queries)
            rows.append([f"{slots:,}", f"{top} of {clusters}", f"{found:.1%}", f"{exact_us:.0f}", f"{coarse_us:.0f}"])
            figures[slots] = {"recall": found, "exact_us": exact_us, "coarse_us": coarse_us, "clusters": clusters}
            lines["exact"].append((slots, exact_us))
            lines["coarse to fine"].append((slots, coarse_us))
        return Report(
            name="core clusters",
            title="LAVA reads, exact and coarse to fine: the best slot found, microseconds per read (median)",
            columns=["slots", "clusters read", "recall", "exact", "coarse to fine"],
            rows=rows,
            figures={"by_slots": figures},
            curves=Curves("slots", "microseconds per read", lines),
        )

    def _filled(self, slots: int, *, clusters: int, top: int) -> tuple[LavaSlots, LavaSlots, np.ndarray]:
        """(exact, clustered, queries [N, H, K]) over the same pairs."""
        random = np.random.default_rng(slots)
        shape = (self.base.heads, self.base.key_dim)
        groups = unit(random.standard_normal((max(4, slots // 32), *shape)).astype(np.float32))
        keys = groups[random.integers(len(groups), size=slots)]
        scale = np.float32(GROUP_SPREAD / self.base.key_dim**0.5)
        keys = unit(keys + scale * random.standard_normal(keys.shape).astype(np.float32))
        options = dataclasses.replace(self.base, slots=slots)
        exact = LavaSlots.empty(options)
        coarse = LavaSlots.empty(dataclasses.replace(options, clusters=clusters, cluster_top=top))
        value = np.ones((self.base.heads, self.base.value_dim), np.float32)
        for number, key in enumerate(keys):
            for memory in (exact, coarse):
                memory.write(key, value, np.float32(1), number)
        noise = np.float32(NOISE / self.base.key_dim**0.5) * random.standard_normal((self.queries, *shape))
        return exact, coarse, unit(keys[random.integers(slots, size=self.queries)] + noise.astype(np.float32))

    def _recall(self, exact: LavaSlots, coarse: LavaSlots, queries: np.ndarray) -> float:
        hits, slots = 0, exact.options.slots
        for query in queries:
            likeness = np.matmul(exact.keys, query[:, :, None])[..., 0].sum(axis=0)
            hits += int(likeness.argmax()) in np.arange(slots)[coarse.candidates(query)]
        return hits / len(queries)

    def _times(self, exact: LavaSlots, coarse: LavaSlots, queries: np.ndarray) -> tuple[float, float]:
        gamma, null = np.full(2, 20, np.float32), np.zeros(2, np.float32)
        taken: tuple[list[float], list[float]] = ([], [])
        for query in queries:
            for memory, times in zip((exact, coarse), taken, strict=True):
                started = time.perf_counter()
                memory.read(query, gamma, null)
                times.append(1e6 * (time.perf_counter() - started))
        return statistics.median(taken[0]), statistics.median(taken[1])
