"""One process at a time: an advisory lock on a file.

The system drops the lock when its holder ends, however it ends, so a lock file that is left behind means nothing.
Does not work across machines on file systems without locks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from vortex.records.system import lock_descriptor

RETRY_EVERY_S = 0.1


class FileLock:
    """`with FileLock(path): …` runs while no other process or thread is inside the same lock.

    `on_wait` is called once if the lock is taken, before waiting for it.
    """

    def __init__(self, path: Path, *, on_wait: Callable[[], None] | None = None) -> None:
        self._path = path
        self._on_wait = on_wait
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._wait(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return self

    def _wait(self, descriptor: int) -> None:
        waiting = False
        while True:
            try:
                lock_descriptor(descriptor, blocking=False)
            except BlockingIOError:
                if not waiting and self._on_wait is not None:
                    self._on_wait()
                waiting = True
                time.sleep(RETRY_EVERY_S)  # polled, so that Ctrl-C is heard
            else:
                return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._descriptor is not None, "left a lock that was never entered"
        os.close(self._descriptor)
        self._descriptor = None
