"""`data/continuous/journal.jsonl`: everything that happened to what this model learns, a line each, for people to read.

Only ever appended. Each line has `time` (UTC, ISO 8601), `event`, and what belongs to it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vortex.errors import StorageError
from vortex.records.jsonl import append_jsonl, read_jsonl

FILE_NAME = "journal.jsonl"


class Journal:
    def __init__(self, root: Path) -> None:
        self.file = root / FILE_NAME

    def note(self, event: str, **fields: Any) -> None:
        """Raises StorageError."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            append_jsonl(self.file, {"time": moment, "event": event, **fields})
        except OSError as error:
            raise StorageError(f"{self.file} cannot be written ({error.strerror or error}); free some space") from error

    def entries(self) -> Iterator[dict[str, Any]]:
        return read_jsonl(self.file)
