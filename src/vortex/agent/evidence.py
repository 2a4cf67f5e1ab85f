"""Decisions written down: an entry in the repository's evidence log for every patch that a role let in.

The program writes it, not the model, so that it says what happened. Appended, never rewritten.
"""

from __future__ import annotations

import datetime
from pathlib import Path

from vortex.agent.patch import Patch
from vortex.agent.roles import Role, RolePolicy
from vortex.errors import AgentStopped, StorageError


def append_decision(folder: Path, policy: RolePolicy, role: Role, task: str, patch: Patch) -> Path:
    """One entry: when, who, what was asked, what was changed, what speaks for it, how it is taken back."""
    path = folder / policy.evidence_log
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise AgentStopped(f"{policy.evidence_log} is no plain file; make it one, or name another in {policy.origin}")
    evidence = patch.evidence
    when = datetime.datetime.now(datetime.UTC).date().isoformat()
    entry = (
        f"\n## {when}: {' '.join(task.split())[:120]}\n"
        f"- role: {role.name}\n"
        f"- patch {patch.id}, by {evidence.found_by}: {', '.join(patch.paths)}\n"
        f"- evidence: {evidence.verdict}; {len(evidence.repaired)} tests repaired, {evidence.kept} kept, "
        f"{evidence.plausible_found} of {evidence.candidates_tried} candidates passed the tests\n"
        f"- taken back by: reversing the diff of this patch (`git apply -R`)\n"
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(entry)
    except OSError as error:
        raise StorageError(f"{policy.evidence_log} could not be written: {error.strerror}") from None
    return path
