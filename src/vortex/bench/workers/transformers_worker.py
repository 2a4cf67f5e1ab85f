"""A transformers model paged by vortex.c3.attach, or by accelerate's disk offload, behind JSON lines (bench/peer.py).

{"operation": "version"}                                                          -> {"version"}
{"operation": "pack", "folder", "work", "budget_bytes", "codec"}                  -> {}
{"operation": "load", "kind": a codec | "accelerate", "folder", "work", "budget_bytes", "threads"}
                                    -> {"logits": path, "resident_bytes", "fetch_bytes", "weight_bytes"}
{"operation": "time", "forwards": n, "rows": n}                                   -> {"seconds": [seconds]}
{"operation": "disk_rate"}                                                        -> {"disk"}   bytes per second
"""

from __future__ import annotations

import mmap
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.pop(0)  # this folder's modules are not top-level ones
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: its threads leave their cores to who reads

import numpy as np

from vortex.c3.paging.calibration import read_rate
from vortex.c3.paging.direct_file import DirectFile
from vortex.c3.paging.tile_reader import ReadShape
from vortex.c3.torch.attachment import Attachment
from vortex.models.hf.opening import open_transformers
from vortex.models.opened import LoadOptions

PROMPT = (5, 6, 7)
RATE_SAMPLE_BYTES = 256 << 20
SMALL_BYTES = 64 << 20


class Worker:
    def __init__(self) -> None:
        self.model: Any = None
        self.attachment: Attachment | None = None
        self._disk_file: tuple[Path, int, ReadShape] | None = None

    def version(self) -> dict[str, Any]:
        import accelerate
        import transformers

        return {"version": f"transformers {transformers.__version__}, accelerate {accelerate.__version__}"}

    def pack(self, folder: str, work: str, budget_bytes: int, codec: str) -> dict[str, Any]:
        _, attachment = open_transformers(Path(folder), _options(work, budget_bytes, 1, codec))
        assert attachment is not None, "a budget pages"
        packed, disk = attachment.weights.folder, attachment.weights.pager.disk
        self._disk_file = packed.weights_path, packed.num_bytes, disk.shape if disk else ReadShape()
        attachment.close()
        return {}

    def load(self, kind: str, folder: str, work: str, budget_bytes: int, threads: int) -> dict[str, Any]:
        if kind != "accelerate":
            options = _options(work, budget_bytes, threads, kind)
            self.model, self.attachment = open_transformers(Path(folder), options)
            assert self.attachment is not None, "a budget pages"
            counters = self.attachment.counters()
            sizes = {
                "resident_bytes": counters["resident_bytes"],
                "fetch_bytes": self.attachment.bytes_to_fetch,
                "weight_bytes": self.attachment.weight_bytes,
            }
        else:
            self.model = _by_accelerate(Path(folder), Path(work), budget_bytes, threads)
            sizes = {}
        path = Path(work) / f"{kind}.npy"
        np.save(path, self._forward(PROMPT).float().numpy())
        return {"logits": str(path), **sizes}

    def time(self, forwards: int, rows: int) -> dict[str, Any]:
        """Forwards of a few tokens: every weight is used once by each."""
        seconds = []
        for _ in range(forwards):
            started = time.perf_counter()
            self._forward((5,) * rows)
            seconds.append(time.perf_counter() - started)
        return {"seconds": seconds}

    def disk_rate(self) -> dict[str, Any]:
        """Of direct reads of what was packed last. Its buffers belong to no limit: ask one that has none."""
        assert self._disk_file is not None, "only a packer knows the disk"
        path, num_bytes, shape = self._disk_file
        with DirectFile(path) as file:
            if num_bytes < SMALL_BYTES:
                return {"disk": _whole_read_rate(file, num_bytes)}
            return {"disk": read_rate(file, 0, min(RATE_SAMPLE_BYTES, num_bytes // 2), shape)}

    def _forward(self, ids: Sequence[int]) -> Any:
        import torch

        with torch.inference_mode():
            return self.model(torch.tensor([ids]), use_cache=False).logits


def _whole_read_rate(file: DirectFile, num_bytes: int) -> float:
    """Of a file too small for many reads at once."""
    memory = memoryview(mmap.mmap(-1, num_bytes))
    started = time.perf_counter()
    file.read_into(memory, 0)
    return num_bytes / (time.perf_counter() - started)


def _options(work: str, budget_bytes: int, threads: int, codec: str) -> LoadOptions:
    """A folder per codec, so that what is lossless is not found raw."""
    return LoadOptions(
        packed_root=Path(work) / codec,
        budget_bytes=budget_bytes,
        device="cpu",
        threads=threads,
        form="auto" if codec in {"raw", "lossless"} else codec,
        compress=codec == "lossless",
    )


def _by_accelerate(folder: Path, work: Path, budget_bytes: int, threads: int) -> Any:
    """The same folder with as many modules in memory as the budget takes and the others on disk."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(threads)
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder,
        dtype="auto",
        device_map="auto",
        max_memory={"cpu": budget_bytes},
        offload_folder=work / "offloaded",
        use_safetensors=True,
        local_files_only=True,
    ).eval()
