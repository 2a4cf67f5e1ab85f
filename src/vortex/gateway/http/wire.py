"""The client's side of a request: what came in, and a reply that is written as little often as can be.

Promises: a reply is started and ended once; its head leaves together with the first bytes of its body, its end with the
last; nothing is written to a client that left. Does not do: reading (`front.py`), routing, compression.
"""

from __future__ import annotations

import asyncio
import http
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Protocol

import orjson

Headers = Sequence[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
EVENT_STREAM = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))
STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus}
BODILESS = frozenset({204, 304})


@dataclass(slots=True)
class Request:
    """`keep_alive`: the connection may serve another. `chunked`: the client understands a body of unknown length."""

    method: str
    path: str  # decoded, to tell what is asked for
    target: bytes  # path and query as they came, to be handed on: decoding could put a line break into them
    headers: dict[bytes, bytes]
    id: str
    arrived: float  # seconds, time.monotonic
    body: bytes = b""
    keep_alive: bool = True
    chunked: bool = True


class Comfort(Protocol):
    """What a client is told while there is nothing to tell it."""

    @property
    def due_at(self) -> float:
        """When it wants to hear something, of the event loop's clock."""
        ...

    async def say(self) -> None:
        """Say it if it is due."""
        ...


class Outlet(Protocol):
    """The connection that a reply is written to."""

    def send(self, data: bytes) -> Awaitable[None] | None:
        """None where the bytes are on their way or the client is gone; else to be awaited before the next."""
        ...

    def finished(self, *, keep_alive: bool) -> None:
        """The reply is complete; the connection may serve another request, or has to be closed."""
        ...


class Reply:
    def __init__(self, outlet: Outlet, request: Request) -> None:
        self._outlet = outlet
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._head = b""
        self.started = False
        self.ended = False
        self.last_write = 0.0

    def start(self, status: int, headers: Headers) -> None:
        """The head of a body that comes in pieces; it leaves with the first of them."""
        framing = [(b"transfer-encoding", b"chunked")] if self._request.chunked else []
        self._begin(status, [*headers, *framing])

    def write_now(self, data: bytes) -> Awaitable[None] | None:
        """A piece of the body. None where it is on its way, which is the rule; a client that reads slowly holds the
        rest up: what is returned must then be awaited before the next write."""
        self.last_write = self._loop.time()
        if self._request.chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if self._head:
            data, self._head = self._head + data, b""
        return self._outlet.send(data)

    async def write(self, data: bytes) -> None:
        """As `write_now`, waiting where it has to be waited."""
        held_up = self.write_now(data)
        if held_up is not None:
            await held_up

    def end(self, last: bytes = b"") -> None:
        """The end of a body in pieces, with its last piece."""
        if self.ended:
            return
        self.ended = True
        if self._request.chunked:
            last = (b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last)) if last else b"0\r\n\r\n"
        self._outlet.send(self._head + last)
        self._outlet.finished(keep_alive=self._request.keep_alive)

    def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """A reply in one piece."""
        length = () if status in BODILESS else ((b"content-length", b"%d" % len(body)),)
        self._begin(status, [*headers, *length])
        self.ended = True
        self._outlet.send(self._head if self._request.method == "HEAD" else self._head + body)
        self._outlet.finished(keep_alive=self._request.keep_alive)

    def json(self, status: int, value: Any, headers: Headers = ()) -> None:
        self.whole(status, [JSON, *headers], orjson.dumps(value))

    def error(self, status: int, message: str, code: str, headers: Headers = ()) -> None:
        """OpenAI's shape of an error."""
        kind = "invalid_request_error" if status < 500 else "upstream_error"
        body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
        self.json(status, body, headers)

    def _begin(self, status: int, headers: Headers) -> None:
        """Values come from parsers that let no line break through, or are our own."""
        assert not self.started, "a reply starts once"
        self.started = True
        lines = [STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status, _date_line()]
        lines += [b"%b: %b\r\n" % header for header in headers]
        lines.append(b"\r\n" if self._request.keep_alive else b"connection: close\r\n\r\n")
        self._head = b"".join(lines)


class _Date:
    second = 0
    line = b""


def _date_line() -> bytes:
    second = int(time.time())
    if second != _Date.second:
        _Date.second, _Date.line = second, f"date: {formatdate(second, usegmt=True)}\r\n".encode()
    return _Date.line


class KeepAlive:
    """A comment for a stream's client that heard nothing for a while; it may be the first thing it hears."""

    def __init__(self, reply: Reply, every_s: float, arrived: float) -> None:
        self._reply = reply
        self._every_s = every_s
        self._arrived = arrived
        self.label: Callable[[], Headers] = tuple

    @property
    def due_at(self) -> float:
        return (self._reply.last_write or self._arrived) + self._every_s

    async def say(self) -> None:
        if asyncio.get_running_loop().time() < self.due_at:
            return
        if not self._reply.started:
            self._reply.start(200, [*EVENT_STREAM, *self.label()])
        await self._reply.write(b": keep-alive\n\n")


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    message: str
    code: str


@dataclass(frozen=True, slots=True)
class Limits:
    body_bytes: int
    stall_s: float  # of a client that does not read
    idle_s: float = 30.0  # of a client that does not ask, or stops in the middle of asking


class Application(Protocol):
    def refuse(self, request: Request) -> Refusal | None:
        """Judged by the head alone."""
        ...

    async def serve(self, request: Request, reply: Reply) -> None: ...
