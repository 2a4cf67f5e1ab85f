"""Composition of the model for embeddings: it stands beside whatever answers chats."""

from __future__ import annotations

from vortex.protocols import ChatBackend
from vortex.types import ModelCard


def with_embedder(backend: ChatBackend) -> ChatBackend:
    """`backend`, and beside it the small model made for embeddings; listed where it has been fetched."""
    from vortex.engine.with_embedder import WithEmbedder
    from vortex.errors import UnknownModel
    from vortex.hub.cache import ModelCache
    from vortex.hub.catalogue import DEFAULT_EMBEDDER, EMBEDDERS
    from vortex.models.sentence_embedder import SentenceEmbedder

    spec = EMBEDDERS[DEFAULT_EMBEDDER]

    def open_embedder() -> SentenceEmbedder:
        found = ModelCache().find(spec.name)
        if found is None:
            raise UnknownModel(f"{spec.name} is not on the server's machine; there, run: vortex pull {spec.name}")
        return SentenceEmbedder(found.path)

    card = ModelCard(name=spec.name, context_length=512, licence=spec.licence, origin=spec.origin)
    return WithEmbedder(backend, card, open_embedder, lambda: ModelCache().find(spec.name) is not None)
