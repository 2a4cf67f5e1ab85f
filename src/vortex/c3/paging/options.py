"""What a pager may use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class PagerOptions:
    """prefetch_depth: largest units the ring holds beside the one in use. disk_memory: where disks are remembered."""

    budget_bytes: int
    prefetch_depth: int = 1
    lock_memory: bool = False
    stall_timeout_s: float = 30.0
    disk_memory: Path | None = None
    host_bytes: int = 0  # with a device: kept in ordinary memory between the disk and the device
