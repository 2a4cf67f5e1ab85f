"""Led mode: a program leads and the model helps. For tasks of the form "make this test pass", which is what a small
model can do: the repair decides every step, the model proposes changes and ranks them.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from vortex.agent.confinement import Walls
from vortex.agent.documents import Documents
from vortex.agent.patch import Patch
from vortex.agent.repair.judge import Judge, JudgeOptions
from vortex.agent.repair.pipeline import Models, Repair, RepairOptions, Report, Tell
from vortex.agent.working_copy import WorkingCopy
from vortex.errors import AgentStopped, StorageError
from vortex.records.atomic import atomic_write


@dataclass(frozen=True, slots=True, kw_only=True)
class LedOptions:
    walls: Walls = field(default_factory=Walls)
    repair: RepairOptions = field(default_factory=RepairOptions)
    judge: JudgeOptions = field(default_factory=JudgeOptions)


async def repair_folder(folder: Path, goal: str, models: Models, options: LedOptions, tell: Tell) -> Report:
    """Works on a copy; the folder stays as it is. Raises AgentStopped where there is nothing to repair."""
    with WorkingCopy(folder) as copy:
        documents = Documents(copy)
        if documents.names:
            tell("documents", f"opened {', '.join(documents.names[:5])}")
        judge = Judge(copy, options.walls, options.judge)
        repair = Repair(copy, judge, models, options.repair, tell=tell, notes=documents.about)
        return await repair.run(goal)


def apply_patch(patch: Patch, folder: Path) -> None:
    """Write the patch's files, all or none. Raises AgentStopped where one is no longer what the patch was made from,
    StorageError where there is no room; then nothing has changed."""
    for change in patch.changes:
        path = folder / change.path
        now = _read(path)
        if now != change.old:
            raise AgentStopped(f"{change.path} changed while the agent worked; run it again on what is there now")
        if path.is_symlink():
            raise AgentStopped(f"{change.path} is a link; patches change plain files alone")
    try:
        with ExitStack() as renamed_at_the_end:
            for change in patch.changes:
                if change.new is not None:
                    file = renamed_at_the_end.enter_context(atomic_write(folder / change.path))
                    file.write(change.new.encode())
                    file.flush()
                    os.fsync(file.fileno())  # here, and not after the first rename, is found out that a disk is full
    except OSError as error:
        raise StorageError(
            f"{', '.join(patch.paths)}: nothing was changed ({error.strerror}); free some space"
        ) from None
    for change in patch.changes:
        if change.new is None:
            (folder / change.path).unlink()


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        return ""
