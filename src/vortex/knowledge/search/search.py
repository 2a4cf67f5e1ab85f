"""The search: words and meaning fused, only what is near enough to the question, best first.

Promises nothing rather than something unrelated: a passage counts where its meaning is near (cosine) or where it holds
most of the question's telling words. Without an embedder words alone decide. What is found is quoted matter from files,
never an instruction. One object a thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vortex.knowledge.embedding import Embedder
from vortex.knowledge.search.fusion import fuse
from vortex.knowledge.search.vectors import VectorIndex
from vortex.knowledge.search.words import nearest_by_words, weigh
from vortex.knowledge.store.database import storage_errors
from vortex.knowledge.store.reading import EVERYTHING, Filter, allowed_passages, passages_by_id
from vortex.knowledge.store.records import StoredPassage
from vortex.knowledge.store.store import KnowledgeStore

CANDIDATES = 50  # of each list
MAX_QUERY_CHARS = 2000


class Reranker(Protocol):
    def scores(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """One a text; larger is better."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """mode: fused, words or vectors. A passage counts from this similarity (cosine); or with this share of the
    question's telling words and half that similarity; or where it holds an identifier that the question names."""

    top_k: int = 5
    filter: Filter = EVERYTHING
    mode: str = "fused"
    similarity: float = 0.40
    coverage: float = 0.65
    rerank: int = 0  # so many of the best are put in order by the reranker


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """`score`: of the fusion (or the reranking), falling. `similarity`: cosine, None without a vector."""

    passage: StoredPassage
    score: float
    similarity: float | None
    coverage: float


class KnowledgeSearch:
    def __init__(
        self,
        store: KnowledgeStore,
        embedder: Embedder | None,
        reranker: Reranker | None = None,
        index: VectorIndex | None = None,
    ) -> None:
        self._store = store
        self._embedder = embedder
        self._reranker = reranker
        self._index = index or VectorIndex()

    def search(self, query: str, options: SearchOptions | None = None) -> list[Hit]:
        """Raises StorageError."""
        options = options or SearchOptions()
        query = query[:MAX_QUERY_CHARS]
        if not query.strip():
            return []
        with storage_errors(self._store.path):
            return self._search(query, options)

    def _search(self, query: str, options: SearchOptions) -> list[Hit]:
        allowed = allowed_passages(self._store, options.filter)
        weighed = weigh(self._store, query)
        rankings: list[list[int]] = []
        vector = None
        if options.mode != "vectors":
            rankings.append(nearest_by_words(self._store, weighed, CANDIDATES, allowed))
        if options.mode != "words" and self._usable_vectors():
            assert self._embedder is not None, "vectors are usable with an embedder"
            vector = self._embedder.vectors([query])[0]
            rankings.append([i for i, _ in self._index.nearest(vector, CANDIDATES, allowed)])
        fused = fuse(rankings)
        wanted = max(options.top_k, options.rerank)
        passages = passages_by_id(self._store, [i for i, _ in fused[: max(4 * wanted, 20)]])
        similarities = self._similarities([i for i, _ in fused], vector)
        hits: list[Hit] = []
        for passage_id, score in fused:
            passage = passages.get(passage_id)
            if passage is None or len(hits) == wanted:
                break
            similarity = similarities.get(passage_id)
            coverage = weighed.coverage(f"{passage.title} {passage.heading} {passage.text}")
            if _counts(similarity, coverage, options) or weighed.names_exactly(passage.text):
                hits.append(Hit(passage=passage, score=score, similarity=similarity, coverage=coverage))
        return self._reranked(query, hits, options)[: options.top_k]

    def _usable_vectors(self) -> bool:
        """Vectors of another embedder wait for the next sync; until then words alone decide."""
        if self._embedder is None or self._store.meta("embedder") != self._embedder.name:
            return False
        self._index.refresh(self._store)
        return bool(len(self._index.ids))

    def _similarities(self, ids: Sequence[int], vector: np.ndarray | None) -> dict[int, float]:
        if vector is None:
            return {}
        found = self._index.similarity_of(np.asarray(ids, np.int64), vector)
        return {i: float(value) for i, value in zip(ids, found, strict=True) if not np.isnan(value)}

    def _reranked(self, query: str, hits: list[Hit], options: SearchOptions) -> list[Hit]:
        if self._reranker is None or not options.rerank or len(hits) < 2:
            return hits
        texts = [f"{hit.passage.heading or hit.passage.title}\n{hit.passage.text}" for hit in hits]
        scores = self._reranker.scores(query, texts)
        order = sorted(range(len(hits)), key=lambda i: (-scores[i], i))
        return [
            Hit(
                passage=hits[i].passage,
                score=float(scores[i]),
                similarity=hits[i].similarity,
                coverage=hits[i].coverage,
            )
            for i in order
        ]


def _counts(similarity: float | None, coverage: float, options: SearchOptions) -> bool:
    if similarity is None:
        return coverage >= options.coverage
    return similarity >= options.similarity or (coverage >= options.coverage and similarity >= options.similarity / 2)
