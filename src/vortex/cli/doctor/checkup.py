"""What `vortex doctor` sees in a second: this machine, this installation, the profile. Loads no torch, fetches nothing.

Each finding is one line: what was looked at, what was found, and, where something is missing, what to do.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import vortex
from vortex.cli.composition import missing_extra, missing_gpu
from vortex.config.loading import LoadedSettings
from vortex.errors import ModelNotFound, VortexError
from vortex.machine.cores import compute_threads, usable_cores
from vortex.machine.gpu import find_gpus
from vortex.machine.installation import add_extra, rename_fix
from vortex.machine.measured import (
    cpu_info,
    cpu_name,
    disk_free_bytes,
    memory_available_bytes,
    memory_total_bytes,
)

if TYPE_CHECKING:
    from vortex.hub.cache import ResolvedModel

MIN_FREE_DISK_BYTES = 1_000_000_000
MIN_FREE_MEMORY_BYTES = 1_000_000_000
CPU_FEATURES = ("avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimd", "asimddp", "i8mm")


class Status(StrEnum):
    OK = "ok"
    NOTE = "note"  # works, with a difference worth knowing
    MISSING = "missing"  # does not work until `fix` is done


@dataclass(frozen=True, slots=True)
class Finding:
    name: str
    status: Status
    detail: str
    fix: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def look_around(loaded: LoadedSettings) -> Iterator[Finding]:
    """All quick findings, in the order a person reads them."""
    yield versions()
    yield from old_name()
    yield processor()
    yield memory()
    yield disk()
    yield kernels()
    yield torch_and_gpu()
    yield models_here()
    yield walls()
    yield from profile(loaded)


def versions() -> Finding:
    from vortex import __version__

    return Finding(
        "program", Status.OK, f"vortex {__version__}, Python {platform.python_version()}, {platform.platform()}"
    )


def old_name() -> Iterator[Finding]:
    if fix := rename_fix():
        yield Finding("installation", Status.NOTE, f"installed under its old name, {vortex.OLD_DISTRIBUTION}", fix)


def processor() -> Finding:
    flags = set((cpu_info("flags") or cpu_info("Features")).split())
    features = " ".join(name for name in CPU_FEATURES if name in flags) or "no vector features reported"
    return Finding("processor", Status.OK, f"{cpu_name()}, {usable_cores()} cores usable, {features}")


def memory() -> Finding:
    available = memory_available_bytes()
    detail = f"{_gigabytes(available)} of {_gigabytes(memory_total_bytes())} free"
    if available < MIN_FREE_MEMORY_BYTES:
        return Finding("memory", Status.NOTE, detail, "close other programs: the default model wants 600 MB")
    return Finding("memory", Status.OK, detail)


def disk() -> Finding:
    from vortex.hub.cache import cache_home

    home = cache_home()
    free = disk_free_bytes(home)
    detail = f"{_gigabytes(free)} free for models in {home}"
    nearest = next(folder for folder in (home, *home.parents) if folder.exists())
    if not os.access(nearest, os.W_OK):
        fix = "set VORTEX_HOME to a folder of your own, or let its owner give you write access"
        return Finding("disk", Status.MISSING, f"{nearest} cannot be written by you", fix)
    if free < MIN_FREE_DISK_BYTES:
        return Finding("disk", Status.NOTE, detail, "set VORTEX_HOME to a folder on a disk with more space")
    return Finding("disk", Status.OK, detail)


def kernels() -> Finding:
    """Which instruction set the native core uses here, or that it was not built."""
    from vortex.kernels import dispatch

    try:
        chosen, possible = dispatch.selected(), dispatch.choices()
    except VortexError as error:
        return Finding("native core", Status.MISSING, str(error), "unset VORTEX_KERNELS")
    if chosen != dispatch.REFERENCE:
        return Finding("native core", Status.OK, f"{chosen}, {compute_threads()} threads")
    if len(possible) > 1:
        return Finding("native core", Status.NOTE, "switched off by VORTEX_KERNELS", "unset VORTEX_KERNELS")
    fix = "install a C++ compiler (gcc or clang), then: pip install -v -e . again"
    return Finding("native core", Status.NOTE, "not built: models run slowly, on torch or numpy", fix)


def torch_and_gpu() -> Finding:
    gpus = ", ".join(f"{gpu.name} with {_gigabytes(gpu.memory_bytes)}" for gpu in find_gpus())
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        if gpus:
            return Finding("compute", Status.NOTE, f"{gpus}, but torch is not installed", add_extra("torch"))
        return Finding("compute", Status.OK, "no GPU found: models run on the CPU; torch is not installed nor needed")
    if gpus and version.endswith("+cpu"):
        return Finding(
            "compute", Status.NOTE, f"{gpus}, but torch {version} is built for CPUs alone", "pip install torch"
        )
    return Finding("compute", Status.OK, f"torch {version}; {gpus or 'no GPU found: models run on the CPU'}")


def models_here() -> Finding:
    from vortex.hub.names import list_models

    found = list_models()
    if not found:
        return Finding("models", Status.NOTE, "none here yet", "vortex pull smollm2-135m (any first chat does it too)")
    return Finding("models", Status.OK, ", ".join(f"{model.name} ({model.size_bytes / 1e6:.0f} MB)" for model in found))


def walls() -> Finding:
    """The best tier of the sandbox that holds here, and what it cannot give."""
    try:
        from vortex.sandbox import TIERS, probe
    except ImportError:  # what a system without POSIX lacks
        fix = "use WSL or a virtual machine; until then the agent runs nothing"
        return Finding("sandbox", Status.NOTE, "its walls are built for Linux", fix)

    reasons = []
    for tier in TIERS:
        probed = probe(tier)
        if probed.available:
            detail = f"{tier} ({', '.join(probed.notes)})"
            if probed.lacks:
                return Finding("sandbox", Status.NOTE, detail, f"it cannot give: {'; '.join(probed.lacks)}")
            return Finding("sandbox", Status.OK, detail)
        reasons.append(f"{tier}: {probed.why_not}")
    fix = "allow user namespaces, or install bubblewrap, or use Linux 6.2 or later; until then the agent runs nothing"
    return Finding("sandbox", Status.NOTE, "; ".join(reasons), fix)


def profile(loaded: LoadedSettings) -> Iterator[Finding]:
    """What would answer under this profile, and what stands in its way."""
    settings = loaded.settings.model
    name = f"profile {loaded.profile}"
    if settings.backend not in {"local", "hf"}:
        yield Finding(name, Status.OK, f"backend {settings.backend}: no model is loaded here")
        return
    wanted = settings.name
    if settings.fallback is None and (reason := missing_extra(loaded)):
        yield Finding(name, Status.MISSING, reason, f"{add_extra('hf')}, or leave --backend hf out")
        return
    if reason := missing_gpu(loaded) or missing_extra(loaded):
        if settings.fallback is None:
            yield Finding(name, Status.MISSING, reason, "vortex chat --profile default runs on this machine")
            return
        wanted = settings.fallback
        yield Finding(name, Status.NOTE, f"{reason}; {wanted} answers instead")
    yield _model_finding(name, wanted, offline=loaded.settings.runtime.offline)


def _model_finding(name: str, wanted: str, *, offline: bool) -> Finding:
    from vortex.hub.names import resolve

    try:
        model: ResolvedModel = resolve(wanted, allow_download=False)
    except ModelNotFound as error:
        if not offline and "fetch it with" in str(error):
            return Finding(name, Status.OK, f"{wanted} will be fetched when it is first used")
        return Finding(name, Status.MISSING, str(error), f"vortex pull {wanted}")
    except VortexError as error:
        return Finding(name, Status.MISSING, str(error))
    size = model.path.stat().st_size if model.path.is_file() else _folder_bytes(model.path)
    detail = f"{wanted} is here ({size / 1e6:,.0f} MB, {model.licence or 'licence not stated'})"
    if size > memory_available_bytes():
        return Finding(name, Status.NOTE, f"{detail}, larger than the free memory: it will be slow")
    return Finding(name, Status.OK, detail)


def _folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"
