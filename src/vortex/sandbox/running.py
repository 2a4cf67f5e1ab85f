"""Run one command behind walls and say how it went.

Promises: the walls stand before the command's first instruction, or it does not run (SandboxRefused); when this
function returns or raises, and also when this process is killed, nothing of the command is left running; output beyond
the cap is dropped, never stored. Safe to call from any thread. Does not judge the command: a failing exit code is
an answer.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vortex.errors import SandboxRefused
from vortex.records.jsonl import append_jsonl
from vortex.sandbox.launch import values
from vortex.sandbox.launch.bubblewrap import bootstrap
from vortex.sandbox.launch.plan import Plan
from vortex.sandbox.policy import Policy

LAUNCHER = Path(__file__).parent / "launch"
FLOOD = 64  # a run that writes this many times its cap is ended
PATIENCE_S = 10.0
BLOCK_BYTES = 1 << 16
OnOutput = Callable[[str, bytes], None]


@dataclass(frozen=True)
class Completed:
    """How a run ended.

    `exit_code` is the command's own, 128 and the signal's number where a signal ended it, 126 or 127 where it could not
    be started, 124 where its time was up, 137 where another limit ended it; `reason` then names the limit: "time",
    "memory", "processes", "disk", "files", "file size", "output" or "cancelled". `seconds` is wall time with start-up.
    """

    exit_code: int
    stdout: str
    stderr: str
    truncated: bool
    seconds: float
    tier: str
    reason: str
    setup_ms: float
    notes: tuple[str, ...]
    peak_memory_bytes: int

    @property
    def ok(self) -> bool:
        return self.exit_code == 0 and not self.reason


@dataclass
class _Streams:
    """The caller's ends of the pipes of one run."""

    plan: int
    report: int
    stdin: int
    stdout: int
    stderr: int
    kept: dict[str, bytearray]
    dropped: dict[str, int]
    flooded: bool = False

    def cut_lifeline(self) -> None:
        """Whatever still runs is killed now."""
        if self.plan >= 0:
            os.close(self.plan)
            self.plan = -1


def run_in_tier(
    tier: str,
    command: Sequence[str],
    policy: Policy,
    *,
    stdin: bytes | int = b"",
    on_output: OnOutput | None = None,
    log: Path | None = None,
) -> Completed:
    """Run in exactly this tier. Raises SandboxRefused where its walls cannot be had, ConfigError for a bad policy.

    `stdin`: bytes, or a descriptor to read from (its end need not come before the command's). With `on_output`, blocks
    are handed over as they come (stream name, bytes) and none are kept. `log` is a JSONL file
    that gets one line with what was granted and how it ended.
    """
    _check(tier, command, policy)
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        temporary = "/tmp"
        if tier == "landlock":
            temporary = tempfile.mkdtemp(prefix="vortex-sandbox-")
            stack.callback(shutil.rmtree, temporary, ignore_errors=True)
        plan = _plan(tier, command, policy, temporary)
        report, streams = _supervise(plan, policy, stdin, on_output)
    stderr = bytes(streams.kept["stderr"]).decode(errors="replace")
    if report.get("refused"):
        _log(log, plan, policy, report, streams)
        told = stderr.strip().splitlines()[-1:]
        raise SandboxRefused(f"sandbox: tier {tier} cannot be had here: {': '.join([report['refused'], *told])}")
    failed = [note for note in report["notes"] if note.startswith("exec: ")]
    completed = Completed(
        exit_code=report["exit_code"],
        stdout=bytes(streams.kept["stdout"]).decode(errors="replace"),
        stderr=stderr + "".join(f"vortex sandbox: {note[6:]}\n" for note in failed),
        truncated=any(streams.dropped.values()),
        seconds=round(time.monotonic() - began, 4),
        tier=tier,
        reason=report["reason"],
        setup_ms=report.get("setup_ms", 0.0),
        notes=tuple(report["notes"]),
        peak_memory_bytes=report.get("peak_memory_bytes", 0),
    )
    _log(log, plan, policy, report, streams)
    return completed


def _check(tier: str, command: Sequence[str], policy: Policy) -> None:
    """Refuse what no start could make right."""
    if not command or any("\0" in part for part in command):
        raise SandboxRefused("sandbox: the command is empty or holds a zero byte; give a program and its arguments")
    if not sys.platform.startswith("linux"):
        raise SandboxRefused("sandbox: walls are built for Linux; on this system run inside WSL or a virtual machine")
    grants = policy.checked()
    if tier == "landlock" and (grants.protect or grants.hide):
        raise SandboxRefused(
            "sandbox: tier landlock cannot keep part of a granted folder apart "
            f"({(grants.protect + grants.hide)[0]!r}); use a tier with namespaces or a folder without it"
        )
    if tier == "landlock" and policy.network != "none":
        raise SandboxRefused("sandbox: tier landlock has no network to filter; use network none or another tier")


def _plan(tier: str, command: Sequence[str], policy: Policy, temporary: str) -> Plan:
    grants = policy.checked()
    return Plan(
        {
            "tier": tier, "command": list(command), "folder": grants.folder, "read": grants.read,
            "write": grants.write, "protect": grants.protect, "hide": grants.hide, "aliases": grants.aliases,
            "environment": policy.environment_inside(temporary), "temporary": temporary, "time_s": policy.time_s,
            "memory_bytes": policy.memory_bytes, "processes": policy.processes, "file_bytes": policy.file_bytes,
            "disk_bytes": policy.disk_bytes, "files": policy.files, "open_files": policy.open_files,
            "unix_sockets": policy.unix_sockets,
            "control_group": policy.control_group, "umask": _umask(), "proxy": policy.network == "proxy",
            "proxy_domains": list(policy.domains), "launcher": str(LAUNCHER),
            "interpreter": os.path.realpath(sys.executable), "interpreter_home": os.path.realpath(sys.base_prefix),
            "parent": os.getpid(),
        }
    )  # fmt: skip


def _umask() -> int:
    """This process's file mode mask; the kernel tells it without it being changed meanwhile."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o077


def _supervise(
    plan: Plan, policy: Policy, stdin: bytes | int, on_output: OnOutput | None
) -> tuple[dict[str, Any], _Streams]:
    pipes = [os.pipe() for _ in range(5)]  # plan and lifeline, stdin, stdout, stderr, report
    theirs = [pipes[1][0], pipes[2][1], pipes[3][1], pipes[4][1]]
    plan.descriptors = theirs
    code = bootstrap(plan.launcher) + "from vortex.sandbox.launch.supervisor import main\nmain()\n"
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code],
        stdin=pipes[0][0], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        pass_fds=theirs, env={}, cwd="/", start_new_session=True,
    )  # fmt: skip
    for descriptor in (pipes[0][0], *theirs):
        os.close(descriptor)
    streams = _Streams(
        pipes[0][1], pipes[4][0], pipes[1][1], pipes[2][0], pipes[3][0],
        {"stdout": bytearray(), "stderr": bytearray()}, {"stdout": 0, "stderr": 0},
    )  # fmt: skip
    feeder = threading.Thread(target=_feed, args=(streams.stdin, stdin), daemon=True)
    answer = b""
    try:
        _write_all(streams.plan, plan.to_message())
        feeder.start()
        answer = _collect(streams, policy, on_output)
    finally:
        streams.cut_lifeline()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for descriptor in (streams.report, streams.stdout, streams.stderr):
            os.close(descriptor)
        if feeder.ident is not None:
            if isinstance(stdin, bytes):  # else it may wait for a person at a terminal; the process ends without it
                feeder.join(PATIENCE_S)
        else:
            os.close(streams.stdin)
    if not answer:
        return {
            "refused": "its supervisor ended without a report",
            "reason": "",
            "notes": [],
            "exit_code": 125,
        }, streams
    report = values.decode(answer)
    assert isinstance(report, dict), "the supervisor, which is ours, reports a dictionary"
    if streams.flooded:
        report |= {"reason": "output", "exit_code": 137}
    return report, streams


def _feed(descriptor: int, data: bytes | int) -> None:
    """Standard input of the command: these bytes, or whatever this descriptor of the caller gives."""
    with contextlib.suppress(BrokenPipeError):  # the command did not want all of it
        if isinstance(data, bytes):
            _write_all(descriptor, data)
        else:
            while block := os.read(data, BLOCK_BYTES):
                _write_all(descriptor, block)
    os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _collect(streams: _Streams, policy: Policy, on_output: OnOutput | None) -> bytes:
    """Read output and report until all three pipes are at their end; the report is returned."""
    answer = b""
    deadline = time.monotonic() + policy.time_s + PATIENCE_S
    totals = {"stdout": 0, "stderr": 0}
    with selectors.DefaultSelector() as selector:
        for name, descriptor in (("stdout", streams.stdout), ("stderr", streams.stderr), ("report", streams.report)):
            selector.register(descriptor, selectors.EVENT_READ, name)
        while selector.get_map() and time.monotonic() < deadline:
            for key, _ in selector.select(deadline - time.monotonic()):
                block = os.read(key.fd, BLOCK_BYTES)
                if not block:
                    selector.unregister(key.fd)
                elif key.data == "report":
                    answer += block
                else:
                    totals[key.data] += len(block)
                    _keep(streams, key.data, block, policy.output_bytes, on_output)
                    if totals[key.data] > FLOOD * policy.output_bytes:
                        streams.flooded = True
                        streams.cut_lifeline()
    return answer


def _keep(streams: _Streams, name: str, block: bytes, cap: int, on_output: OnOutput | None) -> None:
    if on_output is not None:
        if not streams.flooded:
            on_output(name, block)
        return
    room = cap - len(streams.kept[name])
    streams.kept[name] += block[: max(0, room)]
    streams.dropped[name] += max(0, len(block) - max(0, room))


def _log(log: Path | None, plan: Plan, policy: Policy, report: dict[str, Any], streams: _Streams) -> None:
    if log is None:
        return
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "tier": plan.tier,
        "command": plan.command,
        "granted": policy.summary(),
        "output_bytes_kept": {name: len(data) for name, data in streams.kept.items()},
        **report,
    }
    append_jsonl(log, line, durable=False)
