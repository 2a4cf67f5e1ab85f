"""Tensors from a `.c3` folder into given memory: many direct reads at once, each tile checked and decoded as it lands.

Raw tiles are read straight to their place in this process's memory. Coded tiles go through a scratch buffer per thread;
tiles for a device through two page-locked ones per thread, so that one is copied while the other is read into, unless
they are kept in page-locked memory already. A tile
that cannot be read, does not match its checksum, or does not arrive in time is an error that names it; bytes that
failed their check are never handed out.
"""

from __future__ import annotations

import mmap
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vortex.c3.format.codecs import RAW
from vortex.c3.format.folder import TILE_BYTES, TensorEntry, aligned, check_decode, check_tile, tile_name
from vortex.c3.paging.tile_memory import Staging, TileMemory
from vortex.errors import StorageError

ReadInto = Callable[[memoryview, int], None]  # target, file offset


class KeptBytes(Protocol):
    """Pieces of the file that were read before (c3/paging/host_tier.py)."""

    def checked_bytes(self, offset: int, num_bytes: int) -> Staging | None: ...

    def passed_check(self, offset: int, num_bytes: int) -> None: ...


@dataclass(frozen=True, slots=True)
class ReadShape:
    """How one disk likes to be read."""

    threads: int = 8
    tiles_per_read: int = 2


@dataclass(slots=True)
class Reading:
    """Tiles on their way. `first_tile` of each job, for messages."""

    path: Path
    jobs: list[tuple[TensorEntry, int, Future[Any]]] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        return all(future.done() for _, _, future in self.jobs)

    def wait(self, timeout_s: float) -> list[Any]:
        """Tickets of uploads (c3/paging/tile_memory.py). Raises ModelFileError or StorageError, naming the tile."""
        deadline, tickets = time.monotonic() + timeout_s, []
        for entry, number, future in self.jobs:
            try:
                ticket = future.result(max(0.0, deadline - time.monotonic()))
            except FutureTimeout:
                raise self._stalled(entry, number, timeout_s) from None
            if ticket is not None:
                tickets.append(ticket)
        return tickets

    def cancel(self) -> None:
        """Reads that have not begun never will."""
        for _, _, future in self.jobs:
            future.cancel()

    def settle(self, timeout_s: float) -> None:
        """Nobody wants these bytes: cancel what has not begun, let the rest land. Raises StorageError on a stall."""
        self.cancel()
        begun = [(entry, number, future) for entry, number, future in self.jobs if not future.cancelled()]
        _, late = wait([future for _, _, future in begun], timeout_s)
        for entry, number, future in begun:
            if future in late:
                raise self._stalled(entry, number, timeout_s)

    def _stalled(self, entry: TensorEntry, number: int, timeout_s: float) -> StorageError:
        return StorageError(
            f"{self.path}: {tile_name(entry, number)} did not arrive within {timeout_s:g} s; the disk stalls"
        )


class TileReader:
    """`read_into` reads the weights file (DirectFile.read_into); `path` is the folder, for messages.

    device: where targets are, if not in this process's memory. kept: what is in memory already, page-locked.
    """

    def __init__(
        self,
        path: Path,
        read_into: ReadInto,
        shape: ReadShape = ReadShape(),
        device: TileMemory | None = None,
        kept: KeptBytes | None = None,
    ) -> None:
        self.path = path
        self.shape = shape
        self._device, self._kept = device, kept
        self._read_into = read_into
        self._pool = ThreadPoolExecutor(shape.threads, thread_name_prefix="c3-read")
        self._scratch = threading.local()

    def start(self, placed: Sequence[tuple[TensorEntry, Any]]) -> Reading:
        """Begin to fill each target: uint8 [aligned(num_bytes)], page-aligned, or a device's bytes."""
        reading = Reading(self.path)
        for entry, target in placed:
            step = self.shape.tiles_per_read if entry.is_raw else 1
            for first in range(0, len(entry.tiles), step):
                last = min(first + step, len(entry.tiles))
                future = self._pool.submit(self._job, entry, first, last, target)
                reading.jobs.append((entry, first, future))
        return reading

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _job(self, entry: TensorEntry, first: int, last: int, target: Any) -> Any:
        try:
            if self._device is not None:
                return self._upload(self._device, entry, range(first, last), target)
            if entry.is_raw:
                self._read_raw(entry, first, last, target)
            else:
                self._read_coded(entry, first, target[first * TILE_BYTES :])
            return None
        except OSError as error:
            raise StorageError(
                f"{self.path}: {tile_name(entry, first)} cannot be read ({error.strerror or error}); check the disk"
            ) from error

    def _upload(self, device: TileMemory, entry: TensorEntry, numbers: range, target: Any) -> Any:
        """The tiles from where they are kept, or by way of a staging buffer of this thread."""
        num_bytes = sum(entry.tiles[number].num_bytes for number in numbers)
        start, offset = numbers[0] * TILE_BYTES, entry.tiles[numbers[0]].offset
        place = target[start : start + num_bytes]
        kept = self._kept.checked_bytes(offset, aligned(num_bytes)) if self._kept and entry.is_raw else None
        if kept is not None:
            return device.upload(place, kept, num_bytes)
        staging = self._staging_buffer(device)
        if entry.is_raw:
            landing = memoryview(staging.bytes)[: aligned(num_bytes)]  # type: ignore[arg-type] # a Buffer
            self._read_into(landing, offset)
            for number in numbers:
                first = (number - numbers[0]) * TILE_BYTES
                check_tile(self.path, entry, number, landing[first : first + entry.tiles[number].num_bytes])
            if self._kept:
                self._kept.passed_check(offset, aligned(num_bytes))
        else:
            self._read_coded(entry, numbers[0], staging.bytes)
        return device.upload(place, staging, num_bytes)

    def _read_raw(self, entry: TensorEntry, first: int, last: int, target: np.ndarray) -> None:
        start = first * TILE_BYTES
        end = aligned(sum(tile.num_bytes for tile in entry.tiles[:last]))
        self._read_into(memoryview(target)[start:end], entry.tiles[first].offset)  # type: ignore[arg-type] # a Buffer
        for number in range(first, last):
            place = number * TILE_BYTES
            stored = memoryview(target)[place : place + entry.tiles[number].num_bytes]  # type: ignore[arg-type]
            check_tile(self.path, entry, number, stored)

    def _read_coded(self, entry: TensorEntry, number: int, target: np.ndarray) -> None:
        """The tile's bytes to the beginning of `target`."""
        tile = entry.tiles[number]
        scratch = self._scratch_buffer()
        self._read_into(scratch[: aligned(tile.stored_bytes)], tile.offset)
        stored = scratch[: tile.stored_bytes]
        check_tile(self.path, entry, number, stored)
        out = target[: tile.num_bytes]
        if tile.codec == RAW:
            out[:] = np.frombuffer(stored, np.uint8)
        else:
            check_decode(self.path, entry, number, stored, out)

    def _scratch_buffer(self) -> memoryview:
        if not hasattr(self._scratch, "memory"):
            self._scratch.memory = memoryview(mmap.mmap(-1, TILE_BYTES + aligned(1)))
        memory: memoryview = self._scratch.memory
        return memory

    def _staging_buffer(self, device: TileMemory) -> Staging:
        """One of the thread's two, once the copy before the last has left it."""
        if not hasattr(self._scratch, "staging"):
            num_bytes = self.shape.tiles_per_read * TILE_BYTES
            self._scratch.staging = [device.staging(num_bytes) for _ in range(2)]
        self._scratch.staging.reverse()
        staging: Staging = self._scratch.staging[0]
        device.reuse(staging)
        return staging
