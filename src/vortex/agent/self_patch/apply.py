"""Lets a queued patch in, on a branch of its own: exactly its diff, by a person's word, with the way back.

Promises: what is committed is the diff whose hash is the patch's id, and nothing else; the checkout, its branch and its
uncommitted work are not touched; a patch whose base moved so that it no longer fits is refused.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from vortex.agent.git import git, succeeds, top_of
from vortex.agent.patch import FileChange, diff_of, patch_id
from vortex.agent.self_patch.objections import objections
from vortex.agent.self_patch.queue import PatchQueue, Queued
from vortex.errors import AgentStopped


@dataclass(frozen=True, slots=True)
class Applied:
    branch: str
    commit: str
    merge: str
    revert: str


def check(queued: Queued) -> None:
    """Raises AgentStopped for a patch that must not be let in."""
    against = objections(queued.diff, queued.id)
    if against:
        raise AgentStopped(f"patch {queued.id} is refused: {against[0]}")
    if queued.state != "proposed":
        raise AgentStopped(f"patch {queued.id} is {queued.state} already; `vortex self-patch list` shows what is open")


def apply_queued(folder: Path, queue: PatchQueue, queued: Queued) -> Applied:
    """To be called once a person has approved this very patch."""
    check(queued)
    repository = top_of(folder)
    branch = f"self-patch/{queued.id}"
    if succeeds(repository, "rev-parse", "--verify", f"refs/heads/{branch}"):
        raise AgentStopped(f"the branch {branch} is there already; delete it first (`git branch -D {branch}`)")
    with tempfile.TemporaryDirectory(prefix="vortex-apply-") as outer:
        place = Path(outer) / "tree"
        git(repository, "worktree", "add", "--quiet", "-b", branch, str(place), "HEAD")
        commit = ""
        try:
            commit = _commit(place, queued)
        finally:
            succeeds(repository, "worktree", "remove", "--force", str(place))
            succeeds(repository, "worktree", "prune")
            if not commit:
                succeeds(repository, "branch", "-D", branch)
    queue.mark(queued, "applied", branch=branch, commit=commit)
    return Applied(branch, commit, f"git merge {branch}", f"git revert {commit}")


def _commit(place: Path, queued: Queued) -> str:
    if not succeeds(place, "apply", "--check", "--index", "-", stdin=queued.diff):
        raise AgentStopped(
            f"patch {queued.id} no longer fits: its files changed since {str(queued.notes.get('base', 'then'))[:12]}; "
            "propose it again"
        )
    git(place, "apply", "--index", "-", stdin=queued.diff)
    if patch_id(_diff_made(place)) != queued.id:
        raise AgentStopped(f"patch {queued.id}: what would be committed is not the diff that was approved")
    goal = " ".join(str(queued.notes.get("goal", "")).split())[:100]
    git(place, "commit", "--quiet", "--no-verify", "-m", f"Self-patch {queued.id}: {goal}", "-m", _recipe(queued))
    return git(place, "rev-parse", "HEAD").strip()


def _diff_made(place: Path) -> str:
    """The diff of what is staged, in the patch's own form."""
    changes = []
    for line in git(place, "diff", "--cached", "--name-status", "-z", "HEAD").rstrip("\0").split("\0")[1::2]:
        old = git(place, "show", f"HEAD:{line}") if succeeds(place, "cat-file", "-e", f"HEAD:{line}") else None
        path = place / line
        changes.append(FileChange(line, old, path.read_bytes().decode() if path.is_file() else None))
    return "".join(diff_of(change) for change in sorted(changes, key=lambda change: change.path))


def _recipe(queued: Queued) -> str:
    return f"Verdict: {queued.notes.get('verdict', 'unknown')}. Taken back by: git revert, or the branch deleted."
