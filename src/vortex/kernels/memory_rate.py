"""How fast all cores together read memory: the bound of every sweep, measured in half a second.

Promises a figure that holds for large sequential reads. Does not measure latency or writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from vortex.kernels import dispatch
from vortex.machine.cores import usable_cores

MEMORY_BUFFER_BYTES = 256 << 20


def memory_read_bytes_per_s(seconds: float = 0.5) -> float:
    """Bytes read per second by all usable cores together, best of the passes that fit into `seconds`."""
    cores = usable_cores()
    data = np.ones(MEMORY_BUFFER_BYTES // 4, np.float32)
    best = 0.0
    with ThreadPoolExecutor(cores) as pool:
        read = _reader(data, cores, pool)
        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends:
            started = time.perf_counter()
            read()
            best = max(best, MEMORY_BUFFER_BYTES / (time.perf_counter() - started))
    return best


def _reader(data: np.ndarray, cores: int, pool: ThreadPoolExecutor) -> Callable[[], object]:
    """Reads every byte of `data` once: by the native core where it is, else by numpy, which is slower."""
    if dispatch.usable():
        core, flat = dispatch.load(), data.view(np.uint8)
        return lambda: core.read_all(flat)
    parts = np.array_split(data, cores)
    return lambda: list(pool.map(lambda part: float(np.dot(part, part)), parts))
