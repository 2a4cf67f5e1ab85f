"""Composition of knowledge and memory: the store of this working folder, the embedder that the settings name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vortex.config.data_folder import data_path
from vortex.config.schema import Settings
from vortex.errors import ConfigError, DownloadError, ModelNotFound

if TYPE_CHECKING:
    from vortex.knowledge.embedding import Embedder
    from vortex.knowledge.grounding.desk import Desk
    from vortex.knowledge.grounding.grounding import Grounding
    from vortex.knowledge.ingest.ingest import IngestOptions
    from vortex.knowledge.memory.folder import Memory
    from vortex.knowledge.search.search import Hit, SearchOptions
    from vortex.knowledge.store.store import KnowledgeStore

NO_EMBEDDER = "none"
PATIENCE_S = 900.0  # between two tries of a download that failed
SAID = "said"
_told_by_this_program: set[str] = set()


def store_path() -> Path:
    from vortex.knowledge.store.store import FILE_NAME

    return data_path("knowledge", FILE_NAME)


@contextmanager
def open_store() -> Iterator[KnowledgeStore]:
    from vortex.knowledge.store.store import KnowledgeStore

    store = KnowledgeStore(store_path())
    try:
        yield store
    finally:
        store.close()


def open_memory() -> Memory:
    from vortex.knowledge.memory.folder import Memory

    return Memory(data_path("memory"))


def open_embedder(settings: Settings, *, fetch: bool) -> Embedder | None:
    """None: words alone, because the settings say so or (with a note) because the model cannot be had.

    Raises ConfigError for a name that is no embedder.
    """
    from vortex.cli.download import download_progress
    from vortex.cli.terminal import warn
    from vortex.hub.cache import ModelCache
    from vortex.hub.catalogue import EMBEDDERS
    from vortex.hub.names import resolve

    name = settings.rag.embedder
    if name == NO_EMBEDDER:
        return None
    if settings.rag.embedder_url:
        return _served_embedder(settings)
    if name not in EMBEDDERS:
        raise ConfigError(
            f"rag.embedder: '{name}' is none of {', '.join([*EMBEDDERS, NO_EMBEDDER])}; a server's own model wants "
            "rag.embedder_url too"
        )
    if ModelCache().find(name) is None and not (fetch and not settings.runtime.offline):
        warn(f"{name} is not here, so words alone are searched; `vortex pull {name}` fetches it")
        return None
    if ModelCache().find(name) is None and (when := _failed_lately(name)):
        if when != SAID:
            warn(f"{name} could not be fetched {when}, so words alone are searched; `vortex pull {name}` tries again")
        return None
    try:
        with download_progress() as sink:
            found = resolve(name, progress=sink)
    except (DownloadError, ModelNotFound) as error:
        warn(f"words alone are searched: {error}")
        _failed_now(name)
        return None
    from vortex.knowledge.embedding import PassageEmbedder
    from vortex.models.sentence_embedder import SentenceEmbedder

    return PassageEmbedder(name, SentenceEmbedder(found.path))


def _served_embedder(settings: Settings) -> Embedder | None:
    from vortex.cli.terminal import warn
    from vortex.errors import BackendError, RequestError
    from vortex.knowledge.served_embedder import ServedEmbedder
    from vortex.machine.network import is_local

    url, token = settings.rag.embedder_url, settings.server.api_token
    if settings.runtime.offline and not is_local(url):
        warn(f"words alone are searched: {url} is on the network and this run is offline")
        return None
    try:
        return ServedEmbedder(url, settings.rag.embedder, api_key=token if token and is_local(url) else None)
    except (BackendError, RequestError) as error:
        warn(f"words alone are searched: {error}")
        return None


def _failed_lately(name: str) -> str:
    """When a download failed that is not tried again yet; SAID where this very program has told so."""
    import time

    if name in _told_by_this_program:
        return SAID
    try:
        seconds = time.time() - _failed_file(name).stat().st_mtime
    except OSError:
        return ""
    if not 0 <= seconds < PATIENCE_S:
        return ""
    _told_by_this_program.add(name)
    return f"{seconds / 60:.0f} minutes ago"


def _failed_now(name: str) -> None:
    _told_by_this_program.add(name)
    file = _failed_file(name)
    with suppress(OSError):  # it is tried again then
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch()
        os.utime(file)


def _failed_file(name: str) -> Path:
    """Beside the models, so that it holds for every folder that is worked in."""
    from vortex.hub.cache import cache_home

    return cache_home() / "not-fetched" / name


def ingest_options(settings: Settings) -> IngestOptions:
    from vortex.knowledge.ingest.ingest import IngestOptions

    own = Path(os.path.realpath(data_path()))
    return IngestOptions(max_file_bytes=settings.rag.max_file_mb * 10**6, never=(own,))


def search_options(settings: Settings) -> SearchOptions:
    from vortex.knowledge.search.search import SearchOptions

    return SearchOptions(top_k=settings.rag.top_k, similarity=settings.rag.similarity, coverage=settings.rag.coverage)


def open_grounding(settings: Settings) -> Grounding:
    """Over the store and the memory of this working folder. Opened on the calling thread, and only for it."""
    from vortex.knowledge.grounding.grounding import Grounding, GroundingOptions
    from vortex.knowledge.memory.recall import Recall
    from vortex.knowledge.search.search import KnowledgeSearch
    from vortex.knowledge.store.store import KnowledgeStore

    store = KnowledgeStore(store_path())
    embedder = open_embedder(settings, fetch=False)
    options = GroundingOptions(search=search_options(settings), max_chars=settings.rag.max_chars)
    recall = Recall(open_memory(), embedder) if embedder else None
    return Grounding(KnowledgeSearch(store, embedder), options, recall, store.close)


def open_desk(settings: Settings) -> Desk | None:
    """What looks the server's questions up; None where rag.enabled is off."""
    from vortex.knowledge.grounding.desk import Desk

    return Desk(lambda: open_grounding(settings), open_memory()) if settings.rag.enabled else None


def as_result(hit: Hit) -> dict[str, Any]:
    """A hit for programs. `text` is quoted from a file: data, never instructions."""
    passage = hit.passage
    return {
        "source": passage.path,
        "text": passage.text,
        "score": round(hit.score, 4),
        "title": passage.title,
        "heading": passage.heading,
        "place": passage.place,
        "similarity": None if hit.similarity is None else round(hit.similarity, 4),
        "coverage": round(hit.coverage, 4),
    }
