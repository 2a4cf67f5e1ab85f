"""Counts what a run uses, from outside, and ends it whole.

Promises that all descendants are stopped before any is killed, so that a fork bomb cannot outrun the killing. Counts
memory that is not shared with files (resident anonymous, shared anonymous and swapped), tasks, and growth of the
writable folders. Overshoot between two looks is possible; the kernel's own limits (limits.py) bound it.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False  # typing, and the module around _signal, would each cost a tenth of the start-up
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal

MEMORY_FIELDS = ("RssAnon:", "RssShmem:", "VmSwap:")
BLOCK_BYTES = 512


def descendants() -> list[int]:
    """All processes that descend from this one, in one pass over /proc."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    line = file.read()
            except OSError:
                continue
            parent = int(line[line.rindex(b")") + 2 :].split()[1])
            children.setdefault(parent, []).append(int(name))
    found: list[int] = []
    waiting = children.get(os.getpid(), [])
    while waiting:
        process = waiting.pop()
        found.append(process)
        waiting += children.get(process, [])
    return found


def usage(processes: list[int]) -> tuple[int, int]:
    """Bytes of memory and number of tasks."""
    memory = tasks = 0
    for process in processes:
        try:
            with open(f"/proc/{process}/status", encoding="ascii", errors="replace") as file:
                for line in file:
                    if line.startswith(MEMORY_FIELDS):
                        memory += int(line.split()[1]) << 10
                    elif line.startswith("Threads:"):
                        tasks += int(line.split()[1])
        except (OSError, IndexError):
            continue
    return memory, tasks


def proportional_memory(processes: list[int]) -> int:
    """Bytes with shared pages counted once; slower, so only asked when `usage` says too much."""
    total = 0
    for process in processes:
        try:
            with open(f"/proc/{process}/smaps_rollup", encoding="ascii") as file:
                for line in file:
                    if line.startswith(("Pss_Anon:", "Pss_Shmem:", "SwapPss:")):
                        total += int(line.split()[1]) << 10
        except OSError:
            continue
    return total


def end_all(patience_s: float = 5.0) -> bool:
    """Stop, then kill every descendant until none is left. False if some would not end."""
    deadline = time.monotonic() + patience_s
    while not _none_left():
        left = descendants()
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in left:
                try:
                    os.kill(process, number)
                except ProcessLookupError:
                    continue
        if time.monotonic() > deadline:
            return _none_left()
        time.sleep(0.001)
    return True


def _none_left() -> bool:
    """Reap what has ended. Who has no child has no descendant: orphans become children of this subreaper."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return False
        except ChildProcessError:
            return True


class DiskWatch:
    """Growth of writable folders in bytes and files, deleted files that are still open included.

    The file system's own free space is asked at every look, which costs nothing; the folders are walked only when it
    shrank by a part of what is allowed, and now and then.
    """

    EVERY_S = 1.0

    def __init__(self, folders: list[str], limit_bytes: int, limit_files: int, file_bytes: int) -> None:
        self.folders = folders
        self.limit_bytes, self.limit_files, self.file_bytes = limit_bytes, limit_files, file_bytes
        self.devices = {os.stat(folder).st_dev for folder in folders}
        self.start = self._walk()
        self.free = self._free()
        self.next_walk = time.monotonic() + self.EVERY_S

    def exceeded(self, processes: list[int]) -> str:
        """ "disk", "files", or nothing."""
        free = self._free()
        shrunk = any(
            was[0] - now[0] > self.limit_bytes // 4 or was[1] - now[1] > self.limit_files // 4
            for was, now in zip(self.free, free, strict=True)
        )
        if not shrunk and time.monotonic() < self.next_walk:
            return ""
        began = time.monotonic()
        used_bytes, files = self._walk()
        used_bytes += self._deleted_open(processes)
        self.free = free
        self.next_walk = time.monotonic() + max(self.EVERY_S, 20 * (time.monotonic() - began))
        if used_bytes - self.start[0] > self.limit_bytes:
            return "disk"
        return "files" if files - self.start[1] > self.limit_files else ""

    def _free(self) -> list[tuple[int, int]]:
        found = []
        for folder in self.folders:
            state = os.statvfs(folder)
            found.append((state.f_bfree * state.f_frsize, state.f_ffree))
        return found

    def _walk(self) -> tuple[int, int]:
        total = count = 0
        waiting = list(self.folders)
        while waiting:
            try:
                with os.scandir(waiting.pop()) as entries:
                    for entry in entries:
                        count += 1
                        total += entry.stat(follow_symlinks=False).st_blocks * BLOCK_BYTES
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
            except FileNotFoundError:
                continue  # removed while it was read
            except OSError:
                count += self.limit_files + 1  # too deep to name, or closed to us: what cannot be counted is too much
        return total, count

    def _deleted_open(self, processes: list[int]) -> int:
        seen: dict[tuple[int, int], int] = {}
        for process in processes:
            folder = f"/proc/{process}/fd"
            try:
                names = os.listdir(folder)
            except OSError:
                continue
            for name in names:
                try:
                    state = os.stat(f"{folder}/{name}")
                except OSError:
                    continue
                if state.st_nlink == 0:
                    seen[state.st_dev, state.st_ino] = state.st_blocks * BLOCK_BYTES
            for key in _deleted_mapped(process, self.devices):
                seen.setdefault(key, self.file_bytes)  # its size has no name left; it may be as large as a file may be
        return sum(seen.values())


def _deleted_mapped(process: int, devices: set[int]) -> list[tuple[int, int]]:
    """Device and inode of files without a name that a process holds by a mapping alone."""
    found = []
    try:
        with open(f"/proc/{process}/maps", "rb") as file:
            for line in file:
                if line.endswith(b"(deleted)\n"):
                    major, minor = line.split()[3].split(b":")
                    device = os.makedev(int(major, 16), int(minor, 16))
                    if device in devices:
                        found.append((device, int(line.split()[4])))
    except OSError:
        return []  # it ended meanwhile
    return found
