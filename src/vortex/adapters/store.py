"""Adapters that a user added, by name: `adapters/NAME/` in the cache folder, with where each came from.

A folder holds the two files of peft's format, copied, and `provenance.json`, which says the rest: hash, the model it
was checked against, what its makers say it is for, from where and when it was added. Added whole or not at all.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from vortex.adapters.peft_config import CONFIG_FILE
from vortex.adapters.reading import WEIGHTS_FILE, ModelTargets, fit, read_adapter_file
from vortex.errors import AdapterError, StorageError
from vortex.records.atomic import atomic_write, commit_rename

RECORD_FILE = "provenance.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAdapter:
    """`model`: what it was checked against. `made_for`: what its file says. `ranks`: smallest and largest."""

    name: str
    hash: str
    model: str
    made_for: str | None
    ranks: tuple[int, int]
    num_layers: int
    num_bytes: int
    source: str
    added_at: str
    folder: Path


class AdapterStore:
    """Reading never writes; a root that does not exist holds none."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def list(self) -> list[StoredAdapter]:
        """By name; what is not whole is left out."""
        found = [self._record(file.parent) for file in sorted(self.root.glob(f"*/{RECORD_FILE}"))]
        return [record for record in found if record is not None]

    def find(self, name: str) -> StoredAdapter | None:
        return self._record(self.root / name) if _NAME.fullmatch(name) else None

    def add(self, source: Path, name: str, targets: ModelTargets, origin: str | None = None) -> StoredAdapter:
        """Copy an adapter that fits the model. origin: where it came from, else the source. Raises AdapterError,
        StorageError."""
        if not _NAME.fullmatch(name) or name == targets.name:
            raise AdapterError(f"{name!r} cannot be an adapter's name: letters, digits, . _ - and not the model's own")
        if (self.root / name).exists():
            raise AdapterError(f"there is an adapter {name} already; remove it first: vortex adapters remove {name}")
        file = read_adapter_file(source)
        adapter = fit(file, targets)
        ranks = [part.rank for part in adapter.parts.values()]
        record = StoredAdapter(
            name=name,
            hash=adapter.hash,
            model=targets.name,
            made_for=file.config.base,
            ranks=(min(ranks), max(ranks)),
            num_layers=len(ranks),
            num_bytes=adapter.num_bytes,
            source=origin or str(source.resolve()),
            added_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            folder=self.root / name,
        )
        self._copy(source, record)
        return record

    def remove(self, name: str) -> int:
        """Delete it; the bytes freed. Raises AdapterError where there is none."""
        record = self.find(name)
        if record is None:
            raise AdapterError(f"there is no adapter {name}; see them with: vortex adapters list")
        (record.folder / RECORD_FILE).unlink()  # first: without it nothing is there
        shutil.rmtree(record.folder)
        return record.num_bytes

    def _copy(self, source: Path, record: StoredAdapter) -> None:
        temporary = self.root / f".{record.name}.{os.getpid()}.tmp"
        try:
            temporary.mkdir(parents=True, mode=0o700)
            for name in (WEIGHTS_FILE, CONFIG_FILE):
                with (source / name).open("rb") as original, atomic_write(temporary / name) as copy:
                    shutil.copyfileobj(original, copy)
            values = {key: value for key, value in asdict(record).items() if key != "folder"}
            with atomic_write(temporary / RECORD_FILE) as file:
                file.write(json.dumps(values, ensure_ascii=False, indent=1).encode())
            commit_rename(temporary, record.folder)
        except OSError as error:
            raise StorageError(f"{record.name} cannot be kept in {self.root} ({error.strerror or error})") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _record(self, folder: Path) -> StoredAdapter | None:
        try:
            values = json.loads((folder / RECORD_FILE).read_bytes())
            return StoredAdapter(**{**values, "ranks": tuple(values["ranks"]), "folder": folder})
        except (OSError, ValueError, KeyError, TypeError):
            return None
