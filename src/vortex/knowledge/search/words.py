"""Search by words: BM25 by SQLite's FTS5 over the store's own terms.

A query's rarest terms decide: common ones are left out once the passages to rank would be more than MAX_RANKED, which
keeps a search among 100,000 passages at milliseconds.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

import numpy as np

from vortex.knowledge.store.store import KnowledgeStore
from vortex.knowledge.terms import query_terms, terms

MAX_RANKED = 20_000
HEADING_WEIGHT = 2.0
SMALL_STORE = 1000  # passages; in a smaller store a word that is nowhere would outweigh all that are found
_IDENTIFIER = re.compile(r"\b(?:\w+_\w+|[^\W\d_]+\d\w*|[a-z]+[A-Z]\w*)\b")


@dataclass(frozen=True, slots=True)
class WeighedTerms:
    """A query's terms with their inverse document frequency, rarest first; one that no passage has weighs the most."""

    weights: dict[str, float]
    counts: dict[str, int]
    identifiers: frozenset[str] = frozenset()

    def names_exactly(self, text: str) -> bool:
        """Whether one of the question's identifiers (`max_tokens`, `maxTokens`, `sha256`) stands in the text."""
        return bool(self.identifiers) and not self.identifiers.isdisjoint(terms(text))

    def coverage(self, text: str) -> float:
        """The share of the query's weight whose terms are in the text, 0 to 1."""
        total = sum(self.weights.values())
        here = set(terms(text))
        return sum(weight for term, weight in self.weights.items() if term in here) / total if total else 0.0


def weigh(store: KnowledgeStore, query: str) -> WeighedTerms:
    wanted = query_terms(query)
    rows = store.connection.execute(
        "SELECT term, doc FROM word_counts WHERE term IN (SELECT value FROM json_each(?))", (json.dumps(wanted),)
    )
    counts = dict.fromkeys(wanted, 0) | dict(rows)
    passages = int(store.connection.execute("SELECT count(*) FROM passages").fetchone()[0])
    passages = max(passages, SMALL_STORE)
    weights = {term: math.log(1 + (passages - count + 0.5) / (count + 0.5)) for term, count in counts.items()}
    named = frozenset(term for word in _IDENTIFIER.findall(query) for term in terms(word)[:1])
    return WeighedTerms(dict(sorted(weights.items(), key=lambda item: -item[1])), counts, named)


def nearest_by_words(
    store: KnowledgeStore, weighed: WeighedTerms, limit: int, allowed_ids: np.ndarray | None = None
) -> list[int]:
    """Ids of passages, best first."""
    chosen: list[str] = []
    ranked = 0
    for term in weighed.weights:
        count = weighed.counts[term]
        if count and (not chosen or ranked + count <= MAX_RANKED):
            chosen.append(term)
            ranked += count
    if not chosen:
        return []
    match = " OR ".join(f'"{term}"' for term in chosen)
    if allowed_ids is None:
        rows = store.connection.execute(_BEST, (match, HEADING_WEIGHT, limit))
    else:
        rows = store.connection.execute(_BEST_OF, (match, json.dumps(allowed_ids.tolist()), HEADING_WEIGHT, limit))
    return [int(passage_id) for (passage_id,) in rows]


_BEST = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY bm25(words, ?, 1.0), rowid LIMIT ?"
_BEST_OF = (
    "SELECT rowid FROM words WHERE words MATCH ? AND rowid IN (SELECT value FROM json_each(?))"
    " ORDER BY bm25(words, ?, 1.0), rowid LIMIT ?"
)
