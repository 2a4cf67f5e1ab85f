"""A ring of bytes: regions are taken at the head and given back at the tail, oldest first. Never allocates again.

A region is contiguous, so the end of the ring is skipped where one does not fit.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
from collections import deque
from typing import Any

import numpy as np

from vortex.c3.format.sizes import spell_bytes
from vortex.errors import MissingCapability


def anonymous_bytes(num_bytes: int, *, locked: bool = False) -> np.ndarray:
    """uint8 [num_bytes], page-aligned, in huge pages where the system gives them.

    `locked`: never swapped out. Raises MissingCapability where the system refuses that.
    """
    memory = mmap.mmap(-1, max(1, num_bytes))
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # ordinary pages do as well, a little slower
            memory.madvise(mmap.MADV_HUGEPAGE)
    array = np.frombuffer(memory, np.uint8, num_bytes)
    if locked and num_bytes:
        _lock(array)
    return array


def _lock(array: np.ndarray) -> None:
    library = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
    if library is None or library.mlock(ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)):
        raise MissingCapability(
            f"the system does not let this user lock {spell_bytes(array.nbytes)} of memory; raise `ulimit -l`, or run "
            "with `--set c3.pinned_memory=false`"
        )


class Ring:
    """memory: bytes that can be sliced, in this process or on a device."""

    def __init__(self, memory: Any) -> None:
        self.memory = memory
        self._regions: deque[tuple[int, int]] = deque()  # (start, end), oldest first

    def take(self, num_bytes: int) -> Any | None:
        """The next region, or None while there is no room for it. num_bytes: of whole pages."""
        start = self._place(num_bytes)
        if start is None:
            return None
        self._regions.append((start, start + num_bytes))
        return self.memory[start : start + num_bytes]

    def give_back(self) -> None:
        """The oldest region."""
        self._regions.popleft()

    def _place(self, num_bytes: int) -> int | None:
        if not self._regions:
            return 0 if num_bytes <= len(self.memory) else None
        tail, head = self._regions[0][0], self._regions[-1][1]
        if self._regions[-1][0] >= tail:  # not wrapped: free are [head, end) and [0, tail)
            if head + num_bytes <= len(self.memory):
                return head
            return 0 if num_bytes <= tail else None
        return head if head + num_bytes <= tail else None
