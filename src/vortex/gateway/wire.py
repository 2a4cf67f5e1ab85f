"""The client's side of a request: what came in, and a reply whose every write has a bound.

Thin over ASGI. Promises: a client that leaves cancels the work for it; one that stops reading is dropped after the
stall time-out; a reply is started and ended once. Does not do: routing, compression.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Coroutine[Any, Any, None]]
Headers = Sequence[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
EVENT_STREAM = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))


class ClientGone(Exception):
    """The client left or does not read; nothing can be said to it any more."""


class BodyTooLarge(Exception):
    """More bytes than LKN_MAX_BODY_BYTES."""


@dataclass(slots=True)
class Request:
    method: str
    path: str
    query: bytes
    headers: dict[bytes, bytes]
    id: str
    arrived: float  # seconds of the event loop's clock
    body: bytes = b""
    label: dict[str, str] = field(default_factory=dict)  # what the reply's x-lkn-… headers say


class Comfort(Protocol):
    """What a client is told while there is nothing to tell it."""

    @property
    def due_at(self) -> float:
        """When it wants to hear something, of the event loop's clock."""
        ...

    async def say(self) -> None:
        """Say it if it is due."""
        ...


async def read_body(receive: Receive, limit_bytes: int) -> bytes:
    """Raises BodyTooLarge, ClientGone."""
    parts: list[bytes] = []
    total_bytes = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        total_bytes += len(part)
        if total_bytes > limit_bytes:
            raise BodyTooLarge
        parts.append(part)
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


class _Begun:
    """A coroutine that was started by hand and waits for something: awaiting this waits for it and goes on."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], awaited: Any) -> None:
        self._coroutine = coroutine
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, None]:
        try:
            yield self._awaited
        except BaseException:
            self._coroutine.close()
            raise
        yield from self._coroutine.__await__()


class StallWatch:
    """Drops clients that do not read: one look at all of them now and then, instead of a timer per write."""

    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        self._writing: set[Reply] = set()
        self._task: asyncio.Task[None] | None = None

    def add(self, reply: Reply) -> None:
        self._writing.add(reply)
        if self._task is None:
            self._task = asyncio.create_task(self._look())

    def remove(self, reply: Reply) -> None:
        self._writing.discard(reply)

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._stall_s / 4)
            for reply in [r for r in self._writing if r.writing_since]:
                if loop.time() - reply.writing_since > self._stall_s:
                    reply.give_up()

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()


class Reply:
    """`task` is who writes; it gets ClientGone out of `write` when the client does not read."""

    def __init__(self, send: Send, task: asyncio.Task[Any]) -> None:
        self._send = send
        self.task = task
        self._loop = asyncio.get_running_loop()
        self._stalled = False
        self.started = False
        self.ended = False
        self.last_write = 0.0
        self.writing_since = 0.0

    async def start(self, status: int, headers: Headers) -> None:
        assert not self.started, "a reply starts once"
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def write(self, data: bytes) -> None:
        """Raises ClientGone when the client has not read for the stall time-out."""
        self.last_write = self._loop.time()
        await self._guarded(self._send({"type": "http.response.body", "body": data, "more_body": True}))

    def write_now(self, data: bytes) -> Awaitable[None] | None:
        """As `write`, for callers that cannot wait: None where the bytes are on their way, which is the rule. A client
        that reads slowly holds the rest up: what is returned must then be awaited before the next write."""
        self.last_write = self._loop.time()
        sending = self._send({"type": "http.response.body", "body": data, "more_body": True})
        try:
            awaited = sending.send(None)
        except StopIteration:
            return None
        return self._guarded(_Begun(sending, awaited))

    async def _guarded(self, sending: Awaitable[None]) -> None:
        """Raises ClientGone when the client has not read for the stall time-out."""
        self.writing_since = self._loop.time()
        try:
            await sending
        except asyncio.CancelledError:
            if self._stalled and self.task.uncancel() == 0:
                raise ClientGone from None
            raise
        finally:
            self.writing_since = 0.0

    def give_up(self) -> None:
        if not self._stalled:
            self._stalled = True
            self.task.cancel()

    async def end(self) -> None:
        if not self.ended:
            self.ended = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """A reply in one piece."""
        self.ended = True
        await self.start(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def json(self, status: int, value: Any, headers: Headers = ()) -> None:
        await self.whole(status, [JSON, *headers], orjson.dumps(value))

    async def error(self, status: int, message: str, code: str, headers: Headers = ()) -> None:
        """OpenAI's shape of an error."""
        kind = "invalid_request_error" if status < 500 else "upstream_error"
        body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
        await self.json(status, body, headers)


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
            await self._reply.start(200, [*EVENT_STREAM, *self.label()])
        await self._reply.write(b": keep-alive\n\n")
