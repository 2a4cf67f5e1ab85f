"""The folder of what a command makes, and a line where an earlier result lies in another one."""

from __future__ import annotations

from pathlib import Path

from vortex.config.data_folder import VARIABLE, data_path, left_behind


def made_folder(*parts: str) -> Path:
    """`parts` in the data folder. An older result that VORTEX_DATA does not reach is named, and left where it is."""
    folder = data_path(*parts)
    if old := left_behind(*parts):
        from vortex.cli.terminal import warn

        warn(f"{old} is not used: {VARIABLE} names another folder; to go on with it, move it to {folder}")
    return folder
