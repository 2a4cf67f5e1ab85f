"""How many threads compute: the only place that says what "0 threads" means.

Counts the cores that this process may use: those its affinity leaves it (`taskset`, a cpuset), and no more than the
share of time that a container gives it. Knows nothing of the threads themselves: the native core and torch are told.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from vortex.errors import ConfigError

THREADS_VARIABLE = "VORTEX_THREADS"
MAX_THREADS = 256
MEMBERSHIP = Path("/proc/self/cgroup")
CONTROL_GROUPS = Path("/sys/fs/cgroup")


def compute_threads(wanted: int = 0) -> int:
    """VORTEX_THREADS, else `wanted`, else (0) the cores this process may use. Raises ConfigError for nonsense."""
    text = os.environ.get(THREADS_VARIABLE, "").strip()
    if not text:
        return wanted or usable_cores()
    if not text.isdecimal() or not 1 <= int(text) <= MAX_THREADS:
        raise ConfigError(f"{THREADS_VARIABLE}={text!r} is no number of threads; set 1 to {MAX_THREADS}, or unset it")
    return int(text)


def usable_cores() -> int:
    """Cores this process may use: a container's share, not the whole host. At least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *map(math.ceil, quotas())]))


def quotas(membership: Path = MEMBERSHIP, mounted: Path = CONTROL_GROUPS) -> Iterator[float]:
    """Cores' worth of time that each of this process's Linux control groups allows, versions 1 and 2; none: no limit.

    A container sees its own group as the root, or its path on the host below a root that is its own; so every folder
    from the path up to the root is asked.
    """
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = mounted / controllers
        group = root / path.strip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(root):
                break
            if (quota := _quota_v1(folder) if controllers else _quota_v2(folder)) is not None:
                yield quota


def _quota_v2(folder: Path) -> float | None:
    """`cpu.max`: microseconds of a period, or max, and the period."""
    words = _words(folder / "cpu.max")
    return _share(words[0], words[1]) if len(words) == 2 else None


def _quota_v1(folder: Path) -> float | None:
    quota, period = _words(folder / "cpu.cfs_quota_us"), _words(folder / "cpu.cfs_period_us")
    return _share(quota[0], period[0]) if quota and period else None


def _share(quota: str, period: str) -> float | None:
    """None for `max` and -1: no limit."""
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def _words(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").split()
    except OSError:
        return []
