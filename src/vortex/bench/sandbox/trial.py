"""Run one attempt in one tier, or without walls, and say what became of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from vortex.bench.sandbox import files, network, processes, resources, secrets
from vortex.bench.sandbox.attempt import Attempt
from vortex.bench.sandbox.outside import Outside
from vortex.errors import SandboxRefused
from vortex.sandbox import Completed, Policy, python_paths
from vortex.sandbox.running import run_in_tier

ATTEMPTS: tuple[Attempt, ...] = (
    *files.ATTEMPTS,
    *network.ATTEMPTS,
    *processes.ATTEMPTS,
    *resources.ATTEMPTS,
    *secrets.ATTEMPTS,
)
PROTECTED = ("data", "config/settings.yaml", ".git/hooks")
HIDDEN = (Path("config/.env"),)


@dataclass(frozen=True)
class Outcome:
    """`verdict`: "held", "refused" (the tier would not run such a policy), or "escaped"."""

    attempt: str
    verdict: str
    detail: str
    completed: Completed | None


def try_in_tier(attempt: Attempt, tier: str, *, control_group: bool = True) -> Outcome:
    with Outside() as world:
        environment = os.environ.get("VORTEX_ATTEMPT_SECRET")
        os.environ["VORTEX_ATTEMPT_SECRET"] = world.token
        try:
            done = run_in_tier(tier, _command(attempt, world), _policy(attempt, world, control_group))
        except SandboxRefused as error:
            if attempt.kind != "gates":
                raise
            return Outcome(attempt.name, "refused", str(error), None)
        finally:
            _restore("VORTEX_ATTEMPT_SECRET", environment)
        harm = world.harm()
        wrong_end = attempt.ends and done.reason and done.reason not in attempt.ends
        if "ESCAPED" in done.stdout or harm or wrong_end:
            detail = "; ".join([*harm, done.stdout.strip()[-200:], *([f"ended by {done.reason}"] if wrong_end else [])])
            return Outcome(attempt.name, "escaped", detail, done)
        return Outcome(attempt.name, "held", (done.reason or done.stdout.strip())[-120:], done)


def try_without_walls(attempt: Attempt) -> bool:
    """True when the attempt succeeds where nothing holds it; only for attempts that are safe there."""
    assert attempt.control, f"{attempt.name} must not run without walls"
    with Outside() as world:
        done = subprocess.run(
            _command(attempt, world), cwd=world.work, pass_fds=(world.inherited,), capture_output=True, text=True,
            timeout=30, check=False, env={**os.environ, "VORTEX_ATTEMPT_SECRET": world.token},
        )  # fmt: skip
        return "ESCAPED" in done.stdout or bool(world.harm())


def _command(attempt: Attempt, world: Outside) -> list[str]:
    return [sys.executable, "-I", "-S", "-B", "-c", attempt.program(), json.dumps(world.addresses())]


def _policy(attempt: Attempt, world: Outside, control_group: bool) -> Policy:
    gates = attempt.kind == "gates"
    policy = Policy(
        folder=world.work,
        read=python_paths(),
        protect=tuple(world.work / path for path in PROTECTED) if gates else (),
        hide=tuple(world.work / path for path in HIDDEN) if gates else (),
        control_group=control_group,
        time_s=10.0,
    )
    return replace(policy, **attempt.policy)


def _restore(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
