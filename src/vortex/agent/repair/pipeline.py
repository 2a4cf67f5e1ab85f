"""The way of a repair, for a task of the form "make this test pass".

    reproduce   run all tests twice: what fails, what flakes, which lines ran
    locate      functions and lines by how much more failing tests ran them
    generate    rules, basic changes, anti-copy search, wide changes, whole functions: the cheap and likely first
    judge       every change against the failing tests, then those that passed
    rank        all that pass, by how much likelier they made the text
    confirm     the best in a fresh process with every test, and with held-out tests where there are any

Stages come in groups; a group that finds something likelier than the faulty text ends the search behind it, but is
never cut in its midst: what passes the tests is only plausible, so all that is found is pooled and ranked. Promises:
test files are never changed; the folder of the task is never written to, only its copy; everything runs in the sandbox.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from vortex.agent.patch import Evidence, FileChange, Patch
from vortex.agent.repair import rules
from vortex.agent.repair.judge import Judge, Observation
from vortex.agent.repair.languages.known import language_of
from vortex.agent.repair.languages.language import Change
from vortex.agent.repair.locate import Suspect, suspects
from vortex.agent.repair.naming import is_test_file
from vortex.agent.repair.proposals import Question, anti_copy, whole_functions
from vortex.agent.repair.ranking import Order, Plausible, ranked
from vortex.agent.working_copy import WorkingCopy
from vortex.errors import AgentStopped, RequestError
from vortex.protocols import ChatBackend, GivenTextReader

Tell = Callable[[str, str], None]
PORTION = 400  # changes of one run of the judge


class NothingToRepair(AgentStopped):
    """The tests pass as it is."""

    exit_code = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairOptions:
    """Limits of one repair. tests: those to repair (all that fail, where empty). held_out: tests that the search does
    not see. branches: of the anti-copy search, one round after the other."""

    tests: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    tests_alone: bool = False  # run no other test, where all of them take too long
    stage_limit_s: float = 60.0
    total_limit_s: float = 240.0
    max_changes: int = 6000  # of one stage
    branches: tuple[int, ...] = (16, 40)
    samples: int = 4
    seed: int = 0
    order: Order = Order.LIKELIHOOD
    runners_up: int = 4
    stages: tuple[tuple[str, ...], ...] = (("rules",), ("basic", "anti-copy"), ("wide",), ("whole function",))
    max_suspects: int = 4


@dataclass(slots=True)
class Report:
    """How a repair went, also where nothing was found."""

    failing: list[str] = field(default_factory=list)
    flaky: list[str] = field(default_factory=list)
    suspects: list[str] = field(default_factory=list)
    tried: int = 0
    pool: list[Plausible] = field(default_factory=list)
    patch: Patch | None = None
    seconds: float = 0.0
    stages: dict[str, int] = field(default_factory=dict)  # candidates by stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """What proposes changes, and what ranks them. Each may be absent: then that step is left out."""

    backend: ChatBackend | None = None
    proposer: GivenTextReader | None = None
    ranker: GivenTextReader | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """A file that is changed, and the function in it, where it is one."""

    path: str
    text: str
    suspect: Suspect | None = None


@dataclass(frozen=True, slots=True)
class _Case:
    """What was reproduced: all tests as they are, those to repair, and those that judge a change, in order."""

    before: Observation
    failing: list[str]
    tests: list[str]
    messages: list[str]


class Repair:
    """notes: what the project's documents say of a function, for the model."""

    def __init__(
        self,
        copy: WorkingCopy,
        judge: Judge,
        models: Models,
        options: RepairOptions,
        *,
        tell: Tell,
        notes: Callable[[str], str] = lambda _: "",
    ) -> None:
        self._copy, self._judge, self._models = copy, judge, models
        self._options, self._tell, self._notes = options, tell, notes
        self._ends_s = time.monotonic() + options.total_limit_s
        self._report = Report()

    async def run(self, goal: str) -> Report:
        """Raises AgentStopped where there is nothing to repair or nothing to judge by."""
        started = time.monotonic()
        before, failing = await self._reproduce()
        found = suspects(before, failing, self._copy.read)[: self._options.max_suspects]
        self._report.suspects = [f"{one.path}:{one.function.name}" for one in found]
        if found:
            named = ", ".join(f"{one.path}:{one.function.first_line} {one.function.name}" for one in found)
            self._tell("locate", f"the failing tests ran {named}")
        tests = self._tests_that_matter(before, failing, found)
        case = _Case(before, failing, tests, [before.tests[name].message for name in failing])
        await self._search(case, found)
        if self._report.pool:
            await self._choose(goal, case)
        self._report.seconds = time.monotonic() - started
        return self._report

    # --- reproduce ---------------------------------------------------------------------------------------------------

    @property
    def _files(self) -> list[str]:
        """Tests to run; none: all."""
        return [*self._options.tests, *self._options.held_out] if self._options.tests_alone else []

    async def _reproduce(self) -> tuple[Observation, list[str]]:
        before, again = await asyncio.to_thread(self._judge.observe, self._files, traced=(True, False))
        before = replace(before, tests={name: run for name, run in before.tests.items() if not self._is_held_out(name)})
        again = replace(again, tests={name: run for name, run in again.tests.items() if not self._is_held_out(name)})
        if not before.tests:
            why = f": {before.problem.strip().splitlines()[-1]}" if before.problem.strip() else ""
            raise AgentStopped(f"no tests were found here{why}; a repair needs a test that fails")
        flaky = [
            name
            for name, run in before.tests.items()
            if name in again.tests and again.tests[name].outcome != run.outcome
        ]
        self._report.flaky = flaky
        failing = [name for name in before.failing if name not in flaky]
        wanted = [name for name in failing if self._is_wanted(name)]
        self._report.failing = wanted
        if not wanted:
            if flaky:
                raise AgentStopped(f"the only failing tests change their mind by themselves: {', '.join(flaky[:3])}")
            unknown = [name for name in self._options.tests if not any(one.startswith(name) for one in before.tests)]
            if unknown:
                raise AgentStopped(f"no test is called {unknown[0]}; `pytest --collect-only -q` lists them")
            raise NothingToRepair("all tests pass here, so there is nothing to repair")
        # what times are known by: the run without a trace
        times = {name: run.seconds for name, run in again.tests.items()}
        tests = {name: replace(run, seconds=times.get(name, run.seconds)) for name, run in before.tests.items()}
        self._tell("reproduce", f"{len(wanted)} of {len(before.tests)} tests fail: {', '.join(wanted[:3])}")
        return replace(before, tests=tests), wanted

    def _is_wanted(self, name: str) -> bool:
        return not self._options.tests or any(name.startswith(one) for one in self._options.tests)

    def _is_held_out(self, name: str) -> bool:
        return any(name.startswith(one) for one in self._options.held_out)

    def _tests_that_matter(self, before: Observation, failing: Sequence[str], found: Sequence[Suspect]) -> list[str]:
        """Failing ones, quickest first; then passing ones that ran a suspect's file."""
        paths = {one.path for one in found}

        def quickest(names: Sequence[str]) -> list[str]:
            return sorted(names, key=lambda name: (before.tests[name].hung, before.tests[name].seconds))

        flaky = set(self._report.flaky)
        passing = [
            name
            for name in before.passing
            if name not in flaky and (not paths or paths & set(before.tests[name].lines))
        ]
        return [*quickest(failing), *quickest(passing)]

    # --- generate and judge ------------------------------------------------------------------------------------------

    async def _search(self, case: _Case, found: Sequence[Suspect]) -> None:
        for group in self._options.stages:
            if time.monotonic() > self._ends_s or await self._is_convinced():
                return
            for stage in group:
                await self._stage(stage, case, found)

    async def _is_convinced(self) -> bool:
        """Something was found that also made the text likelier; without a model to say so, something was found."""
        if not self._report.pool or self._models.ranker is None or self._options.order is not Order.LIKELIHOOD:
            return bool(self._report.pool)
        self._report.pool = await ranked(self._report.pool, self._models.ranker)
        asked = [one.is_likelier for one in self._report.pool if one.is_likelier is not None]
        return not asked or any(asked)

    async def _stage(self, stage: str, case: _Case, found: Sequence[Suspect]) -> None:
        if stage == "rules":
            await self._by_rule(case)
            return
        for suspect in found:
            text = self._copy.read(suspect.path)
            if text is None or time.monotonic() > self._ends_s:
                continue
            if stage in {"basic", "wide"}:
                changes = await asyncio.to_thread(self._mutations, stage, suspect, text)
                await self._in_portions(stage, _Place(suspect.path, text, suspect), changes, case)
            else:
                await self._by_model(stage, _Place(suspect.path, text, suspect), suspect, case)

    async def _in_portions(self, stage: str, place: _Place, changes: Sequence[Change], case: _Case) -> None:
        """Hundreds at a time: a portion is judged whole, and the next one only where nothing convinces."""
        limit_s = time.monotonic() + self._options.stage_limit_s
        for start in range(0, len(changes), PORTION):
            if start and (time.monotonic() > limit_s or await self._is_convinced()):
                return
            await self._judge_all(stage, place, changes[start : start + PORTION], case)

    async def _by_rule(self, case: _Case) -> None:
        """In every file that a failing test ran or that a message names, but for tests."""
        ran = {path for name in case.failing for path in case.before.tests[name].lines}
        named = {name for name in self._copy.files if any(name in message for message in case.messages)}
        for path in sorted(ran | named):
            language = language_of(path)
            text = self._copy.read(path)
            if language is None or language.name != "python" or text is None or is_test_file(path):
                continue
            changes = list(rules.changes_by_rule(text, case.messages))
            await self._judge_all("rules", _Place(path, text), changes, case)

    def _mutations(self, stage: str, suspect: Suspect, text: str) -> list[Change]:
        """Most suspicious lines first; on one line kinds take turns, so that a limit of time cuts none of them off."""
        source = suspect.language.basic if stage == "basic" else suspect.language.wide
        changes = [change for change in source(text, suspect.function) if self._may_matter(change, suspect)]
        turns: Counter[tuple[float, str]] = Counter()
        places = []
        for number, change in enumerate(changes):
            key = (-self._suspicion(change, suspect), change.kind)
            places.append((key[0], turns[key] if stage == "wide" else 0, number))
            turns[key] += 1
        return [changes[number] for *_, number in sorted(places)[: self._options.max_changes]]

    @staticmethod
    def _may_matter(change: Change, suspect: Suspect) -> bool:
        """A line that no failing test ran is not the fault; behind one that they ran something may be missing."""
        near = (change.line, change.line - 1)
        return any(line in suspect.lines for line in near) or change.line <= suspect.function.first_line + 1

    @staticmethod
    def _suspicion(change: Change, suspect: Suspect) -> float:
        return max(suspect.lines.get(change.line, 0.0), 0.9 * suspect.lines.get(change.line - 1, 0.0))

    async def _by_model(self, stage: str, place: _Place, suspect: Suspect, case: _Case) -> None:
        question = Question(suspect, place.text, case.messages[0], self._notes(suspect.function.name))
        try:
            if stage == "whole function":
                if self._models.backend is not None:
                    changes = await whole_functions(
                        self._models.backend, question, self._options.samples, self._options.seed
                    )
                    await self._judge_all(stage, place, changes, case)
                return
            if self._models.proposer is None:
                return
            tried: set[str] = set()
            for most in self._options.branches:
                proposed = await anti_copy(self._models.proposer, question, most)
                changes = [change for change, _ in proposed if change.text not in tried]
                tried |= {change.text for change in changes}
                await self._judge_all(stage, place, changes, case)
                if self._report.pool:
                    return
        except RequestError as error:  # a function beyond the model's context; the other stages go on
            self._tell(stage, f"{suspect.function.name} was left out: {error}")

    async def _judge_all(self, stage: str, place: _Place, changes: Sequence[Change], case: _Case) -> None:
        limit_s = min(self._options.stage_limit_s, self._ends_s - time.monotonic())
        if not changes or limit_s <= 0:
            return
        verdicts = await asyncio.to_thread(
            self._judge.try_changes, place.path, changes, case.tests, case.before, limit_s
        )
        self._report.tried += len(verdicts)
        self._report.stages[stage] = self._report.stages.get(stage, 0) + len(verdicts)
        passed = [changes[verdict.index] for verdict in verdicts if verdict.passed]
        known = {one.change.text for one in self._report.pool}
        fresh = [one for one in passed if one.text not in known]
        self._report.pool += [Plausible(place.suspect, place.path, place.text, one) for one in fresh]
        where = place.suspect.function.name if place.suspect else place.path
        cut = "" if len(verdicts) == len(changes) else f" of {len(changes)}, then the time was up"
        self._tell(stage, f"{where}: {len(verdicts)} candidates{cut}, {len(passed)} pass the tests")

    # --- rank and confirm --------------------------------------------------------------------------------------------

    async def _choose(self, goal: str, case: _Case) -> None:
        order = await ranked(self._report.pool, self._models.ranker, self._options.order, self._options.seed)
        self._report.pool = order
        confirmed: list[tuple[Plausible, Evidence]] = []
        for one in order:
            if confirmed and (len(confirmed) > self._options.runners_up or time.monotonic() > self._ends_s):
                break
            if confirmed:  # runners-up are shown as they were judged
                confirmed.append((one, self._evidence(one, order, plausible=True)))
                continue
            evidence = await self._confirm(one, order, case)
            if evidence is not None:
                confirmed.append((one, evidence))
        if not confirmed:
            return
        patches = [
            Patch(goal=goal, changes=(FileChange(one.path, one.old, one.change.text),), evidence=evidence)
            for one, evidence in confirmed
        ]
        lead = None
        if len(order) > 1 and patches[0].evidence.gain_nats is not None and patches[1:]:
            lead = patches[0].evidence.gain_nats - (patches[1].evidence.gain_nats or 0.0)
        best = replace(patches[0], evidence=replace(patches[0].evidence, lead_nats=lead), runners_up=tuple(patches[1:]))
        self._report.patch = best
        self._tell("rank", f"{best.evidence.plausible_found} pass the tests; the best: {best.evidence.verdict}")

    async def _confirm(self, one: Plausible, order: Sequence[Plausible], case: _Case) -> Evidence | None:
        """Every test again, in a fresh process. None where one says otherwise now: it leaned on another's leftovers."""
        before, failing = case.before, case.failing
        after = await asyncio.to_thread(self._judge.confirm, one.path, one.change.text, self._files)
        flaky = set(self._report.flaky)
        held_out = {name: run for name, run in after.tests.items() if self._is_held_out(name)}
        own = {name: run for name, run in after.tests.items() if name not in held_out}
        lost = [n for n in before.passing if n not in flaky and own.get(n) is not None and own[n].outcome == "failed"]
        gone = [n for n in before.tests if n not in own]
        if lost or gone or any(own[name].outcome != "passed" for name in failing):
            self._tell("confirm", f"a candidate fell when all tests ran anew: {(lost or gone or list(failing))[0]}")
            return None
        evidence = self._evidence(one, order, plausible=True)
        still = tuple(name for name, run in own.items() if run.outcome == "failed" and name not in flaky)
        counted = [run for run in held_out.values() if run.outcome != "skipped"]
        return replace(
            evidence,
            repaired=tuple(failing),
            kept=sum(1 for name in before.passing if own[name].outcome == "passed"),
            still_failing=still,
            held_out_passed=sum(run.outcome == "passed" for run in counted) if counted else None,
            held_out_failed=sum(run.outcome == "failed" for run in counted) if counted else None,
        )

    def _evidence(self, one: Plausible, order: Sequence[Plausible], *, plausible: bool) -> Evidence:
        return Evidence(
            flaky=tuple(self._report.flaky),
            plausible=plausible,
            candidates_tried=self._report.tried,
            plausible_found=len(order),
            found_by=one.change.kind,
            gain_nats=one.gain,
        )
