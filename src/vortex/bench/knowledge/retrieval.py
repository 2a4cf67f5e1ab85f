"""`vortex bench knowledge retrieval`: is the passage that answers among the first five, by words, meaning, both?

recall@5: share of questions with a right passage among five. MRR: mean of 1/rank of the first right one within ten.
Differences are judged by a paired bootstrap over the questions: the share of 10,000 resamplings in which the fusion is
not better. The threshold is off: every method may give its ten.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vortex.bench.knowledge.corpus import PACKAGES, Question, questions, versions, write_documents
from vortex.bench.knowledge.spanish import write_texts
from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.knowledge.embedding import Embedder
from vortex.knowledge.ingest.ingest import Ingest, IngestOptions, embed_pending
from vortex.knowledge.search.search import Hit, KnowledgeSearch, Reranker, SearchOptions
from vortex.knowledge.store.store import KnowledgeStore

DEPTH = 10
RESAMPLINGS = 10_000
OPEN = SearchOptions(top_k=DEPTH, similarity=-1.0, coverage=0.0)


@dataclass(frozen=True, slots=True)
class SearchSet:
    """A store with the documentation of packages in it, and questions to it."""

    store: KnowledgeStore
    asked: list[Question]
    ingest_s: float
    embed_s: float
    embedded: int


def prepare(folder: Path, embedder: Embedder, *, spanish: bool = False) -> SearchSet:
    """Made in `folder`, or found there from an earlier run. spanish: the small set of texts in Spanish."""
    folder = folder / "es" if spanish else folder
    documents = folder / "documents"
    asked = write_texts(documents) if spanish else questions(write_documents(documents))
    store = KnowledgeStore(folder / "knowledge.sqlite3")
    started = time.perf_counter()
    Ingest(store, IngestOptions()).add(documents)
    ingested = time.perf_counter()
    embedded, _ = embed_pending(store, embedder)
    return SearchSet(store, asked, ingested - started, time.perf_counter() - ingested, embedded)


@dataclass(slots=True)
class RetrievalMeasurement:
    """reranker None: that row is left out. rerank_questions: so many of the questions are reranked, evenly drawn.
    spanish: the small Spanish set, not the packages' documentation."""

    folder: Path
    embedder: Embedder
    reranker: Reranker | None = None
    rerank_questions: int = 60
    spanish: bool = False
    found: SearchSet | None = None

    def check(self) -> None:
        """The set is large enough, and every question's passage is in the store."""
        self.found = prepare(self.folder, self.embedder, spanish=self.spanish)
        least = 80 if self.spanish else 300
        if len(self.found.asked) < least:
            raise CheckFailed(f"only {len(self.found.asked)} questions; {least} are needed")
        files = {row[0] for row in self.found.store.connection.execute("SELECT path FROM documents")}
        missing = [question.file for question in self.found.asked if question.file not in files]
        if missing:
            raise CheckFailed(f"{len(missing)} questions have no document, first {missing[0]}")

    def measure(self) -> Report:
        assert self.found is not None, "checked before it is measured"
        asked, packages = self.found.asked, ", ".join(PACKAGES)
        search = KnowledgeSearch(self.found.store, self.embedder, self.reranker)
        ranks = {mode: _ranks(search, asked, replace(OPEN, mode=mode)) for mode in ("words", "vectors", "fused")}
        figures: dict[str, object] = {
            "packages": {} if self.spanish else versions(),
            "language": "es" if self.spanish else "en",
            "questions": len(asked),
            "passages": int(self.found.store.connection.execute("SELECT count(*) FROM passages").fetchone()[0]),
            "embedder": self.embedder.name,
            "embedded_now": self.found.embedded,
            "embed_s": round(self.found.embed_s, 1),
        }
        rows = [_row(name, found) for name, found in ranks.items()]
        for other in ("words", "vectors"):
            figures[f"fused_against_{other}"] = bootstrap(ranks["fused"], ranks[other])
        for name, found in ranks.items():
            figures[name] = summary(found)
        if self.reranker is not None:
            rows += self._reranked(search, asked, ranks["fused"], figures)
        return Report(
            "knowledge-retrieval",
            f"{len(asked)} questions {'in Spanish' if self.spanish else f'from the documentation of {packages}'}",
            ("method", "questions", "recall@1", "recall@5", "MRR@10"),
            rows,
            figures,
        )

    def _reranked(
        self, search: KnowledgeSearch, asked: Sequence[Question], fused: np.ndarray, figures: dict[str, object]
    ) -> list[tuple[str, ...]]:
        chosen = np.linspace(0, len(asked) - 1, min(self.rerank_questions, len(asked))).astype(int)
        some = [asked[i] for i in chosen]
        started = time.perf_counter()
        reranked = _ranks(search, some, replace(OPEN, rerank=DEPTH))
        figures["rerank_ms_a_question"] = round(1000 * (time.perf_counter() - started) / len(some))
        figures["reranked"] = summary(reranked)
        figures["fused_on_the_same"] = summary(fused[chosen])
        figures["reranked_against_fused"] = bootstrap(reranked, fused[chosen])
        return [_row("fused, the same questions", fused[chosen]), _row("fused + rerank", reranked)]


def _ranks(search: KnowledgeSearch, asked: Sequence[Question], options: SearchOptions) -> np.ndarray:
    """Rank of the first right passage from 1; infinity where none of the ten is right."""
    return np.array([rank_of(search.search(question.text, options), question) for question in asked])


def rank_of(hits: Sequence[Hit], question: Question) -> float:
    for rank, hit in enumerate(hits, 1):
        passage = hit.passage
        if (
            passage.path == question.file
            and passage.line <= question.lines[1]
            and passage.last_line >= question.lines[0]
        ):
            return float(rank)
    return float("inf")


def summary(ranks: np.ndarray) -> dict[str, float]:
    return {
        "recall_at_1": round(float((ranks <= 1).mean()), 4),
        "recall_at_5": round(float((ranks <= 5).mean()), 4),
        "mrr_at_10": round(float((1 / ranks).mean()), 4),
    }


def bootstrap(better: np.ndarray, other: np.ndarray) -> Mapping[str, float]:
    """One-sided p by resampling questions: how often `better` is not better."""
    draws = np.random.default_rng(0).integers(0, len(better), (RESAMPLINGS, len(better)))
    found = {}
    for name, values in (
        ("recall_at_5", (better <= 5) - (other <= 5).astype(float)),
        ("mrr_at_10", 1 / better - 1 / other),
    ):
        means = values[draws].mean(axis=1)
        found[f"{name}_gain"] = round(float(values.mean()), 4)
        found[f"{name}_p"] = round(float((means <= 0).mean()), 4)
    return found


def _row(name: str, ranks: np.ndarray) -> tuple[str, ...]:
    figures = summary(ranks)
    shares = (f"{figures[key]:.3f}" for key in ("recall_at_1", "recall_at_5", "mrr_at_10"))
    return (name, f"{len(ranks):,}", *shares)
