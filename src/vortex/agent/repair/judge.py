"""Runs a working copy's tests in the sandbox: once with care, or for hundreds of versions of a file.

The program inside is judge_process.py, handed over as text, so that it runs under the project's own interpreter and
meets nothing of ours. Promises: what comes back is what the program printed on its own pipe; a run that ends early
leaves the versions it did not reach without a verdict, never with a good one. A passing version is plausible, no
more: whoever takes it runs all tests again in a fresh process (`confirm`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vortex.agent.confinement import Walls
from vortex.agent.repair.languages.language import Change
from vortex.agent.repair.naming import is_test_file
from vortex.agent.working_copy import WorkingCopy
from vortex.errors import AgentStopped
from vortex.sandbox import Completed

PROGRAM = Path(__file__).with_name("judge_process.py")
NODE_PROGRAM = Path(__file__).with_name("node_judge_process.py")
SLOWEST_SHARE = 12.0  # a version's test may take this many times what it took before, ...
WAITING_SHARE = 4.0  # as in judge_process.py
LEAST_LIMIT_S = 0.15  # ... but at least this
PLUGIN_WORDS = ("asyncio", "anyio", "hypothesis", "mocker", "pytest_", "addopts", "benchmark", "django", "faker")
MAX_DEPTH = 4  # of folders in which something may name one
START_S = 20.0  # for interpreter, collection and walls, on top of the tests' own time


@dataclass(frozen=True, slots=True)
class TestRun:
    """One test, once. lines: of the copy's files, in the order in which they were first met."""

    name: str
    outcome: str  # passed | failed | skipped
    message: str = ""
    hung: bool = False
    seconds: float = 0.0
    lines: dict[str, tuple[int, ...]] = field(default_factory=dict)

    __test__ = False


@dataclass(frozen=True, slots=True)
class Observation:
    """All tests of a copy. problem: what kept tests from being found, if anything."""

    framework: str
    tests: dict[str, TestRun]
    modules: tuple[str, ...] = ()
    problem: str = ""
    ended: bool = True  # False: the run itself was cut short

    @property
    def failing(self) -> list[str]:
        return [name for name, test in self.tests.items() if test.outcome == "failed"]

    @property
    def passing(self) -> list[str]:
        return [name for name, test in self.tests.items() if test.outcome == "passed"]


@dataclass(frozen=True, slots=True)
class Verdict:
    index: int
    passed: bool
    failed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeOptions:
    """python: the interpreter that runs the tests. framework: "pytest", "unittest", or what is there."""

    python: str = sys.executable
    test_limit_s: float = 5.0
    observe_limit_s: float = 120.0
    framework: str | None = None


class Judge:
    def __init__(self, copy: WorkingCopy, walls: Walls, options: JudgeOptions | None = None) -> None:
        self._copy, self._walls = copy, walls
        self.options = options or JudgeOptions()
        self._is_javascript = _is_javascript(copy.files)
        self._plugins = any(_names_a_plugin(copy.read(name) or "") for name in copy.files if _configures_tests(name))

    def observe(self, tests: Sequence[str] = (), *, traced: Sequence[bool] = (False,)) -> list[Observation]:
        """Run all tests, or those of the named ones' files, once for each of `traced`, with or without a trace. Raises
        AgentStopped where no test can be run at all."""
        job = {"do": "observe", "tests": list(tests), "traced": list(traced), "test_limit_s": self.options.test_limit_s}
        limit_s = self.options.observe_limit_s
        lines, completed = self._run({**job, "limit_s": limit_s}, limit_s * len(traced))
        observed = [_observation([line for line in lines if line.get("run") == run]) for run in range(len(traced))]
        if not self._plugins and any(_misses_a_plugin(one) for one in observed):
            self._plugins = True
            return self.observe(tests, traced=traced)
        if not all(one.framework for one in observed):
            said = [*completed.stderr.strip().splitlines(), completed.reason or f"exit code {completed.exit_code}"]
            raise AgentStopped(f"the tests could not be started by {self.options.python}: {said[0]}")
        return observed

    def try_changes(
        self, path: str, changes: Sequence[Change], tests: Sequence[str], before: Observation, limit_s: float
    ) -> list[Verdict]:
        """Verdicts in order, one per change that was reached within `limit_s`. `tests`: those that matter, in order."""
        if not changes or not tests:
            return []
        limits = {name: self._limit_of(before.tests.get(name), before) for name in tests}
        job = {
            "do": "judge",
            "framework": before.framework,
            "tests": list(tests),
            "test_limits_s": limits,
            "test_limit_s": self.options.test_limit_s,
            "version_limit_s": WAITING_SHARE * sum(limits.values()),
            "limit_s": limit_s,
            "preload": list(before.modules),
            "versions": [{"file": path, "text": change.text, "swaps": change.kind != "rule"} for change in changes],
        }
        lines, _ = self._run(job, limit_s)
        verdicts = {
            line["index"]: Verdict(line["index"], bool(line["passed"]), line["failed"])
            for line in lines
            if line["kind"] == "version"
        }
        return [verdicts[index] for index in sorted(verdicts)]

    def confirm(self, path: str, text: str, tests: Sequence[str] = ()) -> Observation:
        """All tests in a fresh process, with `text` in the file; the file is put back."""
        old = (self._copy.folder / path).read_bytes()
        try:
            self._copy.write(path, text)
            return self.observe(tests)[0]
        finally:
            (self._copy.folder / path).write_bytes(old)

    def _limit_of(self, test: TestRun | None, before: Observation) -> float:
        seconds = [run.seconds for run in before.tests.values() if not run.hung]
        usual = sorted(seconds)[len(seconds) // 2] if seconds else 0.0
        known = usual if test is None or test.hung else test.seconds
        return min(max(SLOWEST_SHARE * known, LEAST_LIMIT_S), 2 * self.options.test_limit_s)

    def _run(self, job: dict[str, object], limit_s: float) -> tuple[list[dict[str, Any]], Completed]:
        paths = [name for name in ("src", "lib") if (self._copy.folder / name).is_dir()]
        output = bytearray()

        def keep(stream: str, block: bytes) -> None:
            if stream == "stdout":
                output.extend(block)

        program = NODE_PROGRAM if self._is_javascript else PROGRAM
        command = [self.options.python, "-B", "-c", program.read_text(encoding="utf-8"), "-"]
        stdin = json.dumps({**job, "paths": paths, "plugins": self._plugins}).encode()
        completed = self._walls.run(command, self._copy.folder, time_s=limit_s + START_S, stdin=stdin, on_output=keep)
        return list(_lines(bytes(output))), completed


def _is_javascript(files: Sequence[str]) -> bool:
    """It has tests of Node's runner and none of Python's."""
    tests = [name for name in files if is_test_file(name)]
    return any(name.endswith((".js", ".mjs", ".cjs")) for name in tests) and not any(
        name.endswith(".py") for name in tests
    )


def _observation(lines: Sequence[dict[str, Any]]) -> Observation:
    found: dict[str, TestRun] = {}
    framework, problem, ended = "", "", False
    modules: tuple[str, ...] = ()
    for line in lines:
        if line["kind"] == "test":
            where = {name: tuple(numbers) for name, numbers in line["lines"].items()}
            found[line["test"]] = TestRun(
                line["test"], line["outcome"], line["message"], line["hung"], line["seconds"], where
            )
        elif line["kind"] == "framework":
            framework = line["name"]
        elif line["kind"] == "modules":
            modules = tuple(line["names"])
        elif line["kind"] == "collected":
            problem, ended = line["problem"], True
    return Observation(framework, found, modules, problem, ended)


def _configures_tests(name: str) -> bool:
    return name.endswith((".py", ".toml", ".ini", ".cfg")) and name.count("/") < MAX_DEPTH


def _names_a_plugin(text: str) -> bool:
    """pytest's plugins take a second to read, so they are read only where something names one."""
    return any(word in text for word in PLUGIN_WORDS)


def _misses_a_plugin(observed: Observation) -> bool:
    texts = [observed.problem, *(run.message for run in observed.tests.values())]
    named = any(
        "fixture '" in text or "unrecognized arguments" in text or "async def functions" in text for text in texts
    )
    return named or not observed.framework or (not observed.tests and not observed.problem)


def _lines(output: bytes) -> Iterator[dict[str, Any]]:
    for line in output.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue  # the last line of a run that was cut short
        if isinstance(value, dict) and "kind" in value:
            yield value
