"""Which walls this machine can build, found by building them.

A probe runs a small program in each tier that tries to read, write and connect outside, and to make new namespaces; the
tier counts as there only when every attempt failed. Results are kept for the life of the process. `run` takes the best
tier that is there, or the one required, or refuses.
"""

from __future__ import annotations

import socket
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vortex.errors import ConfigError, SandboxRefused
from vortex.sandbox.launch.plan import TIERS
from vortex.sandbox.policy import Policy, python_paths
from vortex.sandbox.running import Completed, OnOutput, run_in_tier

LACKS = {
    "namespaces": (),
    "bubblewrap": (),
    "landlock": (
        "names, sizes and dates of files outside can be seen (not their content)",
        "changes of mode, owner, dates and attributes are answered as done and not done",
        "no sockets at all, no /proc, no /dev/shm: multiprocessing locks do not work",
        "no folder can be protected or hidden beneath a writable one",
    ),
}
PROBE = """
import ctypes, os, socket, sys
canary, outside, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
def fails(step):
    try:
        step()
    except OSError:
        return True
    return False
def connect():
    with socket.socket() as client:
        client.settimeout(2)
        client.connect(("127.0.0.1", port))
def unshare():
    if ctypes.CDLL(None, use_errno=True).unshare(0x10000000) < 0:
        raise OSError
held = {
    "reads outside": fails(lambda: open(canary).read()),
    "connects": fails(connect),
    "makes namespaces": fails(unshare),
    "sees the environment": "VORTEX_SANDBOX_PROBE" not in os.environ,
}
fails(lambda: open(outside, "w").write("x"))  # a private /tmp may take it; what counts is whether it arrives
open("inside", "w").write("x")
print(";".join(name for name, good in held.items() if not good) or "held")
"""
_lock = threading.Lock()
_found: dict[str, Probed] = {}


@dataclass(frozen=True)
class Probed:
    """One tier on this machine: whether it holds, why not, what it cannot give, and how long start-up took."""

    tier: str
    available: bool
    why_not: str
    lacks: tuple[str, ...]
    notes: tuple[str, ...]
    setup_ms: float


def probe(tier: str) -> Probed:
    """Build the tier once and attack it; the answer is kept."""
    if tier not in TIERS:
        raise ConfigError(f"sandbox: no tier {tier!r}; choose one of {', '.join(TIERS)}")
    with _lock:
        if tier not in _found:
            _found[tier] = _try(tier)
        return _found[tier]


def probe_all() -> list[Probed]:
    return [probe(tier) for tier in TIERS]


def run(
    command: Sequence[str],
    policy: Policy,
    *,
    require: str | None = None,
    stdin: bytes | int = b"",
    on_output: OnOutput | None = None,
    log: Path | None = None,
) -> Completed:
    """Run a command in the best tier that this machine has, or in `require` alone. Fails closed: SandboxRefused.

    A policy that a tier cannot hold moves on to the next tier, never to fewer walls than the policy asks for.
    """
    reasons = []
    for tier in [require] if require else TIERS:
        probed = probe(tier)
        if not probed.available:
            reasons.append(f"{tier}: {probed.why_not}")
            continue
        try:
            return run_in_tier(tier, command, policy, stdin=stdin, on_output=on_output, log=log)
        except SandboxRefused as error:
            reasons.append(f"{tier}: {error}")
    raise SandboxRefused(f"sandbox: no walls to be had, so nothing ran ({'; '.join(reasons)})")


def _try(tier: str) -> Probed:
    with tempfile.TemporaryDirectory(prefix="vortex-probe-") as outer, socket.create_server(("127.0.0.1", 0)) as server:
        folder = Path(outer, "work")
        folder.mkdir()
        canary = Path(outer, "canary")
        canary.write_text("outside")
        command = [sys.executable, "-I", "-S", "-B", "-c", PROBE, str(canary), str(Path(outer, "written"))]
        policy = Policy(folder=folder, read=python_paths(), time_s=10, environment={})
        try:
            done = run_in_tier(tier, [*command, str(server.getsockname()[1])], policy)
        except SandboxRefused as error:
            return Probed(tier, False, str(error), LACKS[tier], (), 0.0)
        arrived = Path(outer, "written").exists()
        if done.stdout.strip() != "held" or arrived or not Path(folder, "inside").exists():
            what = "writes outside" if arrived else done.stdout.strip() or done.stderr.strip()[-200:] or done.reason
            return Probed(tier, False, f"its walls do not hold here: {what}", LACKS[tier], done.notes, done.setup_ms)
        lacks = list(LACKS[tier])
        lacks += [note for note in done.notes if "rlimits and watcher" in note]
        return Probed(tier, True, "", tuple(lacks), done.notes, done.setup_ms)
