"""`vortex bench sandbox`: every attempt to get out in every tier that this machine has, and what start-up costs.

Promises that a tier is only timed after its probe attacked it and it held. Attempts that may run without walls are also
tried there; one that fails there as well proves nothing and is listed.
"""

from __future__ import annotations

import resource
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.bench.sandbox.attempt import Attempt
from vortex.bench.sandbox.trial import ATTEMPTS, Outcome, try_in_tier, try_without_walls
from vortex.sandbox import Policy, probe_all
from vortex.sandbox.running import run_in_tier

KINDS = ("files", "network", "processes", "resources", "leftovers", "secrets", "gates")
COMMAND = ["/bin/true"]
Start = tuple[float, float, float]  # medians in milliseconds: start to end, until the walls stand, of processor time


@dataclass
class SandboxMeasurement:
    """`runs`: starts that are timed in each tier, interleaved with plain starts of the same program."""

    runs: int = 15
    attempts: Sequence[Attempt] = ATTEMPTS
    controls: bool = True

    def check(self) -> None:
        self.tiers = [probed for probed in probe_all() if probed.available]
        if not self.tiers:
            raise CheckFailed("no tier of the sandbox holds on this machine, so there is nothing to measure")

    def measure(self) -> Report:
        names = [probed.tier for probed in self.tiers]
        outcomes = {name: [try_in_tier(attempt, name) for attempt in self.attempts] for name in names}
        controlled = [attempt for attempt in self.attempts if attempt.control] if self.controls else []
        powerless = [attempt.name for attempt in controlled if not try_without_walls(attempt)]
        starts = self._starts(names)
        rows = [[name, *_counts(outcomes[name]), *_milliseconds(starts[name])] for name in names]
        rows.append(["no walls", "-", "-", str(len(controlled) - len(powerless)), *_milliseconds(starts[""])])
        escaped = {name: [o.attempt for o in outcomes[name] if o.verdict == "escaped"] for name in names}
        return Report(
            "sandbox",
            f"{len(self.attempts)} attempts to get out; medians of {self.runs} starts, interleaved",
            ["tier", "held", "refused to run", "escaped", "start to end ms", "walls up ms", "processor ms"],
            rows,
            {
                "attempts": len(self.attempts),
                "held": {name: _count(outcomes[name], "held") for name in names},
                "refused": {name: _count(outcomes[name], "refused") for name in names},
                "escaped": escaped,
                "held_by_kind": {name: _by_kind(self.attempts, outcomes[name]) for name in names},
                "controls_that_succeed_without_walls": len(controlled) - len(powerless),
                "controls_that_do_not": powerless,
                "start_to_end_ms": {name or "no walls": round(value[0], 1) for name, value in starts.items()},
                "walls_up_ms": {name: round(starts[name][1], 1) for name in names},
                "processor_ms": {name or "no walls": round(value[2], 1) for name, value in starts.items()},
                "notes": {probed.tier: list(probed.notes) for probed in self.tiers},
                "cannot_give": {probed.tier: list(probed.lacks) for probed in self.tiers},
            },
            bars={name or "no walls": value[0] for name, value in starts.items()},
            bars_unit="ms from start to end of /bin/true",
        )

    def _starts(self, names: Sequence[str]) -> dict[str, Start]:
        """By tier, and of no walls under the empty name."""
        times: dict[str, list[Start]] = {name: [] for name in [*names, ""]}
        with tempfile.TemporaryDirectory(prefix="vortex-start-") as folder:
            policy = Policy(folder=Path(folder))
            for _ in range(self.runs):
                for name, found in times.items():
                    before, began = _processor_s(), time.perf_counter()
                    walls_ms = _start(name, policy)
                    total_ms = (time.perf_counter() - began) * 1000
                    found.append((total_ms, walls_ms, (_processor_s() - before) * 1000))
        return {
            name: (median(one[0] for one in found), median(one[1] for one in found), median(one[2] for one in found))
            for name, found in times.items()
        }


def _start(tier: str, policy: Policy) -> float:
    """Milliseconds until the walls stood, 0 without any."""
    if tier:
        return run_in_tier(tier, COMMAND, policy).setup_ms
    subprocess.run(COMMAND, check=True)
    return 0.0


def _processor_s() -> float:
    """Of this process and of all children that have ended: a figure that other programs' load hardly changes."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _milliseconds(start: Start) -> list[str]:
    total, walls, processor = start
    return [f"{total:.0f}", f"{walls:.0f}" if walls else "-", f"{processor:.0f}"]


def _count(outcomes: Sequence[Outcome], verdict: str) -> int:
    return sum(outcome.verdict == verdict for outcome in outcomes)


def _counts(outcomes: Sequence[Outcome]) -> list[str]:
    return [str(_count(outcomes, verdict)) for verdict in ("held", "refused", "escaped")]


def _by_kind(attempts: Sequence[Attempt], outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Held or refused, of all, by kind."""
    total = Counter(attempt.kind for attempt in attempts)
    pairs = zip(attempts, outcomes, strict=True)
    contained = Counter(attempt.kind for attempt, outcome in pairs if outcome.verdict != "escaped")
    return {kind: f"{contained[kind]} of {total[kind]}" for kind in KINDS if total[kind]}
