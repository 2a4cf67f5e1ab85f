"""What this user promoted, kept in the user's own folder: a pointer in a working folder counts only if it is there.

A working folder may hold somebody else's repository, with a pointer and an adapter of theirs in it. What is noted here
is the adapter's hash, so a data folder may move; a hash nobody here promoted is served by no one. Only ever appended.
"""

from __future__ import annotations

import time
from pathlib import Path

from vortex.errors import StorageError
from vortex.records.jsonl import append_jsonl, read_jsonl

MAX_RECORD_BYTES = 16 << 20


class PromotedHere:
    """file: JSON lines with time, model, hash and run_id, for their owner alone."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._known: set[tuple[str, str]] = set()

    def note(self, model: str, digest: str, run_id: str) -> None:
        """On disk when it returns. Raises StorageError."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            append_jsonl(self.file, {"time": moment, "model": model, "hash": digest, "run_id": run_id})
        except OSError as error:
            raise StorageError(f"{self.file} cannot be written ({error.strerror or error}); free some space") from error

    def holds(self, model: str, digest: str) -> bool:
        """Whether this user promoted the adapter of this hash for this model, once."""
        if (model, digest) not in self._known:
            self._known |= self._read()
        return (model, digest) in self._known

    def _read(self) -> set[tuple[str, str]]:
        try:
            if self.file.stat().st_size > MAX_RECORD_BYTES:
                return set()
            return {(str(line.get("model")), str(line.get("hash"))) for line in read_jsonl(self.file)}
        except OSError:
            return set()
