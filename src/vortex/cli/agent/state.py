"""Where the agent keeps what must last: runs in the user's own data folder, patches in the working folder's `data/`."""

from __future__ import annotations

import os
from pathlib import Path


def agent_folder() -> Path:
    """Trajectories: not in the folder that is worked in, which is somebody's repository. VORTEX_DATA moves it."""
    own = os.environ.get("VORTEX_DATA")
    if own:
        return Path(own) / "agent"
    import platformdirs

    return Path(platformdirs.user_data_dir("vortex")) / "agent"


def patches_folder() -> Path:
    """The queue of proposed patches, `data/patches` of the repository as the contract says."""
    return Path(os.environ.get("VORTEX_DATA") or "data") / "patches"
