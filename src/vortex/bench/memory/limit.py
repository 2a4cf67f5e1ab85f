"""A memory limit around a process, page cache included: a control group of its own, version 1 or 2. Needs root."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vortex.errors import MissingCapability

ROOT = Path("/sys/fs/cgroup")


class MemoryLimit:
    """An open control group. Processes in it that need more are killed by the kernel."""

    def __init__(self, folder: Path, peak_file: str) -> None:
        self._folder = folder
        self._peak_file = peak_file

    def add(self, process_id: int) -> None:
        """What the process touches from now on counts."""
        (self._folder / "cgroup.procs").write_text(str(process_id))

    def peak_bytes(self) -> int:
        """Most memory so far, page cache included; 0 where the kernel does not say."""
        path = self._folder / self._peak_file
        return int(path.read_text()) if path.exists() else 0


@contextmanager
def memory_limit(num_bytes: int) -> Iterator[MemoryLimit]:
    """A new control group that is gone with the block; its processes must have ended by then.

    Raises MissingCapability without root or control groups.
    """
    name = f"vortex-{os.getpid()}-{secrets.token_hex(3)}"
    is_v1 = (ROOT / "memory").is_dir()
    folder = (ROOT / "memory" if is_v1 else ROOT) / name
    try:
        if not is_v1:
            with suppress(OSError):  # on already, or not ours to switch: the limit file below decides
                (ROOT / "cgroup.subtree_control").write_text("+memory")
        folder.mkdir()
        (folder / ("memory.limit_in_bytes" if is_v1 else "memory.max")).write_text(str(num_bytes))
        if not is_v1:
            with suppress(OSError):  # a kernel without swap has no such file
                (folder / "memory.swap.max").write_text("0")
    except OSError as error:
        if folder.exists():
            folder.rmdir()
        raise MissingCapability(f"a memory limit needs root and control groups ({error}); run as root") from error
    try:
        yield MemoryLimit(folder, "memory.max_usage_in_bytes" if is_v1 else "memory.peak")
    finally:
        folder.rmdir()


def drop_page_cache() -> None:
    """Pages cached earlier by others are not charged to a new group, so they must go. Needs root."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")
