"""Any embedder of a server: vectors over the wire, long texts in parts, and what is no such server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.server.conftest import running
from vortex.backends.fake import FakeBackend
from vortex.backends.fake_text import embedding
from vortex.cli import knowing
from vortex.config.schema import Settings
from vortex.errors import BackendError, ContextOverflow, DownloadError, UnknownModel
from vortex.hub import names
from vortex.knowledge.ingest.ingest import embed_pending
from vortex.knowledge.search.search import KnowledgeSearch, SearchOptions
from vortex.knowledge.served_embedder import ServedEmbedder
from vortex.knowledge.store.store import KnowledgeStore
from vortex.types import Embeddings

LIMIT_CHARS = 200


class ShortSighted(FakeBackend):
    """Reads so much and no more, as models for embeddings do."""

    async def embed(self, texts: Sequence[str], model: str | None = None) -> Embeddings:
        if any(len(text) > LIMIT_CHARS for text in texts):
            raise ContextOverflow("the text is longer than the model reads")
        return await super().embed(texts, model)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(ShortSighted(name="letters")) as address:
        yield f"{address}/v1"


def test_vectors_come_in_order_and_long_texts_in_parts(url: str) -> None:
    embedder = ServedEmbedder(url, "letters")
    texts = [f"text number {number}" for number in range(70)]
    rows = embedder.vectors(texts)
    np.testing.assert_allclose(rows, [embedding(text) for text in texts], atol=1e-6)
    long = "green tea draws for seven minutes " * 40
    mixed = embedder.vectors(["a", long, ""])
    np.testing.assert_allclose(np.linalg.norm(mixed, axis=1), 1, atol=1e-5)
    assert mixed[1] @ embedding("green tea draws for seven minutes ") > 0.9
    assert embedder.name == f"letters@{url}, {rows.shape[1]} wide"


def test_a_store_is_searched_by_the_servers_model(url: str, tmp_path: Path) -> None:
    from vortex.knowledge.ingest.ingest import Ingest, IngestOptions

    (tmp_path / "tea.md").write_text("# Tea\n\nThe green tea draws for seven minutes.\n")
    (tmp_path / "lamp.md").write_text("# Lamp\n\nIt hangs from a brass hook.\n")
    store = KnowledgeStore(tmp_path / "k.sqlite3")
    Ingest(store, IngestOptions()).add(tmp_path)
    embedder = ServedEmbedder(url, "letters")
    embed_pending(store, embedder)
    options = SearchOptions(mode="vectors", similarity=-1.0, top_k=1)
    (hit,) = KnowledgeSearch(store, embedder).search("how long do teas draw", options)
    assert hit.passage.title == "Tea"
    assert store.meta("embedder") == embedder.name
    store.close()


def test_what_is_no_such_server_is_said(url: str) -> None:
    with pytest.raises(UnknownModel, match="other"):
        ServedEmbedder(url, "other")
    with pytest.raises(BackendError, match="nothing answers"):
        ServedEmbedder("http://127.0.0.1:9/v1", "letters")


def settings(url: str, **runtime: object) -> Settings:
    rag = {"embedder": "letters", "embedder_url": url}
    return Settings.model_validate({"rag": rag, "runtime": runtime})


def test_the_settings_name_it_and_words_remain_without_it(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = knowing.open_embedder(settings(url), fetch=False)
    assert found is not None
    assert found.name.startswith("letters@")
    assert knowing.open_embedder(settings("http://127.0.0.1:9"), fetch=True) is None
    assert knowing.open_embedder(settings("http://far.test/v1", offline=True), fetch=True) is None
    said = capsys.readouterr().err.splitlines()
    assert ["words alone" in line for line in said] == [True, True]


def test_a_download_that_failed_is_said_once_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[str] = []

    def unreachable(name: str, **_: object) -> None:
        tried.append(name)
        raise DownloadError(f"{name}: no network")

    monkeypatch.setenv("VORTEX_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("VORTEX_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(names, "resolve", unreachable)
    monkeypatch.setattr(knowing, "_told_by_this_program", set())
    for _ in range(3):
        assert knowing.open_embedder(Settings(), fetch=True) is None
    assert len(tried) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    monkeypatch.setattr(knowing, "_told_by_this_program", set())  # the next program
    assert knowing.open_embedder(Settings(), fetch=True) is None
    assert len(tried) == 1
    assert "0 minutes ago" in capsys.readouterr().err
    monkeypatch.setattr(knowing, "_told_by_this_program", set())
    monkeypatch.setattr(knowing, "PATIENCE_S", 0.0)
    assert knowing.open_embedder(Settings(), fetch=True) is None
    assert len(tried) == 2
