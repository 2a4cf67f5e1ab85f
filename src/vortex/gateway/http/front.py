"""Every client of one listening socket: who is there, who has to go.

Promises: a client that does not read, or does not ask, is let go; a stop lets answers end within its grace. What is
said to a client is in `client_connection.py`.
"""

from __future__ import annotations

import asyncio
import secrets
import socket

from vortex.gateway.http.client_connection import ClientConnection
from vortex.gateway.http.wire import Application, Limits

BACKLOG = 2048
SWEEP_S = 5.0


class Front:
    """Every client of one listening socket."""

    def __init__(self, application: Application, limits: Limits) -> None:
        self.application = application
        self.limits = limits
        self.connections: set[ClientConnection] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._prefix = secrets.token_hex(4)
        self._number = 0

    def next_id(self) -> str:
        self._number += 1
        return f"lkn-{self._prefix}-{self._number}"

    async def start(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: ClientConnection(self), sock=listener, backlog=BACKLOG)
        self._sweeper = loop.create_task(self._sweep())

    async def stop(self, grace_s: float) -> None:
        """No new request; those that run may end within the grace, then they are cancelled."""
        assert self._server is not None, "it was started"
        assert self._sweeper is not None, "it was started"
        self._server.close()
        self._sweeper.cancel()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace_s
        while self.connections and loop.time() < deadline:
            for connection in [found for found in self.connections if not found.busy]:
                connection.close()
            await asyncio.sleep(0.01)
        for connection in list(self.connections):
            connection.cancel()
            connection.abort()
        await asyncio.sleep(0)

    async def _sweep(self) -> None:
        """One look at all clients now and then, instead of a timer for each."""
        loop, limits = asyncio.get_running_loop(), self.limits
        while True:
            await asyncio.sleep(min(SWEEP_S, limits.stall_s / 4))
            now = loop.time()
            for connection in list(self.connections):
                if connection.held_up_since and now - connection.held_up_since > limits.stall_s:
                    connection.abort()
                elif not connection.busy and now - connection.heard_at > limits.idle_s:
                    connection.close()
