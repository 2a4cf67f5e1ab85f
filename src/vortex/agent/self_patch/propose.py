"""Proposes a change of a repository (the program's own, as a rule): made and tested in a worktree of its last commit.

Promises: the checkout is not touched, nor is what is not committed in it seen; what is queued passed the sandboxed
tests and has no objection; the worktree is gone afterwards.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vortex.agent.git import git, succeeds, top_of
from vortex.agent.patch import Patch
from vortex.agent.repair.judge import Judge
from vortex.agent.self_patch.objections import objections
from vortex.agent.self_patch.queue import PatchQueue, Queued
from vortex.agent.working_copy import WorkingCopy
from vortex.errors import AgentStopped

Worker = Callable[[Path, Sequence[str]], Awaitable[Patch | None]]
"""Makes a patch in a folder, to the tests that are named; None where it finds none."""
JudgeMaker = Callable[[WorkingCopy], Judge]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """queued: None for a dry run, or where the patch is not let into the queue (`objections`, or `failing` tests)."""

    patch: Patch | None
    base: str
    objections: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    queued: Queued | None = None
    dirty: bool = False


@contextmanager
def worktree(repository: Path, commit: str) -> Iterator[Path]:
    """The commit's files in a folder of their own, detached."""
    with tempfile.TemporaryDirectory(prefix="vortex-self-patch-") as outer:
        place = Path(outer) / repository.name
        git(repository, "worktree", "add", "--detach", "--quiet", str(place), commit)
        try:
            yield place
        finally:
            succeeds(repository, "worktree", "remove", "--force", str(place))
            succeeds(repository, "worktree", "prune")


async def propose(
    folder: Path,
    tests: Sequence[str],
    worker: Worker,
    judge_for: JudgeMaker,
    *,
    queue: PatchQueue | None,
) -> Proposal:
    """`queue`: None for a dry run. Raises AgentStopped outside a repository and where nothing can be judged."""
    repository = top_of(folder)
    base = git(repository, "rev-parse", "HEAD").strip()
    dirty = bool(git(repository, "status", "--porcelain").strip())
    with worktree(repository, base) as place:
        patch = await worker(place, tests)
        if patch is None:
            return Proposal(patch=None, base=base, dirty=dirty)
        against = objections(patch.diff)
        if against:
            return Proposal(patch=patch, base=base, objections=tuple(against), dirty=dirty)
        chosen = tuple(tests) or rooms_tests(patch.paths, place)
        failing = _failing(place, patch, chosen, judge_for)
    if failing or not patch.evidence.plausible:
        return Proposal(patch=patch, base=base, failing=failing or ("its own task",), tests=chosen, dirty=dirty)
    queued = queue.add(patch, base=base, tests=list(chosen)) if queue is not None else None
    return Proposal(patch=patch, base=base, tests=chosen, queued=queued, dirty=dirty)


def rooms_tests(paths: Sequence[str], folder: Path) -> tuple[str, ...]:
    """Tests that mirror the changed files' rooms, and the house's guard; empty (all tests) where there are none."""
    rooms = {Path(path).parts[2] for path in paths if path.startswith("src/") and len(Path(path).parts) > 3}
    found = [f"tests/{room}" for room in sorted(rooms) if (folder / "tests" / room).is_dir()]
    if found and (folder / "tests/test_architecture.py").is_file():
        found.append("tests/test_architecture.py")
    return tuple(found)


def _failing(place: Path, patch: Patch, tests: Sequence[str], judge_for: JudgeMaker) -> tuple[str, ...]:
    """Tests that fail with the patch and passed without it, both runs in the sandbox."""
    with WorkingCopy(place) as copy:
        judge = judge_for(copy)
        before = judge.observe(tests)[0]
        for change in patch.changes:
            target = copy.folder / change.path
            target.parent.mkdir(parents=True, exist_ok=True)
            copy.write(change.path, change.new or "")
        after = judge.observe(tests)[0]
    if not after.tests:
        raise AgentStopped(f"no tests ran with the patch: {after.problem.strip()[-200:] or 'none were found'}")
    missing = [name for name in before.passing if name not in after.tests]
    return tuple(dict.fromkeys([*[name for name in after.failing if name not in before.failing], *missing]))
