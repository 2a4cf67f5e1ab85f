"""Tiles in a device's memory through torch: slots there, page-locked staging here, copies on a stream of their own.

On a CPU "device" the same code copies at once, so that tests hold it against the host tier bit for bit.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from vortex.c3.format.folder import ALIGNMENT_BYTES
from vortex.c3.paging.ring import anonymous_bytes
from vortex.c3.paging.tile_memory import Staging

REGISTER_PORTABLE = 1  # page-locked for every device's context


class DeviceMemory:
    """A TileMemory. device: as torch names it. One thread computes; any number of threads upload."""

    is_host = False

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self._copies = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self._lock = threading.Lock()
        self._bytes_uploaded = 0

    @property
    def bytes_uploaded(self) -> int:
        return self._bytes_uploaded

    def region(self, num_bytes: int) -> torch.Tensor:
        with torch.inference_mode(False):  # a slot may be made in a sweep, and is written by threads outside of it
            region = torch.empty(num_bytes, dtype=torch.uint8, device=self.device)
        self.released()  # the allocator may give memory that is still being computed with
        return region

    def staging(self, num_bytes: int) -> Staging:
        if self._copies is None:
            array = anonymous_bytes(num_bytes)
            return Staging(array, torch.from_numpy(array))
        pinned = torch.empty(num_bytes + ALIGNMENT_BYTES, dtype=torch.uint8, pin_memory=True)
        first = -pinned.data_ptr() % ALIGNMENT_BYTES
        handle = pinned[first : first + num_bytes]
        return Staging(_writeable(handle), handle)

    def page_locked(self, num_bytes: int) -> Staging | None:
        """Exactly this much: torch's own page-locked memory comes in powers of two."""
        array = anonymous_bytes(num_bytes)
        if self._copies is not None and not _locked_by_cuda(array):
            return None
        return Staging(array, torch.from_numpy(array))

    def reuse(self, staging: Staging) -> None:
        if staging.ticket is not None:
            staging.ticket.synchronize()
        staging.ticket = None

    def upload(self, target: torch.Tensor, staging: Staging, num_bytes: int) -> Any:
        with self._lock:
            self._bytes_uploaded += num_bytes
        if self._copies is None:
            target.copy_(staging.handle[:num_bytes])
            return None
        with torch.cuda.stream(self._copies):
            target.copy_(staging.handle[:num_bytes], non_blocking=True)
            staging.ticket = torch.cuda.Event()
            staging.ticket.record(self._copies)
        return staging.ticket

    def wait_for(self, tickets: Sequence[Any]) -> None:
        if self._copies is not None:
            stream = torch.cuda.current_stream(self.device)
            for ticket in tickets:
                stream.wait_event(ticket)

    def released(self) -> None:
        if self._copies is not None:
            self._copies.wait_stream(torch.cuda.current_stream(self.device))


def _locked_by_cuda(array: np.ndarray) -> bool:
    """Page-lock the array's memory until the array is gone. False where the driver refuses."""
    runtime = torch.cuda.cudart()
    address = array.ctypes.data
    if int(runtime.cudaHostRegister(address, array.nbytes, REGISTER_PORTABLE)):
        return False
    weakref.finalize(array, runtime.cudaHostUnregister, address)
    return True


def _writeable(tensor: torch.Tensor) -> np.ndarray:
    array: np.ndarray = tensor.numpy()
    return array
