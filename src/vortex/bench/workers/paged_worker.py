"""A paged model behind JSON lines, in a process whose memory can be limited (bench/peer.py has the protocol).

{"operation": "version"}                                              -> {"version"}
{"operation": "load", "file", "packed", "budget_bytes", "context", "threads"}
                         -> {"digest", "resident_bytes", "fetch_bytes", "weight_bytes", "streamed": [[offset, bytes]]}
{"operation": "time", "rows": n, "sweeps": n}                         -> {"sweep_s": [seconds]}   after one untimed
{"operation": "open_disk", "file", "packed", "streamed"}              -> {}
{"operation": "rates"}                      -> {"disk", "memory"}   bytes per second; each call reads on in `streamed`
{"operation": "counters"}                                             -> what /metrics shows, and peak_bytes
"""

from __future__ import annotations

import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.pop(0)  # this folder's modules are not top-level ones

import numpy as np
import xxhash

from vortex.c3.format.folder import TILE_BYTES
from vortex.c3.paging.calibration import disk_profile, rate_of_pieces
from vortex.c3.paging.direct_file import DirectFile
from vortex.c3.paging.pager import Pager
from vortex.c3.paging.tile_reader import ReadShape
from vortex.machine.cores import usable_cores
from vortex.models.decoder.opening import open_decoder, packed_folder
from vortex.models.opened import LoadOptions
from vortex.types import Span, Want

PROMPT = (5, 6, 7)
RATE_SAMPLE_BYTES = 1 << 30
MEMORY_SAMPLE_BYTES = 64 << 20


class Worker:
    def __init__(self) -> None:
        self.model: Any = None
        self.folder: Any = None
        self.shape = ReadShape()
        self._offsets: list[int] = []  # of pieces of what sweeps stream: other bytes may be cold on the disk's side

    def version(self) -> dict[str, Any]:
        from vortex import __version__

        return {"version": __version__}

    def load(self, file: str, packed: str, budget_bytes: int, context: int, threads: int) -> dict[str, Any]:
        options = LoadOptions(
            packed_root=Path(packed), budget_bytes=budget_bytes, context_limit=context, threads=threads, device="cpu"
        )
        self.model = open_decoder(Path(file), options).model
        state = self.model.new_state()
        logits = self.model.sweep([Span(state, PROMPT, Want.ALL_LOGITS)]).logits
        state.close()
        cost = self.model.sweep_cost([Span(self.model.new_state(), [1])])
        return {
            "digest": xxhash.xxh3_64_hexdigest(logits.tobytes()),
            "resident_bytes": self.model.counters().get("resident_bytes", cost.bytes_to_read),
            "fetch_bytes": cost.bytes_to_fetch,
            "weight_bytes": self.model.compute.weight_bytes,
            "streamed": _streamed(getattr(self.model.compute, "source", None)),
        }

    def time(self, rows: int, sweeps: int) -> dict[str, Any]:
        """Sweeps of `rows` tokens with the last one's logits; the sequence does not grow. The first is not counted."""
        state, seconds = self.model.new_state(), []
        for _ in range(sweeps + 1):
            started = time.perf_counter()
            self.model.sweep([Span(state, [5] * rows, Want.LAST_LOGITS)])
            seconds.append(time.perf_counter() - started)
            state.commit(0)
        state.close()
        return {"sweep_s": seconds[1:]}

    def open_disk(self, file: str, packed: str, streamed: list[list[int]]) -> dict[str, Any]:
        """For `rates`, whose buffers are large: a process under a limit would measure its own want of memory."""
        self.folder = packed_folder(Path(file), LoadOptions(packed_root=Path(packed), device="cpu"))
        with DirectFile(self.folder.weights_path) as weights:
            disk = disk_profile(weights, self.folder.num_bytes, Path(packed) / "disks.json")
        self.shape = disk.shape if disk else ReadShape()
        piece = self.shape.tiles_per_read * TILE_BYTES
        whole = [[0, max(self.folder.num_bytes, piece + 1)]]  # where nothing is streamed, or in pieces below a read's
        for ranges in (streamed, whole):
            self._offsets = [first for start, size in ranges for first in range(start, start + size - piece, piece)]
            if self._offsets:
                break
        return {}

    def rates(self) -> dict[str, Any]:
        """What the disk gives to direct reads and memory to all cores, both right now."""
        count = max(1, RATE_SAMPLE_BYTES // (self.shape.tiles_per_read * TILE_BYTES))
        sample, self._offsets = self._offsets[:count], self._offsets[count:] + self._offsets[:count]
        with DirectFile(self.folder.weights_path) as file:
            return {"disk": rate_of_pieces(file, sample, self.shape), "memory": _memory_rate()}

    def counters(self) -> dict[str, Any]:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {**self.model.counters(), "peak_bytes": peak}


def _streamed(source: Any) -> list[list[int]]:
    """Where the units lie that a pager reads anew for every sweep: [offset, bytes], one per tensor."""
    if not isinstance(source, Pager):
        return []
    return [[entry.offset, entry.stored_bytes] for unit in source.streamed for entry in source.units[unit]]


def _memory_rate() -> float:
    """Bytes per second that all cores together read, each its own part."""
    num_threads = usable_cores()
    parts = [np.ones(MEMORY_SAMPLE_BYTES // 8) for _ in range(num_threads)]
    with ThreadPoolExecutor(num_threads) as pool:
        best = 0.0
        for _ in range(3):
            started = time.perf_counter()
            list(pool.map(np.sum, parts))
            best = max(best, num_threads * MEMORY_SAMPLE_BYTES / (time.perf_counter() - started))
    return best
