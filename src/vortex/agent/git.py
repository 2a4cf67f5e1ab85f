"""git as the agent uses it: no hooks, no pager, no prompts, no settings of the machine; a failure is one line.

A repository's own configuration can name programs (hooks, file monitors, filters by attributes); those that can be
switched off from outside are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from vortex.errors import AgentStopped, MissingCapability

QUIET = (
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "commit.gpgSign=false",
    "-c", "tag.gpgSign=false", "-c", "core.pager=cat", "-c", "protocol.allow=never", "-c", "gc.auto=0",
)  # fmt: skip
IDENTITY = ("-c", "user.name=vortex self-patch", "-c", "user.email=self-patch@localhost")
LIMIT_S = 60.0


def git(folder: Path, *arguments: str, stdin: str | None = None) -> str:
    """What the command prints. Raises AgentStopped with git's own first line, MissingCapability without git."""
    done = _run(folder, arguments, stdin)
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise AgentStopped(f"git {arguments[0]}: {lines[0] if lines else 'failed'}")
    return done.stdout


def succeeds(folder: Path, *arguments: str, stdin: str | None = None) -> bool:
    return _run(folder, arguments, stdin).returncode == 0


def top_of(folder: Path) -> Path:
    """The repository's root. Raises AgentStopped outside of one."""
    if not succeeds(folder, "rev-parse", "--show-toplevel"):
        raise AgentStopped(f"{folder} is in no git repository; patches need one (`git init`, then commit)")
    if not succeeds(folder, "rev-parse", "--verify", "HEAD"):
        raise AgentStopped("the repository has no commit yet; a patch needs a base (`git commit`)")
    return Path(git(folder, "rev-parse", "--show-toplevel").strip())


def _run(folder: Path, arguments: Sequence[str], stdin: str | None) -> subprocess.CompletedProcess[str]:
    if not shutil.which("git"):
        raise MissingCapability("git is not installed; patches of the program itself need it")
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    environment = {**kept, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
    return subprocess.run(
        ["git", *QUIET, *IDENTITY, *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=LIMIT_S,
    )
