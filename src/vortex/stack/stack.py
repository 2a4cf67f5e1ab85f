"""The whole stack in order: engine, gateway, user interface up; the other way round down.

Everything that can be known to be wrong (settings of every part, missing programs) is said before anything starts. Two
commands at once wait for each other.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Collection
from pathlib import Path

from vortex.config.addresses import Addresses
from vortex.errors import BackendError, ConfigError
from vortex.machine.python_program import python_module
from vortex.records.lock import FileLock
from vortex.stack import ui
from vortex.stack.services import Service, check_machine, engine_service, gateway_service
from vortex.stack.supervise import State, Supervisor

NAMES = ("engine", "gateway", "ui")
Say = Callable[[str], None]


class Stack:
    """`say` hears one line per thing that happens."""

    def __init__(self, addresses: Addresses, folder: Path, say: Say) -> None:
        self._addresses = addresses
        self._folder = folder
        self._say = say
        self.supervisor = Supervisor(folder)

    def services(self) -> list[Service]:
        return [engine_service(self._addresses), gateway_service(self._addresses)]

    def check(self, wanted: Collection[str]) -> None:
        """Raises ConfigError or MissingCapability for what would go wrong later."""
        if "gateway" in wanted:
            check = python_module("vortex.gateway", "--check")
            result = subprocess.run(check, capture_output=True, text=True, check=False)
            if result.returncode:
                raise ConfigError(result.stderr.strip().removeprefix("error: "))
        engine_service(self._addresses)
        if "engine" in wanted:
            check_machine(self._addresses)

    def up(self, wanted: Collection[str]) -> None:
        """Start what is wanted and wait until it is ready. Raises VortexError; what was up before stays up."""
        self.check(wanted)
        with self._alone():
            for service in self.services():
                if service.name in wanted:
                    self._start(service)
            if "ui" in wanted:
                self._start_ui()

    def down(self, wanted: Collection[str]) -> None:
        """Stop what is wanted, last started first. Raises StackError where something survives."""
        with self._alone():
            if "ui" in wanted and not ui.missing():
                self._try_ui(lambda: ui.take_down(self._addresses), "stopped")
            for name in ("gateway", "engine"):
                if name in wanted:
                    stopped = self.supervisor.stop(name)
                    self._say(f"{name}: {'stopped' if stopped else 'was not running'}")

    def states(self) -> list[State]:
        found = [self.supervisor.state(service) for service in self.services()]
        service = ui.ui_service(self._addresses)
        ready = self.supervisor.ready(service)
        return [*found, State("ui", service.url, running=ready, watched=ready, ready=ready, pid=None)]

    def _start(self, service: Service) -> None:
        if not service.command:
            self._say(f"{service.name}: external, at {service.url}")
            if not self.supervisor.ready(service):
                self._say(f"{service.name}: does not answer yet; the gateway starts all the same")
            return
        if self.supervisor.start(service):
            self._say(f"{service.name}: starting, log in {self.supervisor.log_path(service.name)}")
        else:
            self._say(f"{service.name}: runs already")
        self.supervisor.wait_ready(service)
        self._say(f"{service.name}: ready at {service.url}")

    def _start_ui(self) -> None:
        if reason := ui.missing():
            self._say(f"ui: left out, {reason}; any OpenAI client can use {self._addresses.gateway_url}/v1")
            return
        self._try_ui(lambda: ui.bring_up(self._addresses), f"started at {ui.ui_service(self._addresses).url}")

    def _try_ui(self, action: Callable[[], None], done: str) -> None:
        """The stack works without its user interface: a failure of Docker is told, not raised."""
        try:
            action()
            self._say(f"ui: {done}")
        except (BackendError, subprocess.TimeoutExpired) as error:
            self._say(f"ui: {error}")

    def _alone(self) -> FileLock:
        waiting = "another `vortex up` or `vortex down` is at work: waiting for it"
        return FileLock(self._folder / "stack.lock", on_wait=lambda: self._say(waiting))
