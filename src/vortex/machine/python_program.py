"""How this program starts a Python: never with modules of the folder it happens to stand in.

`python -m name` and `python -c` put the working folder first on the path, so a stranger's folder that holds
`pip/__main__.py` would be run in the user's name. `-P` (Python 3.11) leaves it out.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

SAFE_PATH = {"PYTHONSAFEPATH": "1"}  # for a Python that is not ours; versions before 3.11 do not know it


def python_module(module: str, *arguments: str) -> list[str]:
    """The command that runs a module with this Python."""
    return [sys.executable, "-P", "-m", module, *arguments]


def safe_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a program that starts Pythons of its own."""
    return {**(os.environ if environment is None else environment), **SAFE_PATH}


def leave_out_working_folder() -> None:
    """For our own `python -m …`: what is imported from here on does not come from the folder it was typed in."""
    if sys.path and not sys.flags.safe_path and sys.path[0] in {"", os.getcwd()}:  # noqa: PTH109 - as Python wrote it
        del sys.path[0]
