"""The record of a run: one JSON line for every question, act and observation, on disk before the next step begins.

It holds nothing that a second run would say otherwise (no clock, no path of this machine), so a replay with the same
model gives the same bytes. A run that was killed goes on from its file. Promises: a torn last line is dropped; an act
whose result was not written is taken up as unknown, never as done.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vortex.errors import AgentStopped, StorageError

VERSION = 2


class Trajectory:
    """Appended line by line. path: None keeps it in memory alone. `lines` are those that stand, as text."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.lines: list[str] = []
        if path is not None and path.exists():
            self.lines = list(_whole_lines(path))
            self._rewrite()

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    @property
    def is_over(self) -> bool:
        return bool(self.lines) and json.loads(self.lines[-1])["kind"] == "stop"

    def add(self, record: Mapping[str, Any]) -> None:
        """Raises StorageError where it cannot be kept: a step that leaves no record is not taken."""
        line = spelled(record)
        if self.path is not None:
            try:
                self._append(self.path, (line + "\n").encode())
            except OSError as error:
                raise StorageError(f"{self.path} cannot be written ({error.strerror}); free some space") from error
        self.lines.append(line)

    @staticmethod
    def _append(path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            while data:  # a disk that fills takes part of a line before it takes none
                data = data[os.write(descriptor, data) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def digest(self) -> str:
        """SHA-256 of the file as it would be written."""
        return hashlib.sha256("".join(f"{line}\n" for line in self.lines).encode()).hexdigest()

    def _rewrite(self) -> None:
        """Without a torn last line, so that the next one begins at a line's beginning."""
        assert self.path is not None, "only a file is rewritten"
        text = "".join(f"{line}\n" for line in self.lines)
        if self.path.read_bytes() != text.encode():
            self.path.write_text(text, encoding="utf-8")


def spelled(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def head(**fields: Any) -> dict[str, Any]:
    """The first line: what makes a run what it is."""
    return {"kind": "head", "version": VERSION, **fields}


def name_of(first: Mapping[str, Any]) -> str:
    """A file's name by its first line: the same task, role, model and folder go on where they were."""
    return hashlib.sha256(spelled(first).encode()).hexdigest()[:16]


def read(path: Path) -> Trajectory:
    """A finished file, to be replayed. Raises AgentStopped where it is none of ours."""
    if not path.is_file():
        raise AgentStopped(f"{path} is no trajectory; `vortex agent-run` says where it wrote its own")
    trajectory = Trajectory()
    trajectory.lines = list(_whole_lines(path))
    if not trajectory.lines or json.loads(trajectory.lines[0]).get("version") != VERSION:
        raise AgentStopped(f"{path} is no trajectory of this version; run the task anew")
    return trajectory


def _whole_lines(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "kind" in record:
            yield line
