"""Composition of adapters: where they are kept, what they must fit, and what a served model answers to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vortex.config.data_folder import data_path
from vortex.errors import AdapterError
from vortex.protocols import LanguageModel, TakesAdapters

if TYPE_CHECKING:
    from vortex.adapters.current import Current
    from vortex.adapters.promoted_here import PromotedHere
    from vortex.adapters.reading import ModelTargets
    from vortex.adapters.shelf import AdapterShelf
    from vortex.adapters.store import AdapterStore
    from vortex.config.loading import LoadedSettings
    from vortex.hub.cache import ResolvedModel
    from vortex.models.opened import Opened


def adapter_store() -> AdapterStore:
    """The adapters that this user added."""
    from vortex.adapters.store import AdapterStore
    from vortex.hub.cache import cache_home

    return AdapterStore(cache_home() / "adapters")


def found_adapter(name: str, *, offline: bool) -> tuple[Path, str, str | None]:
    """Of a folder, or of a Hugging Face repository, which is fetched: the files' folder, a name, the origin.

    Raises VortexError.
    """
    from vortex.cli.download import download_progress
    from vortex.hub.reference import looks_like_repository
    from vortex.hub.repository_fetch import fetch_adapter

    folder = Path(name).expanduser()
    if folder.exists() or offline or not looks_like_repository(name):
        return folder, folder.resolve().name, None
    with download_progress() as sink:
        return fetch_adapter(name, sink), name.rpartition("/")[2], name


def current_of(model: str) -> Current:
    """What `MODEL:current` means in this working folder."""
    from vortex.adapters.current import Current

    return Current(data_path("continuous", "current"), model, promoted_here())


def promoted_here() -> PromotedHere:
    """What this user promoted, whichever working folder it was in."""
    import platformdirs

    from vortex.adapters.promoted_here import PromotedHere

    return PromotedHere(platformdirs.user_config_path("vortex") / "promoted.jsonl")


def candidates_here() -> PromotedHere:
    """Candidates that this user trained or approved, by the hash of their manifest."""
    import platformdirs

    from vortex.adapters.promoted_here import PromotedHere

    return PromotedHere(platformdirs.user_config_path("vortex") / "candidates.jsonl")


def targets_of(resolved: ResolvedModel, form: str) -> ModelTargets:
    """What an adapter for this model must fit; the model is not loaded for it. form: as it is served (model.compute).

    Raises VortexError.
    """
    from vortex.adapters.reading import ModelTargets
    from vortex.models.decoder.adapter_parts import adapter_targets
    from vortex.models.decoder.opening import open_checkpoint
    from vortex.models.files.identity import weights_identity
    from vortex.vblocks.checkpoint import is_core

    if is_core(resolved.path):
        raise AdapterError(f"{resolved.name} is a V-Blocks core and takes no adapters; name another with --model")
    return ModelTargets(
        resolved.name,
        adapter_targets(open_checkpoint(resolved.path).config),
        lambda: weights_identity(resolved.path, form, resolved.made_folder),
    )


def shelf_for(opened: Opened[LanguageModel], loaded: LoadedSettings) -> AdapterShelf | None:
    """None for a model that takes no adapters. Raises AdapterError where the settings want one all the same."""
    from vortex.adapters.bank import AdapterBank
    from vortex.adapters.reading import ModelTargets, read_adapter
    from vortex.adapters.shelf import AdapterShelf

    wanted = loaded.settings.adapters.name
    if not isinstance(opened.model, TakesAdapters):
        if wanted is not None:
            raise AdapterError(f"{opened.name} takes no adapters; leave --adapter out, or name another --model")
        return None
    targets = ModelTargets(opened.name, opened.model.adapter_targets(), opened.identity)
    bank = AdapterBank(
        lambda folder, limit_bytes: read_adapter(folder, targets, limit_bytes),
        loaded.settings.adapters.budget_mb * 10**6,
    )
    store, current = adapter_store(), current_of(opened.name)
    current.read()  # a pointer that is damaged, or came with the folder, is told now
    given = _given(wanted, store)
    default = next(iter(given), wanted)
    shelf = AdapterShelf(model=opened.name, bank=bank, store=store, current=current, given=given, default=default)
    if default is not None:
        shelf.choose(default).release()  # so that a wrong one is told now, not by the first request
    return shelf


def _given(wanted: str | None, store: AdapterStore) -> dict[str, Path]:
    """A folder that the user named, by its own name; nothing where the name is one of the store's."""
    if wanted is None or store.find(wanted) is not None:
        return {}
    folder = Path(wanted).expanduser()
    return {folder.resolve().name: folder.resolve()} if folder.is_dir() else {}
