"""Starting a service's watcher, waiting until the service is ready, stopping it so that nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vortex.backends.http_get import request
from vortex.errors import BackendError, VortexError
from vortex.machine.python_program import python_module, safe_environment
from vortex.stack.lock import Identity, ServiceLock
from vortex.stack.services import Service

LOG_LIMIT_BYTES = 16 * 1024 * 1024
STOP_S = 20.0
POLL_S = 0.1
TAIL_LINES = 8


class StackError(VortexError):
    """A service that did not start or stop; the message ends with what its log says last."""


@dataclass(frozen=True, slots=True)
class State:
    """`running`: the lock is held; `watched`: its watcher lives; `ready`: it answers."""

    name: str
    url: str
    running: bool
    watched: bool
    ready: bool
    pid: int | None


class Supervisor:
    """Services whose locks and logs are in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def log_path(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def start(self, service: Service) -> bool:
        """Start the watcher. False where the service runs already. Raises StackError where its port is taken."""
        lock = ServiceLock(self.folder, service.name)
        if lock.held():
            return False
        if self.ready(service):
            raise StackError(f"{service.url} is answered by a program that this stack did not start: stop it first")
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.log_path(service.name)
        if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_suffix(".1.log"))
        folder = str(self.folder.resolve())
        with log.open("ab") as output:
            subprocess.Popen(
                python_module("vortex.stack.watch", folder, service.name, "--", *service.command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=safe_environment({**os.environ, **service.variables}),
            ).returncode = 0  # it outlives this process on purpose
        return True

    def wait_ready(self, service: Service, on_wait: Callable[[float], None] | None = None) -> None:
        """Until the service answers. Raises StackError when it is given up or takes too long."""
        started = time.monotonic()
        lock = ServiceLock(self.folder, service.name)
        while not self.ready(service):
            waited_s = time.monotonic() - started
            if waited_s > 3 and service.command and not lock.held():
                raise StackError(f"{service.name} did not start: {self.tail(service.name)}")
            if waited_s > service.start_timeout_s:
                raise StackError(f"{service.name} was not ready in {waited_s:.0f} s: {self.tail(service.name)}")
            if on_wait:
                on_wait(waited_s)
            time.sleep(POLL_S)

    def ready(self, service: Service) -> bool:
        try:
            answer = request(service.health_url, timeout_s=2.0)
        except BackendError:
            return False
        return service.any_answer_is_health or answer.status in {200, 401}

    def stop(self, name: str) -> bool:
        """End the service and everything it started. False where it did not run. Raises StackError if it survives."""
        lock = ServiceLock(self.folder, name)
        if not lock.held():
            return False
        self._signal(lock, signal.SIGTERM)
        if not self._gone(lock, STOP_S):
            self._signal(lock, signal.SIGKILL)
            if not self._gone(lock, STOP_S / 4):
                raise StackError(f"{name} does not end: a process still holds {lock.path}")
        lock.held()  # removes the PID file
        return True

    def state(self, service: Service) -> State:
        lock = ServiceLock(self.folder, service.name)
        running = lock.held()
        holder = lock.holder() if running else None
        return State(
            name=service.name,
            url=service.url,
            running=running,
            watched=holder is not None and holder.watcher.alive,
            ready=self.ready(service),
            pid=holder.child.pid if holder else None,
        )

    def tail(self, name: str, lines: int = TAIL_LINES) -> str:
        path = self.log_path(name)
        if not path.exists():
            return f"no log at {path}"
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16384))
            text = file.read().decode(errors="replace")
        return f"{path} ends with: " + " | ".join(text.strip().splitlines()[-lines:])

    def _signal(self, lock: ServiceLock, number: signal.Signals) -> None:
        """The watcher, who ends its command; without one, or to make an end, the command's group itself."""
        deadline = time.monotonic() + 2
        while (holder := lock.holder()) is None and lock.held() and time.monotonic() < deadline:
            time.sleep(POLL_S)
        if holder is None:
            return
        if number is signal.SIGKILL or not holder.watcher.alive:
            _kill(holder.child, number, group=True)
        _kill(holder.watcher, number, group=False)

    def _gone(self, lock: ServiceLock, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while lock.held():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True


def _kill(identity: Identity, number: signal.Signals, *, group: bool) -> None:
    if not identity.alive:
        return
    try:
        (os.killpg if group else os.kill)(identity.pid, number)
    except ProcessLookupError:
        return
