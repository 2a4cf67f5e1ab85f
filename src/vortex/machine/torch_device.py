"""Torch, set up in one place: where it computes, with how many threads, and how these wait for each other.

Everything that is about to load torch asks here first, since how threads wait must be said before torch brings OpenMP.
"""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

from vortex.errors import MissingCapability
from vortex.machine.cores import compute_threads
from vortex.machine.gpu import has_gpu_driver
from vortex.machine.installation import add_extra

if TYPE_CHECKING:
    import torch


def has_torch() -> bool:
    """Whether it is installed; does not load it."""
    return importlib.util.find_spec("torch") is not None


def sleep_at_barriers() -> None:
    """OpenMP's threads sleep while they wait: those that spin make a busy machine ten times slower (decisions/0003).

    Without effect once torch is loaded, and where the user has said otherwise.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def torch_sees_gpu() -> bool:
    """Loads torch, where it is installed and there is a driver."""
    if not has_gpu_driver() or not has_torch():
        return False
    sleep_at_barriers()
    import torch

    return bool(torch.cuda.is_available())


def torch_device(wanted: str) -> torch.device:
    """`wanted`: auto, cpu or cuda. Raises MissingCapability without torch, or without the GPU that was asked for."""
    if not has_torch():
        what = "a GPU is used through torch" if wanted == "cuda" else "this needs torch"
        raise MissingCapability(f"{what}, which is not installed: {add_extra('torch')}")
    sleep_at_barriers()
    import torch

    has_gpu = wanted != "cpu" and torch.cuda.is_available()
    if wanted == "cuda" and not has_gpu:
        raise MissingCapability("no CUDA device is visible to torch; run with `--set runtime.device=cpu`")
    return torch.device("cuda" if has_gpu else "cpu")


def set_up_torch(wanted: str, threads: int = 0) -> torch.device:
    """The device to compute on, with `threads` on the CPU's side (0: machine/cores.py says). Raises as above."""
    device = torch_device(wanted)
    import torch

    torch.set_num_threads(compute_threads(threads))
    return device


def choose_device(wanted: str, threads: int = 0) -> torch.device:
    """The same for training, where products of float32 may be rounded. Raises as above."""
    if not has_torch():
        raise MissingCapability(f"training needs torch, which is not installed: {add_extra('train')}")
    device = set_up_torch(wanted, threads)
    import torch

    torch.set_float32_matmul_precision("high")
    return device
