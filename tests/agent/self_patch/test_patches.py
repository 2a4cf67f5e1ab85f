"""From a proposal in a worktree to a commit on a branch: the checkout is not touched, exactly the diff is let in."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.agent.conftest import FAULTY, TESTS, MakeRepository
from vortex.agent.confinement import Walls
from vortex.agent.patch import Evidence, FileChange, Patch
from vortex.agent.repair.judge import Judge, JudgeOptions
from vortex.agent.self_patch.apply import apply_queued
from vortex.agent.self_patch.propose import Proposal, propose, rooms_tests
from vortex.agent.self_patch.queue import PatchQueue
from vortex.errors import AgentStopped

FILES = {"src/numbers_of.py": FAULTY, "tests/test_numbers.py": TESTS}
FIXED = FAULTY.replace("value < best", "value > best")


def repair(new: str = FIXED, path: str = "src/numbers_of.py") -> Patch:
    return Patch(goal="mend", changes=(FileChange(path, FAULTY, new),), evidence=Evidence(plausible=True))


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


async def proposed(folder: Path, patch: Patch | None, queue: PatchQueue | None) -> Proposal:
    async def work(place: Path, tests: Sequence[str]) -> Patch | None:
        assert place != folder
        return patch

    judge = JudgeOptions(test_limit_s=1.0)
    return await propose(folder, (), work, lambda copy: Judge(copy, Walls(), judge), queue=queue)


@pytest.mark.long
async def test_a_proposal_is_tested_queued_and_applied_on_a_branch(
    make_repository: MakeRepository, tmp_path: Path
) -> None:
    folder, queue = make_repository(FILES, git=True), PatchQueue(tmp_path / "queue")
    (folder / "unsaved.txt").write_text("mine")
    proposal = await proposed(folder, repair(), queue)
    assert proposal.queued is not None
    assert proposal.dirty
    assert (folder / "src/numbers_of.py").read_text() == FAULTY
    assert [one.state for one in queue.all()] == ["proposed"]
    branch = git(folder, "branch", "--show-current")
    applied = apply_queued(folder, queue, queue.get(proposal.queued.id[:6]))
    assert git(folder, "branch", "--show-current") == branch
    assert git(folder, "show", f"{applied.commit}:src/numbers_of.py") == FIXED.strip()
    assert git(folder, "diff", "--name-only", "HEAD", applied.branch) == "src/numbers_of.py"
    assert git(folder, "worktree", "list").count("\n") == 0
    assert (folder / "unsaved.txt").read_text() == "mine"
    assert queue.get(proposal.queued.id).state == "applied"
    git(folder, "merge", "-q", applied.branch)
    git(folder, "-c", "user.name=t", "-c", "user.email=t@t", *applied.revert.split()[1:], "--no-edit")
    assert (folder / "src/numbers_of.py").read_text() == FAULTY
    with pytest.raises(AgentStopped, match="applied already"):
        apply_queued(folder, queue, queue.get(proposal.queued.id))


@pytest.mark.long
async def test_what_breaks_a_test_or_touches_its_judge_is_not_queued(
    make_repository: MakeRepository, tmp_path: Path
) -> None:
    folder, queue = make_repository(FILES, git=True), PatchQueue(tmp_path / "queue")
    worse = FIXED.replace("sum(values) / len(values)", "0")
    broken = await proposed(folder, repair(worse), queue)
    assert broken.failing == ("tests/test_numbers.py::test_mean",)
    judged = Patch(
        goal="g", changes=(FileChange("tests/test_numbers.py", TESTS, ""),), evidence=Evidence(plausible=True)
    )
    assert "tests judge" in (await proposed(folder, judged, queue)).objections[0]
    assert (await proposed(folder, None, queue)).patch is None
    assert (await proposed(folder, repair(), None)).queued is None  # a dry run
    assert queue.all() == []


def test_a_base_that_moved_and_a_diff_that_was_touched_are_refused(
    make_repository: MakeRepository, tmp_path: Path
) -> None:
    folder, queue = make_repository(FILES, git=True), PatchQueue(tmp_path / "queue")
    queued = queue.add(repair(), base="abc")
    (folder / "src/numbers_of.py").write_text(FAULTY.replace("if best is None or", "if not best or"))
    git(folder, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qam", "moved")
    with pytest.raises(AgentStopped, match="no longer fits"):
        apply_queued(folder, queue, queued)
    assert "self-patch" not in git(folder, "branch", "--all")
    diff = queue.folder / queued.id / "patch.diff"
    diff.write_text(diff.read_text().replace("value > best", "value >= best"))
    assert queue.get(queued.id).state == "tampered"
    with pytest.raises(AgentStopped, match="refused"):
        apply_queued(folder, queue, queue.get(queued.id))


def test_hooks_of_the_repository_do_not_run(make_repository: MakeRepository, tmp_path: Path) -> None:
    folder, queue = make_repository(FILES, git=True), PatchQueue(tmp_path / "queue")
    mark = tmp_path / "hook-ran"
    for name in ("pre-commit", "post-commit", "post-checkout", "commit-msg"):
        hook = folder / ".git/hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
        hook.chmod(0o755)
    apply_queued(folder, queue, queue.add(repair(), base="abc"))
    assert not mark.exists()


def test_a_queue_names_its_patches_and_refuses_what_is_none(make_repository: MakeRepository, tmp_path: Path) -> None:
    queue = PatchQueue(tmp_path / "queue")
    assert queue.all() == []
    queued = queue.add(repair(), base="abc")
    assert queue.add(repair(), base="abc").id == queued.id
    assert (queue.folder / queued.id / "patch.diff").stat().st_mode & 0o777 == 0o600
    for wrong in ("../x", "zz", "0000", ""):
        with pytest.raises(AgentStopped, match="patch"):
            queue.get(wrong)
    assert queue.mark(queued, "rejected", reason="no").state == "rejected"
    with pytest.raises(AgentStopped, match="rejected already"):
        apply_queued(make_repository(FILES, git=True), queue, queue.get(queued.id))


def test_without_git_or_a_commit_the_fix_is_named(tmp_path: Path, make_repository: MakeRepository) -> None:
    queue = PatchQueue(tmp_path / "queue")
    with pytest.raises(AgentStopped, match="git init"):
        apply_queued(make_repository(FILES), queue, queue.add(repair()))
    folder = make_repository(FILES, name="fresh")
    git(folder, "init", "-q")
    with pytest.raises(AgentStopped, match="git commit"):
        apply_queued(folder, queue, queue.get(repair().id))


def test_tests_beside_a_change_are_those_of_its_room(make_repository: MakeRepository) -> None:
    folder = make_repository({"tests/decode/test_a.py": "", "tests/test_architecture.py": ""})
    assert rooms_tests(["src/vortex/decode/noise.py"], folder) == ("tests/decode", "tests/test_architecture.py")
    assert rooms_tests(["src/numbers_of.py"], folder) == ()
