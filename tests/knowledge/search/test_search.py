"""By words, by meaning, fused; filters; and nothing where nothing is near."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from vortex.knowledge.embedding import HashEmbedder
from vortex.knowledge.ingest.ingest import Ingest, IngestOptions, embed_pending
from vortex.knowledge.search.fusion import fuse
from vortex.knowledge.search.search import Hit, KnowledgeSearch, SearchOptions
from vortex.knowledge.search.vectors import VectorIndex
from vortex.knowledge.store.reading import Filter
from vortex.knowledge.store.store import KnowledgeStore
from vortex.knowledge.terms import query_terms, stem, terms


@pytest.fixture
def search(store: KnowledgeStore, folder: Path, embedder: HashEmbedder) -> KnowledgeSearch:
    (folder / "code.py").write_text("def connect(max_retries=7):\n    return open_socket(max_retries)\n")
    Ingest(store, IngestOptions()).add(folder)
    embed_pending(store, embedder)
    return KnowledgeSearch(store, embedder)


def names(hits: list[Hit]) -> list[str]:
    return [Path(hit.passage.path).name for hit in hits]


@pytest.mark.parametrize(
    ("query", "file"),
    [
        ("How long does the green tea draw?", "tea.md"),
        ("which lamp hangs from a hook", "lamp.txt"),
        ("¿Cuándo se podan los rosales?", "jardín.md"),
        ("cuando se poda el rosal", "jardín.md"),
        ("maxRetries", "code.py"),
    ],
)
@pytest.mark.parametrize("mode", ["words", "fused"])
def test_the_right_passage_comes_first(search: KnowledgeSearch, query: str, file: str, mode: str) -> None:
    hits = search.search(query, SearchOptions(mode=mode, similarity=0.2, coverage=0.3))
    assert names(hits)[0] == file
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.parametrize("query", ["Who won the world cup in 1998?", "¿Quién ganó el mundial?", "", "  ", "?!"])
def test_nothing_near_gives_nothing(search: KnowledgeSearch, query: str) -> None:
    assert search.search(query) == []


@pytest.mark.parametrize(
    "query", ['tea" OR "lamp', "tea AND NOT (lamp", "NEAR(tea, 2)", "tea*", "x' OR 1=1 --", "a" * 3000]
)
def test_signs_of_a_query_language_are_words(search: KnowledgeSearch, query: str) -> None:
    assert len(search.search(query, SearchOptions(similarity=-1, coverage=0))) <= 5


def test_filters_by_source_and_date(search: KnowledgeSearch, folder: Path, store: KnowledgeStore) -> None:
    def found(**fields: object) -> list[str]:
        wanted = Filter(**fields)
        return sorted(names(search.search("the tea lamp", SearchOptions(filter=wanted, similarity=-1, coverage=0))))

    assert found(sources=(str(folder / "sub"),)) == ["lamp.txt"]
    assert found(sources=("tea.md",)) == ["tea.md"]
    assert found(sources=("sub/lamp.txt", "tea.md")) == ["lamp.txt", "tea.md"]
    assert found(sources=("ub/lamp.txt",)) == []
    assert found(sources=()) == []
    os.utime(folder / "tea.md", (1000, 1000))
    Ingest(store, IngestOptions()).sync()
    assert found(until=2000.0) == ["tea.md"]
    assert "tea.md" not in found(since=time.time() - 1000)


def test_without_an_embedder_words_decide(store: KnowledgeStore, search: KnowledgeSearch) -> None:
    hits = KnowledgeSearch(store, None).search("green tea draws minutes")
    assert names(hits) == ["tea.md"]
    assert hits[0].similarity is None


def test_vectors_of_another_embedder_are_not_asked(store: KnowledgeStore, search: KnowledgeSearch) -> None:
    class Other(HashEmbedder):
        name = "other"

    assert KnowledgeSearch(store, Other()).search("green tea draws minutes")[0].similarity is None


def test_a_reranker_has_the_last_word(store: KnowledgeStore, search: KnowledgeSearch, embedder: HashEmbedder) -> None:
    class Shortest:
        def scores(self, query: str, texts: list[str]) -> list[float]:
            return [-len(text) for text in texts]

    hits = KnowledgeSearch(store, embedder, Shortest()).search(
        "the tea lamp", SearchOptions(similarity=-1, coverage=0, rerank=4)
    )
    lengths = [len(hit.passage.text) for hit in hits]
    assert lengths == sorted(lengths)
    assert len(lengths) > 1


def test_the_index_follows_the_store(store: KnowledgeStore, search: KnowledgeSearch, folder: Path) -> None:
    index = VectorIndex()
    index.refresh(store)
    before = len(index.ids)
    (folder / "tea.md").unlink()
    (folder / "roof.txt").write_text("The roof is flat.")
    Ingest(store, IngestOptions()).sync()
    embed_pending(store, HashEmbedder())
    index.refresh(store)
    fresh = VectorIndex()
    fresh.refresh(store)
    query = HashEmbedder().vectors(["the roof is flat"])[0]
    assert len(index.ids) == before
    assert index.nearest(query, 3) == fresh.nearest(query, 3)


def test_the_scan_is_exact(store: KnowledgeStore, search: KnowledgeSearch) -> None:
    index = VectorIndex()
    index.refresh(store)
    query = HashEmbedder().vectors(["lamp in the hall"])[0]
    scores = index.similarities(query)
    order = np.argsort(-scores, kind="stable")
    assert [number for number, _ in index.nearest(query, 2)] == [int(index.ids[i]) for i in order[:2]]
    assert np.allclose(index.similarity_of(index.ids, query), scores, atol=1e-6)
    assert np.isnan(index.similarity_of(np.array([999_999]), query)).all()


def test_faiss_finds_what_the_scan_finds(store: KnowledgeStore, search: KnowledgeSearch) -> None:
    pytest.importorskip("faiss")
    exact, by_faiss = VectorIndex(), VectorIndex(faiss_from=1)
    exact.refresh(store)
    by_faiss.refresh(store)
    query = HashEmbedder().vectors(["lamp in the hall"])[0]
    assert [n for n, _ in by_faiss.nearest(query, 3)] == [n for n, _ in exact.nearest(query, 3)]


def test_fusion_by_ranks() -> None:
    assert fuse([[1, 2, 3], [1, 3, 9]])[0] == (1, 1.0)
    assert [item for item, _ in fuse([[1, 2, 3], [1, 3, 9]])] == [1, 3, 2, 9]
    assert fuse([[], []]) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [("servidor", "servidores"), ("file", "files"), ("query", "queries"), ("class", "classes"), ("luz", "luz")],
)
def test_singular_and_plural_meet(one: str, other: str) -> None:
    assert stem(one) == stem(other)


def test_identifiers_are_found_by_their_parts() -> None:
    assert {"max", "token", "max_token"} <= set(terms("max_tokens"))
    assert {"max", "token"} <= set(terms("maxTokens"))
    assert terms("MAÑANA")[0] == terms("manana")[0]
    assert query_terms("what is the lamp?") == ["lamp"]
    assert query_terms("what is it?") == ["what", "is", "it"]
