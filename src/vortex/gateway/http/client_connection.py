"""One client's connection: requests read whole, answered in order, each by a task that ends when the client leaves.

Promises: a head is judged before its body is kept; heads and bodies are bounded; what is not HTTP gets a 400 and the
connection's end. Does not do: TLS, HTTP/2, upgrades. Why it is our own: docs/decisions/0005-gateway-wire.md.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable
from typing import Any, Protocol
from urllib.parse import unquote

import httptools

from vortex.gateway.http.wire import Application, Limits, Refusal, Reply, Request

HEAD_LIMIT_BYTES = 64 * 1024
PIPELINE_LIMIT = 8192  # requests that one client may send ahead
ONCE = frozenset({b"host", b"authorization", b"origin", b"content-length"})
LINGER_S = 2.0  # a refused client may still be sending: its answer must not be lost to a reset


class Listener(Protocol):
    """Who accepted the connection (`front.py`)."""

    application: Application
    limits: Limits
    connections: set[ClientConnection]

    def next_id(self) -> str: ...


class ClientConnection(asyncio.Protocol):
    """One client. `httptools` calls the on_… methods."""

    def __init__(self, front: Listener) -> None:
        self._front = front
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._reply: Reply | None = None  # the one that is being written
        self._task: asyncio.Task[None] | None = None  # who writes it
        self._waiting: deque[tuple[Request, Refusal | None]] = deque()  # asked before the last answer was complete
        self._drained: asyncio.Future[None] | None = None
        self._lost = False
        self._closing = False  # no further request
        self.held_up_since = 0.0
        self.heard_at = self._loop.time()
        self._clear()

    def _clear(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._pieces: list[bytes] = []
        self._size_bytes = 0  # of the head until it is complete, then of the body
        self._trailer_bytes = 0
        self._request: Request | None = None
        self._refusal: Refusal | None = None
        self._told = False  # of the refusal

    @property
    def busy(self) -> bool:
        return self._reply is not None

    # --- what asyncio calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._front.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self.heard_at = self._loop.time()
        if self._request is None:
            self._size_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._closing = True  # the request is served without it; what follows is another language
        except httptools.HttpParserError:
            self._give_up(Refusal(400, "this is not an HTTP/1.1 request", "invalid_http"))
        else:
            if max(self._trailer_bytes, 0 if self._request else self._size_bytes) > HEAD_LIMIT_BYTES:
                self._give_up(Refusal(431, f"a head of more than {HEAD_LIMIT_BYTES} bytes", "too_large"))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        self._front.connections.discard(self)
        self._waiting.clear()
        self.cancel()
        self.resume_writing()

    def pause_writing(self) -> None:
        self.held_up_since = self._loop.time()
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        self.held_up_since = 0.0
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)
        if self._waiting:
            self._loop.call_soon(self._go_on)

    # --- what httptools calls ---

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._request is not None:  # a trailer: nobody reads it, and it is not kept
            self._trailer_bytes += len(name) + len(value)
            return
        name = name.lower()
        if name in ONCE and name in self._headers:
            value = b""  # two are none: whoever looks at the other one must not be led astray
        self._headers[name] = value

    def on_headers_complete(self) -> None:
        parser, front = self._parser, self._front
        text = self._url.partition(b"?")[0].decode("latin-1")
        self._request = request = Request(
            method=parser.get_method().decode("latin-1"),
            path=unquote(text) if "%" in text else text,
            target=self._url,
            headers=self._headers,
            id=front.next_id(),
            arrived=time.monotonic(),
            keep_alive=parser.should_keep_alive() and not parser.should_upgrade(),
            chunked=parser.get_http_version() != "1.0",
        )
        self._size_bytes = 0
        self._refusal = front.application.refuse(request)
        length = self._headers.get(b"content-length", b"0")
        if self._refusal is None and length.isdigit() and int(length) > front.limits.body_bytes:
            self._refuse_size()
        elif self._refusal is not None:
            self._tell_refusal()
        elif b"expect" in self._headers and not self.busy:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if self._refusal is None:
            self._pieces.append(body)
            self._size_bytes += len(body)
            if self._size_bytes > self._front.limits.body_bytes:
                self._refuse_size()

    def on_message_complete(self) -> None:
        request, refusal, told = self._request, self._refusal, self._told
        assert request is not None, "a message has a head"
        request.body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._clear()
        if told:
            if self._closing:
                self._transport.close()
        elif self.busy or self._drained is not None:
            self._waiting.append((request, refusal))
            self._transport.pause_reading()  # one answer after the other, and none to a client that does not read
            if len(self._waiting) > PIPELINE_LIMIT:
                self._transport.abort()
        else:
            self._answer(request, refusal)

    # --- requests in their order ---

    def _answer(self, request: Request, refusal: Refusal | None) -> None:
        self._reply = Reply(self, request)
        if refusal is None:
            self._task = self._loop.create_task(self._serve(request, self._reply))
        else:
            self._reply.error(refusal.status, refusal.message, refusal.code)

    async def _serve(self, request: Request, reply: Reply) -> None:
        try:
            await self._front.application.serve(request, reply)
        finally:
            if not reply.ended:
                self._transport.abort()

    def _refuse_size(self) -> None:
        limit = self._front.limits.body_bytes
        self._refusal = Refusal(413, f"a request of more than {limit} bytes: raise LKN_MAX_BODY_BYTES", "too_large")
        self._pieces.clear()
        assert self._request is not None, "a body has a head"
        self._request.keep_alive = False
        self._tell_refusal()

    def _tell_refusal(self) -> None:
        """At once where it is this request's turn; its body is then read and thrown away."""
        if not self.busy and self._request is not None:
            self._told = True
            self._answer(self._request, self._refusal)

    def _give_up(self, refusal: Refusal) -> None:
        """What came is no request: say so, unless an answer is being written, and close."""
        if self.busy:
            self._transport.abort()
            return
        self._request = None
        self._answer(Request("", "", b"", {}, "", self.heard_at, keep_alive=False), refusal)

    # --- what a reply calls ---

    def send(self, data: bytes) -> Awaitable[None] | None:
        if self._lost:
            return None
        self._transport.write(data)
        return self._drained

    def finished(self, *, keep_alive: bool) -> None:
        self._reply = self._task = None
        self.heard_at = self._loop.time()
        if not keep_alive:
            self._closing = True
            if self._request is None:
                self._transport.close()
            else:
                self._loop.call_later(LINGER_S, self._transport.abort)
        elif self._waiting:
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._waiting and not self.busy and self._drained is None:
            self._answer(*self._waiting.popleft())
            if not self._waiting:
                self._transport.resume_reading()

    # --- what the front calls ---

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()
