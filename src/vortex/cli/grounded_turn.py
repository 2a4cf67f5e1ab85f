"""What `vortex chat` knows beside the model: documents given with --with, and what was asked to be remembered.

A folder given with --with gets a store of its own in the user's cache folder, brought up to date at the start; the
working folder's own store is not touched. Memory is the working folder's. Without --with nothing is looked up in
documents.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from vortex.cli.terminal import notice, warn, working
from vortex.config.schema import Settings
from vortex.errors import VortexError
from vortex.types import ChatMessage

if TYPE_CHECKING:
    from vortex.knowledge.embedding import Embedder
    from vortex.knowledge.grounding.grounding import Grounded, Grounding
    from vortex.knowledge.store.store import KnowledgeStore

SHOWN_CITATION_CHARS = 120


@dataclass
class Knowing:
    """For one chat. `grounding` None: nothing is looked up."""

    settings: Settings
    grounding: Grounding | None = None

    def ground(self, messages: Sequence[ChatMessage]) -> Grounded:
        from vortex.knowledge.grounding.grounding import Grounded

        return self.grounding.ground(messages) if self.grounding else Grounded(tuple(messages))

    def close(self) -> None:
        if self.grounding is not None:
            self.grounding.close()


def open_knowing(settings: Settings, documents: Path | None) -> Knowing:
    """Reads and embeds what is new in `documents` first. Raises StorageError where there is no such folder."""
    from vortex.cli.knowing import open_embedder, search_options
    from vortex.knowledge.grounding.grounding import Grounding, GroundingOptions
    from vortex.knowledge.search.search import KnowledgeSearch
    from vortex.knowledge.store.store import KnowledgeStore

    if documents is None:
        return Knowing(settings)
    store = KnowledgeStore(_store_for(documents))
    try:
        embedder = _bring_in(store, documents, settings, open_embedder(settings, fetch=True))
    except BaseException:
        store.close()
        raise
    options = GroundingOptions(search=search_options(settings), max_chars=settings.rag.max_chars)
    return Knowing(settings, Grounding(KnowledgeSearch(store, embedder), options, None, store.close))


def remember(text: str, settings: Settings) -> None:
    """What a person typed after /remember, or as "remember that …"; says what it may contradict."""
    from vortex.cli.knowing import open_embedder, open_memory
    from vortex.knowledge.memory.conflicts import contradictions

    memory = open_memory()
    try:
        entry = memory.add(text, source="chat")
    except VortexError as error:
        warn(str(error))
        return
    notice(f"remembered as {entry.id}: {entry.text}")
    embedder = open_embedder(settings, fetch=False)
    for other in contradictions(entry, memory, embedder) if embedder else []:
        warn(f"this may contradict {other.entry.id}: {other.entry.text} (`vortex memory forget {other.entry.id}`)")


def show_citations(grounded: Grounded, answer: str) -> None:
    """A line a source, on stderr."""
    for citation in grounded.citations(answer):
        text = " ".join(citation.text.split())
        shown = text if len(text) <= SHOWN_CITATION_CHARS else text[: SHOWN_CITATION_CHARS - 1] + "…"
        notice(f"[{citation.quotation.number}] {citation.quotation.source}, {citation.quotation.place}: {shown}")


def _store_for(documents: Path) -> Path:
    whole = os.path.realpath(documents)
    name = hashlib.blake2b(whole.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    home = os.environ.get("VORTEX_HOME") or platformdirs.user_cache_path("vortex")
    return Path(home) / "with" / f"{name}.sqlite3"


def _bring_in(store: KnowledgeStore, documents: Path, settings: Settings, embedder: Embedder | None) -> Embedder | None:
    from vortex.cli.knowing import ingest_options
    from vortex.knowledge.ingest.ingest import Ingest, embed_pending

    with working("reading", lines_every_s=10) as say:
        changes = Ingest(store, ingest_options(settings), say).add(documents)
    for file, reason in changes.left_out[:3]:
        notice(f"left out: {file}: {reason}")
    if embedder is not None:
        with working("embedding", lines_every_s=10) as say:
            embed_pending(store, embedder, say)
    return embedder
