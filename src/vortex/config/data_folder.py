"""Where commands write what they make: `data/` of the working folder, or the folder that VORTEX_DATA names.

Read anew each time, so that a test or a child process may set it. Creates nothing. Models and what is made of them
lie elsewhere (hub/cache.py, VORTEX_HOME).
"""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "VORTEX_DATA"


def data_path(*parts: str) -> Path:
    """`parts` below the data folder."""
    return Path(os.environ.get(VARIABLE) or "data").joinpath(*parts)
