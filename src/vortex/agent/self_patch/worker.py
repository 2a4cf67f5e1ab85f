"""Who makes a patch of the program itself: the repair where tests fail, else the model in the loop."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vortex.agent.authority import Authority
from vortex.agent.free import FreeOptions, work_freely
from vortex.agent.led import LedOptions, repair_folder
from vortex.agent.loop import Tell
from vortex.agent.patch import Patch
from vortex.agent.repair.judge import JudgeOptions
from vortex.agent.repair.pipeline import Models, NothingToRepair, RepairOptions
from vortex.agent.roles import role_policy
from vortex.agent.self_patch.propose import Worker
from vortex.agent.task import ABOUT_TESTS


def worker_for(goal: str, models: Models, judge: JudgeOptions, tell: Tell) -> Worker:
    """A model that proposes works freely where no test fails; a weak one has nothing to add there."""

    async def work(folder: Path, tests: Sequence[str]) -> Patch | None:
        if not tests and models.proposer is None and not ABOUT_TESTS.search(goal):
            tell("led", "the goal names no fault, and this model proposes nothing of its own")
            return None
        repair = RepairOptions(tests=tuple(tests), tests_alone=bool(tests), total_limit_s=300.0)
        try:
            report = await repair_folder(folder, goal, models, LedOptions(repair=repair, judge=judge), tell)
        except NothingToRepair as error:
            tell("led", str(error))
        else:
            return report.patch
        if models.backend is None or models.proposer is None:
            return None
        authority = Authority(policy=role_policy(folder), yes=True)
        options = FreeOptions(judge=judge, tests=tuple(tests))
        run = await work_freely(folder, goal, models.backend, authority=authority, options=options, tell=tell)
        tell("stop", f"{run.stop.reason}: {run.stop.text}")
        return run.patch

    return work
