"""Models on this machine: one folder each under the cache, with a record of what it is.

    HOME/models/smollm2-135m/   model.json, the model file, and what was made of it (packed `.c3` folders)
    HOME/made/NAME-HASH/        what was made of a model file that lies elsewhere

HOME is the user's cache folder; `VORTEX_HOME` moves it. A record is written last: a model that has one is whole.
Does not download: see hub.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import platformdirs

from vortex.hub.folder import missing_files
from vortex.hub.progress import folder_bytes
from vortex.hub.quantisations import part_files
from vortex.records.atomic import atomic_write

RECORD_FILE = "model.json"
SOURCE_FILE = "source.json"  # beside what was made of a model file that lies elsewhere: which one


class ModelKind(StrEnum):
    GGUF = "gguf"
    SAFETENSORS = "safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedModel:
    """Files of a model. `path`: the GGUF file, or the folder of config.json and *.safetensors.

    `made_folder` is the place for what is made of the model (packed weights, tokenizer files); it may not exist yet.
    """

    name: str
    path: Path
    kind: ModelKind
    licence: str | None
    origin: str
    made_folder: Path


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model in the cache. `size_bytes` counts its files, `made_bytes` what was made of them."""

    name: str
    size_bytes: int
    made_bytes: int
    licence: str | None
    origin: str
    path: Path


def cache_home() -> Path:
    """The folder of all models and packed weights. Not created."""
    moved = os.environ.get("VORTEX_HOME")
    return Path(moved).expanduser() if moved else platformdirs.user_cache_path("vortex")


class ModelCache:
    """The models under one home. Reading never writes; a home that does not exist holds none."""

    def __init__(self, home: Path | None = None) -> None:
        self.home = home or cache_home()

    def folder(self, name: str) -> Path:
        return self.home / "models" / re.sub(r"[^\w.-]+", "--", name)

    def lock_file(self, name: str) -> Path:
        return self.home / "locks" / f"{self.folder(name).name}.lock"

    def made_folder(self, path: Path) -> Path:
        """Where things made of a model file outside the cache go: by its full path."""
        digest = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:12]
        return self.home / "made" / f"{path.stem if path.is_file() else path.name}-{digest}"

    def find(self, name: str) -> ResolvedModel | None:
        """The model if it is here and whole: sizes are checked, contents are not."""
        record = self._record(self.folder(name))
        return None if record is None or record["name"] != name else self._resolved(record)

    def _resolved(self, record: dict[str, Any]) -> ResolvedModel | None:
        folder = self.folder(record["name"])
        path = folder / record["path"]  # an absolute path stays as it is
        kind = ModelKind(record["kind"])
        if kind is ModelKind.GGUF:
            parts = part_files(path)
            whole = all(part.is_file() for part in parts)
            whole = whole and sum(part.stat().st_size for part in parts) == record["size_bytes"]
        else:
            whole = not missing_files(path)
        if not whole:
            return None
        return ResolvedModel(
            name=record["name"],
            path=path,
            kind=kind,
            licence=record["licence"],
            origin=record["origin"],
            made_folder=folder,
        )

    def _record(self, folder: Path) -> dict[str, Any] | None:
        """None for a folder without a record, or with one that another version wrote."""
        try:
            record = json.loads((folder / RECORD_FILE).read_bytes())
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return None
        keys = {"name", "path", "kind", "size_bytes", "licence", "origin"}
        return record if isinstance(record, dict) and keys <= record.keys() else None

    def add(self, model: ResolvedModel, size_bytes: int) -> None:
        """Record a model whose files are in place."""
        folder = self.folder(model.name)
        inside = model.path.is_relative_to(folder)
        record = {
            "name": model.name,
            "path": str(model.path.relative_to(folder) if inside else model.path),
            "kind": model.kind.value,
            "size_bytes": size_bytes,
            "licence": model.licence,
            "origin": model.origin,
        }
        with atomic_write(folder / RECORD_FILE) as file:
            file.write(json.dumps(record, ensure_ascii=False, indent=1).encode())

    def list(self) -> list[LocalModel]:
        """Whole models, by name."""
        models = []
        for file in sorted((self.home / "models").glob(f"*/{RECORD_FILE}")):
            record = self._record(file.parent)
            model = self._resolved(record) if record else None
            if record is None or model is None:
                continue
            in_folder = folder_bytes(file.parent) - file.stat().st_size
            own_bytes = record["size_bytes"] if model.path.is_relative_to(file.parent) else 0
            models.append(
                LocalModel(
                    name=model.name,
                    size_bytes=record["size_bytes"],
                    made_bytes=max(0, in_folder - own_bytes),
                    licence=model.licence,
                    origin=model.origin,
                    path=model.path,
                )
            )
        return models

    def note_source(self, model: ResolvedModel) -> None:
        """Beside what was made of a model file outside the cache: its path, so that a list can say it."""
        note = model.made_folder / SOURCE_FILE
        if model.made_folder.parent == self.home / "made" and model.made_folder.is_dir() and not note.exists():
            with atomic_write(note) as file:
                file.write(json.dumps({"path": str(model.path)}, ensure_ascii=False).encode())

    def list_made(self) -> Sequence[LocalModel]:
        """Packed copies of model files that lie elsewhere, by name. size_bytes 0: the file itself is not ours."""
        found = []
        for folder in sorted((self.home / "made").glob("*/")):
            made_bytes = folder_bytes(folder)
            if made_bytes:
                origin = f"packed copy of {_source_of(folder)}"
                found.append(LocalModel(folder.name, 0, made_bytes, None, origin, folder))
        return found

    def remove(self, folder: Path) -> int:
        """Delete a folder of this cache, record first; returns the bytes it held."""
        assert folder.parent.parent == self.home, f"{folder} is not a folder of this cache"
        freed_bytes = folder_bytes(folder)
        (folder / RECORD_FILE).unlink(missing_ok=True)
        shutil.rmtree(folder)
        return freed_bytes


def _source_of(folder: Path) -> str:
    try:
        return str(json.loads((folder / SOURCE_FILE).read_bytes())["path"])
    except (OSError, ValueError, KeyError, TypeError):
        return "a file whose path was not noted"
