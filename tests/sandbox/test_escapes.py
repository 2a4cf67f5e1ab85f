"""Every attempt to get out, in every tier: held, or the tier refuses to run. Without walls the same attempt succeeds.

The quick ones are one of each kind; the rest, the controls and the runs without a control group are `long`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vortex
from vortex.bench.sandbox.attempt import Attempt
from vortex.bench.sandbox.trial import ATTEMPTS, try_in_tier, try_without_walls

QUICK = {
    "symbolic link", "roots and folders of others in /proc", "change the mode of a file outside",
    "descriptors left open by the caller", "a program that runs as its owner", "TCP to this machine",
    "a pair that sends elsewhere", "kill a process", "a new user namespace", "a memory bomb", "threads without end",
    "a child that outlives its time", "the environment", "move the gates away and build new ones",
}  # fmt: skip


def marked(attempts: tuple[Attempt, ...]) -> list[object]:
    return [
        pytest.param(attempt, id=attempt.name, marks=() if attempt.name in QUICK else pytest.mark.long)
        for attempt in attempts
    ]


def test_there_are_at_least_forty_and_each_has_its_own_name() -> None:
    assert len({attempt.name for attempt in ATTEMPTS}) == len(ATTEMPTS) >= 40
    assert {attempt.name for attempt in ATTEMPTS} >= QUICK


@pytest.mark.parametrize("attempt", marked(ATTEMPTS))
def test_an_attempt_is_held(attempt: Attempt, tier: str) -> None:
    outcome = try_in_tier(attempt, tier)
    assert outcome.verdict in {"held", "refused"}, outcome.detail


@pytest.mark.long
@pytest.mark.parametrize("attempt", [a for a in ATTEMPTS if a.kind == "resources"], ids=lambda a: a.name)
def test_resources_are_held_without_a_control_group(attempt: Attempt, tier: str) -> None:
    outcome = try_in_tier(attempt, tier, control_group=False)
    assert outcome.verdict == "held", outcome.detail


@pytest.mark.long
@pytest.mark.parametrize("attempt", [a for a in ATTEMPTS if a.control], ids=lambda a: a.name)
def test_without_walls_the_attempt_succeeds(attempt: Attempt) -> None:
    assert try_without_walls(attempt)


@pytest.mark.root
def test_all_is_held_for_an_ordinary_user_too(tmp_path: Path) -> None:
    """Root drops to a user of no rights and runs everything again, with a Python that this user may read."""
    python = next((path for path in ("/usr/bin/python3", sys.executable) if _readable_by_all(Path(path))), None)
    if python is None:
        pytest.skip("no Python that an ordinary user may read")
    place = Path("/var/tmp", f"vortex-ordinary-{tmp_path.name}")
    source = Path(vortex.__file__).parent
    for name in ("__init__.py", "errors.py", "records", "sandbox", "bench/sandbox"):
        target = place / "vortex" / name
        if (source / name).is_dir():
            shutil.copytree(source / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / name, target)
    (place / "vortex" / "bench" / "__init__.py").write_text("")
    script = (
        "from vortex.bench.sandbox.trial import ATTEMPTS, try_in_tier\n"
        "from vortex.sandbox import probe_all\n"
        "tiers = [probed.tier for probed in probe_all() if probed.available]\n"
        "found = [(tier, try_in_tier(attempt, tier)) for tier in tiers for attempt in ATTEMPTS\n"
        "         if tier == tiers[0] or not attempt.long]\n"
        "print('tiers', *tiers)\n"
        "print(*[f'{tier} {o.attempt}: {o.detail}' for tier, o in found if o.verdict == 'escaped'], sep='\\n')\n"
    )
    (place / "home").mkdir()
    (place / "home" / "private").write_text("private")
    try:
        subprocess.run(["chmod", "-R", "a+rX", str(place)], check=True)
        done = subprocess.run(
            ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", python, "-c", script],
            env={"PYTHONPATH": str(place), "HOME": str(place / "home"), "PATH": "/usr/bin:/bin", "TMPDIR": "/var/tmp"},
            cwd="/", capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
    finally:
        shutil.rmtree(place)
    tiers, _, escaped = done.stdout.partition("\n")
    assert len(tiers.split()) > 1, done.stderr
    assert not escaped.strip()


def _readable_by_all(path: Path) -> bool:
    place = path.resolve()
    return place.exists() and all(part.stat().st_mode & 0o005 == 0o005 for part in (place, *place.parents))
