"""The `.c3` folder, version 1: named tensors in one file, memory-mapped, with an index and a checksum each.

    NAME.c3/
      index.json     {"version": 1, "metadata": {...}, "tensors": [{name, layout, shape, offset, num_bytes, xxh3}]}
      weights.bin    the tensors' bytes, each from a 4096-byte boundary, in the order of a sweep
      (other small files that a model needs: tokenizer.json, ...)

Written under a temporary name, synced, renamed: a folder that has its name is whole. Bytes only: what a layout means
is between the one who packs and the one who computes.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import xxhash

from vortex.errors import ModelFileError, StorageError
from vortex.records.atomic import sync_folder

VERSION = 1
ALIGNMENT_BYTES = 4096
INDEX, WEIGHTS = "index.json", "weights.bin"


@dataclass(frozen=True, slots=True)
class TensorEntry:
    name: str
    layout: str
    shape: tuple[int, ...]  # of the logical tensor; a layout may pad
    offset: int
    num_bytes: int
    xxh3: str


class C3Writer:
    """`with C3Writer(path, metadata) as writer: writer.add(...)`. Nothing is at `path` until the block ends well."""

    def __init__(self, path: Path, metadata: Mapping[str, Any]) -> None:
        self.path = path
        self.metadata = dict(metadata)
        self._entries: list[TensorEntry] = []

    def __enter__(self) -> C3Writer:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.folder = Path(tempfile.mkdtemp(prefix=self.path.name + ".partial-", dir=self.path.parent))
            self._file = (self.folder / WEIGHTS).open("wb")
        except OSError as error:
            raise StorageError(f"cannot pack a model into {self.path.parent}: {error}; set VORTEX_HOME") from error
        return self

    def add(self, name: str, layout: str, shape: tuple[int, ...], data: np.ndarray) -> None:
        flat = memoryview(np.ascontiguousarray(data).reshape(-1).view(np.uint8))  # type: ignore[arg-type] # a Buffer
        self._file.write(b"\0" * (-self._file.tell() % ALIGNMENT_BYTES))
        offset = self._file.tell()
        self._file.write(flat)
        checksum = xxhash.xxh3_64_hexdigest(flat)
        self._entries.append(TensorEntry(name, layout, shape, offset, flat.nbytes, checksum))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        except OSError as failure:
            raise StorageError(f"cannot pack a model into {self.path}: {failure}") from failure
        finally:
            self._file.close()
            shutil.rmtree(self.folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise StorageError(f"cannot pack a model into {self.path}: {error}; free some space") from error

    def _finish(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        index = {"version": VERSION, "metadata": self.metadata, "tensors": [asdict(entry) for entry in self._entries]}
        with (self.folder / INDEX).open("w") as file:
            json.dump(index, file)
            file.flush()
            os.fsync(file.fileno())
        try:
            self.folder.rename(self.path)
        except OSError:
            if not (self.path / INDEX).exists():  # else another process packed the same model first: keep theirs
                raise
        sync_folder(self.path.parent)


class C3Folder:
    """An open folder. `read(name)` gives the bytes, read-only and memory-mapped: uint8 [num_bytes]."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            index = json.loads((path / INDEX).read_text())
            if index["version"] != VERSION:
                raise ModelFileError(f"{path} is version {index['version']}, this program reads {VERSION}; delete it")
            self.metadata: dict[str, Any] = index["metadata"]
            rows = (TensorEntry(**{**entry, "shape": tuple(entry["shape"])}) for entry in index["tensors"])
            self.entries = {entry.name: entry for entry in rows}
            with (path / WEIGHTS).open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelFileError(
                f"{path} is not a whole .c3 folder ({error}); delete it to have it packed anew"
            ) from error
        end = max((entry.offset + entry.num_bytes for entry in self.entries.values()), default=0)
        if end > len(self._map):
            raise ModelFileError(
                f"{path / WEIGHTS} has {len(self._map):,} bytes, its index needs {end:,}; delete {path}"
            )

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def read(self, name: str) -> np.ndarray:
        return np.frombuffer(self._bytes(name), np.uint8)

    def _bytes(self, name: str) -> memoryview:
        entry = self.entries[name]
        return memoryview(self._map)[entry.offset : entry.offset + entry.num_bytes]

    def verify(self, name: str) -> None:
        """Raises ModelFileError when the tensor's bytes are not those that were written."""
        if xxhash.xxh3_64_hexdigest(self._bytes(name)) != self.entries[name].xxh3:
            raise ModelFileError(f"{self.path}: tensor {name} fails its checksum; delete the folder to pack it anew")

    @property
    def num_bytes(self) -> int:
        return len(self._map)
