"""LAVA's slots of one sequence in numpy: find, read, write, evict, merge; coarse to fine where there are clusters.

The rules are those of network/lava_memory.py (torch, batched). Slots fill from the first on, so the occupied ones are a
prefix. A read changes only `use`; a write copies the arrays first where an older state still shares them.
Shapes: M slots, H heads, K key width, V value width, C clusters.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np

from vortex.vblocks.lava_options import OPEN_BELOW, LavaOptions
from vortex.vblocks.step.math import unit

NOWHERE = np.float32(-np.inf)


def slots_last(keys_HMK: np.ndarray) -> np.ndarray:
    """The same keys in the memory order [H, K, M]."""
    return np.ascontiguousarray(keys_HMK.transpose(0, 2, 1)).transpose(0, 2, 1)


@dataclass(slots=True)
class LavaSlots:
    """keys [H, M, K], values [H, M, V]; strength, use, touched float32 [M]; cluster int64 [M]; sums [C, H, K].

    In memory a channel of all keys lies together (`slots_last`), as the native core reads them.

    occupied: slots in use. is_shared: an older state may still hold the arrays, so they are copied before a write.
    by_cluster: occupied slots in the order of their clusters, and where each cluster begins; None: not up to date.
    """

    options: LavaOptions
    keys: np.ndarray
    values: np.ndarray
    strength: np.ndarray
    use: np.ndarray
    touched: np.ndarray
    cluster: np.ndarray
    sums: np.ndarray
    occupied: int = 0
    is_shared: bool = False
    by_cluster: tuple[np.ndarray, np.ndarray] | None = None

    @classmethod
    def empty(cls, options: LavaOptions) -> LavaSlots:
        heads, slots = options.heads, options.slots
        return cls(
            options,
            keys=slots_last(np.zeros((heads, slots, options.key_dim), np.float32)),
            values=np.zeros((heads, slots, options.value_dim), np.float32),
            strength=np.zeros(slots, np.float32),
            use=np.zeros(slots, np.float32),
            touched=np.zeros(slots, np.float32),
            cluster=np.zeros(slots, np.int64),
            sums=np.zeros((options.clusters, heads, options.key_dim), np.float32),
        )

    @property
    def num_bytes(self) -> int:
        arrays = (self.keys, self.values, self.strength, self.use, self.touched, self.cluster, self.sums)
        return sum(array.nbytes for array in arrays)

    def share(self) -> LavaSlots:
        """The same slots for a state that goes on; both copy before they write."""
        self.is_shared = True
        shared = copy.copy(self)
        shared.use = self.use.copy()
        return shared

    def read(self, q_HK: np.ndarray, gamma_H: np.ndarray, null_logit_H: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(what is read [H, V] without the null slot's part, the null slot's probability [H])."""
        slots = self.candidates(q_HK)
        keys = self.keys[:, slots]
        logits = np.matmul(keys, q_HK[:, :, None])[..., 0] * gamma_H[:, None]
        logits += np.log(self.strength[slots])
        top = self.options.top_k
        if 0 < top < logits.shape[1]:
            least = np.partition(logits, -top, axis=1)[:, -top, None]
            logits = np.where(logits < least, NOWHERE, logits)
        logits = np.concatenate([null_logit_H[:, None], logits], axis=1)
        share = np.exp(logits - logits.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        self.use[slots] += share[:, 1:].mean(axis=0)
        return np.matmul(share[:, None, 1:], self.values[:, slots])[:, 0], share[:, 0]

    def write(self, key_HK: np.ndarray, value_HV: np.ndarray, gate: np.float32, chunk: int) -> None:
        """One pair: merged with the most similar slot, put into an empty one, or in place of the least worth."""
        self.own()
        slot, merges = self._choose_slot(key_HK, chunk)
        old = self.strength[slot] if merges else np.float32(0)
        total = old + gate
        if self.options.clusters:
            self._leave_cluster(slot)
            if not merges:
                self.cluster[slot] = self._choose_cluster(key_HK, slot)
        if merges:
            share = old / total
            key_HK = unit(self.keys[:, slot] * share + key_HK * (1 - share))
            value_HV = self.values[:, slot] * share + value_HV * (1 - share)
        else:
            self.use[slot] = 0
        self.keys[:, slot], self.values[:, slot] = key_HK, value_HV
        self.strength[slot], self.touched[slot] = total, chunk
        self.occupied = max(self.occupied, slot + 1)
        if self.options.clusters:
            self.sums[self.cluster[slot]] += key_HK
        self.by_cluster = None

    def own(self) -> None:
        """Before a write: the arrays are this state's alone."""
        if self.is_shared:
            self.keys, self.values, self.sums = self.keys.copy("K"), self.values.copy(), self.sums.copy()
            self.strength, self.touched = self.strength.copy(), self.touched.copy()
            self.cluster, self.is_shared = self.cluster.copy(), False

    def _choose_slot(self, key_HK: np.ndarray, chunk: int) -> tuple[int, bool]:
        options, count = self.options, self.occupied
        if count:
            cosine = np.matmul(self.keys[:, :count], key_HK[:, :, None])[..., 0].sum(axis=0) / options.heads
            closest = int(cosine.argmax())
            if cosine[closest] > options.merge_cosine:
                return closest, True
        if count < options.slots:
            return count, False
        recency = np.float32(0.5) ** ((chunk - self.touched) / np.float32(options.half_life))
        return int(((self.strength + self.use) * recency).argmin()), False

    def candidates(self, q_HK: np.ndarray) -> np.ndarray | slice:
        """Occupied slots that a read looks at: all, or those of the nearest clusters, in the order of the clusters."""
        options = self.options
        if not options.clusters or not self.occupied:
            return slice(0, self.occupied)
        if self.by_cluster is None:
            cluster = self.cluster[: self.occupied]
            order = np.argsort(cluster, kind="stable")
            self.by_cluster = order, np.searchsorted(cluster[order], np.arange(options.clusters + 1))
        order, begins = self.by_cluster
        means = unit(self.sums).reshape(options.clusters, -1)
        likeness = np.where(np.diff(begins) > 0, means @ q_HK.reshape(-1), NOWHERE)
        nearest = np.argsort(-likeness, kind="stable")[: options.cluster_top]
        return np.concatenate([order[begins[c] : begins[c + 1]] for c in nearest])

    def _leave_cluster(self, slot: int) -> None:
        if slot < self.occupied:
            self.sums[self.cluster[slot]] -= self.keys[:, slot]

    def _choose_cluster(self, key_HK: np.ndarray, slot: int) -> int:
        """The most similar cluster with room; an empty one where none is similar. `slot` is about to be left."""
        members = np.bincount(self.cluster[: self.occupied], minlength=self.options.clusters)
        if slot < self.occupied:
            members[self.cluster[slot]] -= 1
        likeness = (unit(self.sums) * key_HK).sum(axis=(1, 2)) / self.options.heads
        likeness = np.where(members == 0, np.float32(OPEN_BELOW), likeness)
        likeness = np.where(members >= self.options.cluster_slots, NOWHERE, likeness)
        return int(likeness.argmax())
