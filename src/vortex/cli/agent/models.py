"""The models of an agent's work: one that proposes, and the small default one that ranks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vortex.agent.repair.pipeline import Models
from vortex.protocols import ChatBackend, GivenTextReader

if TYPE_CHECKING:
    import asyncio

    from vortex.config.loading import LoadedSettings

WEAK_BYTES = 300 << 20  # a smaller model's proposals are no better than chance: it ranks, and mutations propose


@dataclass(frozen=True, slots=True)
class OpenedModels:
    """name: of the model that was asked for. is_weak: it ranks, and proposes nothing."""

    name: str
    models: Models
    is_weak: bool
    backend: ChatBackend | None = None  # also of a weak model, where somebody asks for a free run or a replay

    def for_mode(self, mode: str) -> Models:
        """A weak model writes nothing, unless it is asked to work freely."""
        return replace(self.models, backend=self.backend) if mode == "free" else self.models


@contextmanager
def opened_models(loaded: LoadedSettings, runner: asyncio.Runner, *, propose: bool = True) -> Iterator[OpenedModels]:
    """Closed at the end. A model behind a wire proposes by writing whole functions alone; the default one ranks."""
    from vortex.cli.composition import local_backend, open_backend, open_model
    from vortex.errors import DownloadError, ModelNotFound

    with ExitStack() as stack:

        def kept(backend: ChatBackend) -> ChatBackend:
            stack.callback(lambda: runner.run(backend.close()))
            return backend

        if loaded.settings.model.backend in {"fake", "http"}:
            backend = kept(open_backend(loaded))
            yield OpenedModels(loaded.settings.model.backend, Models(backend=backend), is_weak=False, backend=backend)
            return
        opened = open_model(loaded)
        backend = kept(local_backend(opened, loaded))
        reader = backend if isinstance(backend, GivenTextReader) else None
        is_weak = opened.path is not None and opened.path.is_file() and opened.path.stat().st_size < WEAK_BYTES
        if is_weak or not propose:
            yield OpenedModels(opened.name, Models(ranker=reader), is_weak=True, backend=backend)
            return
        try:
            small_settings = with_model(loaded, "smollm2-135m")
            small = kept(local_backend(open_model(small_settings), small_settings))
            ranker = small if isinstance(small, GivenTextReader) else reader
        except (DownloadError, ModelNotFound):  # no network and never fetched: the model ranks its own proposals
            ranker = reader
        models = Models(backend=backend, proposer=reader, ranker=ranker)
        yield OpenedModels(opened.name, models, is_weak=False, backend=backend)


def with_model(loaded: LoadedSettings, name: str) -> LoadedSettings:
    """The same settings with another model, all of it in memory."""
    settings = loaded.settings
    changes = {
        "model": settings.model.model_copy(update={"name": name, "backend": "local"}),
        "runtime": settings.runtime.model_copy(update={"cache_vram_budget_mb": 0}),
    }
    return replace(loaded, settings=settings.model_copy(update=changes))
