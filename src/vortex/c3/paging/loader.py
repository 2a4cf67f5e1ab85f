"""Units of a folder from the disk into given memory: what every pager does, whatever it keeps.

A pager says which unit goes where and when; the loader reads it (several direct reads at once, each tile checked),
waits for it, and counts. Promises: the views of a load that was waited for have passed their checksums; after a failed
one, `start_anew` leaves reads that may still land to the memory they were started for. Chooses nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vortex.c3.format.folder import C3Folder, TensorEntry, aligned
from vortex.c3.paging.calibration import DiskProfile, disk_profile
from vortex.c3.paging.counters import SweepCounters
from vortex.c3.paging.direct_file import DirectFile
from vortex.c3.paging.host_tier import host_tier
from vortex.c3.paging.options import PagerOptions
from vortex.c3.paging.tile_memory import HostMemory, TileMemory
from vortex.c3.paging.tile_reader import Reading, ReadInto, ReadShape, TileReader
from vortex.c3.sources import Lease

Units = Mapping[str, Sequence[TensorEntry]]


def unit_bytes(units: Units) -> dict[str, int]:
    """What each unit takes in memory."""
    return {unit: sum(aligned(entry.num_bytes) for entry in parts) for unit, parts in units.items()}


@dataclass(slots=True)
class Load:
    """A unit on its way into its region."""

    unit: str
    views: dict[str, Any]
    reading: Reading


class UnitLoader:
    """units: all there are. paged: those that are read again and again, which the host tier may keep.

    `read_into`: reads the weights file another way than directly (tests: a disk that fails or stalls). `memory`: where
    the bytes go.
    """

    def __init__(
        self,
        folder: C3Folder,
        units: Units,
        paged: Sequence[str],
        options: PagerOptions,
        *,
        read_into: ReadInto | None,
        memory: TileMemory | None,
    ) -> None:
        self.memory = memory or HostMemory(locked=options.lock_memory)
        self.stats = SweepCounters()
        self._folder, self._units = folder, units
        self._stall_timeout_s = options.stall_timeout_s
        self._file = DirectFile(folder.weights_path)
        self.disk: DiskProfile | None = disk_profile(self._file, folder.num_bytes, options.disk_memory)
        kept = [units[unit] for unit in paged]
        self._host = host_tier(read_into or self._file.read_into, kept, options.host_bytes, self.memory)
        self._reader = self._new_reader()

    def stored_bytes(self, unit: str) -> int:
        """What is read for it."""
        return sum(entry.stored_bytes for entry in self._units[unit])

    def start(self, unit: str, region: Any) -> Load:
        """Begin to read the unit to the start of `region`, its tensors one after the other, each from a page."""
        placed: list[tuple[TensorEntry, Any]] = []
        views, offset = {}, 0
        for entry in self._units[unit]:
            size = aligned(entry.num_bytes)
            placed.append((entry, region[offset : offset + size]))
            views[entry.name] = region[offset : offset + entry.num_bytes]
            offset += size
        return Load(unit, views, self._reader.start(placed))

    def wait(self, load: Load) -> None:
        """Returns once all of it is there and checked. Raises ModelFileError or StorageError, naming the tile."""
        in_time, started = load.reading.is_done, time.perf_counter()
        self.memory.wait_for(load.reading.wait(self._stall_timeout_s))
        self.stats.arrived(self.stored_bytes(load.unit), in_time, 1e3 * (time.perf_counter() - started))

    def drop(self, load: Load) -> None:
        """Nobody wants it; its region is free afterwards. Raises StorageError on a stall."""
        load.reading.settle(self._stall_timeout_s)

    def pin(self, unit: str, num_bytes: int) -> Lease:
        """The unit in memory of its own, for good: straight from disk, never through the page cache."""
        load = self.start(unit, self.memory.region(num_bytes))
        self.memory.wait_for(load.reading.wait(self._stall_timeout_s))
        return Lease(load.views, lasts=True)

    def start_anew(self) -> None:
        """After a failure: no load that was started will be waited for, and nothing that was kept is trusted."""
        self._reader.close()
        self._host.forget()
        self._reader = self._new_reader()

    def read(self, name: str) -> np.ndarray:
        """A tensor outside the units, from the folder's map: uint8 [num_bytes]."""
        self._folder.verify(name)
        return self._folder.read(name)

    def counters(self, bytes_to_fetch: int) -> Mapping[str, float]:
        """bytes_to_fetch: of one sweep."""
        rate = self.disk.bytes_per_second if self.disk else 0.0
        if not self.memory.is_host:  # else whoever copies on from here counts (c3/torch/paged_linear.py)
            self.stats.bytes_h2d = self.memory.bytes_uploaded
        return self.stats.as_dict(bytes_to_fetch / rate if rate else 0.0)

    def close(self) -> None:
        self._reader.close()
        self._file.close()

    def _new_reader(self) -> TileReader:
        device = None if self.memory.is_host else self.memory
        shape = self.disk.shape if self.disk else ReadShape()
        return TileReader(self._folder.path, self._host.read_into, shape, device, self._host)
