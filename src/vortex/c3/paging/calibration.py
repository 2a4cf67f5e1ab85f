"""How fast a disk reads directly, and with how many threads and how large pieces: measured once, then remembered.

The memory of it is a small JSON file, one entry per file system. A damaged or foreign memory is measured anew.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from vortex.c3.format.folder import TILE_BYTES
from vortex.c3.paging.direct_file import DirectFile
from vortex.c3.paging.ring import anonymous_bytes
from vortex.c3.paging.tile_reader import ReadShape
from vortex.records.atomic import atomic_write

THREADS = (4, 8, 16)
TILES_PER_READ = (1, 2, 4)
SAMPLE_BYTES = 96 << 20
WORTH_MEASURING_BYTES = 256 << 20
NEAR_BEST = 0.9


@dataclass(frozen=True, slots=True)
class DiskProfile:
    """bytes_per_second: of direct reads in `shape`."""

    shape: ReadShape
    bytes_per_second: float


def disk_profile(file: DirectFile, num_bytes: int, memory_path: Path | None) -> DiskProfile | None:
    """Of the disk under `file`; None where the file is too small to tell and nothing is remembered."""
    key = f"{file.device}-{'direct' if file.is_direct else 'buffered'}"
    remembered = _remembered(memory_path)
    if key in remembered:
        return remembered[key]
    if num_bytes < WORTH_MEASURING_BYTES:
        return None
    profile = measure_disk(file, num_bytes)
    if memory_path is not None:
        remembered[key] = profile
        _remember(memory_path, remembered)
    return profile


def measure_disk(file: DirectFile, num_bytes: int) -> DiskProfile:
    """Reads a stretch of the file per combination, each elsewhere.

    Of those near the fastest, the one with the most bytes under way: products keep reading threads waiting for a core,
    and a deep queue keeps the disk busy meanwhile.
    """
    measured: list[DiskProfile] = []
    offset = 0
    for threads in THREADS:
        for tiles in TILES_PER_READ:
            if offset + SAMPLE_BYTES > num_bytes:
                offset = 0
            shape = ReadShape(threads, tiles)
            measured.append(DiskProfile(shape, read_rate(file, offset, min(SAMPLE_BYTES, num_bytes), shape)))
            offset += SAMPLE_BYTES
    enough = NEAR_BEST * max(profile.bytes_per_second for profile in measured)
    near = [profile for profile in measured if profile.bytes_per_second >= enough]
    return max(
        near, key=lambda profile: (profile.shape.threads * profile.shape.tiles_per_read, profile.bytes_per_second)
    )


def read_rate(file: DirectFile, start: int, num_bytes: int, shape: ReadShape) -> float:
    """Bytes per second of direct reads from `start` in this shape."""
    piece = shape.tiles_per_read * TILE_BYTES
    return rate_of_pieces(file, [start + number * piece for number in range(max(1, num_bytes // piece))], shape)


def rate_of_pieces(file: DirectFile, offsets: Sequence[int], shape: ReadShape) -> float:
    """The same for pieces that begin at these places."""
    piece = shape.tiles_per_read * TILE_BYTES
    memory = memoryview(anonymous_bytes(piece * shape.threads))  # type: ignore[arg-type] # a Buffer

    def read(number: int) -> None:
        slot = number % shape.threads * piece  # two reads may share a slot: the bytes are not looked at
        file.read_into(memory[slot : slot + piece], offsets[number])

    with ThreadPoolExecutor(shape.threads) as pool:
        list(pool.map(read, range(min(len(offsets), shape.threads))))  # threads and pages are there
        started = time.perf_counter()
        list(pool.map(read, range(len(offsets))))
        return len(offsets) * piece / (time.perf_counter() - started)


def _remembered(path: Path | None) -> dict[str, DiskProfile]:
    if path is None or not path.exists():
        return {}
    try:
        rows = json.loads(path.read_text())
        return {
            key: DiskProfile(ReadShape(row["threads"], row["tiles_per_read"]), row["bytes_per_second"])
            for key, row in rows.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # it can be measured again


def _remember(path: Path, profiles: dict[str, DiskProfile]) -> None:
    rows = {
        key: {
            "threads": profile.shape.threads,
            "tiles_per_read": profile.shape.tiles_per_read,
            "bytes_per_second": round(profile.bytes_per_second),
        }
        for key, profile in profiles.items()
    }
    with atomic_write(path) as file:
        file.write(json.dumps(rows).encode())
