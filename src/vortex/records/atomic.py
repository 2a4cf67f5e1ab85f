"""A file is there whole, or it is not there: write under a temporary name, fsync, rename.

Promises that a reader sees the old content or the new one, also after a crash or a power cut. Does not lock: two
writers of one name each write whole content and the last rename wins.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: Path, *, private: bool = False) -> Iterator[BinaryIO]:
    """A binary file to write to; it takes the name `path` when the block ends, and vanishes if the block raises.

    Missing parent folders are made. A file that was there keeps its permissions. private: never more than its owner's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb", opener=_for_its_owner if private else None) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists() and not private:
            temporary.chmod(path.stat().st_mode & 0o7777)
        commit_rename(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def commit_rename(source: Path, target: Path) -> None:
    """Rename within one file system and make the rename itself durable."""
    source.replace(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, where the system knows how (Windows does not)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
