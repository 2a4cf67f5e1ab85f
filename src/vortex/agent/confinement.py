"""How the agent runs anything: always through the sandbox, with one policy that the working folder cannot loosen.

Promises: no network, no secrets, one writable folder, which is a copy or the task's own folder as the caller says;
where the walls cannot be had nothing runs (SandboxRefused).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vortex.sandbox import Completed, Policy, python_paths, run
from vortex.sandbox.running import OnOutput

MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Walls:
    """require: a tier of the sandbox, or the best there is. read: further folders that commands may read. log: a JSONL
    file that gets one line a run."""

    require: str | None = None
    read: tuple[Path, ...] = ()
    memory_bytes: int = 3 << 30
    processes: int = 64
    log: Path | None = None

    def run(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        time_s: float,
        stdin: bytes = b"",
        on_output: OnOutput | None = None,
    ) -> Completed:
        """Raises SandboxRefused. A command that fails is an answer."""
        policy = Policy(
            folder=folder,
            read=tuple(dict.fromkeys((*python_paths(), *self.read))),
            memory_bytes=self.memory_bytes,
            processes=self.processes,
            time_s=time_s,
            disk_bytes=512 * MIB,
        )
        return run(command, policy, require=self.require, stdin=stdin, on_output=on_output, log=self.log)
