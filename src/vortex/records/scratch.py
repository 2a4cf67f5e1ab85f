"""A folder to make something in, gone when its maker is: also after kill -9, at the next making beside it.

The maker holds a lock on a file inside for as long as it lives; the system drops it with the process, so a folder
whose lock can be had belongs to nobody.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vortex.records.system import lock_descriptor

OWNER_FILE = ".owner"


@contextlib.contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder PREFIX-… in `parent`, which is made if it is not there; removed at the end unless it was renamed.

    What dead makers left under the same prefix is cleared first. Raises OSError.
    """
    parent.mkdir(parents=True, exist_ok=True)
    clear_abandoned(parent, prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    descriptor = os.open(folder / OWNER_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        lock_descriptor(descriptor)
        yield folder
    finally:
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


def disown(folder: Path) -> None:
    """What is in the folder is whole and about to be renamed: no owner's file goes with it."""
    (folder / OWNER_FILE).unlink(missing_ok=True)


def clear_abandoned(parent: Path, prefix: str) -> int:
    """Remove folders under the prefix whose maker has ended; returns how many."""
    cleared = 0
    for folder in parent.glob(f"{prefix}*"):
        try:
            descriptor = os.open(folder / OWNER_FILE, os.O_RDWR)
        except OSError:  # being made or renamed this moment, or of a version that kept no owner: left alone
            continue
        try:
            lock_descriptor(descriptor, blocking=False)
        except BlockingIOError:
            continue
        finally:
            os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)
        cleared += 1
    return cleared
