"""Search by meaning: every vector is looked at, in int8, so nothing near is missed; FAISS where it is worth it.

Promises the exact order of the stored (rounded) vectors below FAISS_FROM passages, and above where FAISS is not
installed. Memory: width + 4 bytes a passage. Not for two threads at once.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from vortex.knowledge.store.quantised import from_blobs
from vortex.knowledge.store.store import KnowledgeStore

BLOCK_ROWS = 512  # stays in the cache, and below the size from which BLAS would wait for its own threads
FAISS_FROM = 200_000  # docs/knowledge.md: below, the scan is as fast as building and asking FAISS


class VectorIndex:
    """The store's vectors in memory, brought up to date by `refresh`."""

    def __init__(self, *, faiss_from: int = FAISS_FROM) -> None:
        self.ids = np.empty(0, np.int64)  # ascending
        self._codes = np.empty((0, 0), np.int8)
        self._scales = np.empty(0, np.float32)
        self._generation: int | None = None
        self._epoch: str | None = None
        self._faiss_from = faiss_from
        self._faiss: Any = None

    def refresh(self, store: KnowledgeStore) -> None:
        generation, epoch = store.generation(), store.meta("vectors_epoch")
        if generation == self._generation:
            return
        if epoch != self._epoch:
            self.ids, self._codes, self._scales = (
                np.empty(0, np.int64),
                np.empty((0, 0), np.int8),
                np.empty(0, np.float32),
            )
        there = np.fromiter(
            (row[0] for row in store.connection.execute("SELECT passage_id FROM vectors ORDER BY passage_id")), np.int64
        )
        kept = np.isin(self.ids, there, assume_unique=True)
        new = there[~np.isin(there, self.ids, assume_unique=True)]
        if len(new) or not kept.all():
            codes, scales = self._load(store, new)
            if len(self.ids) and kept.any():
                codes = np.concatenate([self._codes[kept], codes]) if len(new) else self._codes[kept]
                scales = np.concatenate([self._scales[kept], scales])
            ids = np.concatenate([self.ids[kept], new])
            order = np.argsort(ids)
            self.ids, self._codes, self._scales = ids[order], codes[order], scales[order]
            self._faiss = None
        self._generation, self._epoch = generation, epoch

    @staticmethod
    def _load(store: KnowledgeStore, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not len(ids):
            return from_blobs([])
        rows = store.connection.execute(
            "SELECT passage_id, vector FROM vectors WHERE passage_id BETWEEN ? AND ? ORDER BY passage_id",
            (int(ids.min()), int(ids.max())),
        )
        wanted = set(ids.tolist())
        return from_blobs([vector for passage_id, vector in rows if passage_id in wanted])

    def similarities(self, query: np.ndarray) -> np.ndarray:
        """query [width] float32. Gives [passages] float32 in the order of `ids`."""
        scores = np.empty(len(self.ids), np.float32)
        for start in range(0, len(scores), BLOCK_ROWS):
            block = self._codes[start : start + BLOCK_ROWS].astype(np.float32)
            scores[start : start + BLOCK_ROWS] = block @ query
        scores *= self._scales
        return scores

    def similarity_of(self, ids: np.ndarray, query: np.ndarray) -> np.ndarray:
        """Of some passages, [len(ids)] float32; NaN for one without a vector."""
        found = np.full(len(ids), np.nan, np.float32)
        if not len(self.ids):
            return found
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        here = self.ids[places] == ids
        rows = self._codes[places[here]].astype(np.float32)
        found[here] = (rows @ query) * self._scales[places[here]]
        return found

    def nearest(self, query: np.ndarray, limit: int, allowed_ids: np.ndarray | None = None) -> list[tuple[int, float]]:
        """(id, cosine), best first. allowed_ids: ascending."""
        if not len(self.ids):
            return []
        if allowed_ids is None and len(self.ids) >= self._faiss_from and self._has_faiss():
            return self._nearest_by_faiss(query, limit)
        scores = self.similarities(query)
        if allowed_ids is not None:
            scores[~np.isin(self.ids, allowed_ids, assume_unique=True)] = -np.inf
        limit = min(limit, len(scores))
        best = np.argpartition(-scores, limit - 1)[:limit]
        best = best[np.lexsort((best, -scores[best]))]
        return [(int(self.ids[i]), float(scores[i])) for i in best if scores[i] > -np.inf]

    @staticmethod
    def _has_faiss() -> bool:
        return importlib.util.find_spec("faiss") is not None

    def _nearest_by_faiss(self, query: np.ndarray, limit: int) -> list[tuple[int, float]]:
        import faiss

        if self._faiss is None:
            width = self._codes.shape[1]
            index = faiss.IndexScalarQuantizer(width, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
            for start in range(0, len(self.ids), 65536):
                rows = self._codes[start : start + 65536].astype(np.float32) * self._scales[start : start + 65536, None]
                if not index.is_trained:
                    index.train(rows)
                index.add(rows)
            self._faiss = index
        scores, places = self._faiss.search(query[None], limit)
        return [(int(self.ids[p]), float(s)) for p, s in zip(places[0], scores[0], strict=True) if p >= 0]
