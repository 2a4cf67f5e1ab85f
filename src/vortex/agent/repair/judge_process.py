"""The program that runs a repository's tests inside the sandbox, once, or for hundreds of changed versions of a file.

Started as `python judge_process.py JOB` with a copy of the repository as working folder; reads one JSON job, prints
JSON lines. Standard library alone, so that it runs under any interpreter and never meets the code it judges: it is
read as a file, not imported as part of a package. Tests are pytest's where it is installed, else unittest's.

How hundreds of versions are judged in seconds: one process collects the tests, then forks for each version; the child
puts the changed function's code into the function that stands (`swap`) and runs the tests that matter, failing ones
first, until one fails. A change that reaches beyond function bodies is run from a fresh collection instead.
Promises: each test has a time limit, each version another; a version never sees what another one did to memory.
Does not do: confine anything (the sandbox does), or have the last word: whoever takes a version runs all tests anew.
"""

from __future__ import annotations

import ast
import gc
import importlib
import importlib.machinery
import json
import os
import resource
import select
import signal
import sys
import time
import types
import unittest
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

GRACE_S = 2.0  # behind the tests' own limits, before a version is killed
WAITING_SHARE = 4.0  # a test may wait this many times as long as it may compute
MAX_MESSAGE_CHARS = 1500
MAX_LINES_KEPT = 20_000  # of one test's trace
EXTRA_MEMORY_BYTES = 1 << 30
Test = Any  # a pytest item, or a unittest case


class OutOfTime(BaseException):
    """A test ran beyond its limit. Not an Exception, so that a test's own handlers let it pass."""


def main() -> None:
    job = json.load(sys.stdin) if sys.argv[1] == "-" else json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.dont_write_bytecode = True
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    quiet = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(quiet, descriptor)
    root = Path.cwd()
    sys.path[0] = str(root)  # as `python -m` has it
    for folder in job.get("paths", []):
        sys.path.insert(0, str(root / folder))
        sys.meta_path.insert(0, CopyFirst(root / folder))
    if not job.get("plugins", True):
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # reading them takes longer than most tests
    suite = Suite(job, out, root)
    if job["do"] == "observe":
        for number, traced in enumerate(job["traced"]):
            suite.in_child(partial(suite.observe, number, traced), job["limit_s"])
    else:
        suite.judge()
    out.flush()


class CopyFirst:
    """Packages that lie in the copy are imported from there, whatever an installation says of them; what the copy lacks
    (a compiled module) may still come from the installation."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if path is None:
            return importlib.machinery.PathFinder.find_spec(name, [self.folder])
        own = [place for place in path if str(place).startswith(self.folder)]
        return importlib.machinery.PathFinder.find_spec(name, own) if own else None


class Suite:
    """A repository's tests and what is to be done with them; `framework` finds and runs them."""

    def __init__(self, job: dict[str, Any], out: Any, root: Path) -> None:
        self.job, self.out, self.root = job, out, root
        self.framework: Pytest | Unittest = Unittest() if job.get("framework") == "unittest" else framework()
        for name in job.get("preload", []):  # what every version would import again
            try:
                importlib.import_module(name)
            except Exception:  # noqa: S112  # it is only for speed
                continue

    # --- one careful run ---------------------------------------------------------------------------------------------

    def observe(self, number: int, traced: bool) -> None:
        """Run every test, maybe under a trace; a line per test."""
        known = set(sys.modules)
        self.say(kind="framework", run=number, name=self.framework.name)

        def each(tests: list[Test]) -> None:
            for test in tests:
                trace = Trace(self.root) if traced else None
                outcome = self.framework.run(test, self.job["test_limit_s"], trace, tests)
                self.say(kind="test", run=number, **outcome, lines=trace.lines() if trace else {})
            outside = {
                name
                for name, module in list(sys.modules.items())
                if name not in known and "." not in name and self._is_outside(module)
            }
            self.say(kind="modules", run=number, names=sorted(outside))

        problem = self.framework.collected(self.job.get("tests", []), each, rich=True)
        self.say(kind="collected", run=number, problem=problem)

    def _is_outside(self, module: object) -> bool:
        file = getattr(module, "__file__", None)
        return bool(file) and not str(file).startswith(str(self.root))

    # --- many versions -----------------------------------------------------------------------------------------------

    def judge(self) -> None:
        """Versions whose change lies inside function bodies first, all from one collection; then the others."""
        versions = list(enumerate(self.job["versions"]))
        plain = [(index, version) for index, version in versions if version.get("swaps")]
        rest = [(index, version) for index, version in versions if not version.get("swaps")]
        started = time.monotonic()

        def left_s() -> float:
            return float(self.job["limit_s"]) - (time.monotonic() - started)

        if plain:
            self.in_child(lambda: self._judge_from_one_collection(plain, left_s), self.job["limit_s"])
        for index, version in rest:
            if left_s() <= 0:
                break
            self._judge_fresh(index, version, left_s())

    def _judge_from_one_collection(self, versions: list[tuple[int, Any]], left_s: Callable[[], float]) -> None:
        def each(tests: list[Test]) -> None:
            ordered = in_order(tests, self.job["tests"], self.framework.name_of)
            swaps = {name: self._swap(name) for name in {version["file"] for _, version in versions}}
            gc.collect()
            gc.freeze()  # what stands is not looked at again, so forks share its memory; `Swap` looked before
            gc.disable()
            for index, version in versions:
                if left_s() <= 0:
                    return
                try:
                    known = swaps[version["file"]]
                    changes = known.to(version["text"]) if known else []
                except (SyntaxError, ValueError):
                    self.say(kind="version", index=index, passed=False, failed="it does not compile")
                    continue
                if not changes:
                    self._judge_fresh(index, version, left_s())
                    continue
                self._judge_swapped(index, changes, ordered, tests, left_s())

        problem = self.framework.collected(self.job["tests"], each)
        if problem:
            self.say(kind="problem", text=problem)

    def _swap(self, name: str) -> Swap | None:
        """None where the file is no program as it stands."""
        path = self.root / name
        try:
            return Swap(str(path), path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError):
            return None

    def _judge_swapped(
        self, index: int, changes: list[Any], ordered: list[Test], tests: list[Test], left: float
    ) -> None:
        def attempt() -> None:
            for function, code in changes:
                function.__code__ = code
            self._run_until_failure(index, ordered, tests)

        if not self.in_child(attempt, min(self.job["version_limit_s"] + GRACE_S, left + GRACE_S)):
            self.say(kind="version", index=index, passed=False, failed="it did not end")

    def _judge_fresh(self, index: int, version: dict[str, Any], left: float) -> None:
        path = self.root / version["file"]
        old = path.read_bytes()

        def attempt() -> None:
            def each(tests: list[Test]) -> None:
                self._run_until_failure(index, in_order(tests, self.job["tests"], self.framework.name_of), tests)

            problem = self.framework.collected(self.job["tests"], each)
            if problem:
                self.say(kind="version", index=index, passed=False, failed=problem)

        try:
            path.write_text(version["text"], encoding="utf-8")
            if not self.in_child(attempt, min(self.job["version_limit_s"] + 3 * GRACE_S, left + GRACE_S)):
                self.say(kind="version", index=index, passed=False, failed="it did not end")
        finally:
            path.write_bytes(old)

    def _run_until_failure(self, index: int, ordered: list[Test], tests: list[Test]) -> None:
        """A version that finds fewer tests than were asked for has not passed."""
        started = time.monotonic()
        missing = len(set(self.job["tests"])) - len(ordered)
        failed = f"{missing} tests are gone" if missing else ""
        for test in ordered:
            if failed:
                break
            outcome = self.framework.run(test, self.limit_of(test), None, tests)
            if outcome["outcome"] != "passed":
                failed = outcome["test"]
        self.say(kind="version", index=index, passed=not failed, failed=failed, seconds=time.monotonic() - started)

    def limit_of(self, test: Test) -> float:
        limits = self.job.get("test_limits_s", {})
        return float(limits.get(self.framework.name_of(test), self.job["test_limit_s"]))

    # --- processes ---------------------------------------------------------------------------------------------------

    def say(self, **line: Any) -> None:
        self.out.write(json.dumps(line) + "\n")
        self.out.flush()

    def in_child(self, work: Callable[[], None], limit_s: float) -> bool:
        """Do it in a fork; false where it did not come to its end in time (the child and its children are killed)."""
        self.out.flush()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.close(reader)
                os.setpgid(0, 0)
                limit_memory()
                work()
                os.write(writer, b".")
                status = 0
            finally:
                os._exit(status)
        os.close(writer)
        ready, _, _ = select.select([reader], [], [], max(limit_s, 0.0))
        ended = bool(ready) and os.read(reader, 1) == b"."
        os.close(reader)
        for kill in (os.killpg, os.kill):
            try:
                kill(child, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue  # it has ended, or has not yet a group of its own
        os.waitpid(child, 0)
        return ended


# --- frameworks ------------------------------------------------------------------------------------------------------


def framework() -> Pytest | Unittest:
    try:
        import pytest  # noqa: F401
    except ImportError:
        return Unittest()
    return Pytest()


class Pytest:
    """Collection by pytest itself; its own loop over the tests is replaced by ours."""

    name = "pytest"
    rich = False

    def name_of(self, test: Test) -> str:
        return str(test.nodeid)

    def collected(self, names: list[str], then: Callable[[list[Test]], None], rich: bool = False) -> str:
        """Collect what `names` say (all where there are none) and hand it to `then`; what went wrong, or nothing."""
        import pytest

        self.rich = rich
        problems: list[str] = []

        class Loop:
            def pytest_runtestloop(self, session: Any) -> bool:
                then(list(session.items))
                return True

            def pytest_collectreport(self, report: Any) -> None:
                if report.failed:
                    problems.append(str(report.longrepr)[-MAX_MESSAGE_CHARS:])

            def pytest_internalerror(self, excrepr: Any) -> None:
                problems.append(str(excrepr)[-MAX_MESSAGE_CHARS:])

        files = sorted({name.partition("::")[0] for name in names})
        plain = [] if rich else ["--assert=plain"]
        options = ["-q", "-p", "no:cacheprovider", "--capture=no", "--continue-on-collection-errors"]
        try:
            pytest.main([*options, *plain, *files], plugins=[Loop()])
        except OutOfTime:
            problems.append("a test ran beyond its limit while it was put away")
        return problems[0] if problems else ""

    def run(self, test: Test, limit_s: float, trace: Trace | None, tests: list[Test]) -> dict[str, Any]:
        from _pytest.runner import runtestprotocol

        started = time.monotonic()
        original = test.runtest
        test.runtest = lambda: limited(original, limit_s, trace)
        if not self.rich:  # a message that nobody reads takes longer than the test
            test.repr_failure = lambda excinfo: f"{excinfo.typename}: {excinfo.value}"[-MAX_MESSAGE_CHARS:]
        try:
            reports = runtestprotocol(test, nextitem=None, log=False)
        finally:
            test.runtest = original
        bad = next((report for report in reports if report.failed), None)
        skipped = any(report.skipped for report in reports)
        outcome = "failed" if bad else "skipped" if skipped else "passed"
        text = str(bad.longrepr)[-MAX_MESSAGE_CHARS:] if bad else ""
        hung = "OutOfTime" in text
        seconds = time.monotonic() - started
        return {"test": test.nodeid, "outcome": outcome, "message": text, "hung": hung, "seconds": seconds}


class Unittest:
    name = "unittest"

    def name_of(self, test: Test) -> str:
        return str(test.id())

    def collected(self, names: list[str], then: Callable[[list[Test]], None], rich: bool = False) -> str:
        loader = unittest.TestLoader()
        tests = list(flat(loader.discover(".", top_level_dir=".")))
        if Path("tests").is_dir() and not (Path("tests") / "__init__.py").exists():
            tests += flat(unittest.TestLoader().discover("tests"))
        problem = next((str(error)[-MAX_MESSAGE_CHARS:] for error in loader.errors), "")
        then([test for test in tests if not names or test.id() in set(names)])
        return problem

    def run(self, test: Test, limit_s: float, trace: Trace | None, tests: list[Test]) -> dict[str, Any]:
        result = unittest.TestResult()
        started = time.monotonic()
        try:
            limited(lambda: test.run(result), limit_s, trace)
        except OutOfTime:
            result.errors.append((test, "OutOfTime: the test ran beyond its limit"))
        bad = [*result.failures, *result.errors]
        outcome = "failed" if bad else "skipped" if result.skipped else "passed"
        text = bad[0][1][-MAX_MESSAGE_CHARS:] if bad else ""
        seconds = time.monotonic() - started
        return {"test": test.id(), "outcome": outcome, "message": text, "hung": "OutOfTime" in text, "seconds": seconds}


def flat(suite: Any) -> Iterator[Test]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flat(test)
        else:
            yield test


def in_order(tests: list[Test], names: list[str], name_of: Callable[[Test], str]) -> list[Test]:
    """The named tests, in the order of their names."""
    by_name = {name_of(test): test for test in tests}
    return [by_name[name] for name in dict.fromkeys(names) if name in by_name]


# --- limits, trace, swap ---------------------------------------------------------------------------------------------


def limited(work: Callable[[], Any], limit_s: float, trace: Trace | None) -> None:
    """Raises OutOfTime inside `work` when its time is over, and again and again until it gives in."""

    def over(_signal: int, _frame: object) -> None:
        raise OutOfTime("the test ran beyond its limit")

    alarms = {signal.ITIMER_VIRTUAL: signal.SIGVTALRM, signal.ITIMER_REAL: signal.SIGALRM}
    previous = {alarm: signal.signal(alarm, over) for alarm in alarms.values()}
    for timer in alarms:  # processor time, and for a test that waits, time
        signal.setitimer(timer, limit_s if timer == signal.ITIMER_VIRTUAL else WAITING_SHARE * limit_s, 0.1)
    try:
        if trace is not None:
            sys.settrace(trace.enter)
        work()
    finally:
        sys.settrace(None)
        for timer, alarm in alarms.items():
            signal.setitimer(timer, 0)
            signal.signal(alarm, previous[alarm])


def limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 1 << 20
    most = pages * resource.getpagesize() + EXTRA_MEMORY_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


class Trace:
    """Which lines of the repository ran, and how deep in the calls each was first met."""

    def __init__(self, root: Path) -> None:
        self.prefix = str(root) + os.sep
        self.seen: dict[tuple[str, int], None] = {}

    def enter(self, frame: types.FrameType, event: str, _argument: object) -> Any:
        return self.line if frame.f_code.co_filename.startswith(self.prefix) else None

    def line(self, frame: types.FrameType, event: str, _argument: object) -> Any:
        if event == "line" and len(self.seen) < MAX_LINES_KEPT:
            self.seen[(frame.f_code.co_filename, frame.f_lineno)] = None
        return self.line

    def lines(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for file, line in self.seen:
            found.setdefault(file[len(self.prefix) :], []).append(line)
        return found


class Swap:
    """Functions of one file in memory, to be given the code of another version of the file."""

    def __init__(self, path: str, old: str) -> None:
        self.path = path
        self.outline = outline(old)
        self.codes = dict(functions_of(compile(old, path, "exec")))
        self.alive: dict[str, list[types.FunctionType]] = {key: [] for key in self.codes}
        by_place = {(code.co_name, code.co_firstlineno): key for key, code in self.codes.items()}
        for thing in gc.get_objects():
            if isinstance(thing, types.FunctionType) and thing.__code__.co_filename == path:
                key = by_place.get((thing.__code__.co_name, thing.__code__.co_firstlineno))
                if key is not None:
                    self.alive[key].append(thing)

    def to(self, new: str) -> list[tuple[types.FunctionType, types.CodeType]]:
        """Functions whose code changes, with their new code; none where the change reaches beyond function bodies, or
        to a function that cannot be found. Raises SyntaxError, ValueError."""
        codes = dict(functions_of(compile(new, self.path, "exec")))
        if codes.keys() != self.codes.keys() or outline(new) != self.outline:
            return []
        found = []
        for key, code in codes.items():
            if code == self.codes[key]:
                continue
            if not self.alive[key] or any(one.__code__.co_freevars != code.co_freevars for one in self.alive[key]):
                return []
            found += [(one, code) for one in self.alive[key]]
        return found


def functions_of(code: types.CodeType, outer: str = "") -> Iterator[tuple[str, types.CodeType]]:
    """Code of functions and methods by where they stand. What stands inside a function belongs to it."""
    counts: dict[str, int] = {}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType) and not constant.co_name.startswith("<"):
            number = counts[constant.co_name] = counts.get(constant.co_name, 0) + 1
            key = f"{outer}.{constant.co_name}#{number}"
            if constant.co_flags & 0x02:  # it has local names: a function, else a class body
                yield key, constant
            else:
                yield from functions_of(constant, key)


def outline(text: str) -> str:
    """The program without the bodies of its functions: what a swap cannot change."""
    tree = ast.parse(text)

    class Bare(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
            node.body = [ast.Pass()]
            return node

        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AsyncFunctionDef:
            node.body = [ast.Pass()]
            return node

    return ast.dump(Bare().visit(tree))


if __name__ == "__main__":
    main()
