"""Where a packed model's weights come from, resident or paged, and how a source is told from a changed one."""

from __future__ import annotations

import os
from pathlib import Path

import xxhash

from vortex.c3.format.folder import C3Folder, aligned
from vortex.c3.paging.expert_pager import ExpertPager
from vortex.c3.paging.options import PagerOptions
from vortex.c3.paging.pager import Pager
from vortex.c3.paging.tile_memory import TileMemory
from vortex.c3.sources import ResidentSource, WeightSource
from vortex.models.files.gguf_parts import part_files
from vortex.models.opened import LoadOptions

FINGERPRINT_BYTES = 1 << 20


def fingerprint(source: Path) -> str:
    """16 hexadecimal digits that change when the file (its siblings, the folder's files) changes."""
    digest = xxhash.xxh3_64()
    files = sorted([*source.glob("*.safetensors"), *source.glob("*.json")]) if source.is_dir() else part_files(source)
    for path in files:
        if not path.exists():
            continue  # a part of a split model: opening says which
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(f"{path.name} {size} ".encode())
            digest.update(file.read(FINGERPRINT_BYTES))
            file.seek(max(0, size - FINGERPRINT_BYTES))
            digest.update(file.read())
    return digest.hexdigest()


def weight_source(folder: C3Folder, options: LoadOptions, memory: TileMemory | None = None) -> WeightSource:
    """Resident, or paged under the options' budget. Raises ConfigError for a budget too small.

    memory: a device's. Experts are always slots there, with room for all of them where no budget is set.
    """
    budget_bytes = options.budget_bytes
    if memory is not None and folder.metadata.get("experts_per_token"):
        budget_bytes = budget_bytes or sum(aligned(entry.num_bytes) for entry in folder.entries.values())
    if not budget_bytes:
        return ResidentSource(folder)
    paging = PagerOptions(
        budget_bytes=budget_bytes,
        prefetch_depth=options.prefetch_depth,
        lock_memory=options.lock_memory,
        disk_memory=options.packed_root / "disks.json",
        host_bytes=options.host_cache_bytes if memory is not None else 0,
    )
    pager = ExpertPager if folder.metadata.get("experts_per_token") else Pager
    return pager(folder, paging, memory=memory)
