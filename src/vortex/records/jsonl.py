"""JSON lines that only grow: one object per line, appended whole.

Promises that two processes appending to one file never mix their lines (an advisory lock is held for the write) and
that a line torn by a crash hides no other line. Does not rewrite: a correction is another line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vortex.records.private import open_private, private_folder
from vortex.records.system import lock_descriptor


def append_jsonl(path: Path, record: Mapping[str, Any], *, durable: bool = True) -> None:
    """Append one record; with `durable`, it is on disk when this returns. Missing parent folders are made.

    File and folders are for their owner alone.
    """
    private_folder(path.parent)
    line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    with open_private(path, readable=True) as file:
        lock_descriptor(file.fileno())
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # the last writer died in the middle of its line
                line = b"\n" + line
        file.write(line)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def read_jsonl(path: Path, holding: bytes = b"") -> Iterator[dict[str, Any]]:
    """The records in order, lines torn by a crash left out. A file that is not there holds none.

    holding: only lines with these bytes are read as JSON.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if holding not in line:
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(record, dict):
                yield record
