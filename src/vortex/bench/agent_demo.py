"""`vortex bench agent-demo`: the demonstration as a person starts it, once a seed: fixed or not, and how long.

Each is a process of its own, offline, from its start to its end. Fixed: its tests pass and its exit code says so.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vortex.bench.measurement import CheckFailed
from vortex.bench.report import Report
from vortex.machine.python_program import python_module

LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class AgentDemoMeasurement:
    """options: what is passed on to `vortex agent-demo` (`--model …`)."""

    seeds: Sequence[int]
    options: Sequence[str] = ()
    tell: Callable[[str], None] = lambda _: None

    def check(self) -> None:
        if not self.seeds:
            raise CheckFailed("no seed, no demonstration")

    def measure(self) -> Report:
        runs = []
        for seed in self.seeds:
            runs.append(self._run(seed))
            last = runs[-1]
            self.tell(f"seed {seed}: {'fixed' if last['passed'] else 'not fixed'} in {last['seconds']} s")
        rows = [
            (str(run["seed"]), "yes" if run["passed"] else "no", f"{run['seconds']:.1f}", str(run["found_by"]),
             str(run["candidates_tried"]))
            for run in runs
        ]  # fmt: skip
        fixed = sum(bool(run["passed"]) for run in runs)
        return Report(
            "agent-demo",
            f"{fixed} of {len(runs)} demonstrations fixed",
            ("seed", "fixed", "seconds", "found by", "candidates"),
            rows,
            {"fixed": fixed, "seeds": len(runs), "load_average": round(os.getloadavg()[0], 1), "runs": runs},
        )

    def _run(self, seed: int) -> dict[str, Any]:
        command = python_module("vortex", "agent-demo", "--seed", str(seed), "--json", *self.options)
        began = time.perf_counter()
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=LIMIT_S,
            env={**os.environ, "C3RNT2_NO_NET": "1"},
        )  # fmt: skip
        seconds = round(time.perf_counter() - began, 1)
        events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if not events:
            raise CheckFailed(f"vortex agent-demo said nothing: {done.stderr.strip()[-200:]}")
        evidence = events[-1].get("patch") or {}
        return {
            "seed": seed,
            "passed": done.returncode == 0 and bool(events[-1].get("passed")),
            "seconds": seconds,
            "found_by": evidence.get("found_by", ""),
            "candidates_tried": evidence.get("candidates_tried"),
            "plausible_found": evidence.get("plausible_found"),
        }
