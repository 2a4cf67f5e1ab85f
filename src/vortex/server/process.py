"""Running an app until a signal: a socket bound first (so port 0 has an answer), then a graceful drain.

On SIGTERM, SIGHUP (the terminal is gone) or Ctrl-C no connection is taken any more, answers under way get `drain_s`
seconds, then the app shuts down: episodes reach the disk and the process ends with code 0. A second Ctrl-C does not
wait.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from vortex.errors import ConfigError
from vortex.records.system import hangup_signal, stop_signals
from vortex.server.options import ServerOptions
from vortex.server.patience import PatientProtocol

BACKLOG = 2048
KEEP_ALIVE_S = 75  # longer than clients keep idle connections: the side that reuses must not be the one surprised


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. ConfigError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port} ({error.strerror}); choose another --port") from error


def run(app: FastAPI, listener: socket.socket, options: ServerOptions, announce: Callable[[], None]) -> None:
    """Serve until a signal. `announce` is called when requests are being taken."""
    before = {number: signal.signal(number, _already_handled) for number in stop_signals()}
    server = server_for(app, options, announce)

    def drain(number: int, frame: FrameType | None) -> None:
        server.should_exit = True

    hangup = hangup_signal()
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:  # nohup: let it be
        before[hangup] = signal.signal(hangup, drain)
    try:
        server.run(sockets=[listener])
    finally:
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
