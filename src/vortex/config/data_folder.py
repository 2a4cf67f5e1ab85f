"""Where commands write what they make: `data/` of the working folder, or the folder that VORTEX_DATA names.

Read anew each time, so that a test or a child process may set it. Creates nothing. Models and what is made of them
lie elsewhere (hub/cache.py, VORTEX_HOME).
"""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "VORTEX_DATA"
USUAL = Path("data")


def data_path(*parts: str) -> Path:
    """`parts` below the data folder."""
    return Path(os.environ.get(VARIABLE) or USUAL).joinpath(*parts)


def left_behind(*parts: str) -> Path | None:
    """What lies under `data/` here although VORTEX_DATA points elsewhere, where nothing of that name is; else None."""
    here, there = USUAL.joinpath(*parts), data_path(*parts)
    return here if here.exists() and not there.exists() else None
