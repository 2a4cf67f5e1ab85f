"""Reads that bypass the page cache, into page-aligned memory. Where a file system refuses them: buffered reads, after
which the cache is told to drop the pages, so that a budget stays a promise either way.

Offsets and lengths are multiples of 4096, as direct I/O demands everywhere.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import TracebackType

from vortex.records.system import DIRECT_FLAG, READ_FLAGS, drop_from_cache, read_at


class DirectFile:
    """`is_direct` says which way it reads. Safe to use from many threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_direct = bool(DIRECT_FLAG)
        try:
            self._descriptor = os.open(path, READ_FLAGS | DIRECT_FLAG)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self.is_direct = False
            self._descriptor = os.open(path, READ_FLAGS)

    @property
    def device(self) -> int:
        """A number of the file system that holds the file."""
        return os.fstat(self._descriptor).st_dev

    def read_into(self, target: memoryview, offset: int) -> None:
        """Fill `target` from `offset`. Raises OSError; a file that ends too early is one (EIO)."""
        done = 0
        while done < len(target):
            count = read_at(self._descriptor, target[done:], offset + done)
            if count == 0:
                raise OSError(errno.EIO, f"the file ends at {offset + done:,}")
            done += count
        if not self.is_direct:
            drop_from_cache(self._descriptor, offset, len(target))

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def __enter__(self) -> DirectFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()
