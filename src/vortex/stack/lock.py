"""Who runs a service: a lock that its processes hold, with their identities written inside.

The lock is the truth; the numbers only tell whom to signal, and only together with the time their process started, so a
number that was given to somebody else in the meantime is never signalled. `NAME.pid` is written beside it for people.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from vortex.records.system import lock_descriptor


@dataclass(frozen=True, slots=True)
class Identity:
    """A process: its number, and when it started (the kernel's clock; None where the system does not tell)."""

    pid: int
    started: int | None

    @property
    def alive(self) -> bool:
        if self.started is None:
            return _exists(self.pid)
        return started_at(self.pid) == self.started


@dataclass(frozen=True, slots=True)
class Holder:
    watcher: Identity
    child: Identity


class ServiceLock:
    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.lock"
        self.pid_path = folder / f"{name}.pid"
        self.descriptor = -1

    def take(self) -> bool:
        """Hold the lock until `release` or the end of every process that has it. False where it is held."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            lock_descriptor(descriptor, blocking=False)
        except BlockingIOError:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        self.descriptor = descriptor
        return True

    def write(self, watcher: int, child: int) -> None:
        holder = Holder(Identity(watcher, started_at(watcher)), Identity(child, started_at(child)))
        data = json.dumps(asdict(holder)).encode()
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, data, 0)
        self.pid_path.write_text(f"{child}\n")

    def clear(self) -> None:
        self.pid_path.unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def held(self) -> bool:
        """Whether a process holds the lock. A PID file without one is stale and is removed."""
        if not self.path.exists():
            self.pid_path.unlink(missing_ok=True)
            return False
        probe = ServiceLock(self.path.parent, self.path.stem)
        descriptor = os.open(self.path, os.O_RDWR)
        try:
            lock_descriptor(descriptor, blocking=False)
        except BlockingIOError:
            return True
        else:
            probe.pid_path.unlink(missing_ok=True)
            return False
        finally:
            os.close(descriptor)

    def holder(self) -> Holder | None:
        """Who wrote into the lock; None while it is being written."""
        try:
            value = json.loads(self.path.read_text())
            return Holder(Identity(**value["watcher"]), Identity(**value["child"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


def started_at(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot (Linux); None elsewhere, or when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
