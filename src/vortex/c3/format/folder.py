"""The `.c3` folder, version 2: named tensors cut into tiles, in the order of a sweep (docs/c3.md has the format).

    NAME.c3/
      index.json     {"version": 2, "metadata": {...}, "tensors": [{name, layout, shape, num_bytes, tiles}]}
      weights.bin    tiles, each from a 4096-byte boundary; a tile is [offset, stored_bytes, num_bytes, codec, xxh3]
      (other small files that a model needs: tokenizer.json, ...)

Written under a temporary name, synced, renamed: a folder that has its name is whole. Bytes only: what a layout means
is between the one who packs and the one who computes.
"""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np
import xxhash

from vortex.c3.format.codecs import RAW, CodecError, decode, encode
from vortex.errors import ModelFileError, StorageError
from vortex.records.atomic import sync_folder
from vortex.records.foreign import ForeignValues, read_json_object, shown, text, whole
from vortex.records.scratch import disown, scratch_folder

VERSION = 2
ALIGNMENT_BYTES = 4096
TILE_BYTES = 2 << 20
MOST_BYTES = 1 << 48
MOST_VALUES_PER_BYTE = 8
MAPPED = ("embedding", "head")
INDEX, WEIGHTS = "index.json", "weights.bin"


@dataclass(frozen=True, slots=True)
class Tile:
    """One piece of a tensor. xxh3: of the stored bytes, 16 hexadecimal digits."""

    offset: int
    stored_bytes: int
    num_bytes: int
    codec: str
    xxh3: str


@dataclass(frozen=True, slots=True)
class TensorEntry:
    name: str
    layout: str
    shape: tuple[int, ...]  # of the logical tensor; a layout may pad
    num_bytes: int
    tiles: tuple[Tile, ...]

    @property
    def offset(self) -> int:
        return self.tiles[0].offset

    @property
    def stored_bytes(self) -> int:
        return sum(tile.stored_bytes for tile in self.tiles)

    @property
    def is_raw(self) -> bool:
        """Its bytes lie in the file as they are, one tile after the other."""
        return all(tile.codec == RAW for tile in self.tiles)


def aligned(num_bytes: int) -> int:
    return -(-num_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


class C3Writer:
    """`with C3Writer(path, metadata) as writer: writer.add(...)`. Nothing is at `path` until the block ends well.

    `compress`: store tiles by the codec that pays; else all raw. Raw tensors can be memory-mapped, so the embedding
    and the head, of which a sweep gathers single rows, stay raw either way.
    """

    def __init__(self, path: Path, metadata: Mapping[str, Any], *, compress: bool = False) -> None:
        self.path = path
        self.metadata = dict(metadata)
        self.compress = compress
        self._entries: list[TensorEntry] = []
        self._scratch = contextlib.ExitStack()

    def __enter__(self) -> C3Writer:
        try:
            self.folder = self._scratch.enter_context(scratch_folder(self.path.parent, self.path.name + ".partial-"))
            self._file = (self.folder / WEIGHTS).open("wb")
        except OSError as error:
            self._scratch.close()
            raise StorageError(f"cannot pack a model into {self.path.parent}: {error}; set VORTEX_HOME") from error
        return self

    def add(self, name: str, layout: str, shape: tuple[int, ...], data: np.ndarray) -> None:
        flat = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        compress = self.compress and name.split(".", maxsplit=1)[0] not in MAPPED
        tiles = []
        for start in range(0, max(1, len(flat)), TILE_BYTES):
            piece = flat[start : start + TILE_BYTES]
            codec, coded = encode(piece, is_bf16="bf16" in layout.lower()) if compress else (RAW, piece)
            stored = memoryview(coded)  # type: ignore[arg-type] # a Buffer
            self._file.write(b"\0" * (-self._file.tell() % ALIGNMENT_BYTES))
            checksum = xxhash.xxh3_64_hexdigest(stored)
            tiles.append(Tile(self._file.tell(), len(stored), len(piece), codec, checksum))
            self._file.write(stored)
        self._entries.append(TensorEntry(name, layout, shape, len(flat), tuple(tiles)))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        except OSError as failure:
            raise StorageError(f"cannot pack a model into {self.path}: {failure}; free some space") from failure
        finally:
            with self._scratch:
                self._close()
        if isinstance(error, OSError):
            raise StorageError(f"cannot pack a model into {self.path}: {error}; free some space") from error

    def _close(self) -> None:
        try:
            self._file.close()
        except OSError as failure:  # what could not be written is reported once, by who wrote
            raise StorageError(f"cannot pack a model into {self.path}: {failure}; free some space") from failure

    def _finish(self) -> None:
        self._file.write(b"\0" * (-self._file.tell() % ALIGNMENT_BYTES))  # direct reads end on a boundary too
        self._file.flush()
        os.fsync(self._file.fileno())
        tensors = [
            {
                "name": entry.name,
                "layout": entry.layout,
                "shape": entry.shape,
                "num_bytes": entry.num_bytes,
                "tiles": [astuple(tile) for tile in entry.tiles],
            }
            for entry in self._entries
        ]
        with (self.folder / INDEX).open("w") as file:
            json.dump({"version": VERSION, "metadata": self.metadata, "tensors": tensors}, file)
            file.flush()
            os.fsync(file.fileno())
        disown(self.folder)
        try:
            self.folder.rename(self.path)
        except OSError:
            if not (self.path / INDEX).exists():  # else another process packed the same model first: keep theirs
                raise
        sync_folder(self.path.parent)


class C3Folder:
    """An open folder. `read(name)` gives the bytes, read-only: uint8 [num_bytes], memory-mapped where they are raw."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            index = read_json_object(path / INDEX)
            version = index.raw("version")
            self.metadata: dict[str, Any] = dict(index.nested("metadata").values_by_key) if version == VERSION else {}
            rows = index.items_of("tensors") if version == VERSION else []
            entries = [_entry(ForeignValues(row, f"{path}: a tensor")) for row in rows]
            self._entries = MappingProxyType({entry.name: entry for entry in entries})
            with (path / WEIGHTS).open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError, ModelFileError) as error:
            raise ModelFileError(
                f"{path} is not a whole .c3 folder ({error}); delete it to have it packed anew"
            ) from error
        if version != VERSION:
            raise ModelFileError(f"{path} is version {shown(version)}, this program reads {VERSION}; delete it")
        tiles = (tile for entry in self.entries.values() for tile in entry.tiles)
        end = max((tile.offset + aligned(tile.stored_bytes) for tile in tiles), default=0)
        if end > len(self._map):
            raise ModelFileError(
                f"{path / WEIGHTS} has {len(self._map):,} bytes, its index needs {end:,}; delete {path}"
            )

    @property
    def entries(self) -> Mapping[str, TensorEntry]:
        """By name, in the order of the index. Read-only."""
        return self._entries

    @property
    def weights_path(self) -> Path:
        return self.path / WEIGHTS

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def read(self, name: str) -> np.ndarray:
        entry = self.entries[name]
        if entry.is_raw:
            return np.frombuffer(self._map, np.uint8, entry.num_bytes, entry.offset)
        out, start = np.empty(entry.num_bytes, np.uint8), 0
        for number, tile in enumerate(entry.tiles):
            self._verify(entry, number)
            check_decode(self.path, entry, number, self._stored(tile), out[start : start + tile.num_bytes])
            start += tile.num_bytes
        out.flags.writeable = False
        return out

    def verify(self, name: str) -> None:
        """Raises ModelFileError, naming the tile, when bytes are not those that were written."""
        entry = self.entries[name]
        for number in range(len(entry.tiles)):
            self._verify(entry, number)

    @property
    def num_bytes(self) -> int:
        return len(self._map)

    def _stored(self, tile: Tile) -> memoryview:
        return memoryview(self._map)[tile.offset : tile.offset + tile.stored_bytes]

    def _verify(self, entry: TensorEntry, number: int) -> None:
        check_tile(self.path, entry, number, self._stored(entry.tiles[number]))


def _entry(row: ForeignValues) -> TensorEntry:
    name = row.text("name", most=1024)
    tiles = tuple(_tile(values, f"{row.origin} {name}") for values in row.items_of("tiles"))
    shape = tuple(row.wholes("shape", least=1))
    num_bytes = row.whole("num_bytes", most=MOST_BYTES)
    entry = TensorEntry(name, row.text("layout", most=64), shape, num_bytes, tiles)
    if not tiles or not 1 <= len(shape) <= 4 or math.prod(shape) > MOST_VALUES_PER_BYTE * num_bytes:
        raise ValueError(f"{name} of shape {shape} in {num_bytes} bytes")
    full = all(tile.num_bytes == TILE_BYTES for tile in tiles[:-1]) and tiles[-1].num_bytes <= TILE_BYTES
    placed = all(tile.offset % ALIGNMENT_BYTES == 0 and 0 <= tile.stored_bytes <= TILE_BYTES for tile in tiles)
    follow = all(tile.offset == tiles[0].offset + number * TILE_BYTES for number, tile in enumerate(tiles))
    total_bytes = sum(tile.num_bytes for tile in tiles)
    if total_bytes != entry.num_bytes or not (full and placed and (follow or not entry.is_raw)):
        raise ValueError(f"the tiles of {entry.name} do not add up")
    return entry


def _tile(values: object, origin: str) -> Tile:
    if not isinstance(values, list) or len(values) != 5:
        raise ValueError(f"{origin} has a tile that is no row of five")
    offset, stored_bytes, num_bytes = (whole(value, f"{origin}: a tile", most=MOST_BYTES) for value in values[:3])
    codec, checksum = (text(value, f"{origin}: a tile", most=64) for value in values[3:])
    return Tile(offset, stored_bytes, num_bytes, codec, checksum)


def tile_name(entry: TensorEntry, number: int) -> str:
    return f"tile {number + 1} of {len(entry.tiles)} of {entry.name}"


def check_tile(path: Path, entry: TensorEntry, number: int, stored: memoryview) -> None:
    """Raises ModelFileError when the stored bytes fail their checksum."""
    if xxhash.xxh3_64_hexdigest(stored) != entry.tiles[number].xxh3:
        raise ModelFileError(
            f"{path}: {tile_name(entry, number)} fails its checksum; delete the folder to pack it anew"
        )


def check_decode(path: Path, entry: TensorEntry, number: int, stored: memoryview, out: np.ndarray) -> None:
    """Decode one tile into `out`. Raises ModelFileError when its codec cannot."""
    try:
        decode(entry.tiles[number].codec, stored, out)
    except CodecError as error:
        raise ModelFileError(f"{path}: {tile_name(entry, number)} cannot be decoded ({error})") from error
