"""From a model's name to files on this machine, fetched if they are not there.

A name is one of the catalogue (`smollm2-135m`), the core that ships with the program (`vortex-core`), a Hugging Face
repository (`Qwen/Qwen3-8B`; with a quantisation behind a colon, its GGUF file), the path of a GGUF file, or the path of
a folder with config.json and *.safetensors. A model that is here is found without a network. Two processes that want
the same model fetch it once.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import logging
from collections.abc import Mapping
from pathlib import Path

from vortex.errors import DownloadError, ModelFileError, ModelNotFound
from vortex.hub.cache import LocalModel, ModelCache, ModelKind, ResolvedModel
from vortex.hub.catalogue import ALIASES, CATALOGUE, EMBEDDERS, SHIPPED, KnownModel
from vortex.hub.fetching import check_tag, fetch_from_repository, fetch_known, find_here, forget_elsewhere
from vortex.hub.folder import missing_files
from vortex.hub.progress import Progress, ProgressSink, no_progress
from vortex.hub.reference import Reference, looks_like_repository, read_reference
from vortex.records.lock import FileLock

_log = logging.getLogger("vortex.hub.names")
KNOWN: Mapping[str, KnownModel] = {**CATALOGUE, **EMBEDDERS}
GGUF_MAGIC = b"GGUF"


def resolve(
    name: str,
    *,
    progress: ProgressSink | None = None,
    allow_download: bool = True,
    catalogue: Mapping[str, KnownModel] = KNOWN,
) -> ResolvedModel:
    """The model's files. Raises ModelNotFound, DownloadError, ModelFileError or UnsupportedModel, one line each."""
    name = _canonical(read_reference(name).full)
    cache = ModelCache()
    if name in SHIPPED:
        return dataclasses.replace(_local(name, SHIPPED[name], cache), name=name, origin="ships with vortex")
    path = Path(name).expanduser()
    if name not in catalogue and path.exists():
        return _local(name, path, cache)
    reference = read_reference(name)
    known = catalogue.get(reference.base)
    if known is not None:
        check_tag(known, reference.tag)
        reference = Reference(known.name)
    if here := cache.find(reference.full):
        return here
    if known is None and not looks_like_repository(reference.base):
        raise ModelNotFound(_unknown(name, catalogue, cache))
    if not allow_download:
        found = None if known is not None else find_here(reference, cache)
        if found is None:
            raise ModelNotFound(f"{reference.full} is not on this machine; fetch it with: vortex pull {reference.full}")
        return found
    return _fetch(reference, cache, progress or no_progress, known)


def list_models() -> list[LocalModel]:
    """Models that were fetched to this machine, by name; then packed copies of files that lie elsewhere."""
    cache = ModelCache()
    return [*cache.list(), *cache.list_made()]


@dataclasses.dataclass(frozen=True, slots=True)
class Removed:
    """kept: the model file outside the cache that was left alone, None where the model itself is gone."""

    freed_bytes: int
    kept: Path | None = None


def remove_model(name: str) -> Removed:
    """Delete a fetched model with everything made of it.

    For the path of a model file outside the cache, or the listed name of its packed copy, deletes what was made of it
    and leaves the file alone. Raises ModelNotFound where there is nothing to delete.
    """
    name = _canonical(read_reference(name).full)
    name = next((base for base in (name, read_reference(name).base) if base in KNOWN), name)
    cache = ModelCache()
    path = Path(name).expanduser()
    if cache.folder(name).is_dir():
        with FileLock(cache.lock_file(name)):
            model = cache.find(name)
            elsewhere = model is not None and not model.path.is_relative_to(cache.folder(name))
            freed_bytes = cache.remove(cache.folder(name))
            if model is not None and elsewhere:
                freed_bytes += forget_elsewhere(model)
        return Removed(freed_bytes)
    copy = cache.home / "made" / name
    if copy.is_dir() and copy.parent == cache.home / "made" and Path(name).name == name:
        return Removed(cache.remove(copy), kept=copy)
    if path.exists() and cache.made_folder(path).is_dir():
        return Removed(cache.remove(cache.made_folder(path)), kept=path)
    raise ModelNotFound(f"{name} is not among the models on this machine; see them with: vortex models")


def _canonical(name: str) -> str:
    if name in ALIASES:
        _say_alias(name, ALIASES[name])
    return ALIASES.get(name, name)


@functools.cache  # once per process
def _say_alias(name: str, meant: str) -> None:
    _log.warning("note: there is no %s; using %s", name, meant)


def _local(name: str, path: Path, cache: ModelCache) -> ResolvedModel:
    path = path.absolute()  # links stay: a hub's cache names its files by them, contents by checksums
    if path.is_file():
        if not _is_gguf(path):
            raise ModelFileError(f"{name} is not a GGUF file; give a GGUF file or a folder with *.safetensors")
        kind = ModelKind.GGUF
    elif inside := sorted(each.name for each in path.iterdir() if each.suffix.lower() == ".gguf"):
        raise ModelFileError(f"{name} is a folder of GGUF files; name one of them: {', '.join(inside[:8])}")
    elif missing := missing_files(path):
        raise ModelFileError(f"the folder {name} is not a whole model: {', '.join(missing)} missing")
    else:
        kind = ModelKind.SAFETENSORS
    made_folder = cache.made_folder(path)
    return ResolvedModel(
        name=path.stem if kind is ModelKind.GGUF else path.name,
        path=path,
        kind=kind,
        licence=None,
        origin=str(path),
        made_folder=made_folder,
    )


def _is_gguf(path: Path) -> bool:
    """By its first bytes, whatever it is called. Raises ModelFileError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(GGUF_MAGIC)) == GGUF_MAGIC
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error


def _unknown(name: str, catalogue: Mapping[str, KnownModel], cache: ModelCache) -> str:
    if name.lower().endswith(".gguf") or name.startswith((".", "/", "~")):
        return f"there is no file or folder {name}"
    known = sorted({*catalogue, *SHIPPED, *(model.name for model in cache.list())})
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known here: {', '.join(known)}."
    return f"no model is called {name!r}; {hint} A repository (owner/name) or a path works too"


def _fetch(reference: Reference, cache: ModelCache, sink: ProgressSink, known: KnownModel | None) -> ResolvedModel:
    name = reference.full

    def waiting() -> None:
        sink(Progress("waiting for another process that fetches the same model", 0, 0))

    try:
        with FileLock(cache.lock_file(name), on_wait=waiting):
            if here := cache.find(name):
                return here
            if known is not None:
                return fetch_known(known, cache, sink)
            return fetch_from_repository(reference, cache, sink)
    except KeyboardInterrupt as error:
        raise DownloadError(f"the download of {name} was interrupted; run the command again to go on") from error
    except OSError as error:
        raise DownloadError(
            f"{name} cannot be kept in {cache.home} ({error.strerror or error}); "
            "set VORTEX_HOME to a folder that you can write and that has space"
        ) from error
