"""One connection to an engine and the response that is being read from it; every wait has a bound.

Promises: memory stays bounded when nobody reads (the socket is paused). Framing is httptools' work, asking that of
`http_client.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import httptools

Header = tuple[bytes, bytes]
Sink = Callable[[bytes], bool]  # takes bytes of a body; False: no more of them now
PAUSE_BYTES = 256 * 1024
HEAD_LIMIT_BYTES = 64 * 1024
SWITCHING = 101


class Connection(asyncio.Protocol):
    """One connection and the response that is being read from it. `httptools` calls the on_… methods."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.lost = False
        self.served = 0
        self.idle_since = 0.0
        self._waiter: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._deadline = 0.0
        self.sink: Sink | None = None
        self._clear()

    def _clear(self) -> None:
        self.parser: Any = httptools.HttpResponseParser(self)
        self.headers: list[Header] = []
        self._head_bytes = 0
        self.has_head = False
        self.complete = False
        self.keep_alive = False
        self.broken = ""
        self.pieces: list[bytes] = []
        self.buffered_bytes = 0
        self.paused = False

    def begin(self, request: Sequence[bytes]) -> None:
        self._clear()
        self.served += 1
        self.transport.writelines(request)

    # --- what asyncio calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.broken = self.broken or f"protocol: {error}"
            self.transport.abort()
        if self.sink is not None and self.pieces:
            if self.sink(self.take()) and not self.complete and not self.broken:
                return  # nobody has to be woken
            self.sink = None
        if self.buffered_bytes > PAUSE_BYTES and not self.paused:
            self.paused = True
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.complete:
            framed = any(name in (b"content-length", b"transfer-encoding") for name, _ in self.headers)
            if self.has_head and not framed and error is None:
                self.complete = True  # a body without length ends with the connection
            elif not self.broken:
                self.broken = f"reset: {error or 'the engine closed the connection'}"
        self._wake()

    # --- what httptools calls ---

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > HEAD_LIMIT_BYTES:
            self.broken = f"protocol: headers of more than {HEAD_LIMIT_BYTES} bytes"
            self.headers.clear()
            self.transport.abort()
        elif not self.has_head:  # trailers are counted and not kept
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self.parser.get_status_code() == SWITCHING:
            self.broken = "protocol: the engine wants to speak another protocol (101)"
            self.transport.abort()
        elif self.parser.get_status_code() >= 200:
            self.has_head = True
            self.keep_alive = self.parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self.pieces.append(body)
        self.buffered_bytes += len(body)

    def on_message_complete(self) -> None:
        if self.has_head:
            self.complete = True
        else:
            self.headers = []  # an interim 1xx answer

    @property
    def pouring(self) -> bool:
        """More bytes will come, and there is a sink that takes them."""
        return self.sink is not None and not self.complete and not self.broken

    # --- waiting ---

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait_until(self, deadline: float) -> bool:
        """Wait until something happens. False, at once or then, when the time is over."""
        loop = self._loop
        if loop.time() >= deadline:
            return False
        self._deadline = deadline
        if self._timer is None or deadline < self._timer_at:
            self._arm(deadline)
        waiter = self._waiter = loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None
        return True

    def _arm(self, deadline: float) -> None:
        """One timer for many waits: it looks at the newest deadline when it rings, since most waits end early."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if self._loop.time() >= self._deadline:
            self._wake()
        else:
            self._arm(self._deadline)

    def take(self) -> bytes:
        data = self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)
        self.pieces.clear()
        self.buffered_bytes = 0
        if self.paused:
            self.paused = False
            self.transport.resume_reading()
        return data
