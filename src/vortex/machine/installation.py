"""How this program was installed: its distribution's name, and the command that adds an extra to it.

The distribution is called `klimeai`; before, it was called `vortex`, a name that belongs to another program on the
package index. Reads the environment's metadata only; installs nothing.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import vortex


def add_extra(extra: str) -> str:
    """The command: one that adds to what is installed, from a clone or from a wheel alike; else one for the clone."""
    clone = clone_folder()
    if clone and not _is_ours(vortex.DISTRIBUTION):
        return f"pip install -e '{clone}[{extra}]'"
    return f"pip install '{vortex.DISTRIBUTION}[{extra}]'"


def rename_fix() -> str | None:
    """What to do where this program is also, or only, installed under its old name; else None."""
    if not _is_ours(vortex.OLD_DISTRIBUTION):
        return None
    clone = clone_folder()
    again = f"pip install -e '{clone}'" if clone else f"pip install {vortex.DISTRIBUTION}"
    both = f" {vortex.DISTRIBUTION}" if _is_ours(vortex.DISTRIBUTION) else ""
    return f"pip uninstall -y {vortex.OLD_DISTRIBUTION}{both} && {again}"


def clone_folder() -> Path | None:
    """The folder of the source tree that runs; None where a wheel was installed."""
    folder = Path(vortex.__file__).resolve().parents[2]
    return folder if (folder / "pyproject.toml").is_file() else None


def _is_ours(name: str) -> bool:
    """Whether a distribution of this name is installed and is this program: it brings the command `klimeai`."""
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return any(entry.name == "klimeai" for entry in found.entry_points)
