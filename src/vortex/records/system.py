"""What operating systems do differently, on the ways of `chat` and `serve`: locks, reads at a place, signals that end.

Everything else on those ways is the same call everywhere. Rooms that need POSIX say so themselves: the sandbox (Linux),
`vortex up` (its watchers). The Windows branches are written from its documentation and have not run on Windows.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

READ_FLAGS = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
DIRECT_FLAG = getattr(os, "O_DIRECT", 0)  # 0: this system reads through its cache
_one_seek = threading.Lock()


def lock_descriptor(descriptor: int, *, blocking: bool = True) -> None:
    """Take an exclusive lock; closing the descriptor gives it back. Raises BlockingIOError where another holds it."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_LOCK if blocking else msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(str(error)) from error
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX if blocking else fcntl.LOCK_EX | fcntl.LOCK_NB)


def read_at(descriptor: int, target: memoryview, offset: int) -> int:
    """Read into `target` from `offset`; how many bytes came, 0 at the end. Many threads may share a descriptor."""
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [target], offset)
    return read_by_seeking(descriptor, target, offset)


def read_by_seeking(descriptor: int, target: memoryview, offset: int) -> int:
    """`read_at` where the system has no read at a place: one reader at a time, and a copy."""
    with _one_seek:
        os.lseek(descriptor, offset, os.SEEK_SET)
        data = os.read(descriptor, len(target))
    target[: len(data)] = data
    return len(data)


def drop_from_cache(descriptor: int, offset: int, length: int) -> None:
    """Tell the system that these pages will not be read again soon, where it listens."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_DONTNEED)


def stop_signals() -> tuple[signal.Signals, ...]:
    """Signals that ask a server to end: Ctrl-C, SIGTERM, and on Windows Ctrl-Break, which is how a service is told."""
    names = ("SIGINT", "SIGTERM", "SIGBREAK")
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


def hangup_signal() -> signal.Signals | None:
    """The signal that says the terminal is gone; None where there is none (Windows)."""
    return getattr(signal, "SIGHUP", None)
