"""Which kernels run: the compiled core with one of its instruction sets, or none of it.

VORTEX_KERNELS forces a choice (`reference`: not the compiled core); how many threads compute, machine/cores.py says.
State lives in the native module, one per process: `load` may be called as often as one likes.
"""

from __future__ import annotations

import os

from vortex.errors import ConfigError, MissingCapability
from vortex.kernels.native import NativeCore
from vortex.machine.cores import compute_threads

REFERENCE = "reference"


def native_module() -> NativeCore | None:
    """The compiled core, None where it was not built."""
    try:
        from vortex.kernels import _native
    except ImportError:
        return None
    return _native


def choices() -> list[str]:
    """What VORTEX_KERNELS may say on this machine, best first."""
    module = native_module()
    return [*(module.available() if module else []), REFERENCE]


def selected() -> str:
    """The choice in force. Raises ConfigError for an unknown VORTEX_KERNELS."""
    wanted = os.environ.get("VORTEX_KERNELS", "").strip().lower()
    if wanted and wanted not in choices():
        raise ConfigError(f"VORTEX_KERNELS={wanted!r} is not possible here; choose one of: {', '.join(choices())}")
    return wanted or choices()[0]


def usable() -> bool:
    """Whether `load` would succeed."""
    return selected() != REFERENCE


def load(threads: int = 0) -> NativeCore:
    """The compiled core, set up as the environment says. threads: 0: as they are, at first machine/cores.py's rule.

    Raises MissingCapability where the core is not there or not wanted.
    """
    name = selected()
    module = native_module()
    if name == REFERENCE or module is None:
        raise MissingCapability(
            "the native core is not in use: unset VORTEX_KERNELS, or reinstall where a C++ compiler is found "
            "(`pip install -v .` shows why it was not built)"
        )
    module.use(name)
    threads = compute_threads(threads or module.threads())
    if module.threads() != threads:
        module.set_threads(threads)
    return module
