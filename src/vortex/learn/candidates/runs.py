"""The folders of all runs, and the making of one: whole under its name, or not there.

    data/continuous/quarantine/<run_id>/   candidates; the only folder that a training writes
    data/continuous/promoted/<run_id>/     copies of what a person approved, as it was then
    data/continuous/current/MODEL.json     which of them answers (adapters/current.py)

Promises that a name from outside leads nowhere but into these folders.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vortex.adapters.current import Current, Promoted
from vortex.adapters.promoted_here import PromotedHere
from vortex.errors import AdapterError, CandidateRefused, RequestError
from vortex.learn.candidates.gates import failures, read_gates
from vortex.learn.candidates.journal import Journal
from vortex.learn.candidates.manifest import (
    APPROVAL_FILE,
    DATA_FILE,
    EVALUATION_FILE,
    MANIFEST_FILE,
    RECIPE_FILE,
    REJECTION_FILE,
    RUN_ID,
    Manifest,
    read_manifest,
    verify,
)
from vortex.records.atomic import commit_rename, sync_folder
from vortex.records.jsonl import read_jsonl
from vortex.records.scratch import OWNER_FILE, disown, scratch_folder


@dataclass(frozen=True, slots=True)
class RunState:
    """state: quarantine, approved (a person wrote an approval), rejected, current, promoted (once), or damaged.
    reason: of damage. closed: gates that are."""

    run_id: str
    state: str
    model: str = ""
    hash: str = ""
    created: str = ""
    closed: tuple[str, ...] = ()
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "state": self.state,
            "model": self.model,
            "hash": self.hash,
            "created": self.created,
            "closed_gates": list(self.closed),
            "reason": self.reason,
        }


def new_run_id() -> str:
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


class Runs:
    """root: `data/continuous`. here: what this user promoted; None: every pointer counts. own: what this user trained
    or approved; None: all of it. Reading writes nothing."""

    def __init__(self, root: Path, here: PromotedHere | None = None, own: PromotedHere | None = None) -> None:
        self.root, self.here, self.own = root, here, own
        self.quarantine, self.promoted = root / "quarantine", root / "promoted"
        self.journal = Journal(root)

    def current(self, model: str) -> Current:
        return Current(self.root / "current", model, self.here)

    def answering(self, model: str) -> Promoted | None:
        """What the model answers with; None also where the pointer is damaged or a stranger's, which nobody serves."""
        try:
            return self.current(model).read()
        except AdapterError:
            return None

    def folder(self, run_id: str) -> Path:
        """Of a run in quarantine, by its id or an unambiguous beginning of it. Raises RequestError."""
        if not RUN_ID.fullmatch(run_id):
            found = [name for name in self.ids() if name.startswith(run_id)] if run_id else []
            if len(found) != 1:
                raise RequestError(f"there is no run '{run_id}'; see them with: vortex learn list", param="run_id")
            run_id = found[0]
        if not (self.quarantine / run_id / MANIFEST_FILE).exists():
            raise RequestError(f"there is no run '{run_id}'; see them with: vortex learn list", param="run_id")
        return self.quarantine / run_id

    def ids(self) -> list[str]:
        """Oldest first."""
        folders = self.quarantine.glob("*") if self.quarantine.is_dir() else ()
        return sorted(path.name for path in folders if RUN_ID.fullmatch(path.name) and path.is_dir())

    def latest(self) -> str:
        """Raises RequestError where there is none."""
        ids = self.ids()
        if not ids:
            raise RequestError("there is no run yet; make one with: vortex learn train")
        return ids[-1]

    def states(self) -> list[RunState]:
        return [self.state(run_id) for run_id in self.ids()]

    def state(self, run_id: str) -> RunState:
        folder = self.folder(run_id)
        try:
            manifest = verify(folder)
            closed = tuple(failures(read_gates(folder / EVALUATION_FILE)))
        except CandidateRefused as error:
            return RunState(folder.name, "damaged", reason=str(error))
        created = str(manifest.predicate.get("created", ""))
        return RunState(folder.name, self._standing(manifest), manifest.model, manifest.hash, created, closed)

    def _standing(self, manifest: Manifest) -> str:
        current = self.answering(manifest.model)
        if current is not None and current.run_id == manifest.run_id:
            return "current"
        if (manifest.folder / REJECTION_FILE).exists():
            return "rejected"
        if (self.promoted / manifest.run_id / MANIFEST_FILE).exists():
            return "promoted"
        approved = (manifest.folder / APPROVAL_FILE).exists() and self.is_own(manifest)
        return "approved" if approved else "quarantine"

    def is_own(self, manifest: Manifest) -> bool:
        """Whether this user trained or approved it; else it came with the folder, and so did its approval."""
        return self.own is None or self.own.holds(manifest.model, manifest.hash)

    @contextlib.contextmanager
    def making(self, run_id: str) -> Iterator[Path]:
        """A folder to fill and seal; it takes the run's name when the block ends, and vanishes if the block raises."""
        self.quarantine.mkdir(parents=True, exist_ok=True)
        with scratch_folder(self.quarantine, ".making-") as draft:
            yield draft
            manifest = read_manifest(draft)
            if self.own is not None:
                self.own.note(manifest.model, manifest.hash, run_id)
            settle(draft)
            disown(draft)
            commit_rename(draft, self.quarantine / run_id)
            self.journal.note("candidate", run_id=run_id)


def report_of(manifest: Manifest) -> dict[str, Any]:
    """What a person reads before approving: gates, answers, figures, recipe, rows."""
    evaluation: dict[str, Any] = json.loads((manifest.folder / EVALUATION_FILE).read_bytes())
    recipe: dict[str, Any] = json.loads((manifest.folder / RECIPE_FILE).read_bytes())
    rows = list(read_jsonl(manifest.folder / DATA_FILE))
    return {
        "gates": evaluation["gates"],
        "doubts": evaluation.get("doubts", []),
        "answers": evaluation.get("answers", []),
        "figures": evaluation.get("figures", {}),
        "recipe": recipe,
        "rows": rows,
        "files": dict(manifest.files),
    }


def settle(folder: Path) -> None:
    """All files read-only and on disk, the folders for their owner to write into."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o700)
            continue
        if path.name == OWNER_FILE:
            continue  # whoever clears what a dead maker left must be able to open it
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.chmod(0o400)
    for path in [*(path for path in folder.rglob("*") if path.is_dir()), folder]:
        sync_folder(path)
