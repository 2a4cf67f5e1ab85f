"""The seam between who computes and where weights live: `lease(unit)` lends a unit's tensors for one use.

A unit is what one product needs: the tensors `layers.3.gate_up.0`, `layers.3.gate_up.1`, ... belong to the unit
`layers.3.gate_up`; all tensors of one expert are one unit. Resident weights are the trivial source; those under
c3/paging/ are the paged ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from vortex.c3.format.folder import C3Folder, TensorEntry
from vortex.c3.paging.retention import TokenExperts


@dataclass(frozen=True, slots=True)
class Lease:
    """views: uint8 [num_bytes] by tensor name, numpy's or the device's, valid until the lease ends.

    `lasts`: they stay valid with the source.
    """

    views: Mapping[str, Any]
    lasts: bool


class WeightSource(Protocol):
    @property
    def entries(self) -> Mapping[str, TensorEntry]: ...

    @property
    def bytes_to_fetch(self) -> int:
        """Of slower storage, that one sweep reads."""
        ...

    def lease(self, unit: str) -> AbstractContextManager[Lease]:
        """Raises ModelFileError or StorageError, naming the tile, when the unit cannot be had."""
        ...

    def experts(self, layer: int, token_experts: TokenExperts) -> Iterator[tuple[int, Lease]]:
        """The experts a layer step needs, ascending; each lease ends with the next one."""
        ...

    def read(self, name: str) -> np.ndarray:
        """A tensor outside the sweep's units (vectors, the embedding), for good: uint8 [num_bytes]."""
        ...

    def counters(self) -> Mapping[str, float]: ...

    def close(self) -> None: ...


def units_of(entries: Mapping[str, TensorEntry]) -> dict[str, list[TensorEntry]]:
    """Units in the order of a sweep: tensors whose name ends in a part number, by the name before it."""
    units: dict[str, list[TensorEntry]] = {}
    for name, entry in entries.items():
        unit, _, part = name.rpartition(".")
        if part.isdigit():
            unit = expert_unit(name) or unit
            units.setdefault(unit, []).append(entry)
    return units


def expert_unit(name: str) -> str | None:
    """`layers.3.experts.7` of every name in it: an expert is used as a whole. None for other names."""
    pieces = name.split(".")
    return ".".join(pieces[:4]) if len(pieces) > 3 and pieces[2] == "experts" else None


class ResidentSource:
    """A whole folder in memory: mapped where its tiles are raw, decoded once where they are not.

    Every tile is checked when it is first used, and not again.
    """

    bytes_to_fetch = 0

    def __init__(self, folder: C3Folder) -> None:
        self.folder = folder
        self.entries = folder.entries
        self._units = units_of(folder.entries)
        self._leases: dict[str, Lease] = {}

    @contextmanager
    def lease(self, unit: str) -> Iterator[Lease]:
        if unit not in self._leases:
            views = {entry.name: self.read(entry.name) for entry in self._units[unit]}
            self._leases[unit] = Lease(views, lasts=True)
        yield self._leases[unit]

    def experts(self, layer: int, token_experts: TokenExperts) -> Iterator[tuple[int, Lease]]:
        for expert in sorted({expert for experts in token_experts for expert in experts}):
            with self.lease(f"layers.{layer}.experts.{expert}") as lease:
                yield expert, lease

    def read(self, name: str) -> np.ndarray:
        if self.entries[name].is_raw:
            self.folder.verify(name)  # mapped bytes are not looked at; coded ones are checked as they are decoded
        return self.folder.read(name)

    def counters(self) -> Mapping[str, float]:
        return {}

    def close(self) -> None:
        self._leases.clear()
