"""Where torch works. Imported before the rest of this room: how threads wait is said before torch brings OpenMP."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

from vortex.errors import MissingCapability

if TYPE_CHECKING:
    import torch


def choose_device(wanted: str, threads: int = 0) -> torch.device:
    """`wanted`: auto, cpu or cuda. Raises MissingCapability without torch, or without the GPU that was asked for."""
    if importlib.util.find_spec("torch") is None:
        raise MissingCapability("training needs torch, which is not installed: pip install 'vortex[train]'")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin make a busy machine slow (decisions/0003)
    import torch

    has_gpu = torch.cuda.is_available()
    if wanted == "cuda" and not has_gpu:
        raise MissingCapability("no CUDA device is visible to torch; run with --device cpu")
    if threads:
        torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high")
    return torch.device("cuda" if has_gpu and wanted != "cpu" else "cpu")
