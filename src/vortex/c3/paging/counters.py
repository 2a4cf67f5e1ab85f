"""What paging did: totals since the start, under the names that users know from /metrics.

`limit_ratio` is the measured time of a sweep over the time its bytes need at the disk's calibrated rate; 1.0 is the
physical bound where the disk decides. It is 0 while nothing is streamed or the disk's rate is unknown.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

RECENT_SWEEPS = 32
STATES = frozenset({"resident_bytes", "limit_ratio"})  # how things are; all else is counted up


@dataclass(slots=True)
class SweepCounters:
    resident_bytes: int = 0
    page_faults: int = 0
    prefetch_hits: int = 0
    bytes_h2d: int = 0
    bytes_compressed_read: int = 0
    stall_ms: float = 0.0
    sweep_count: int = 0
    _recent_s: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_SWEEPS))
    _began: float | None = None

    def begin_sweep(self) -> None:
        self._began = time.perf_counter()

    def end_sweep(self) -> None:
        self.sweep_count += 1
        if self._began is not None:
            self._recent_s.append(time.perf_counter() - self._began)
        self._began = None

    def arrived(self, stored_bytes: int, in_time: bool, waited_ms: float) -> None:
        """A streamed unit is there; `in_time`: before anybody waited for it."""
        self.prefetch_hits += in_time
        self.page_faults += not in_time
        self.bytes_compressed_read += stored_bytes
        self.stall_ms += waited_ms

    def as_dict(self, bound_s: float) -> dict[str, float]:
        """bound_s: seconds that a sweep's missing bytes need; 0: unknown."""
        median = sorted(self._recent_s)[len(self._recent_s) // 2] if self._recent_s else 0.0
        return {
            "page_faults": self.page_faults,
            "prefetch_hits": self.prefetch_hits,
            "bytes_h2d": self.bytes_h2d,
            "bytes_compressed_read": self.bytes_compressed_read,
            "stall_ms": round(self.stall_ms, 3),
            "resident_bytes": self.resident_bytes,
            "sweep_count": self.sweep_count,
            "limit_ratio": round(median / bound_s, 4) if bound_s else 0.0,
        }


def counted_since(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    """What was counted between two looks at `as_dict`; states as they are now."""
    return {name: value if name in STATES else value - before.get(name, 0) for name, value in now.items()}
