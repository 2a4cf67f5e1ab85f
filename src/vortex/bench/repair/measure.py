"""How many programs a repair puts right, at first rank, and what each costs; against other orders of the same finds."""

from __future__ import annotations

import math
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vortex.bench.measurement import CheckFailed
from vortex.bench.repair.programs import Program
from vortex.bench.repair.strict import are_right
from vortex.bench.report import Report

MAX_JUDGED = 80  # of one program's finds


@dataclass(frozen=True, slots=True)
class Find:
    """A version that passes the tests. gain: what ranked it, if anything; size: changed characters."""

    text: str
    gain: float | None
    size: int
    kind: str


Repairer = Callable[[Path], Sequence[Find]]
"""Repairs what lies in a folder; its finds in the order in which they were found. Nothing found: none."""


@dataclass(frozen=True, slots=True)
class Outcome:
    program: str
    finds: int
    right: int
    first: dict[str, float]  # by order: 1 where the first is right; for random, the chance of it
    kind: str
    seconds: float
    processor_s: float


class RepairMeasurement:
    """One set of programs with one way to repair."""

    def __init__(
        self,
        name: str,
        programs: Sequence[Program],
        repairer: Repairer,
        *,
        limit_s: float = math.inf,
        tell: Callable[[str], None] = lambda _: None,
        on_part: Callable[[Report], None] = lambda _: None,
    ) -> None:
        self._name, self._programs, self._repairer = name, programs, repairer
        self._limit_s, self._tell, self._on_part = limit_s, tell, on_part

    def check(self) -> None:
        """That the judge tells a right version from a faulty one is checked program by program, before its repair."""

    def _check(self, program: Program) -> None:
        if program.calls and are_right(program, [program.right, program.files[program.path]]) != [True, False]:
            raise CheckFailed(f"{program.name}: the judge cannot tell the right version from the faulty one")

    def measure(self) -> Report:
        outcomes: list[Outcome] = []
        began_s = time.monotonic()
        for program in self._programs:
            if outcomes and time.monotonic() - began_s > self._limit_s:
                break
            self._check(program)
            outcomes.append(self._one(program))
            last = outcomes[-1]
            self._tell(f"{program.name}: {last.finds} plausible, {last.right} right, {last.seconds:.1f} s")
            self._on_part(report_of(self._name, outcomes))
        return report_of(self._name, outcomes)

    def _one(self, program: Program) -> Outcome:
        with tempfile.TemporaryDirectory(prefix="vortex-bench-repair-") as folder:
            program.write(Path(folder))
            began_s, began_cpu_s = time.perf_counter(), processor_s()
            finds = list(self._repairer(Path(folder)))
            seconds, cpu_s = time.perf_counter() - began_s, processor_s() - began_cpu_s
        right = are_right(program, [find.text for find in finds[:MAX_JUDGED]])
        right += [False] * (len(finds) - len(right))
        by_gain = sorted(range(len(finds)), key=lambda i: (-(finds[i].gain or 0.0), finds[i].size))
        by_size = sorted(range(len(finds)), key=lambda i: finds[i].size)
        first = {
            "likelihood": float(right[by_gain[0]]) if finds else 0.0,
            "size": float(right[by_size[0]]) if finds else 0.0,
            "found": float(right[0]) if finds else 0.0,
            "random": sum(right) / len(right) if finds else 0.0,
        }
        kind = finds[by_gain[0]].kind if finds else ""
        return Outcome(program.name, len(finds), sum(right), first, kind, seconds, cpu_s)


def processor_s() -> float:
    """Of this process and of all that it started and waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def report_of(name: str, outcomes: Sequence[Outcome]) -> Report:
    number = len(outcomes)
    plausible = sum(one.finds > 0 for one in outcomes)
    solvable = sum(one.right > 0 for one in outcomes)
    firsts = {order: sum(one.first[order] for one in outcomes) for order in ("likelihood", "size", "found", "random")}
    seconds = sorted(one.seconds for one in outcomes)
    cpu_s = sorted(one.processor_s for one in outcomes)
    rows = [
        (one.program, str(one.finds), str(one.right), "yes" if one.first["likelihood"] else "", one.kind,
         f"{one.seconds:.1f}", f"{one.processor_s:.1f}")
        for one in outcomes
    ]  # fmt: skip
    middle = number // 2
    figures = {
        "programs": number,
        "plausible": plausible,
        "right_at_first_rank": firsts["likelihood"],
        "right_somewhere": solvable,
        "first_by_size": firsts["size"],
        "first_unranked": firsts["found"],
        "first_by_chance": round(firsts["random"], 2),
        "median_seconds": round(seconds[middle], 2) if seconds else None,
        "mean_seconds": round(sum(seconds) / number, 2) if seconds else None,
        "median_processor_s": round(cpu_s[middle], 2) if cpu_s else None,
        "mean_processor_s": round(sum(cpu_s) / number, 2) if cpu_s else None,
        "not_right": [one.program for one in outcomes if not one.first["likelihood"]],
        "found_by": {
            kind: sum(one.kind == kind for one in outcomes) for kind in {one.kind for one in outcomes if one.kind}
        },
    }
    rows.append(
        ("all", f"{plausible} of {number}", f"{solvable} of {number}", f"{firsts['likelihood']:.0f}",
         f"size {firsts['size']:.0f}, found {firsts['found']:.0f}, chance {firsts['random']:.1f}",
         f"{figures['median_seconds']}", f"{figures['median_processor_s']}")
    )  # fmt: skip
    columns = ("program", "plausible", "right", "first is right", "by", "seconds", "processor s")
    return Report(name, f"Repairs: {name}", columns, rows, {"name": name, **figures})
