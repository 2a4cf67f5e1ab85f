"""The strict judge: does a version answer as the right program does, also where no test asked?"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from vortex.bench.repair.inputs import further_inputs
from vortex.bench.repair.programs import Program
from vortex.sandbox import Policy, python_paths, run

PROGRAM = Path(__file__).with_name("compare_process.py")
NUM_INPUTS = 150
CALL_LIMIT_S = 0.1


def are_right(program: Program, versions: Sequence[str], seed: int = 0) -> list[bool]:
    """For each version of the program's file; all of them where there are no inputs to compare with (the tests, which
    they pass, are then all that is known). Runs in the sandbox."""
    if not program.calls or not versions:
        return [True] * len(versions)
    calls = further_inputs(program.calls, NUM_INPUTS + len(program.calls), seed)
    job = {
        "right": program.right,
        "versions": list(versions),
        "function": program.function,
        "calls": [repr(call) for call in calls],
        "limit_s": CALL_LIMIT_S,
    }
    with tempfile.TemporaryDirectory(prefix="vortex-strict-") as folder:
        program.write(Path(folder))
        policy = Policy(folder=Path(folder), read=python_paths(), time_s=120, memory_bytes=2 << 30)
        command = [sys.executable, "-B", "-c", PROGRAM.read_text(encoding="utf-8")]
        done = run(command, policy, stdin=json.dumps(job).encode())
    if not done.ok:
        return [False] * len(versions)
    verdicts: list[bool] = json.loads(done.stdout)["right"]
    return verdicts
