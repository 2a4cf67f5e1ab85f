"""Composition of a server that holds several models: which may be asked for, and how one is opened on request.

A request opens what is on this machine already and never fetches. Models opened so have their own sampling and system
message, and neither the draft model nor the adapter that was chosen for the first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from vortex.config.loading import LoadedSettings
    from vortex.engine.backend import LocalBackend
    from vortex.engine.several import Offer, SeveralModels
    from vortex.protocols import ChatBackend
    from vortex.types import SamplingOptions

SHARE_OF_FREE_MEMORY = 0.7


def several_models(loaded: LoadedSettings, first: LocalBackend, system: str = "") -> SeveralModels:
    """`first`, opened with these settings and this system message; beside it every model here. Owns `first`."""
    from vortex.engine.several import Offer, SeveralModels, SeveralOptions, Shelf
    from vortex.machine.measured import memory_available_bytes

    settings = loaded.settings.server
    first_offer = Offer(first.card, _size_of(first.card.name, loaded))
    free_bytes = int(SHARE_OF_FREE_MEMORY * memory_available_bytes()) + first_offer.size_bytes
    budget_bytes = settings.models_memory_mb * 10**6 or free_bytes
    shelf = Shelf(
        offers=lambda: offers(loaded),
        open=lambda name: _open_first(loaded, system, name) if name == first.card.name else open_named(loaded, name),
        owner_of=lambda name: _owner_of(loaded, first.card.name, name),
    )
    return SeveralModels(
        first_offer, first, shelf, SeveralOptions(budget_bytes=budget_bytes, ttl_s=settings.model_ttl_s)
    )


def offers(loaded: LoadedSettings) -> list[Offer]:
    """Models that were fetched here and answer; what makes vectors alone is not asked for by this way."""
    from vortex.engine.several import Offer
    from vortex.hub.cache import ModelCache
    from vortex.hub.catalogue import EMBEDDERS
    from vortex.types import ModelCard

    return [
        Offer(
            ModelCard(name=model.name, licence=model.licence, origin=model.origin),
            _within_budget(model.size_bytes, loaded),
        )
        for model in ModelCache().list()
        if model.name not in EMBEDDERS
    ]


def open_named(loaded: LoadedSettings, name: str) -> ChatBackend:
    """The model of this name, from this machine. Raises VortexError whose text names no path."""
    from vortex.cli.composition import open_backend, with_manners
    from vortex.errors import VortexError
    from vortex.hub.cache import ModelCache

    found = ModelCache().find(name)
    try:
        own, system = with_manners(_settings_for(loaded, name))
        return open_backend(own, system, keep_prompts=True, serves=True)
    except VortexError as error:
        if found is None:
            raise
        raise type(error)(str(error).replace(str(found.path), name).replace(str(found.made_folder), name)) from error


def _open_first(loaded: LoadedSettings, system: str, name: str) -> ChatBackend:
    """The model that the server was started with, as it was started. Raises VortexError whose text names no path."""
    from vortex.cli.composition import open_backend
    from vortex.errors import VortexError

    runtime = loaded.settings.runtime.model_copy(update={"offline": True})
    own = replace(loaded, settings=loaded.settings.model_copy(update={"runtime": runtime}))
    try:
        return open_backend(own, system, keep_prompts=True, serves=True)
    except VortexError as error:
        raise type(error)(str(error).replace(loaded.settings.model.name, name)) from error


def sampling_of(loaded: LoadedSettings, first: str) -> Callable[[str], SamplingOptions | None]:
    """How each model on this machine samples where a request does not say; asked of its files once."""
    from vortex.cli.composition import with_manners
    from vortex.cli.turn import sampling_of as sampling_from
    from vortex.hub.cache import ModelCache

    known: dict[str, SamplingOptions] = {}

    def sampling(name: str) -> SamplingOptions | None:
        if name == first:
            return None
        if name not in known and ModelCache().find(name) is not None:
            known[name] = sampling_from(with_manners(_settings_for(loaded, name))[0].settings, None)
        return known.get(name)

    return sampling


def _settings_for(loaded: LoadedSettings, name: str) -> LoadedSettings:
    settings = loaded.settings
    changes = {
        "model": settings.model.model_copy(update={"name": name, "fallback": None}),
        "runtime": settings.runtime.model_copy(update={"offline": True}),
        "bad": settings.bad.model_copy(update={"draft_model": None}),
        "adapters": settings.adapters.model_copy(update={"name": None}),
    }
    origins = {**loaded.origins, "model.name": "the request", "model.backend": "the server"}
    return replace(loaded, settings=settings.model_copy(update=changes), origins=origins)


def _size_of(name: str, loaded: LoadedSettings) -> int:
    """Bytes of the first model's weights: by its record, else by its own files."""
    from vortex.cli.composition import resolve_model
    from vortex.hub.cache import ModelCache
    from vortex.hub.progress import folder_bytes
    from vortex.hub.quantisations import part_files

    recorded = next((model.size_bytes for model in ModelCache().list() if model.name == name), 0)
    if recorded:
        return _within_budget(recorded, loaded)
    path = resolve_model(loaded).path
    sizes = folder_bytes(path) if path.is_dir() else sum(part.stat().st_size for part in part_files(path))
    return _within_budget(sizes, loaded)


def _within_budget(size_bytes: int, loaded: LoadedSettings) -> int:
    """Paged weights take the budget that they were given."""
    budget_bytes = loaded.settings.runtime.cache_vram_budget_mb * 10**6
    return min(size_bytes, budget_bytes) if budget_bytes else size_bytes


def _owner_of(loaded: LoadedSettings, first: str, name: str) -> str | None:
    """The model that an adapter's name belongs to."""
    from vortex.adapters.shelf import CURRENT
    from vortex.cli.adapter_shelf import adapter_store

    if name.endswith(f":{CURRENT}"):
        return name.removesuffix(f":{CURRENT}")
    if loaded.settings.adapters.name and name == loaded.settings.adapters.name:
        return first
    record = adapter_store().find(name)
    return None if record is None else record.model
