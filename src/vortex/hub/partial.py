"""A file that arrives in parts: those that are there stay there, so that a fetch which ended early goes on behind them.

    FOLDER/.partial-SHA/content     the parts so far, in order
    FOLDER/.partial-SHA/parts.json  how many of them are whole, and the bytes that makes: written after each part

Promises that whatever lies behind the last whole part (a part that broke off) is cut away, and that all that is kept is
read again for the checksum: what rotted meanwhile fails it. What is kept for another checksum is cleared. One process
at a time: the caller holds the model's lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from vortex.records.atomic import atomic_write

PREFIX = ".partial-"
BLOCK_BYTES = 1 << 20


@dataclass(slots=True)
class Writing:
    """file: at the end of `num_parts` whole parts. digest: SHA-256 of everything before."""

    file: BinaryIO
    digest: Any
    num_parts: int
    journal: Path

    def finish_part(self) -> None:
        """What was written since is one whole part: it survives from here on."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.num_parts += 1
        with atomic_write(self.journal) as out:
            out.write(json.dumps({"parts": self.num_parts, "bytes": self.file.tell()}).encode())


class PartialFile:
    """sha256: of the whole, in hexadecimal; what is kept belongs to it alone."""

    def __init__(self, folder: Path, sha256: str) -> None:
        self._folder = folder / f"{PREFIX}{sha256[:16]}"
        for other in folder.glob(PREFIX + "*"):
            if other != self._folder:
                shutil.rmtree(other, ignore_errors=True)
        self.content = self._folder / "content"

    @contextlib.contextmanager
    def appending(self, most_parts: int) -> Iterator[Writing]:
        """Opened behind the parts that are there. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        num_parts, num_bytes = self._kept(most_parts)
        with self.content.open("r+b" if num_parts else "w+b") as file:
            file.truncate(num_bytes)
            digest = hashlib.sha256()
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
            writing = Writing(file, digest, num_parts, self._folder / "parts.json")
            try:
                yield writing
            finally:
                if not writing.num_parts:
                    self.discard()

    def _kept(self, most_parts: int) -> tuple[int, int]:
        """(parts, bytes) that the journal vouches for and the file holds."""
        try:
            said = json.loads((self._folder / "parts.json").read_bytes())
            parts, num_bytes = int(said["parts"]), int(said["bytes"])
            whole = 0 < parts <= most_parts and 0 < num_bytes <= self.content.stat().st_size
        except (OSError, ValueError, KeyError, TypeError):
            return 0, 0
        return (parts, num_bytes) if whole else (0, 0)

    def discard(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
