"""Where tiles live while they are used: this process's memory, or a device's (c3/torch/device_memory.py).

A pager carves leases out of regions. Host regions are read into directly. Device regions are reached through staging
buffers: a reading thread fills one, checks it, and hands it to `upload`, which copies it over on a stream of its own.
Promises: what `wait_for` was told is there before anything that the caller computes afterwards, and bytes that a lease
showed are not overwritten before what was computed with them until `released` is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from vortex.c3.paging.ring import anonymous_bytes


@dataclass(slots=True)
class Staging:
    """bytes: uint8, page-aligned. handle: the memory as the device knows it. ticket: of the last upload from it."""

    bytes: np.ndarray
    handle: Any
    ticket: Any = None


class TileMemory(Protocol):
    @property
    def is_host(self) -> bool: ...

    @property
    def bytes_uploaded(self) -> int:
        """Since the start."""
        ...

    def region(self, num_bytes: int) -> Any:
        """One-dimensional bytes that can be sliced: a numpy array, or the device's own kind."""
        ...

    def staging(self, num_bytes: int) -> Staging: ...

    def page_locked(self, num_bytes: int) -> Staging | None:
        """Memory of this process to keep tiles in that the device copies from by itself; None where it gives none."""
        ...

    def reuse(self, staging: Staging) -> None:
        """Returns once the last upload from it has left it."""
        ...

    def upload(self, target: Any, staging: Staging, num_bytes: int) -> Any:
        """Begin to copy the first bytes of `staging` into `target`; a ticket for `wait_for`. Any thread may call it."""
        ...

    def wait_for(self, tickets: Sequence[Any]) -> None: ...

    def released(self) -> None: ...


class HostMemory:
    """Anonymous memory of this process. `locked`: never swapped out."""

    is_host = True
    bytes_uploaded = 0

    def __init__(self, *, locked: bool = False) -> None:
        self._locked = locked

    def region(self, num_bytes: int) -> np.ndarray:
        return anonymous_bytes(num_bytes, locked=self._locked)

    def staging(self, num_bytes: int) -> Staging:
        raise AssertionError("host memory is read into directly")

    def page_locked(self, num_bytes: int) -> Staging | None:
        return None

    def reuse(self, staging: Staging) -> None: ...

    def upload(self, target: Any, staging: Staging, num_bytes: int) -> Any: ...

    def wait_for(self, tickets: Sequence[Any]) -> None: ...

    def released(self) -> None: ...
