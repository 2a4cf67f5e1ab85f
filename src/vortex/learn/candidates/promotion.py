"""Approval, rejection, promotion, rollback: a person's word written down, and the only code that moves the pointer to
what a model answers with.

A promotion copies the run, checks the copy (so that nothing can be exchanged between check and use), gives it its name
in `promoted/`, and moves the pointer with one rename. Before the rename the journal says what is about to happen and
what was there before; kill -9 at any moment leaves the old pointer or the new one. The running server asks the pointer
at every request, and checks the adapter's hash when it reads it. A word that was given on what a person had before
their eyes (`Seen`) counts only while that is still so: of two people who decide at once, the second is told.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vortex.adapters.current import Promoted
from vortex.errors import CandidateRefused, RequestError, StorageError
from vortex.learn.candidates.approval import check_approval
from vortex.learn.candidates.gates import failures, read_gates
from vortex.learn.candidates.manifest import APPROVAL_FILE, EVALUATION_FILE, REJECTION_FILE, Manifest, verify
from vortex.learn.candidates.runs import Runs, settle
from vortex.records.atomic import commit_rename, sync_folder
from vortex.records.lock import FileLock
from vortex.records.scratch import disown, scratch_folder

HashOf = Callable[[Path, str], str]
"""(adapter's folder, model's name) to the hash of that adapter, checked against the model. Raises AdapterError."""
BASE = "base"


@dataclass(frozen=True, slots=True)
class Moved:
    """run_id, before: `base` for the model alone."""

    model: str
    run_id: str
    before: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A candidate as a person saw it when they decided. state: None where it does not matter."""

    hash: str
    state: str | None = None


class Promotion:
    """hash_of: reads an adapter as the server would. presence: an empty APPROVE.txt is enough."""

    def __init__(self, runs: Runs, hash_of: HashOf, *, presence: bool = False) -> None:
        self._runs, self._hash_of, self._presence = runs, hash_of, presence

    def approve(self, run_id: str, seen: Seen) -> Manifest:
        """Write the approval of just what was seen. Raises CandidateRefused (it is another now, it was decided
        meanwhile, its gates are closed), RequestError, StorageError."""
        folder = self._runs.folder(run_id)
        with self._lock():
            manifest = self._as_seen(folder, seen)
            if closed := failures(read_gates(folder / EVALUATION_FILE)):
                raise CandidateRefused(f"the gates of {manifest.run_id} are closed: {'; '.join(closed)}")
            if (folder / REJECTION_FILE).exists():
                raise CandidateRefused(f"{manifest.run_id} was rejected; remove {folder / REJECTION_FILE} first")
            if self._runs.own is not None:
                self._runs.own.note(manifest.model, manifest.hash, manifest.run_id)
            self._runs.journal.note("approve", run_id=manifest.run_id, hash=manifest.hash)
            _write_word(folder / APPROVAL_FILE, manifest.hash)
            return manifest

    def promote(self, run_id: str, seen: Seen | None = None) -> Moved:
        """Raises CandidateRefused, AdapterError, RequestError, StorageError; then nothing has changed."""
        folder = self._runs.folder(run_id)
        with self._lock():
            if seen is not None:
                self._as_seen(folder, seen)
            self._check(verify(folder))
            kept = self._keep(folder)
            return self._point(kept, "promote")

    def rollback(self, model: str, to: str | None = None) -> Moved:
        """To a run that was promoted before, to `base`, or (None) to what was there before the current one.

        Raises CandidateRefused, RequestError.
        """
        with self._lock():
            current = self._runs.answering(model)
            target = to if to is not None else self._before(model, current)
            if target == BASE:
                before = current.run_id if current else BASE
                self._runs.journal.note("rollback", run_id=BASE, model=model, before=before)
                self._runs.current(model).clear()
                return Moved(model, BASE, before)
            folder = self._runs.promoted / target
            if not target or Path(target).name != target or not folder.is_dir():
                raise RequestError(f"'{target}' was never promoted; see `vortex learn list`, or go back to: {BASE}")
            kept = verify(folder)
            if kept.model != model:
                raise RequestError(f"{target} was trained for {kept.model}, not for {model}")
            if self._runs.here is not None and not self._runs.here.holds(model, kept.adapter_hash):
                raise CandidateRefused(
                    f"you never promoted {target} (it came with the folder); look at it with `vortex learn show`"
                )
            return self._point(kept, "rollback")

    def reject(self, run_id: str, reason: str, seen: Seen | None = None) -> None:
        """The run stays where it is and cannot be promoted. Raises RequestError, StorageError; CandidateRefused where
        it is no longer what was seen."""
        folder = self._runs.folder(run_id)
        with self._lock():
            if seen is not None:
                self._as_seen(folder, seen)
            _write_word(folder / REJECTION_FILE, reason)
            self._runs.journal.note("reject", run_id=folder.name, reason=reason)

    def _as_seen(self, folder: Path, seen: Seen) -> Manifest:
        manifest = verify(folder)
        if manifest.hash != seen.hash:
            raise CandidateRefused(f"{folder.name} is another candidate than the one you saw; look at it again")
        state = self._runs.state(folder.name).state
        if seen.state is not None and state != seen.state:
            raise CandidateRefused(f"{folder.name} is {state} meanwhile, so nothing was decided; look at it again")
        return manifest

    def _lock(self) -> FileLock:
        return FileLock(self._runs.root / "promotion.lock")

    def _check(self, manifest: Manifest) -> None:
        try:
            if manifest.run_id != manifest.folder.name:
                raise CandidateRefused(f"{manifest.folder} holds the run {manifest.run_id}; a run keeps its folder")
            if closed := failures(read_gates(manifest.folder / EVALUATION_FILE)):
                raise CandidateRefused(f"the gates of {manifest.run_id} are closed: {'; '.join(closed)}")
            if not self._runs.is_own(manifest):
                raise CandidateRefused(
                    f"{manifest.run_id} was neither trained nor approved by you (it came with the folder): "
                    f"vortex learn show {manifest.run_id}, then vortex learn approve {manifest.run_id} --hash HASH"
                )
            check_approval(manifest, presence=self._presence)
        except CandidateRefused as error:
            self._runs.journal.note("refused", run_id=manifest.folder.name, reason=str(error))
            raise

    def _keep(self, folder: Path) -> Manifest:
        """The copy in `promoted/`, checked as it lies there."""
        kept = self._runs.promoted / folder.name
        if kept.exists():
            manifest = verify(kept)
            if manifest.hash != verify(folder).hash:
                raise CandidateRefused(f"{kept} holds another candidate of the same name; look at both, remove one")
            return manifest
        try:
            with scratch_folder(self._runs.promoted, ".keeping-") as draft:
                shutil.copytree(folder, draft, dirs_exist_ok=True, symlinks=True)
                self._check_copy(verify(draft), folder)
                settle(draft)
                disown(draft)
                commit_rename(draft, kept)
        except OSError as error:
            raise StorageError(f"{kept} cannot be written ({error.strerror or error}); free some space") from error
        return verify(kept)

    def _check_copy(self, copied: Manifest, folder: Path) -> None:
        if copied.hash != verify(folder).hash:
            raise CandidateRefused(f"{folder} changed while it was promoted; look at it again")
        check_approval(copied, presence=self._presence)
        self._adapter_hash(copied)

    def _adapter_hash(self, manifest: Manifest) -> str:
        found = self._hash_of(manifest.adapter_folder, manifest.model)
        if found != manifest.adapter_hash:
            raise CandidateRefused(
                f"{manifest.adapter_folder} is another adapter than the report is about; train again"
            )
        return found

    def _point(self, kept: Manifest, event: str) -> Moved:
        current = self._runs.current(kept.model)
        before = self._runs.answering(kept.model)
        moved = Moved(kept.model, kept.run_id, before.run_id if before else BASE)
        promoted = Promoted(kept.adapter_folder, self._adapter_hash(kept), kept.run_id)
        note: dict[str, Any] = {"run_id": kept.run_id, "model": kept.model, "before": moved.before}
        self._runs.journal.note(event, **note, hash=kept.hash, adapter=kept.adapter_hash)
        try:
            current.set(promoted)
        except OSError as error:
            raise StorageError(
                f"{current.file} cannot be written ({error.strerror or error}); free some space"
            ) from error
        return moved

    def _before(self, model: str, current: Promoted | None) -> str:
        if current is None and self._runs.current(model).file.exists():
            return BASE  # a pointer that is damaged or a stranger's, which nothing answers with
        if current is None or not current.run_id:
            raise RequestError(f"{model} answers alone already; nothing was promoted")
        before = [  # a run that was promoted once more has itself before it
            str(line.get("before", BASE))
            for line in self._runs.journal.entries()
            if (line.get("event"), line.get("run_id")) == ("promote", current.run_id)
            and line.get("before") != current.run_id
        ]
        return before[-1] if before else BASE


def _write_word(path: Path, word: str) -> None:
    """Under its own name at once: a run holds its own files alone, and half a hash approves nothing."""
    try:
        path.unlink(missing_ok=True)  # also a link, which is not followed
        with open(path, "xb", opener=_for_its_owner) as file:
            file.write(f"{word}\n".encode())
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"{path} cannot be written ({error.strerror or error}); free some space") from error


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
