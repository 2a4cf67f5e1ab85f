"""Adapters in memory under a budget: least used out first, never one that is in use.

Promises: an adapter is read once while it stays in the bank, and again when its files changed; a lease pins it; what is
held stays within the budget, and a request that would go beyond is refused with the reason. Whoever holds an adapter
keeps it, whatever the bank does: dropping one means only that the bank forgets it. Safe from several threads.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vortex.adapters.peft_config import CONFIG_FILE
from vortex.adapters.reading import WEIGHTS_FILE
from vortex.errors import AdapterError, Overloaded
from vortex.types import Adapter

COPIES = 2  # the arrays that were read, and the form that the model makes of them

Read = Callable[[Path, int], Adapter]
"""(folder, most bytes of its weights) to an adapter for the served model. Raises AdapterError."""


@dataclass(slots=True)
class _Entry:
    adapter: Adapter
    stamp: tuple[int, ...]
    pins: int = 0

    @property
    def cost_bytes(self) -> int:
        return COPIES * self.adapter.num_bytes


class Lease:
    """A pinned adapter. Release it when nothing is answered with it any more; twice is harmless."""

    def __init__(self, adapter: Adapter, release: Callable[[], None]) -> None:
        self.adapter = adapter
        self._release: Callable[[], None] | None = release

    def release(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            release()

    def __enter__(self) -> Adapter:
        return self.adapter

    def __exit__(self, *_: object) -> None:
        self.release()


class AdapterBank:
    """`loads` and `evictions` count since the start."""

    def __init__(self, read: Read, budget_bytes: int) -> None:
        self._read = read
        self._budget_bytes = budget_bytes
        self._entries: OrderedDict[Path, _Entry] = OrderedDict()  # the least recently used first
        self._lock = threading.Lock()
        self.loads = self.evictions = 0

    @property
    def resident_bytes(self) -> int:
        return sum(entry.cost_bytes for entry in list(self._entries.values()))

    def lease(self, folder: Path, expected_hash: str | None = None) -> Lease:
        """Raises AdapterError (with `expected_hash` also where the folder holds another adapter), Overloaded where all
        that the budget holds is in use."""
        with self._lock:
            entry = self._fresh(folder)
            if expected_hash is not None and entry.adapter.hash != expected_hash:
                raise AdapterError(
                    f"{folder} was changed since it was approved or added: it holds {entry.adapter.hash[:19]}… instead "
                    f"of {expected_hash[:19]}…; go back with `vortex learn rollback`, or add it again"
                )
            entry.pins += 1
        return Lease(entry.adapter, lambda: self._unpin(entry))

    def counters(self) -> dict[str, float]:
        """For a status: what is held now, and totals since the start."""
        return {
            "adapter_bytes": float(self.resident_bytes),
            "adapter_loads": float(self.loads),
            "adapter_evictions": float(self.evictions),
        }

    def _fresh(self, folder: Path) -> _Entry:
        stamp = _stamp(folder)
        entry = self._entries.get(folder)
        if entry is not None and entry.stamp == stamp:
            self._entries.move_to_end(folder)
            return entry
        adapter = self._read(folder, self._budget_bytes // COPIES)
        self._entries.pop(folder, None)  # those who lease the old one keep it
        entry = _Entry(adapter, stamp)
        self._make_room(entry.cost_bytes)
        self._entries[folder] = entry
        self.loads += 1
        return entry

    def _make_room(self, needed_bytes: int) -> None:
        if needed_bytes > self._budget_bytes:
            raise AdapterError(
                f"the adapter takes {needed_bytes / 1e6:,.0f} MB and all adapters may take "
                f"{self._budget_bytes / 1e6:,.0f}; raise adapters.budget_mb"
            )
        idle = [folder for folder, entry in self._entries.items() if not entry.pins]
        while self.resident_bytes + needed_bytes > self._budget_bytes:
            if not idle:
                raise Overloaded(
                    f"the adapters in use fill their {self._budget_bytes / 1e6:,.0f} MB; try again later, or raise "
                    "adapters.budget_mb"
                )
            del self._entries[idle.pop(0)]
            self.evictions += 1

    def _unpin(self, entry: _Entry) -> None:
        with self._lock:
            entry.pins -= 1


def _stamp(folder: Path) -> tuple[int, ...]:
    """Changes when one of the files does."""
    numbers: list[int] = []
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        try:
            status = (folder / name).stat()
        except OSError:
            continue  # reading it will say so
        numbers += (status.st_mtime_ns, status.st_size, status.st_ino)
    return tuple(numbers)
