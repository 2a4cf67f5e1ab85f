"""Running an app until a signal: a socket bound first (so port 0 has an answer), then a graceful drain.

On SIGTERM, SIGHUP (the terminal is gone) or Ctrl-C no connection is taken any more, answers under way get `drain_s`
seconds, then the app shuts down: episodes reach the disk and the process ends with code 0. A second Ctrl-C does not
wait.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from vortex.errors import ConfigError
from vortex.records.system import hangup_signal, stop_signals
from vortex.server.options import ServerOptions
from vortex.server.patience import PatientProtocol

BACKLOG = 2048
SWITCH_INTERVAL_S = 0.0005  # Python's 5 ms is a token's time: a thread that compiles a schema would hold each one up
KEEP_ALIVE_S = 75  # longer than clients keep idle connections: the side that reuses must not be the one surprised


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. ConfigError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    """With the option to change: an address that is not this machine's is not the port's fault."""
    if isinstance(error, socket.gaierror) or error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
        return "this machine has no such address; choose another --host"
    if error.errno == errno.EADDRINUSE:
        return "something else listens there; choose another --port"
    if error.errno == errno.EACCES:
        return "the system does not let you; choose a --port above 1023"
    return f"{os.strerror(error.errno) if error.errno else error}; choose another --port"


def run(app: FastAPI, listener: socket.socket, options: ServerOptions, announce: Callable[[], None]) -> None:
    """Serve until a signal. `announce` is called when requests are being taken."""
    before = {number: signal.signal(number, _already_handled) for number in stop_signals()}
    switched_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    server = server_for(app, options, announce)

    def drain(number: int, frame: FrameType | None) -> None:
        server.should_exit = True

    hangup = hangup_signal()
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:  # nohup: let it be
        before[hangup] = signal.signal(hangup, drain)
    try:
        server.run(sockets=[listener])
    finally:
        sys.setswitchinterval(switched_s)
        for number, handler in before.items():
            signal.signal(number, handler)


def server_for(app: FastAPI, options: ServerOptions, announce: Callable[[], None]) -> uvicorn.Server:
    """The server that `run` runs; on its own for a thread, which hears no signals: set `should_exit` to end it."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        http=PatientProtocol,
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(options.drain_s)),
    )
    return _AnnouncingServer(config, announce)


def _already_handled(number: int, frame: FrameType | None) -> None:
    """The server raises the signal again after it has drained; by then there is nothing left to do."""


class _AnnouncingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._announce()
