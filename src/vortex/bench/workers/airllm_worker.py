"""AirLLM behind JSON lines (bench/peer.py), in an interpreter that has it. Imports nothing of this package.

{"operation": "version"}                                          -> {"version"}
{"operation": "load", "folder", "work", "threads"}                -> {"logits": path}   the prompt's, float32 .npy
{"operation": "time", "forwards": n, "rows": n}                   -> {"seconds": [seconds]}

AirLLM has no budget: it splits the model into a file per layer, and loads each layer for each forward.
"""

from __future__ import annotations

import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.pop(0)  # this folder's modules are not top-level ones
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: its threads leave their cores to who reads

PROMPT = (5, 6, 7)


class Worker:
    def __init__(self) -> None:
        self.model: Any = None

    def version(self) -> dict[str, Any]:
        return {"version": f"airllm {version('airllm')}, transformers {version('transformers')}"}

    def load(self, folder: str, work: str, threads: int, **_: object) -> dict[str, Any]:
        import numpy as np
        import torch
        from airllm import AutoModel

        torch.set_num_threads(threads)
        shards = str(Path(work) / "airllm")
        self.model = AutoModel.from_pretrained(
            folder, device="cpu", dtype=torch.bfloat16, layer_shards_saving_path=shards, prefetching=False
        )
        path = Path(work) / "airllm.npy"
        np.save(path, self._forward(PROMPT).float().numpy())
        return {"logits": str(path)}

    def time(self, forwards: int, rows: int) -> dict[str, Any]:
        seconds = []
        for _ in range(forwards):
            started = time.perf_counter()
            self._forward((5,) * rows)
            seconds.append(time.perf_counter() - started)
        return {"seconds": seconds}

    def _forward(self, ids: tuple[int, ...]) -> Any:
        import torch

        with torch.inference_mode():
            return self.model(input_ids=torch.tensor([ids]), use_cache=False).logits
