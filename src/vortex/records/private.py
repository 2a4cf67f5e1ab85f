"""Files that only their owner reads: conversations, ledgers, feedback. 0600, in folders of 0700 where we make them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO


def private_folder(folder: Path) -> None:
    """Make the folder and its missing parents, for their owner alone; what is there keeps its permissions."""
    for missing in reversed([folder, *folder.parents]):
        if not missing.exists():
            missing.mkdir(mode=0o700, exist_ok=True)


def open_private(path: Path, *, readable: bool = False) -> BinaryIO:
    """The file opened to append, made for its owner alone; one that others could read is closed to them.

    Raises OSError, also where its folder is not there.
    """
    access = os.O_RDWR if readable else os.O_WRONLY
    descriptor = os.open(path, access | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        if os.name != "nt" and os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
        return os.fdopen(descriptor, "ab+" if readable else "ab")
    except BaseException:
        os.close(descriptor)
        raise
