"""A task from words to an applied patch: led where it is about tests, free where the model can, then the authority.

    led     the repair pipeline decides every step (led.py); for "make this test pass", with any model or none
    free    the model decides (free.py); for other tasks, or where the repair found nothing and the model is not weak
    auto    led for tasks that speak of tests and faults, free behind it

The task succeeds when its tests pass in the folder as it then stands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from vortex.agent.authority import Authority
from vortex.agent.evidence import append_decision
from vortex.agent.free import FreeOptions, failure_in, work_freely
from vortex.agent.led import LedOptions, apply_patch, repair_folder
from vortex.agent.loop import Tell
from vortex.agent.patch import Patch
from vortex.agent.repair.judge import Judge
from vortex.agent.repair.pipeline import Models, NothingToRepair
from vortex.agent.working_copy import WorkingCopy
from vortex.errors import AgentStopped

ABOUT_TESTS = re.compile(
    r"test|bug|fix|fail|error|broken|repair|mend|wrong|"
    r"prueba|arregl|fall[aoó]|corrig|corrij|repar|defecto|roto|rota",
    re.IGNORECASE,
)
TEST_NAMES = re.compile(r"[\w./-]*test[\w./-]*\.py(?:::[\w\[\]., -]+)*", re.IGNORECASE)


class Mode(StrEnum):
    AUTO = "auto"
    LED = "led"
    FREE = "free"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    mode: Mode = Mode.AUTO
    is_weak: bool = False  # the model proposes nothing of its own
    led: LedOptions = field(default_factory=LedOptions)
    free: FreeOptions = field(default_factory=FreeOptions)


@dataclass(slots=True)
class TaskResult:
    """passed: the task's tests pass in the folder. refusal: why a patch was not let in."""

    passed: bool = False
    applied: bool = False
    patch: Patch | None = None
    refusal: str = ""
    stop: str = ""
    steps: int = 0
    trajectory: Path | None = None


def named_tests(task: str, folder: Path) -> tuple[str, ...]:
    """Test files and tests that the task's words name and that are there."""
    found = []
    for name in TEST_NAMES.findall(task):
        clean = name.strip(" .,;")
        if (folder / clean.partition("::")[0]).is_file():
            found.append(clean)
    return tuple(dict.fromkeys(found))


class Task:
    def __init__(self, folder: Path, models: Models, authority: Authority, options: TaskOptions, tell: Tell) -> None:
        self._folder, self._models, self._authority = folder.resolve(), models, authority
        self._options, self._tell = options, tell

    async def run(self, words: str) -> TaskResult:
        """Raises AgentStopped where there is nothing that could be done."""
        if self._authority.observes is not None:
            self._tell("observes", self._authority.observes)
        mode = self._options.mode
        result = TaskResult()
        stopped: AgentStopped | None = None
        if mode is Mode.LED or (mode is Mode.AUTO and ABOUT_TESTS.search(words)):
            try:
                await self._led(words, result)
            except NothingToRepair as error:
                self._tell("led", str(error))
                result.passed = True
                return result
            except AgentStopped as error:
                stopped = error
                self._tell("led", str(error))
        may_be_free = mode is Mode.FREE or (mode is Mode.AUTO and not self._options.is_weak)
        if result.patch is None and may_be_free and self._models.backend is not None:
            stopped = None
            await self._free(words, result)
        if stopped is not None and result.patch is None:
            raise stopped
        await self._let_in(words, result)
        return result

    async def _led(self, words: str, result: TaskResult) -> None:
        report = await repair_folder(self._folder, words, self._models, self._options.led, self._tell)
        result.patch = report.patch
        if report.patch is None:
            self._tell("led", f"{report.tried} candidates were tried and none is a repair")

    async def _free(self, words: str, result: TaskResult) -> None:
        assert self._models.backend is not None, "free work needs a model that answers"
        run = await work_freely(
            self._folder,
            words,
            self._models.backend,
            authority=self._authority,
            options=self._options.free,
            tell=self._tell,
        )
        result.stop, result.trajectory = run.stop.reason, run.trajectory.path
        result.steps = sum(record["kind"] == "act" for record in run.trajectory.records)
        self._tell("stop", f"{run.stop.reason}: {run.stop.text}")
        result.patch = run.patch

    async def _let_in(self, words: str, result: TaskResult) -> None:
        if result.patch is None:
            return
        if not result.patch.evidence.plausible:
            result.refusal = "its tests do not pass, so it is shown and not applied"
            return
        result.refusal = self._authority.refusal(result.patch) or ""
        if result.refusal:
            return
        apply_patch(result.patch, self._folder)
        result.applied = True
        with WorkingCopy(self._folder) as copy:
            problem = failure_in(Judge(copy, self._options.led.walls, self._options.led.judge), self._tests(result))
        result.passed = not problem
        role = self._authority.role
        if role is not None:
            path = append_decision(self._folder, self._authority.policy, role, words, result.patch)
            self._tell("evidence", f"written down in {path.relative_to(self._folder)}")

    def _tests(self, result: TaskResult) -> tuple[str, ...]:
        """What the task was about: the tests that were repaired, those it names, else all."""
        assert result.patch is not None, "asked of a patch that was applied"
        return result.patch.evidence.repaired or self._options.led.repair.tests
