"""Proposed patches, one folder each in `data/patches`: the diff as it was tested, and what is known of it.

Promises: files are private and written whole; a patch whose diff is no longer the one of its name is reported as such
and never applied.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vortex.agent.patch import ID_CHARS, Patch, patch_id
from vortex.errors import AgentStopped, StorageError
from vortex.records.atomic import atomic_write
from vortex.records.lock import FileLock

DIFF, NOTES = "patch.diff", "patch.json"
STATES = ("proposed", "applied", "rejected")


@dataclass(frozen=True, slots=True)
class Queued:
    """state: proposed, applied, rejected, or tampered where the diff is not the one of its name."""

    id: str
    diff: str
    notes: dict[str, Any]

    @property
    def state(self) -> str:
        return str(self.notes.get("state", "proposed")) if patch_id(self.diff) == self.id else "tampered"

    def as_json(self) -> dict[str, Any]:
        return {**self.notes, "id": self.id, "state": self.state, "diff": self.diff}


class PatchQueue:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def deciding(self) -> FileLock:
        """Held by whoever applies or rejects a patch, from reading it to marking it."""
        return FileLock(self.folder.parent / "patches.lock")

    def add(self, patch: Patch, **notes: Any) -> Queued:
        """The same diff again is the same patch; its state stays."""
        known = self._read(patch.id) if (self.folder / patch.id / DIFF).exists() else None
        if known is not None and known.state != "tampered":
            return known
        self._write(patch.id, DIFF, patch.diff)
        self._write(patch.id, NOTES, json.dumps({**patch.as_json(), **notes, "state": "proposed"}, indent=1))
        return self._read(patch.id)

    def all(self) -> list[Queued]:
        if not self.folder.is_dir():
            return []
        names = sorted(path.name for path in self.folder.iterdir() if (path / DIFF).is_file())
        return [self._read(name) for name in names]

    def get(self, identifier: str) -> Queued:
        """By its id or a beginning of it that no other has. Raises AgentStopped."""
        if not re.fullmatch(rf"[0-9a-f]{{4,{ID_CHARS}}}", identifier):
            raise AgentStopped(f"'{identifier}' is no patch id; `vortex self-patch list` shows them")
        found = [one for one in self.all() if one.id.startswith(identifier)]
        if len(found) != 1:
            what = "no patch" if not found else f"{len(found)} patches"
            raise AgentStopped(f"{what} with the id {identifier}; `vortex self-patch list` shows them")
        return found[0]

    def mark(self, queued: Queued, state: str, **notes: Any) -> Queued:
        assert state in STATES, "a state there is"
        self._write(queued.id, NOTES, json.dumps({**queued.notes, **notes, "state": state}, indent=1))
        return self._read(queued.id)

    def _read(self, identifier: str) -> Queued:
        place = self.folder / identifier
        try:
            notes = json.loads((place / NOTES).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            notes = {}
        diff = (place / DIFF).read_bytes().decode(errors="replace")
        return Queued(identifier, diff, dict(notes) if isinstance(notes, Mapping) else {})

    def _write(self, identifier: str, name: str, text: str) -> None:
        place = self.folder / identifier
        try:
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            with atomic_write(place / name) as file:
                file.write(text.encode())
            (place / name).chmod(0o600)
        except OSError as error:
            raise StorageError(f"{place} could not be written: {error.strerror}; free some space") from None
