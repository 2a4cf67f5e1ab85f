"""GPUs of this machine, asked of the driver's own tool, so that nobody has to load torch to learn there is none."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

QUERY = ["--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
TIMEOUT_S = 10
DRIVER_FILES = ("/dev/nvidiactl", "/dev/dxg")  # Linux, Windows Subsystem for Linux


@dataclass(frozen=True, slots=True)
class Gpu:
    name: str
    memory_bytes: int


def has_gpu_driver() -> bool:
    """Whether there may be a GPU at all: what costs nothing to ask."""
    return any(Path(file).exists() for file in DRIVER_FILES)


def find_gpus() -> list[Gpu]:
    """NVIDIA GPUs that the driver reports; empty where there is no driver or it does not answer."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        result = subprocess.run([tool, *QUERY], capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_gpus(result.stdout)


def parse_gpus(text: str) -> list[Gpu]:
    """Lines of `name, mebibytes`; lines of another form (a driver's complaint) are skipped."""
    gpus = []
    for line in text.splitlines():
        name, _, mebibytes = line.rpartition(",")
        if name and mebibytes.strip().isdigit():
            gpus.append(Gpu(name.strip(), int(mebibytes) << 20))
    return gpus
