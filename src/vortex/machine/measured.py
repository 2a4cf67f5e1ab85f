"""What this machine is, and how fast its disk is, measured in about a second.

Promises a figure that holds for large sequential reads, past the page cache where the system allows it. Does not
measure latency, writes or the GPU; memory is read through the kernels (kernels/memory_rate.py).
"""

from __future__ import annotations

import mmap
import os
import platform
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from vortex.machine.cores import usable_cores

DISK_BLOCK_BYTES = 8 << 20
DISK_LIMIT_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class DiskRate:
    """`direct` is False where the system refused to go past the page cache: the rate may then be the memory's."""

    bytes_per_s: float
    direct: bool


def describe_machine() -> dict[str, object]:
    """Name and size of this machine, for the head of every report."""
    return {
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "memory_gb": round(memory_total_bytes() / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def cpu_name() -> str:
    return cpu_info("model name") or platform.processor() or platform.machine()


def cpu_info(key: str) -> str:
    """A field of /proc/cpuinfo, or nothing where there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def memory_total_bytes() -> int:
    return _meminfo("MemTotal") or _told_by_the_system()


def _told_by_the_system() -> int:
    """Memory of a machine without /proc. On Windows: written from its documentation, has not run there."""
    if sys.platform == "win32":
        import ctypes

        status = (ctypes.c_uint64 * 8)()  # MEMORYSTATUSEX: two 32-bit numbers (its size first), then seven of 64 bits
        status[0] = ctypes.sizeof(status)
        ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
        return int(status[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_available_bytes() -> int:
    return _meminfo("MemAvailable") or memory_total_bytes()


def memory_of_this_process_bytes() -> int:
    """Resident memory; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def disk_free_bytes(folder: Path) -> int:
    """Free space where `folder` is or would be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def disk_read_bytes_per_s(file: Path) -> DiskRate:
    """Rate of reading `file` from its beginning, at most 512 MB of it. Raises OSError."""
    direct = getattr(os, "O_DIRECT", 0)
    try:
        return DiskRate(_read_rate(file, direct), direct != 0)
    except OSError:
        if not direct:
            raise
        return DiskRate(_read_rate(file, 0), direct=False)


def _read_rate(file: Path, flags: int) -> float:
    descriptor = os.open(file, os.O_RDONLY | flags)
    try:
        with mmap.mmap(-1, DISK_BLOCK_BYTES) as buffer:  # page-aligned, as direct reads demand
            total = 0
            started = time.perf_counter()
            while total < DISK_LIMIT_BYTES and (count := os.readv(descriptor, [buffer])):
                total += count
            return total / (time.perf_counter() - started)
    finally:
        os.close(descriptor)


def _meminfo(key: str) -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), 0)
